"""``%memory``: what is in object memory, and what keeps it there."""

from __future__ import annotations

import argparse
from typing import Any, ClassVar, Final

from IPython.core.magic import line_magic, magics_class

from ..arguments import MagicParser, byte_count, positive
from .base import Action, Family, answers

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
    from ..memory_table import MemoryTable

    MemoryTable(magics.core(), magics.extension, int(arguments.limit), arguments.min).show()


def _release(magics: Family, arguments: argparse.Namespace) -> None:
    from ..memory_table import release_names

    magics.say(*release_names(magics.core(), magics.shell, arguments.name))


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
            --min leaves out those that are smaller (500kB, 2MiB); both also work without the word "show". Objects of
            actors, tasks and other drivers are listed too. Buttons release the names of this notebook.
            Values under 100 kB are in no store, and not listed.
        %memory release NAME [NAME ...]
            Let go of Out[5], Out (all of it), traceback (what the last exception's frames hold), or a variable, and
            say what memory that freed, or what else keeps it.
        """
        if not line.strip() or line.lstrip().startswith("-"):
            line = f"show {line}"
        name, rest = self.action_of("memory", line)
        ACTIONS[name].run(self, self.parse(f"memory {name}", rest))
