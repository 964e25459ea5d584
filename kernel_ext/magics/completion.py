"""Completion of magics' arguments: actions, options, and what an option says may follow it.

Works from the parsers that the magics are parsed with, so that what is offered is what is accepted. IPython asks its
``complete_command`` hooks by the first word of the line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.core.error import TryNext

from ..arguments import MagicParser

if TYPE_CHECKING:
    from .base import Family

__all__ = ["complete", "install_completion", "remove_completion"]

_HOOK = "complete_command"
_PREFIX = {"line": "%", "cell": "%%"}


def complete(family: type[Family], shell: Any, text: str) -> list[str]:
    """What may stand at the end of a line, given the line up to there.

    Parameters
    ----------
    text
        From the magic's name on, such as ``%cluster start --cp``.
    """
    words = text.split()
    magic = words[0].lstrip("%")
    if text[-1:].isspace():
        words.append("")
    actions = family.actions(magic)
    if actions:
        if len(words) == 2:
            return actions
        magic = f"{magic} {words[1]}"
        del words[1]
    make = family.parsers.get(magic)
    return _arguments(make(), shell, words[1:]) if make is not None else []


def _arguments(parser: MagicParser, shell: Any, words: list[str]) -> list[str]:
    """Candidates for the last word."""
    takes = None
    for word in words[:-1]:
        takes = parser.option(word) if takes is None else None
        if takes is not None and takes.nargs == 0:
            takes = None
    last = words[-1] if words else ""
    option, equals, _ = last.partition("=")
    if takes is None and equals:
        takes = parser.option(option)
    if takes is not None:
        return parser.candidates(takes, shell)
    if last.startswith("-"):
        return parser.option_names()
    return [*parser.positional_candidates(shell), *(parser.option_names() if not last else ())]


def install_completion(shell: Any, family: Family) -> None:
    """Have IPython ask here when an argument of these magics is completed."""

    def completer(ip: Any, event: Any) -> list[str]:
        found = complete(type(family), shell, event.text_until_cursor.lstrip())
        if not found:
            raise TryNext
        return found

    for key in _keys(type(family)):
        shell.set_hook(_HOOK, completer, str_key=key)


def remove_completion(shell: Any, family: type[Family]) -> None:
    """Undo `install_completion`."""
    strings: dict[str, Callable[..., Any]] = shell.strdispatchers[_HOOK].strs if _HOOK in shell.strdispatchers else {}
    for key in _keys(family):
        strings.pop(key, None)


def _keys(family: type[Family]) -> list[str]:
    return [f"{_PREFIX[kind]}{name}" for kind, names in family.magics.items() for name in names]
