"""Arguments of magics: argparse's rules, and errors that say what would be right."""

from __future__ import annotations

import argparse
import difflib
import keyword
import re
import shlex
from collections.abc import Callable
from typing import Any, NoReturn

__all__ = [
    "Completer",
    "MagicParser",
    "UsageProblem",
    "byte_count",
    "count",
    "positive",
    "quantities",
    "variable",
    "variables",
]

Completer = Callable[[Any], list[str]]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


class UsageProblem(Exception):
    """What was typed does not fit; the text says what would."""


class MagicParser(argparse.ArgumentParser):
    """A parser that raises instead of ending the process, and suggests the option that was meant."""

    def __init__(self, prog: str, **options: Any) -> None:
        self._completers: dict[str, Completer] = {}
        super().__init__(prog=prog, add_help=False, allow_abbrev=False, exit_on_error=False, **options)

    def error(self, message: str) -> NoReturn:
        """Called by argparse for what does not fit."""
        raise UsageProblem(f"{message}\n{self.format_usage().strip()}")

    def add_argument(self, *names: Any, completer: Completer | None = None, **options: Any) -> argparse.Action:
        """As argparse has it.

        Parameters
        ----------
        completer
            Tells what may stand here, given the shell.
        """
        action = super().add_argument(*names, **options)
        if completer is not None:
            self._completers[action.dest] = completer
        return action

    def option(self, word: str) -> argparse.Action | None:
        """The option of this name, if there is one."""
        return self._option_string_actions.get(word)

    def option_names(self) -> list[str]:
        """All options."""
        return list(self._option_string_actions)

    def candidates(self, action: argparse.Action, shell: Any) -> list[str]:
        """What may stand for an option's value or an argument, as far as that is known."""
        if action.choices is not None:
            return [str(choice) for choice in action.choices]
        completer = self._completers.get(action.dest)
        return completer(shell) if completer is not None else []

    def positional_candidates(self, shell: Any) -> list[str]:
        """What may stand where no option is asked for."""
        positional = [action for action in self._actions if not action.option_strings]
        return [word for action in positional for word in self.candidates(action, shell)]

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
        for word in words:  # before argparse takes the value of an unknown option for something else
            if re.match(r"--?[a-zA-Z]", word) and self.option(word.partition("=")[0]) is None:
                self.error(f"{self.prog} has no {self._what(word)}")
        try:
            parsed, unknown = self.parse_known_args(words)
        except argparse.ArgumentError as error:
            self.error(str(error))
        if unknown:
            self.error(f"{self.prog} has no {self._what(unknown[0])}")
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


def count(text: str) -> int:
    """A number of things."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no count: write a whole number like 3")
    return int(text)


def variable(text: str) -> str:
    """A name that a variable can have."""
    if not text.isidentifier() or keyword.iskeyword(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name: write one like result_1")
    return text


def variables(text: str) -> list[str]:
    """Names of variables: ``a,b``."""
    return [variable(name.strip()) for name in text.split(",") if name.strip()]


def quantities(text: str) -> dict[str, float]:
    """Named quantities: ``disk=1,license=0.5``."""
    found: dict[str, float] = {}
    for part in text.split(","):
        name, equals, amount = part.partition("=")
        if not equals or not name.strip():
            raise argparse.ArgumentTypeError(f"{part!r} is no resource: write NAME=QUANTITY, such as disk=1")
        found[name.strip()] = positive(amount)
    return found


def byte_count(text: str) -> int:
    """A size like ``500MB``, ``2GiB`` or a plain number of bytes."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?", text.strip().lower())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write 500MB, 2GiB or a number of bytes")
    return int(float(match[1]) * _UNITS[match[2] or ""])
