"""Arguments of magics: argparse's rules, and errors that say what would be right."""

from __future__ import annotations

import argparse
import difflib
import re
import shlex
from typing import Any, NoReturn

__all__ = ["MagicParser", "UsageProblem", "byte_count", "positive"]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


class UsageProblem(Exception):
    """What was typed does not fit; the text says what would."""


class MagicParser(argparse.ArgumentParser):
    """A parser that raises instead of ending the process, and suggests the option that was meant."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog=prog, add_help=False, allow_abbrev=False, exit_on_error=False, **options)

    def error(self, message: str) -> NoReturn:
        """Called by argparse for what does not fit."""
        raise UsageProblem(f"{message}\n{self.format_usage().strip()}")

    def parse_line(self, line: str) -> argparse.Namespace:
        """Parse what follows the magic's name.

        Raises
        ------
        UsageProblem
            An option does not exist, or has a wrong value.
        """
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise UsageProblem(f"{error}: {line!r}") from None
        try:
            parsed, unknown = self.parse_known_args(words)
        except argparse.ArgumentError as error:
            self.error(str(error))
        if unknown:
            self.error(f"%{self.prog.lstrip('%')} has no {self._what(unknown[0])}")
        return parsed

    def _what(self, word: str) -> str:
        options = [name for action in self._actions for name in action.option_strings]
        if not word.startswith("-"):
            return f"argument {word!r}"
        meant = difflib.get_close_matches(word.partition("=")[0], options, n=1)
        return f"option {word}" + (f"; did you mean {meant[0]}?" if meant else "")


def positive(text: str) -> float:
    """A number that is not negative."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no quantity: write a number like 4 or 0.5")
    return value


def byte_count(text: str) -> int:
    """A size like ``500MB``, ``2GiB`` or a plain number of bytes."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?", text.strip().lower())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write 500MB, 2GiB or a number of bytes")
    return int(float(match[1]) * _UNITS[match[2] or ""])
