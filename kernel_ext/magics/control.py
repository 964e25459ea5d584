"""``%cancel`` and ``%timeline``."""

from __future__ import annotations

import difflib
import json
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from IPython.core.magic import line_magic, magics_class

from ...cluster.core import api, current
from ...cluster.core.actor_class import ActorHandle
from ...cluster.core.generator import ObjectRefGenerator
from ...cluster.core.refs import PENDING, ObjectRef
from ...cluster.core.remote_function import RemoteFunction
from ..arguments import MagicParser, UsageProblem
from ..html import GOOD, IDLE
from ..lanes import Span, bundle
from ..own_tasks import PendingTask, pending_tasks
from ..task_cell import TaskCell
from ..task_history import TaskHistory, cell_of, job_of
from .base import Family, answers, cell_choice, user_variables

if TYPE_CHECKING:
    from ...cluster.core.runtime import Core
    from ...cluster.telemetry.records import TaskRecord

__all__ = ["ControlMagics"]

_DEPTH: Final = 4  # of containers in which references are looked for


def _cancellable(shell: Any) -> list[str]:
    """Variables that hold references to what has not ended, and functions of what has not ended."""
    space = shell.user_ns
    names = [
        name for name in user_variables(shell) if any(ref._state == PENDING for ref in _refs_in(space[name], _DEPTH))
    ]
    core = current.find_core()
    if core is not None and core.fatal is None:
        names += [task.name for task in pending_tasks(core)]
    return list(dict.fromkeys(names))


def _cancel_parser() -> MagicParser:
    parser = MagicParser("%cancel")
    parser.add_argument("targets", nargs="*", metavar="WHAT", completer=_cancellable)
    parser.add_argument("--cell", type=cell_choice, metavar="this|last|N", completer=lambda shell: ["this", "last"])
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--force", action="store_true")
    return parser


def _timeline_parser() -> MagicParser:
    parser = MagicParser("%timeline")
    parser.add_argument("file", nargs="?", metavar="FILE")
    parser.add_argument("--cell", type=cell_choice, metavar="this|last|N", completer=lambda shell: ["this", "last"])
    parser.add_argument("--all-jobs", action="store_true")
    return parser


@magics_class
class ControlMagics(Family):
    """What to do about tasks, and when they ran."""

    parsers: ClassVar = {"cancel": _cancel_parser, "timeline": _timeline_parser}

    @line_magic
    @answers
    def cancel(self, line: str) -> None:
        """Cancel tasks that have not ended: those that wait never run, those that run are interrupted.

        %cancel WHAT … [--force]
            WHAT is a variable that holds references (or a list or dict of them) or a %%task, the name of a function,
            of which all tasks are meant, or a number that %tasks shows. --force ends the process of a task that does
            not listen.
        %cancel --cell this|last|N
            What this cell, the last cell before it that has anything left, or In [N] has submitted, with all that
            those tasks have submitted.
        %cancel --all
            All that this notebook has submitted.
        """
        arguments = self.parse("cancel", line)
        core = self.core()
        # Those that are being cancelled already can only be forced.
        pending = [task for task in pending_tasks(core) if arguments.force or not task.record.cancelled]
        if arguments.cell is not None or arguments.all:
            if arguments.targets or (arguments.cell is not None and arguments.all) or arguments.force:
                raise UsageProblem("%cancel takes one of WHAT, --cell and --all; --force goes with WHAT")
            self._cancel_cells(core, pending, arguments.cell)
            return
        if not arguments.targets:
            raise UsageProblem("%cancel what? A variable, a function, a number of %tasks, --cell or --all")
        chosen: dict[int, PendingTask] = {}
        others: list[ObjectRef] = []
        for word in arguments.targets:
            for task, ref in self._meant(word, pending):
                if task is not None:
                    chosen[task.number] = task
                elif ref is not None:
                    others.append(ref)
        for task in chosen.values():
            _cancel(task, arguments.force)
        for ref in others:
            api.cancel(ref, force=arguments.force)
        self._say_what(chosen.values(), len(others))

    def _meant(self, word: str, pending: list[PendingTask]) -> list[tuple[PendingTask | None, ObjectRef | None]]:
        """The tasks that a word names; references to those of other processes as they are."""
        if word.isdecimal():
            return [(_numbered(int(word), pending), None)]
        name = word
        if word in self.variables:
            value = self.variables[word]
            if isinstance(value, RemoteFunction):
                name = value._name
            else:
                return self._referred(word, value, pending)
        named = [(task, None) for task in pending if name in (task.name, task.name.rpartition(".")[2])]
        if named or word in self.variables:
            return list(named)
        known = [*(task.name for task in pending), *_cancellable(self.shell)]
        meant = difflib.get_close_matches(word, known, n=1)
        hint = f"; did you mean {meant[0]!r}?" if meant else "; %tasks shows what there is"
        raise UsageProblem(f"no variable and no function with unfinished tasks is called {word!r}{hint}")

    @staticmethod
    def _referred(
        word: str, value: Any, pending: list[PendingTask]
    ) -> list[tuple[PendingTask | None, ObjectRef | None]]:
        if isinstance(value, ActorHandle):
            raise UsageProblem(f"`{word}` is an actor: himalia.kill({word}) ends it, %cancel is for its calls")
        refs = list(_refs_in(value, _DEPTH))
        if not refs:
            raise UsageProblem(f"`{word}` (a {type(value).__name__}) holds no reference to a task")
        by_record = {id(task.record): task for task in pending}
        found: list[tuple[PendingTask | None, ObjectRef | None]] = []
        for ref in refs:
            task = by_record.get(id(ref._data)) if ref._state == PENDING else None
            if task is not None:
                found.append((task, None))
            elif ref._state == PENDING:
                found.append((None, ref))
        return found

    def _cancel_cells(self, core: Core, pending: list[PendingTask], choice: str | None) -> None:
        """Cancel by cell, which reaches what its tasks have submitted, too."""
        if choice is not None:
            number = self.cell_of(choice, {task.cell.execution for task in pending if task.cell is not None})
            pending = [task for task in pending if task.cell is not None and task.cell.execution == number]
            cells = [cell.cell(core) for cell in self.extension.cells.numbered(number)]
        else:
            cells = [task.cell for task in pending if task.cell is not None]
            for task in pending:
                if task.cell is None:
                    _cancel(task, False)
        for cell in dict.fromkeys([*cells, *(task.cell for task in pending if task.cell is not None)]):
            core.cancel_cell(cell)
        self._say_what(pending, 0)

    def _say_what(self, tasks: Iterable[PendingTask], others: int) -> None:
        counts = Counter(task.name for task in tasks)
        total = counts.total() + others
        if not total:
            self.say("Nothing was left to cancel: what is meant has ended.", IDLE)
            return
        parts = [f"{count} `{name}`" for name, count in counts.most_common(5)]
        parts += [f"{others} of other processes"] if others else []
        parts += [f"{len(counts) - 5} more functions"] if len(counts) > 5 else []
        self.say(f"Cancelled {total} task{'' if total == 1 else 's'}: {', '.join(parts)}.", GOOD)

    @line_magic
    @answers
    def timeline(self, line: str) -> None:
        """Show when tasks ran, one line for each worker; write it to a file.

        %timeline [FILE] [--cell this|last|N] [--all-jobs]

        FILE
            Written in the format of Chrome's tracing, for https://ui.perfetto.dev.
        --cell
            Only tasks of this cell, of the last cell before this one that ran any, or of In [N].
        --all-jobs
            Also those of other notebooks and programs on this cluster.
        """
        arguments = self.parse("timeline", line)
        core = self.core()
        records = [record for record in TaskHistory(core).update() if record.started]
        if not arguments.all_jobs:
            records = [record for record in records if job_of(record) in (b"", core.job_id)]
        if arguments.cell is not None:
            number = self.cell_of(arguments.cell, {cell_of(record) for record in records})
            records = [record for record in records if cell_of(record) == number]
        note = _write(arguments.file, records) if arguments.file is not None else ""
        now = time.time()
        nodes = {record.node_id for record in records}
        spans = [
            Span(_lane_of(record, len(nodes)), record.name, record.started, record.ended or now, bool(record.error))
            for record in records
        ]
        self.show(bundle(spans, "Timeline", note))


def _refs_in(value: Any, depth: int) -> Iterable[ObjectRef]:
    """References in a variable's value."""
    if isinstance(value, ObjectRef):
        yield value
    elif isinstance(value, TaskCell):
        yield value.ref
    elif isinstance(value, ObjectRefGenerator):
        if value._record.ref is not None:
            yield value._record.ref
    elif depth and isinstance(value, list | tuple | set | frozenset | dict):
        for member in value.values() if isinstance(value, dict) else value:
            yield from _refs_in(member, depth - 1)


def _numbered(number: int, pending: list[PendingTask]) -> PendingTask | None:
    return next((task for task in pending if task.number == number), None)


def _cancel(task: PendingTask, force: bool) -> None:
    record = task.record
    ref = record.ref if record.ref is not None else next(iter(record.refs or ()), None)
    if ref is not None:
        api.cancel(ref, force=force and record.plan.actor is None)


def _lane_of(record: TaskRecord, nodes: int) -> str:
    return f"{record.node_id.hex()[:6]} {record.pid}" if nodes > 1 else f"worker {record.pid}"


def _write(name: str, records: list[TaskRecord]) -> str:
    from ...cluster.telemetry.timeline import chrome_trace

    path = Path(name).expanduser()
    events = chrome_trace(records)
    try:
        path.write_text(json.dumps(events))
    except OSError as error:
        raise UsageProblem(f"{name!r} can not be written: {error.strerror or error}") from None
    return f"Written to {path}: open it in https://ui.perfetto.dev."
