"""Notebook cells in a simulation: one is interrupted, and nothing of it may be left anywhere, while another goes on.

Tasks of both have children: some wait for them, some return their references and some leave them to themselves, so that
their owner is a worker which nobody who is waited for runs in any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...core.refs import ObjectRef
from ...protocol.common import Cell
from .api import attempt, get, here, outcome, sleep, submit
from .book import value_of
from .cluster import active
from .workloads import Context, close, judge, settle, work

__all__ = ["CELLS", "in_cell"]

_SETTLED: float = 12.0
"""Seconds in which a cancelled cell comes to its end, with nodes that are cut off for three of them."""

_KINDS = ("waits", "lends", "leaves")


def family(key: str, kinds: tuple[str, ...], seconds: float) -> Any:
    """Submit two children, which may do the same, and wait for them, lend them or leave them."""
    attempt(key)
    children = [_submit(f"{key}/{number}", kinds[1:], seconds) for number in range(2)]
    if kinds[0] == "waits":
        return value_of(key, *[_resolved(ref) for ref in children])
    return children if kinds[0] == "lends" else value_of(key)


def _submit(key: str, kinds: tuple[str, ...], seconds: float) -> ObjectRef:
    made = submit(family, key, kinds, seconds, retries=-1) if kinds else submit(work, key, seconds, retries=-1)
    assert isinstance(made, ObjectRef)
    return made


def _resolved(ref: ObjectRef) -> Any:
    value = get(ref)
    return [_resolved(inner) for inner in value] if isinstance(value, list) else value


def _value(key: str, kinds: tuple[str, ...]) -> Any:
    """What `_resolved` finds."""
    if not kinds or kinds[0] == "leaves":
        return value_of(key)
    values = [_value(f"{key}/{number}", kinds[1:]) for number in range(2)]
    return values if kinds[0] == "lends" else value_of(key, *values)


def stubborn(key: str, seconds: float) -> None:
    """Go on whatever happens."""
    attempt(key)
    until = here().kernel.now + seconds
    while here().kernel.now < until:
        try:
            sleep(0.01)
        except KeyboardInterrupt:
            continue


def replaced(key: str) -> None:
    """Have another task go on when it is interrupted."""
    attempt(key)
    try:
        sleep(100.0)
    finally:
        submit(work, f"{key}/next", 100.0, retries=-1)


@contextmanager
def in_cell(number: int) -> Iterator[Cell]:
    """Be the code of a notebook cell. Its number is that of other drivers' cells too."""
    core = here().core
    cell = Cell(core.job_id, number, f"message {number}")
    core.cell_provider = lambda: cell
    try:
        yield cell
    finally:
        core.cell_provider = None


def stopped(context: Context) -> None:
    """Two cells with whole families of tasks, of which one is interrupted."""
    chance = context.random
    number = int(here().kernel.now * 1e6)
    kept, dropped = f"{context.name}/kept", f"{context.name}/dropped"
    with in_cell(number):
        keep = _populate(context, kept, context.seconds)
    with in_cell(number + 1) as cell:
        drop = _populate(context, dropped, lambda: chance.choice((0.0, 0.01, 100.0)))
        obstinate = chance.randint(1, 2) if chance.random() < 0.3 else 0
        for index in range(obstinate):
            key = f"{dropped}/stubborn{index}"
            drop[key] = (submit(stubborn, key, 100.0, retries=-1), ())
        for index in range(chance.randint(0, 2)):
            key = f"{dropped}/replaced{index}"
            drop[key] = (submit(replaced, key, retries=-1), ())
        if chance.random() < 0.7:
            sleep(context.seconds())
        # Ended by force, and with its worker what that owned.
        active().book.kills += obstinate
        active().book.cancel(f"{dropped}/")
        here().core.cancel_cell(cell)
    _wait_for_end(cell)
    for key, (ref, _) in drop.items():
        found = outcome(key, ref)
        if isinstance(found, Exception):
            judge(key, found, depends=True)
    active().book.close(f"{dropped}/")
    for key, (ref, kinds) in keep.items():
        _check(key, ref, kinds)
    del ref, keep, drop
    assert not _left_of(cell), "something of it came after its end"


def _populate(context: Context, name: str, seconds: Any) -> dict[str, tuple[ObjectRef, tuple[str, ...]]]:
    made: dict[str, tuple[ObjectRef, tuple[str, ...]]] = {}
    for number in range(max(2, context.scale // 4)):
        key = f"{name}/{number}"
        kinds = tuple(context.random.choice(_KINDS) for _ in range(context.random.choice((0, 0, 1, 2))))
        made[key] = (_submit(key, kinds, seconds()), kinds)
    return made


def _check(key: str, ref: ObjectRef, kinds: tuple[str, ...]) -> None:
    """A task of the cell that goes on, and all that came of it, end well."""
    if not kinds or kinds[0] != "lends":
        settle(key, ref, _value(key, kinds), depends=bool(kinds))
        close(key)
        return
    found = outcome(key, ref)
    if isinstance(found, Exception):
        judge(key, found, depends=True)
        close(key)
        return
    for number, inner in enumerate(found):
        _check_lent(f"{key}/{number}", inner, kinds[1:])


def _check_lent(key: str, ref: ObjectRef, kinds: tuple[str, ...]) -> None:
    """As `_check`, for a task whose owner may die."""
    if kinds and kinds[0] == "lends":
        _check(key, ref, kinds)
        return
    found = outcome(key, ref)
    if isinstance(found, Exception):
        judge(key, found, depends=True)
    else:
        assert found == _value(key, kinds), f"{key}: another value"
    close(key)


def _wait_for_end(cell: Cell) -> None:
    until = here().kernel.now + _SETTLED
    while left := _left_of(cell):
        assert here().kernel.now < until, f"of a cancelled cell there are still {left[:5]}"
        sleep(0.05)


def _left_of(cell: Cell) -> list[str]:
    """Tasks of a cell that are queued, wait, are on their way or run, in any process."""
    found: list[str] = []
    for process in active().living("driver") + active().living("worker"):
        core = process.core
        name = f"{process.kind} {process.identity.hex()}"
        found += [f"{r.task.counter} of {name}" for r in core.cells.pending() if r.plan.cell == cell]
        executor = core.executor
        if executor is not None:
            jobs = [*executor.queue, *([executor.running] if executor.running is not None else [])]
            found += [f"{job.loaded.name} at {name}" for job in jobs if job.loaded.cell == cell]
    return found


CELLS = {"stopped": stopped}
