"""``%rdebug``: look into tasks that failed, and into those that wait at a breakpoint."""

from __future__ import annotations

import argparse
from html import escape
from typing import Any, ClassVar

from IPython.core.magic import line_magic, magics_class

from ...cluster.core.refs import ObjectRef
from ...cluster.core.remote_function import RemoteFunction
from ...cluster.protocol.errors import RayTaskError
from ..arguments import MagicParser, UsageProblem, count
from ..failures import FailedTask, FailureLog, NothingToWalk
from ..html import BAD, BUSY, GOOD, IDLE, card, text_card
from ..live_tasks import LiveTask, LiveTasks
from ..post_mortem import PostMortem, UnknownCommand
from .base import Family, answers, user_variables

__all__ = ["DebugMagics"]


def _failed_variables(shell: Any) -> list[str]:
    return [name for name in user_variables(shell) if isinstance(shell.user_ns[name], ObjectRef)]


def _open_parser() -> MagicParser:
    parser = MagicParser("%rdebug open")
    parser.add_argument("which", nargs="?", metavar="WHICH", completer=_failed_variables)
    return parser


def _rerun_parser() -> MagicParser:
    parser = MagicParser("%rdebug rerun")
    parser.add_argument("which", nargs="?", metavar="WHICH", completer=_failed_variables)
    parser.add_argument("--original", action="store_true")
    return parser


def _attach_parser() -> MagicParser:
    parser = MagicParser("%rdebug attach")
    parser.add_argument("number", nargs="?", type=count, default=1, metavar="N")
    return parser


def _clear_parser() -> MagicParser:
    return MagicParser("%rdebug clear")


@magics_class
class DebugMagics(Family):
    """``%rdebug``."""

    parsers: ClassVar = {
        "rdebug open": _open_parser,
        "rdebug rerun": _rerun_parser,
        "rdebug attach": _attach_parser,
        "rdebug clear": _clear_parser,
    }

    _at: PostMortem | LiveTask | None = None
    _failed: FailedTask | None = None

    @line_magic
    @answers
    def rdebug(self, line: str) -> Any:
        """Look into tasks that failed, and into those that wait at a breakpoint().

        %rdebug
            What there is to look into.
        %rdebug open [WHICH]
            The frames of a failed task: the latest one, number WHICH of the list, or that of a variable that holds its
            reference. They were kept when it failed; its worker is at other work.
        %rdebug COMMAND
            In those frames: where, up, down, list, locals, p EXPRESSION, pp EXPRESSION, whatis EXPRESSION, or any
            Python. Several commands are separated by ;;. Without open, the latest failure is meant.
        %rdebug rerun [WHICH] [--original]
            Run the task again with the same arguments, with the function of its name as the notebook defines it now;
            --original: with the one that failed. The value is the new reference.
        %rdebug attach [N]
            Step through a task that waits at a breakpoint(), the Nth of the list: COMMAND is one of pdb's now, such as
            next, step, continue, break, p.
        %rdebug clear
            Forget the failures, with the arguments that are kept for rerun.
        """
        word, _, rest = line.strip().partition(" ")
        if word.startswith("--"):
            raise UsageProblem(f"%rdebug has no option {word}\nusage: %rdebug open|rerun|attach|clear, or a COMMAND")
        self.core()
        if not word:
            return self._summary()
        if word in self.actions("rdebug"):
            run = {"open": self._open, "rerun": self._rerun, "attach": self._attach, "clear": self._clear}[word]
            return run(self.parse(f"rdebug {word}", rest))
        for command in line.split(";;"):
            self._run(command.strip())
        return None

    # -- what there is ------------------------------------------------------------------------------------------------

    @property
    def _log(self) -> FailureLog:
        log: FailureLog | None = self.extension.failures
        assert log is not None  # the extension knows the core, since there is one
        return log

    @property
    def _live(self) -> LiveTasks:
        live: LiveTasks | None = self.extension.live
        assert live is not None
        return live

    def _failures(self) -> list[FailedTask]:
        """The newest first; not those that failed only because an argument's task did."""
        return [task for task in reversed(self._log.failed) if task.is_own()]

    def _summary(self) -> None:
        failed, waiting = self._failures(), self._live.waiting()
        rows: list[tuple[str, str]] = []
        for number, task in enumerate(waiting, 1):
            rows.append((f"at a breakpoint {number}", f"`{task.name}`, pid {task.pid}: %rdebug attach {number}"))
        for number, failure in enumerate(failed, 1):
            cell = failure.plan.cell if failure.plan is not None else None
            where = f", cell [{cell.execution}]" if cell is not None and cell.execution else ""
            rows.append((f"failed {number}", f"`{failure.name}`{where}: {_reason(failure)}"))
        if not rows:
            self.say("No task has failed, and none waits at a breakpoint: there is nothing to debug.", IDLE)
            return
        rows.append(("next", "%rdebug open N, then %rdebug where, up, p …; %rdebug rerun N"))
        state = f"{len(failed)} failed, {len(waiting)} waiting"
        colour = BUSY if waiting else BAD
        html = card("Tasks to debug", state, colour, [(name, escape(text)) for name, text in rows])
        self.show({"text/html": html, "text/plain": text_card("Tasks to debug", state, rows)})

    # -- failed tasks -------------------------------------------------------------------------------------------------

    def _choose(self, which: str | None) -> FailedTask:
        failed = self._failures()
        if which is None:
            if self._failed is not None:
                return self._failed
            if not failed:
                raise UsageProblem("no task of this notebook has failed: there is nothing to open")
            return failed[0]
        if which.isdecimal():
            if not 1 <= int(which) <= len(failed):
                raise UsageProblem(f"there is no failure {which}: %rdebug lists {len(failed)}")
            return failed[int(which) - 1]
        value = self.variables.get(which)
        if not isinstance(value, ObjectRef):
            raise UsageProblem(f"{which!r} is neither a number of the list nor a variable that holds a reference")
        found = self._log.find(value)
        if found is None:
            raise UsageProblem(f"the task of {which!r} has not failed")
        return found

    def _open(self, arguments: argparse.Namespace) -> None:
        if arguments.which is None:
            self._failed = None
        self._failed = self._choose(arguments.which)
        self._at = None
        self._run("where")

    def _walk(self) -> PostMortem:
        try:
            return self._choose(None).post_mortem()
        except NothingToWalk as problem:
            raise UsageProblem(str(problem)) from None

    def _run(self, command: str) -> None:
        if isinstance(self._at, LiveTask) and self._at.has_ended():
            ended, self._at = self._at, None
            last = ended.take_text()
            raise UsageProblem(f"task `{ended.name}` is not debugged any more{': ' + last if last else ''}")
        if not isinstance(self._at, LiveTask):
            self._at = self._walk()
        try:
            if isinstance(self._at, LiveTask):
                task = self._at
                text = self._live.run(task, command)
                if task.has_ended():
                    self._at = None
            else:
                text = self._at.run(command)
        except (UnknownCommand, ValueError) as problem:
            if isinstance(problem, UnknownCommand) or isinstance(self._at, LiveTask):
                raise UsageProblem(str(problem)) from None
            raise
        if text:
            print(text)  # noqa: T201 - the answer of a debugger is text

    def _rerun(self, arguments: argparse.Namespace) -> ObjectRef:
        failure = self._choose(arguments.which)
        try:
            args, kwargs = failure.arguments()
        except NothingToWalk as problem:
            raise UsageProblem(str(problem)) from None
        assert failure.plan is not None
        defined = self.variables.get(failure.name)
        if isinstance(defined, RemoteFunction) and not arguments.original:
            ref = defined.remote(*args, **kwargs)
            said = f"`{failure.name}` runs again as the notebook defines it now, with the same arguments."
        else:
            ref = self.core().submit(failure.plan, args, kwargs)
            said = f"`{failure.name}` runs again as it was, with the same arguments."
        self.say(said, BUSY)
        found: ObjectRef = ref
        return found

    def _clear(self, arguments: argparse.Namespace) -> None:
        self._log.clear()
        self._failed = None
        if not isinstance(self._at, LiveTask):
            self._at = None
        self.say("Failures and their arguments are forgotten.", GOOD)

    # -- tasks at a breakpoint ----------------------------------------------------------------------------------------

    def _attach(self, arguments: argparse.Namespace) -> None:
        waiting = self._live.waiting()
        if not waiting:
            raise UsageProblem("no task waits at a breakpoint: call breakpoint() in a task, and let it run")
        if not 1 <= arguments.number <= len(waiting):
            raise UsageProblem(f"{arguments.number} is not in the list: {len(waiting)} tasks wait at a breakpoint")
        self._at = task = waiting[arguments.number - 1]
        print(f"task `{task.name}`, pid {task.pid}\n{task.take_text()}")  # noqa: T201 - as above


def _reason(failure: FailedTask) -> str:
    error = failure.describe()
    return error.root_text if isinstance(error, RayTaskError) else f"{type(error).__name__}: {error}".partition("\n")[0]
