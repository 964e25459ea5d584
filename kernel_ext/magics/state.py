"""``%tasks``, ``%actors`` and ``%objects``: what there is, in tables, from the state API."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Final

from IPython.core.magic import line_magic, magics_class

from ...cluster.protocol.ids import object_index, task_counter, task_owner
from ..arguments import MagicParser, UsageProblem, byte_count, count
from ..html import BAD, BUSY, GOOD, IDLE, quantity
from ..own_tasks import pending_tasks
from ..tables import Table, report
from ..task_history import TaskHistory
from ..task_rows import STATES, TaskRow, by_name, counted, label, listed, merge
from .base import Family, answers, cell_choice

if TYPE_CHECKING:
    from ...cluster.core.runtime import Core

__all__ = ["StateMagics"]

_SHOWN: Final = 20  # rows of a table, unless told otherwise: what fits below a cell without scrolling
_ALL: Final = 1_000_000  # rows asked for: the cluster's own bounds are lower
_PATIENCE: Final = 10  # seconds for each answer
_RECORDED: Final = 1.2
"""Seconds to wait for records: workers report four times a second, later on a busy machine. A `himalia.put` has a
number as a task has, and no record."""
_LOOKED_BACK: Final = 10_000  # tasks
_POLL: Final = 0.1
_GROUPED_FROM: Final = 5  # tasks: with fewer, counting them by function says nothing that the list does not
_ACTOR_STATES: Final = ("pending", "alive", "restarting", "dead")


def _common(prog: str) -> MagicParser:
    parser = MagicParser(prog)
    parser.add_argument("--cell", type=cell_choice, metavar="this|last|N", completer=lambda shell: ["this", "last"])
    parser.add_argument("--name", metavar="TEXT")
    parser.add_argument("--limit", type=count, default=_SHOWN, metavar="N")
    parser.add_argument("--all-jobs", action="store_true")
    return parser


def _tasks_parser() -> MagicParser:
    parser = _common("%tasks")
    parser.add_argument("--state", choices=STATES)
    return parser


def _actors_parser() -> MagicParser:
    parser = _common("%actors")
    parser.add_argument("--state", choices=_ACTOR_STATES)
    return parser


def _objects_parser() -> MagicParser:
    parser = _common("%objects")
    parser.add_argument("--larger-than", type=byte_count, default=0, metavar="BYTES")
    return parser


@magics_class
class StateMagics(Family):
    """What there is."""

    _looked = (b"", 0)  # process, and the number of what it submitted last before the last look

    parsers: ClassVar = {"tasks": _tasks_parser, "actors": _actors_parser, "objects": _objects_parser}

    @line_magic
    @answers
    def tasks(self, line: str) -> None:
        """Show the tasks of this notebook: how many are in which state, and the newest of them.

        %tasks [--cell this|last|N] [--state STATE] [--name TEXT] [--limit N] [--all-jobs]

        --cell
            Only those of this cell, of the last cell before this one that submitted any, or of In [N].
        --state
            Only those that are pending, running, finished, failed or cancelled.
        --name
            Only those whose function's name contains this.
        --limit
            How many are listed (20), failures first, then the newest; the counts are of all.
        --all-jobs
            Also those of other notebooks and programs on this cluster.

        The number of a task is that of its ObjectRef; %cancel takes it. What has ended shows up within a second.
        """
        arguments = self.parse("tasks", line)
        core = self.core()
        owner = core.worker_id
        history = TaskHistory(core)
        rows = self._chosen(self._recent_rows(core, history), arguments, core.job_id, lambda row: row.name)
        if arguments.state is not None:
            rows = [row for row in rows if row.state == arguments.state]
        grouped = [by_name(rows, arguments.limit)] if len(rows) > _GROUPED_FROM else []
        shown = sorted(rows, key=lambda row: row.state != "failed")[: arguments.limit]
        note = _more(len(rows), len(shown), "tasks, failures and then the newest first")
        if history.lost:
            note = f"{note} {history.lost} older ones are not remembered any more.".strip()
        self.show(report("Tasks", counted(rows), _colour(rows), [*grouped, listed(shown, owner, time.time())], note))

    def _recent_rows(self, core: Core, history: TaskHistory) -> list[TaskRow]:
        """All tasks that are recorded or pending. Waits for the records of those of this process that have ended since
        the last look: who asks right after `get` wants to see what was got."""
        owner = core.worker_id
        if self._looked[0] != owner:
            self._looked = (owner, 0)
        latest = core.next_counter() - 1
        since = max(self._looked[1], latest - _LOOKED_BACK)
        deadline = time.monotonic() + _RECORDED
        while True:
            pending = pending_tasks(core)
            rows = merge(history.update(), pending, owner, core.job_id)
            own = {row.number: row for row in rows if row.owner == owner}
            ended = own.keys() - {task.number for task in pending}
            is_told = all(number in own for number in range(since + 1, latest + 1)) and not any(
                own[number].state in ("pending", "running") for number in ended
            )
            if is_told or time.monotonic() > deadline:
                self._looked = (owner, latest + 1)  # asking took a number
                return rows
            time.sleep(_POLL)

    @line_magic
    @answers
    def actors(self, line: str) -> None:
        """Show the actors of this notebook: those that live first, and the last that died.

        %actors [--cell this|last|N] [--state STATE] [--name TEXT] [--limit N] [--all-jobs]

        --cell
            Only those of this cell, of the last cell before this one that created any, or of In [N].
        --state
            Only those that are pending, alive, restarting or dead.
        --name
            Only those whose class or own name contains this.
        --limit
            How many are listed (20); the counts are of all.
        --all-jobs
            Also those of other notebooks and programs on this cluster.
        """
        arguments = self.parse("actors", line)
        core = self.core()
        rows = [_actor_row(row, core.worker_id) for row in _query("actors")]
        rows = self._chosen(rows, arguments, core.job_id, lambda row: f"{row.class_name} {row.own_name}")
        if arguments.state is not None:
            rows = [row for row in rows if row.state == arguments.state]
        rows.sort(key=lambda row: (row.state == "dead", -row.started))
        counts = Counter(row.state for row in rows)
        words = ", ".join(f"{counts[state]} {state}" for state in _ACTOR_STATES if counts[state])
        table = Table(
            ("actor", "class", "name", "state", "cell", "worker", "restarts", "reason"),
            [row.shown for row in rows[: arguments.limit]],
            frozenset({"cell", "worker", "restarts"}),
        )
        colour = GOOD if counts["alive"] else IDLE
        note = _more(len(rows), len(table.rows), "actors")
        self.show(report("Actors", words or "none", colour, [table], note))

    @line_magic
    @answers
    def objects(self, line: str) -> None:
        """Show the objects of this notebook that the cluster knows, the largest first.

        %objects [--cell this|last|N] [--name TEXT] [--larger-than BYTES] [--limit N] [--all-jobs]

        --cell
            Only results of tasks of this cell, of the last cell before this one that has any, or of In [N].
        --name
            Only results of functions whose name contains this; put finds what himalia.put made.
        --larger-than
            Only those; can be written as 500MB or 2GiB.
        --limit
            How many are listed (20); the counts are of all.
        --all-jobs
            Also those of other notebooks and programs on this cluster.
        """
        arguments = self.parse("objects", line)
        core = self.core()
        rows = _object_rows(core)
        rows = self._chosen(rows, arguments, core.job_id, lambda row: row.maker)
        rows = sorted((row for row in rows if row.size >= arguments.larger_than), key=lambda row: -row.size)
        total = sum(row.size for row in rows)
        table = Table(
            ("object", "size", "made by", "cell", "lies in", "held by", "use"),
            [row.shown for row in rows[: arguments.limit]],
            frozenset({"size", "cell"}),
        )
        summary = f"{len(rows)} object{'' if len(rows) == 1 else 's'}, {quantity(total)}" if rows else "none"
        note = _more(len(rows), len(table.rows), "objects, the largest first")
        self.show(report("Objects", summary, GOOD if rows else IDLE, [table], note))

    def _chosen(
        self, rows: Iterable[Any], arguments: argparse.Namespace, job: bytes, name: Callable[[Any], str]
    ) -> Any:
        """The rows that the options common to all three choose."""
        chosen = [row for row in rows if arguments.all_jobs or row.job in (b"", job)]
        if arguments.name is not None:
            chosen = [row for row in chosen if arguments.name.lower() in name(row).lower()]
        if arguments.cell is None:
            return chosen
        number = self.cell_of(arguments.cell, {row.cell for row in chosen if row.job == job})
        return [row for row in chosen if row.cell == number and row.job == job]


class _Row:
    """What a table shows of an actor or an object, and what it is chosen by."""

    job = b""
    cell = 0
    state = ""
    class_name = own_name = maker = ""
    started = 0.0
    size = 0
    shown: list[str]


def _actor_row(actor: Any, own: bytes) -> _Row:
    row = _Row()
    row.job, row.cell = bytes.fromhex(actor.job_id), actor.cell or 0
    row.class_name, row.own_name = actor.class_name, actor.name
    row.state = "pending" if actor.state not in ("ALIVE", "RESTARTING", "DEAD") else actor.state.lower()
    row.started = actor.start_time_ms or 0
    reason = (actor.death_cause or {}).get("detail", "") if row.state != "alive" else ""
    row.shown = [
        _label(actor.actor_id, own),
        actor.class_name,
        actor.name,
        row.state,
        str(row.cell or ""),
        str(actor.pid or ""),
        str(actor.num_restarts or ""),
        str(reason),
    ]
    return row


def _object_rows(core: Core) -> list[_Row]:
    """One row for each object, whoever holds it."""
    jobs = {worker.worker_id: bytes.fromhex(worker.job_id or "") for worker in _query("workers")}
    holders: dict[str, list[Any]] = {}
    for found in _query("objects"):
        holders.setdefault(found.object_id, []).append(found)
    rows = []
    for object_id, held in holders.items():
        first = next((each for each in held if each.holder_id == each.owner_id), held[0])
        row = _Row()
        row.job = core.job_id if first.owner_id == core.worker_id.hex() else jobs.get(first.owner_id, b"unknown")
        row.size, row.cell = max(each.object_size for each in held), first.cell or 0
        row.maker = "put" if first.origin == "PUT" else first.function
        index = object_index(bytes.fromhex(object_id))
        where = ", ".join(node[:8] for node in first.stored_on or ()) or "its owner"
        row.shown = [
            _label(object_id[:32], core.worker_id) + (f".{index}" if index > 1 else ""),
            quantity(row.size),
            row.maker,
            str(row.cell or ""),
            where,
            ", ".join(dict.fromkeys(str(each.pid) for each in held if each.pid)),
            first.reference_type.lower().replace("_", " "),
        ]
        rows.append(row)
    return rows


def _label(task_id: str, own: bytes) -> str:
    identifier = bytes.fromhex(task_id)
    return label(task_owner(identifier), task_counter(identifier), own)


def _query(what: str) -> list[Any]:
    from himalia.util.state._api import query

    try:
        return query(what, None, None, _ALL, _PATIENCE, True, False)
    except Exception as error:  # whatever ails the cluster: it is said in one line
        raise UsageProblem(f"the cluster does not answer: {error}") from error


def _more(total: int, shown: int, what: str) -> str:
    return f"{shown} of {total} {what}: --limit shows more" if shown < total else ""


def _colour(rows: Iterable[TaskRow]) -> str:
    states = {row.state for row in rows}
    if "running" in states or "pending" in states:
        return BUSY
    return BAD if "failed" in states else GOOD if states else IDLE
