"""What all families of magics share: their parsers, the cluster they speak of, and how they show things."""

from __future__ import annotations

import argparse
import difflib
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from IPython.core.error import UsageError
from IPython.core.magic import Magics

from ...cluster.core import current, session
from ...cluster.core.runtime import Core
from ...cluster.protocol.errors import RayTaskError
from ..arguments import MagicParser, UsageProblem
from ..html import BUSY, note
from ..status import gone_bundle

if TYPE_CHECKING:
    from ..extension import Extension

__all__ = ["Action", "Family", "answers", "cell_choice", "user_variables"]

_Magic = TypeVar("_Magic", bound=Callable[..., Any])


def answers(magic: _Magic) -> _Magic:
    """Let a magic raise `UsageProblem`: IPython shows a `UsageError` as one line without a traceback.

    An error of a task is shown with the task's frames, and without those of the magic that waited for it.
    """

    @functools.wraps(magic)
    def wrapped(family: Family, *arguments: Any) -> Any:
        try:
            return magic(family, *arguments)
        except UsageProblem as problem:
            raise UsageError(str(problem)) from None
        except RayTaskError as error:
            family.show_only(error, None)
            raise

    return cast(_Magic, wrapped)


@dataclass(frozen=True)
class Action:
    """What a magic does when a certain word follows its name."""

    parser: Callable[[], MagicParser]
    run: Callable[[Family, argparse.Namespace], None]


def user_variables(shell: Any) -> list[str]:
    """The notebook's variables, for completion."""
    hidden = shell.user_ns_hidden
    return [name for name in shell.user_ns if not name.startswith("_") and name not in hidden]


def cell_choice(text: str) -> str:
    """Which cell is meant: ``this``, ``last`` or a number."""
    if text not in ("this", "last") and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no cell: write this, last, or the n of an In [n]")
    return text


class Family(Magics):
    """Some magics that belong together.

    Attributes
    ----------
    parsers
        What makes the parser of each magic, by the magic's name, or by its name and action (``"cluster start"``).
        Completion and the check of its help work from these too.
    """

    parsers: ClassVar[dict[str, Callable[[], MagicParser]]] = {}

    def __init__(self, extension: Extension) -> None:
        super().__init__(extension.shell)
        self.extension = extension

    def show_only(self, error: BaseException, frames: TracebackType | None) -> None:
        """Have IPython show an error with these frames of its own, and none outside of them."""
        assert self.shell is not None, "magics are made by an extension of a shell"
        show = self.shell.InteractiveTB.structured_traceback
        vars(error)["_render_traceback_"] = functools.partial(show, type(error), error, frames)

    def parse(self, command: str, line: str) -> argparse.Namespace:
        """Parse what follows a magic's name, or the name of its action.

        Raises
        ------
        UsageProblem
            It does not fit.
        """
        return self.parsers[command]().parse_line(line)

    def action_of(self, magic: str, line: str) -> tuple[str, str]:
        """Split a line into the name of an action and the rest.

        Raises
        ------
        UsageProblem
            There is no such action.
        """
        word, _, rest = line.strip().partition(" ")
        names = self.actions(magic)
        if word in names:
            return word, rest
        usage = f"usage: %{magic} {'|'.join(names)}"
        if not word:
            raise UsageProblem(usage)
        meant = difflib.get_close_matches(word, names, n=1)
        suggestion = f"; did you mean {meant[0]!r}?" if meant else ""
        raise UsageProblem(f"%{magic} has no {word!r}{suggestion}\n{usage}")

    @classmethod
    def actions(cls, magic: str) -> list[str]:
        """The actions of a magic, if it has any."""
        return [command.partition(" ")[2] for command in cls.parsers if command.startswith(f"{magic} ")]

    @classmethod
    def function_of(cls, magic: str) -> str:
        """The method that is a magic: it may have another name, where that is a word of Python."""
        for names in cls.magics.values():
            if magic in names:
                return str(names[magic])
        raise KeyError(magic)

    def ended(self) -> None:
        """Called when the extension is unloaded."""

    @property
    def variables(self) -> dict[str, Any]:
        """The notebook's variables."""
        assert self.shell is not None
        space: dict[str, Any] = self.shell.user_ns
        return space

    @property
    def hidden_variables(self) -> dict[str, Any]:
        """Those that IPython has put there itself."""
        assert self.shell is not None
        hidden: dict[str, Any] = self.shell.user_ns_hidden
        return hidden

    def cell_number(self) -> int:
        """The n of ``In [n]`` of the cell that runs."""
        return self.extension.front.number()

    def cell_of(self, choice: str, numbers: Iterable[int]) -> int:
        """The number of the cell that a `cell_choice` means, among those that have anything to show."""
        this = self.cell_number()
        if choice == "this":
            return this
        if choice == "last":
            return max((number for number in numbers if number < this), default=0)
        return int(choice)

    # -- the cluster ------------------------------------------------------------------------------------------------

    def engine(self) -> None:
        """Make sure that this kernel has a cluster, of any engine. If not, one is started, which is said.

        Raises
        ------
        UsageProblem
            The cluster has ended.
        """
        if current.find_engine() is None:
            self.start_default()
        core = current.find_core()
        if core is not None and core.fatal is not None:
            why = getattr(core.fatal, "message", str(core.fatal)).partition("\n")[0]
            raise UsageProblem(f"{why}\n%cluster stop, then %cluster start begins anew")

    def core(self) -> Core:
        """The core of this kernel. If there is no cluster, one is started, which is said.

        Raises
        ------
        UsageProblem
            The cluster has ended, or this kernel works with another engine.
        """
        self.engine()
        if current.find_core() is None:
            raise UsageProblem("this magic needs the native engine: this kernel is connected by another one")
        return current.get_core()

    def start_default(self) -> None:
        """Start a cluster with all of this machine, and say so."""
        self.say("No cluster ran: started one with all of this machine. %cluster stop ends it.", BUSY)
        session.use_default_cluster()

    def say_if_gone(self) -> bool:
        """Show why the cluster has ended, if it has."""
        core = current.find_core()
        if core is None or core.fatal is None:
            return False
        self.show(gone_bundle(str(core.fatal)))
        return True

    # -- showing ----------------------------------------------------------------------------------------------------

    def say(self, text: str, colour: str) -> None:
        """Show a sentence."""
        self.show({"text/html": note(text, colour), "text/plain": text})

    @staticmethod
    def show(bundle: dict[str, Any]) -> None:
        """Show HTML with its plain-text twin."""
        from IPython.display import display

        display(bundle, raw=True)  # type: ignore[no-untyped-call]
