"""``%logs``: what tasks printed, all of it."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final

from IPython.core.magic import line_magic, magics_class

from ...cluster.core.actor_class import ActorHandle
from ...cluster.core.generator import ObjectRefGenerator
from ...cluster.core.refs import PENDING, ObjectRef
from ...cluster.protocol.log_messages import LogPiece, LogSelection
from ...cluster.telemetry.log_search import LEVELS
from ..arguments import MagicParser, UsageProblem, count
from ..html import IDLE
from ..log_follow import FollowView, follow
from ..log_view import lines_bundle, lines_of, sources_bundle
from .base import Family, answers

if TYPE_CHECKING:
    from himalia.util.state._logs import LogReader

__all__ = ["LogMagics"]

_SHOWN: Final = 100  # lines, unless told otherwise: a notebook should not be flooded by the cure against floods


def _parser() -> MagicParser:
    parser = MagicParser("%logs")
    parser.add_argument("what", nargs="?", metavar="CELL|NAME|ID", completer=_names)
    parser.add_argument("--tail", type=count, default=_SHOWN, metavar="N")
    parser.add_argument("--stream", choices=("out", "err", "all"), default="all")
    parser.add_argument("--pid", type=count, metavar="PID")
    parser.add_argument("--grep", metavar="TEXT")
    parser.add_argument("--regex", action="store_true")
    parser.add_argument("--level", choices=[*LEVELS, *map(str.lower, LEVELS)])
    parser.add_argument("--follow", action="store_true")
    return parser


def _prints(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(item, ObjectRef) for item in value)
    return isinstance(value, ObjectRef | ActorHandle | ObjectRefGenerator)


def _names(shell: Any) -> list[str]:
    return sorted(name for name, value in shell.user_ns.items() if not name.startswith("_") and _prints(value))


@magics_class
class LogMagics(Family):
    """``%logs``."""

    parsers: ClassVar = {"logs": _parser}

    @line_magic
    @answers
    def logs(self, line: str) -> None:
        """What tasks printed, also what was left out below their cell.

        %logs
            Who has printed how much, by cell and function.
        %logs CELL|NAME|ID [--tail N] [--stream out|err|all] [--pid PID]
            The last lines of the tasks of a cell (%logs 7), of a variable that holds a reference, a list of them, an
            actor or a generator (%logs ref), or of the task or actor with an id. --tail is how many lines (100),
            --stream which of them, --pid those of one process, which can also stand alone.
        %logs [CELL|NAME|ID] --grep TEXT [--regex] [--level LEVEL]
            Only lines that contain a text, or match a regular expression; only those that a logger wrote with this
            level or a higher one. Without a cell, name or id: of all that this notebook's tasks printed.
        %logs [CELL|NAME|ID] --follow
            Go on with what is printed from now on, until the tasks of references are done, or you interrupt.
        himalia.util.state.logs(ref) gives all of it as text, himalia.util.state.search_logs searches in pages.
        """
        from himalia.util.state._logs import LogReader, stream_number

        arguments = self.parse("logs", line)
        if arguments.regex and arguments.grep is None:
            raise UsageProblem("--regex is about --grep: give the expression there")
        core = self.core()
        with LogReader() as reader:
            searches = bool(arguments.follow or arguments.grep or arguments.level)
            if arguments.what is None and arguments.pid is None and not searches:
                sources = reader.sources(LogSelection(job=core.job_id.hex()))
                if sources:
                    self.show(sources_bundle(sources))
                else:
                    self.say("No task of this notebook has printed anything.", IDLE)
                return
            title, groups = self._meant(arguments.what, core.job_id.hex(), arguments.pid or 0)
            if searches:
                try:
                    self._search(reader, title, groups, arguments)
                except ValueError as error:  # no such expression
                    raise UsageProblem(str(error)) from None
                return
            stream = stream_number(arguments.stream)
            pieces: list[LogPiece] = []
            for selections in groups:
                pieces += reader.first(selections, stream, arguments.tail)
            dropped = sum(reader.dropped.values())
        pieces.sort(key=lambda piece: piece.at)
        self._show_lines(title, lines_of(pieces), arguments.tail, dropped)

    def _search(
        self, reader: LogReader, title: str, groups: list[list[LogSelection]], arguments: argparse.Namespace
    ) -> None:
        """Show the lines that are meant, and with --follow those that come."""
        from himalia.util.state._log_search import Follower, make_search

        searches = [
            make_search(
                reader.chosen(selections) if len(selections) > 1 else selections[0],
                arguments.grep or "",
                arguments.regex,
                stream=arguments.stream,
                level=arguments.level or "",
                tail=arguments.tail,
                limit=max(arguments.tail, _SHOWN),
            )
            for selections in groups
        ]
        view = FollowView(title, arguments.tail, self.extension.front)
        followers = [Follower(reader, search) for search in searches]
        if not arguments.follow:
            view.add([follower.next_page() for follower in followers])
            view.show(is_over=True)
            return
        follow(view, followers, self._until(arguments.what))

    def _until(self, what: str | None) -> Callable[[], bool]:
        """Whether all that is followed has ended: known of references only."""
        value = self.variables.get(what or "")
        refs: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
        if not refs or not all(isinstance(ref, ObjectRef) for ref in refs):
            return lambda: False
        return lambda: all(ref._state != PENDING for ref in refs)

    def _show_lines(self, title: str, lines: list[tuple[str, int, str]], tail: int, dropped: int) -> None:
        from himalia.util.state._logs import dropped_note

        if not lines:
            note = f" {dropped_note(dropped)}" if dropped else ""
            self.say(f"{title}: nothing was printed.{note}", IDLE)
            return
        shown = lines[-tail:] if tail else []
        words = f"the last {len(shown)} lines (--tail says how many)" if len(lines) >= tail else f"{len(shown)} lines"
        self.show(lines_bundle(f"{title}: {words if len(shown) != 1 else '1 line'}", shown))

    def _meant(self, what: str | None, job: str, pid: int) -> tuple[str, list[list[LogSelection]]]:
        """A title, and for each thing that is meant its selections, of which the first that has printed counts."""
        from himalia.util.state._logs import selections_of

        if what is None and pid:
            return f"Process {pid}", [[LogSelection(pid=pid)]]
        if what is None:
            return "This notebook", [[LogSelection(job=job)]]
        if what.isdecimal() and len(what) < 9:
            return f"Cell {what}", [[LogSelection(job=job, cell=int(what), pid=pid)]]
        value = self.variables.get(what, what)
        things = value if isinstance(value, list | tuple) else [value]
        try:
            return what, [selections_of(thing) for thing in things]
        except ValueError as error:
            known = _names(self.shell)
            meant = difflib.get_close_matches(what, known, n=1)
            hint = f"; did you mean {meant[0]}?" if meant else f"; %logs knows {', '.join(known)}" if known else ""
            raise UsageProblem(f"{error}{hint}") from None
