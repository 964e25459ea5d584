"""``%memory``: what is in object memory, and what keeps it there."""

from __future__ import annotations

import argparse
import gc
from typing import TYPE_CHECKING, Any, ClassVar, Final

from IPython.core.magic import line_magic, magics_class

from ..arguments import MagicParser, byte_count, positive
from ..html import GOOD, IDLE, quantity
from .base import Action, Family, answers

if TYPE_CHECKING:
    from ..memory import MemoryReport, ObjectLine

__all__ = ["MemoryMagics"]

_SHOWN: Final = 20  # objects


def _show_parser() -> MagicParser:
    parser = MagicParser("%memory show")
    parser.add_argument("--limit", type=positive, default=_SHOWN, metavar="N")
    parser.add_argument("--min", type=byte_count, default=0, metavar="BYTES")
    return parser


def _release_parser() -> MagicParser:
    parser = MagicParser("%memory release")
    parser.add_argument("name", nargs="+", metavar="NAME", completer=_names)
    return parser


def _names(shell: Any) -> list[str]:
    from ..release import outputs_of

    variables = [name for name in shell.user_ns if not name.startswith("_") and name not in shell.user_ns_hidden]
    return ["Out", "traceback", *outputs_of(shell), *sorted(variables)]


def _show(magics: Family, arguments: argparse.Namespace) -> None:
    from ..memory import report_memory
    from ..memory_view import memory_bundle

    report = report_memory(magics.core(), magics.shell)
    magics.show(memory_bundle(report, int(arguments.limit), arguments.min))


def _release(magics: Family, arguments: argparse.Namespace) -> None:
    from ..memory import report_memory
    from ..release import release

    core = magics.core()
    before = report_memory(core, magics.shell)
    try:
        for name in arguments.name:
            release(magics.shell, name)
    finally:
        gc.collect()  # what holds itself in a circle goes now, not some time
        core.drain_releases()
    after = report_memory(core, magics.shell)
    magics.say(*_what_became(arguments.name, before, after))


def _what_became(names: list[str], before: MemoryReport, after: MemoryReport) -> tuple[str, str]:
    left = {line.object_id: line for line in after.objects}
    freed = [line for line in before.objects if line.object_id not in left]
    text = f"Released {', '.join(names)}."
    if freed:
        titles = ", ".join(line.title for line in freed)
        text += f" {quantity(sum(line.size for line in freed))} freed: {titles}."
    still = [left[line.object_id] for line in before.objects if line.object_id in left and _named(line, names)]
    text += "".join(f" {line.title} ({quantity(line.size)}) is still kept by {'; '.join(line.kept)}." for line in still)
    if not freed and not still:
        text += " No object was kept alive by it."
    return text, GOOD if freed else IDLE


def _named(line: ObjectLine, names: list[str]) -> bool:
    return any(name in line.releases for name in names)


ACTIONS: Final = {"show": Action(_show_parser, _show), "release": Action(_release_parser, _release)}


@magics_class
class MemoryMagics(Family):
    """``%memory``."""

    parsers: ClassVar = {f"memory {name}": action.parser for name, action in ACTIONS.items()}

    @line_magic
    @answers
    def memory(self, line: str) -> None:
        """What is in object memory, who made it, and what keeps it there.

        %memory
            The same as %memory show.
        %memory show [--limit N] [--min BYTES]
            Every object in an object store, the largest first: its size and node, the cell and line that made it, and
            all that keeps it alive: a variable, Out[n], a closure, a task, an actor. --limit is how many are listed,
            --min leaves out those that are smaller (500kB, 2MiB); both also work without the word "show".
            Values under 100 kB are in no store, and not listed.
        %memory release NAME [NAME ...]
            Let go of Out[5], Out (all of it), traceback (what the last exception's frames hold), or a variable, and
            say what memory that freed, or what else keeps it.
        """
        if not line.strip() or line.lstrip().startswith("-"):
            line = f"show {line}"
        name, rest = self.action_of("memory", line)
        ACTIONS[name].run(self, self.parse(f"memory {name}", rest))
