"""What the programs of a simulation do: each function here is one way to use tasks and objects.

A program calls them as ``workload(Context)``, which submits, waits and checks every value. Names of tasks are paths
("d0/chain3/5"), so that a task submitted again by a retried parent has the name it had before.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any

from ...core.refs import ObjectRef
from ...protocol.errors import (
    NodeDiedError,
    OwnerDiedError,
    TaskCancelledError,
    WorkerCrashedError,
)
from .api import Flaky, attempt, get, here, outcome, put, sleep, submit, wait
from .book import value_of
from .cluster import active

__all__ = ["WORKLOADS", "Context", "Workload", "close", "judge", "settle", "work"]


@dataclasses.dataclass
class Context:
    """What a workload may choose from. ``scale``: about how many tasks it makes."""

    name: str
    random: random.Random
    scale: int
    retries: tuple[int, ...] = (0, 1, 3, -1)

    def seconds(self) -> float:
        """How long a task takes: mostly next to nothing, sometimes long."""
        return self.random.choice((0.0, 0.0, 0.0001, 0.001, 0.003, 0.02, 0.1))

    def some_retries(self) -> int:
        return self.random.choice(self.retries)


Workload = Callable[[Context], None]


def settle(key: str, ref: ObjectRef, expected: Any, *, depends: bool = False) -> None:
    """Get a result: the right value, or a death that its retries allow."""
    found = outcome(key, ref)
    if isinstance(found, Exception):
        judge(key, found, depends=depends)
    else:
        assert found == expected, f"{key} returned {found!r}, not {expected!r}"


def judge(key: str, error: Exception, *, depends: bool = False) -> None:
    """Whether the faults of this run explain an error. ``depends``: on other tasks, which may have failed."""
    book = active().book
    entry = book.entries[key]
    if isinstance(error, TaskCancelledError) and entry.is_cancelled:
        return
    if isinstance(error, WorkerCrashedError | NodeDiedError):
        if depends:
            return
        deaths = book.kills - entry.kills_before
        assert entry.max_retries >= 0, f"{key} is to be retried for ever, and failed with {error!r}"
        assert deaths > entry.max_retries, f"{key} failed after {deaths} deaths of workers: {error!r}"
        assert book.lost_pages or entry.is_follower or len(entry.starts) > entry.max_retries, (
            f"{key} failed with {type(error).__name__}, but began only {len(entry.starts)} times"
        )
        return
    if isinstance(error, OwnerDiedError) and depends and book.kills:
        return
    raise AssertionError(f"{key} failed with {type(error).__name__}: {error}")


# -- tasks ------------------------------------------------------------------------------------------------------------


def work(key: str, seconds: float, *inputs: Any) -> int:
    """Take some time; the value depends on all that came in."""
    attempt(key)
    if seconds:
        sleep(seconds)
    return value_of(key, *inputs)


def flaky(key: str, failures: int) -> int:
    """Raise at the first tries."""
    if attempt(key) < failures:
        raise Flaky(key)
    return value_of(key)


def parent(key: str, plan: tuple[float, ...], depth: int) -> int:
    """Submit children and wait for them, which may do the same."""
    attempt(key)
    names = [f"{key}/{number}" for number in range(len(plan))]
    if depth:
        refs = [submit(parent, name, plan, depth - 1, retries=-1) for name in names]
    else:
        refs = [submit(work, name, seconds, retries=-1) for name, seconds in zip(names, plan, strict=True)]
    return value_of(key, *get(refs))


def parent_value(key: str, plan: tuple[float, ...], depth: int) -> int:
    """What `parent` returns."""
    names = [f"{key}/{number}" for number in range(len(plan))]
    if depth:
        return value_of(key, *[parent_value(name, plan, depth - 1) for name in names])
    return value_of(key, *[value_of(name) for name in names])


def echo(key: str, box: list[ObjectRef], seconds: float) -> list[ObjectRef]:
    """Give back the references that came in."""
    attempt(key)
    sleep(seconds)
    return box


def read(key: str, box: list[ObjectRef], seconds: float) -> int:
    """Wait, and only then read what was borrowed."""
    attempt(key)
    sleep(seconds)
    return value_of(key, *get(list(box)))


def lend(key: str, box: list[ObjectRef], seconds: float, depth: int) -> list[ObjectRef]:
    """Pass borrowed references on to a task, and return its reference without waiting for it."""
    attempt(key)
    sleep(seconds)
    if depth:
        return [submit(lend, f"{key}+", box, seconds, depth - 1, retries=-1)]
    return [submit(read, f"{key}+", box, seconds, retries=-1)]


def own(key: str, count: int, seconds: float) -> list[ObjectRef]:
    """Return references to what this process owns."""
    attempt(key)
    sleep(seconds)
    refs = [put(value_of(key, number)) for number in range(count)]
    return [*refs, submit(work, f"{key}/late", 0.01, retries=-1)]


def relay(key: str, box: list[ObjectRef], seconds: float, dies_after: float) -> list[ObjectRef]:
    """Give back what a third process owns; at the first try, the worker dies about when the result is sent."""
    process, cluster = here(), active()

    def kill() -> None:  # counted when it happens: of what is submitted until then it is a death too
        cluster.book.kills += 1
        cluster.nodes[process.node_id].kill_worker(process.identity)

    if attempt(key) == 0 and dies_after:
        cluster.kernel.after(dies_after, kill)
    sleep(seconds)
    return box


# -- workloads --------------------------------------------------------------------------------------------------------


def burst(context: Context) -> None:
    """Tasks that have nothing to do with each other."""
    refs: dict[str, ObjectRef] = {}
    for number in range(context.scale):
        key, seconds, retries = f"{context.name}/{number}", context.seconds(), context.some_retries()
        refs[key] = submit(work, key, seconds, retries=retries)
    for key, ref in refs.items():
        settle(key, ref, value_of(key))


def chains(context: Context) -> None:
    """Tasks that wait for one another, one by one."""
    ends = []
    for chain in range(max(1, context.scale // 12)):
        ref: ObjectRef | None = None
        value: tuple[int, ...] = ()
        keys = []
        for number in range(context.random.randint(2, 12)):
            key, seconds = f"{context.name}/{chain}/{number}", context.seconds()
            ref = submit(work, key, seconds, *([] if ref is None else [ref]), retries=-1)
            value = (value_of(key, *value),)
            keys.append((key, ref, value[0]))
            if context.random.random() < 0.1:
                sleep(context.seconds())
        if context.random.random() < 0.5:
            for key, _, _ in keys[:-1]:
                active().book.ended(key, "dropped")
            del keys[:-1]
        ends.append(keys)
    for keys in ends:
        for key, made, expected in keys:
            settle(key, made, expected)


def tree(context: Context) -> None:
    """Pairs of results, until one is left."""
    level: list[tuple[ObjectRef, int]] = []
    for number in range(max(2, context.scale)):
        key = f"{context.name}/{number}"
        level.append((submit(work, key, context.seconds(), retries=-1), value_of(key)))
        active().book.ended(key, "dropped")
    height = 0
    while len(level) > 1:
        height += 1
        above = []
        for number in range(0, len(level) - 1, 2):
            key = f"{context.name}/{height}.{number}"
            (left, a), (right, b) = level[number : number + 2]
            above.append((submit(work, key, context.seconds(), left, right, retries=-1), value_of(key, a, b)))
            if len(level) > 2:
                active().book.ended(key, "dropped")
        if len(level) % 2:
            above.append(level[-1])
        level = above
    assert get(level[0][0]) == level[0][1], "the tree has another sum"
    active().book.close(f"{context.name}/")


def nested(context: Context) -> None:
    """Tasks that wait for tasks that wait for tasks."""
    depth = context.random.randint(0, 2)
    plan = tuple(context.seconds() for _ in range(context.random.randint(1, 3)))
    refs: dict[str, ObjectRef] = {}
    for number in range(max(1, context.scale // 6)):
        key = f"{context.name}/{number}"
        refs[key] = submit(parent, key, plan, depth, retries=-1)
    for key, ref in refs.items():
        settle(key, ref, parent_value(key, plan, depth))
        close(key)


def close(key: str) -> None:
    """What the children of a task came to is their parent's business."""
    active().book.close(f"{key}/")
    active().book.close(f"{key}+")


def retried(context: Context) -> None:
    """Tasks that raise, and whose options say to try again, or not."""
    for number in range(max(1, context.scale // 4)):
        key = f"{context.name}/{number}"
        failures, retries = context.random.randint(0, 3), context.random.randint(0, 3)
        again = context.random.random() < 0.7
        found = outcome(key, submit(flaky, key, failures, retries=retries, retry_exceptions=again))
        allowed = retries if again else 0
        # A death of its worker may have taken a try.
        lost = active().book.kills - active().book.entries[key].kills_before
        if isinstance(found, Flaky):
            assert failures > allowed - lost, f"{key} was given up too early"
        elif isinstance(found, WorkerCrashedError | NodeDiedError):
            # Tries that raised are tries too.
            assert lost, f"{key}: its worker died, which nobody killed"
            assert lost + failures > retries, f"{key} failed after {lost} deaths, before its tries were used up"
        elif isinstance(found, Exception):
            judge(key, found)
        else:
            assert found == value_of(key)


def borrowing(context: Context) -> None:
    """References inside arguments and results, kept, passed on and dropped."""
    for number in range(max(1, context.scale // 6)):
        name = f"{context.name}/{number}"
        made = f"{name}/made"
        values = [submit(work, made, context.seconds(), retries=-1), put(value_of(name, "put"))]
        expected = [value_of(made), value_of(name, "put")]
        active().book.ended(made, "dropped")
        kind = context.random.choice(("read", "echo", "lend", "own", "nested put"))
        key = f"{name}/{kind}"
        if kind == "read":
            ref = submit(read, key, values, context.seconds(), retries=-1)
            del values
            settle(key, ref, value_of(key, *expected))
        elif kind == "echo":
            ref = submit(echo, key, values, context.seconds(), retries=-1)
            del values
            back = outcome(key, ref)
            del ref
            sleep(context.seconds())
            assert get(back) == expected, f"{key}: other values came back"
        elif kind == "lend":
            depth = context.random.randint(0, 2)
            ref = submit(lend, key, values, context.seconds(), depth, retries=-1)
            del values
            _follow_loan(key, outcome(key, ref), depth, expected)
        elif kind == "own":
            del values
            _owned_elsewhere(context, key)
        else:
            box = put([values, "and text"])
            del values
            (back, _) = get(box)
            del box
            assert get(back) == expected, f"{key}: other values came back"


def _follow_loan(key: str, found: Any, depth: int, expected: list[int]) -> None:
    for _ in range(depth + 1):
        if isinstance(found, Exception):
            judge(key, found, depends=True)
            close(key)
            return
        key = f"{key}+"
        found = outcome(key, found[0])
    if isinstance(found, Exception):
        judge(key, found, depends=True)
    else:
        assert found == value_of(key, *expected), f"{key}: it read other values"


def _owned_elsewhere(context: Context, key: str) -> None:
    count = context.random.randint(0, 2)
    found = outcome(key, submit(own, key, count, context.seconds(), retries=-1))
    if isinstance(found, Exception):
        judge(key, found, depends=True)
        return
    late = f"{key}/late"
    expected = [value_of(key, number) for number in range(count)] + [value_of(late)]
    sleep(context.seconds())
    for ref, value in zip(found, expected, strict=True):
        try:
            assert get(ref) == value, f"{key}: another value"
        except OwnerDiedError:
            assert active().book.kills, f"{key}: its owner died, which nobody killed"
        except WorkerCrashedError:
            assert active().book.kills, f"{key}: its worker died, which nobody killed"
    close(key)


def relaying(context: Context) -> None:
    """References that go through workers which do not own them, some of which die on the way."""
    key = f"{context.name}/made"
    found = outcome(key, submit(own, key, 3, 0.0, retries=-1))
    expected = [value_of(key, number) for number in range(3)] + [value_of(f"{key}/late")]
    for turn in range(max(1, context.scale // 6)):
        if isinstance(found, Exception):
            judge(f"{context.name}/made", found, depends=True)
            return
        names = [f"{context.name}/{turn}.{number}" for number in range(4)]
        doomed = [context.random.choice((0.0, context.random.uniform(0.001, 0.006))) for _ in names]
        refs = [submit(relay, name, found, 0.002, death, retries=-1) for name, death in zip(names, doomed, strict=True)]
        before, found = found, None
        del before
        for name, ref in zip(names, refs, strict=True):
            found = outcome(name, ref)
            if isinstance(found, Exception):
                judge(name, found, depends=True)
                return
    for ref, value in zip(found, expected, strict=True):
        try:
            assert get(ref) == value, f"{key}: another value"
        except (OwnerDiedError, WorkerCrashedError):
            assert active().book.kills, f"{key} was lost, and nothing was killed"
    close(key)


def waiting(context: Context) -> None:
    """`wait` with timeouts, and results dropped before they are there."""
    refs = []
    for number in range(context.scale):
        key = f"{context.name}/{number}"
        refs.append(submit(work, key, context.seconds(), retries=-1))
        active().book.ended(key, "dropped")
    while refs:
        _, refs = wait(refs, context.random.randint(1, len(refs)), context.random.choice((None, 0.0, 0.002, 0.1)))
        if context.random.random() < 0.2:
            refs = refs[:-1]
        sleep(context.seconds() / 4)


def cancelling(context: Context) -> None:
    """Tasks that are not wanted any more, whatever they do at that moment."""
    refs: dict[str, ObjectRef] = {}
    for number in range(context.scale):
        key = f"{context.name}/{number}"
        depends = [] if not refs or context.random.random() < 0.7 else [list(refs.values())[-1]]
        refs[key] = submit(work, key, context.seconds(), *depends, retries=context.some_retries())
        if context.random.random() < 0.3:
            victim = context.random.choice(list(refs))
            active().book.entries[victim].is_cancelled = True
            force = context.random.random() < 0.2
            active().book.kills += force
            here().core.cancel(refs[victim], force, True)
        if context.random.random() < 0.2:
            sleep(context.seconds())
    for key, ref in refs.items():
        found = outcome(key, ref)
        if isinstance(found, Exception) and not isinstance(found, TaskCancelledError):
            judge(key, found, depends=True)


WORKLOADS: dict[str, Workload] = {
    "burst": burst,
    "chains": chains,
    "tree": tree,
    "nested": nested,
    "retried": retried,
    "borrowing": borrowing,
    "relaying": relaying,
    "waiting": waiting,
    "cancelling": cancelling,
}
