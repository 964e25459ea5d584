"""The frames of a failed task, walked like those of a debugger, without the worker that they were in.

Strategy: a few commands with pdb's names and meaning on what `cluster.worker.snapshot` kept. A variable is unpickled
when it is first looked at; one that was not kept is there as `Absent`, which shows what is known of it. The frames of
tasks that waited for one another make one stack. Rejected: pdb itself on imitated frames, since what it reads of a
frame differs from release to release of Python.
"""

from __future__ import annotations

import ast
import builtins
import difflib
import linecache
import pprint
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, ClassVar, Final

from ..cluster.protocol.frames import FrameSnapshot, Variable
from ..cluster.protocol.places import frame_place
from ..cluster.serialization.values import deserialize

__all__ = ["Absent", "PostMortem", "UnknownCommand"]

_AROUND: Final = 5  # lines that `list` shows before and after the current one


class UnknownCommand(ValueError):
    """Neither a command nor an expression."""


class Absent:
    """Stands for a value that was not kept with its frame."""

    def __init__(self, variable: Variable) -> None:
        self._variable = variable

    def __repr__(self) -> str:
        return f"<not kept: {self._variable.reason}; it was {self._variable.text}>"


class _Names(MutableMapping[str, Any]):
    """The variables of a frame by name, unpickled when they are asked for."""

    def __init__(self, variables: list[Variable]) -> None:
        self._kept = {variable.name: variable for variable in variables}
        self._values: dict[str, Any] = {}
        self._assigned: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        if name not in self._values:
            variable = self._kept[name]
            self._values[name] = deserialize(variable.data) if variable.data else Absent(variable)
        return self._values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._values[name] = value
        self._assigned.add(name)

    def __delitem__(self, name: str) -> None:
        found = self._values.pop(name, None) is not None
        if self._kept.pop(name, None) is None and not found:
            raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter({**self._kept, **self._values})

    def __len__(self) -> int:
        return len({**self._kept, **self._values})

    def text(self, name: str) -> str:
        """A value as it was shown in the worker, or as it is now if it was assigned since."""
        return repr(self._values[name]) if name in self._assigned else self._kept[name].text


class _Frame:
    def __init__(self, task: str, snapshot: FrameSnapshot) -> None:
        self.task = task
        self.snapshot = snapshot
        self.local = _Names(snapshot.variables)
        self.module = _Names(snapshot.names)

    def line(self, number: int) -> str | None:
        """A line of the source: as the worker had it, else as this process has it."""
        index = number - self.snapshot.source_from
        if 0 <= index < len(self.snapshot.source):
            return self.snapshot.source[index]
        return linecache.getline(self.snapshot.filename, number).rstrip("\n") or None

    def scope(self) -> dict[str, Any]:
        """What an expression sees, but for locals."""
        return {"__builtins__": builtins, **{name: self.module[name] for name in self.module}}


class PostMortem:
    """One failed task's frames, and which of them is looked at.

    Parameters
    ----------
    frames
        Outermost first, each with the name of its task; at least one.
    title
        What failed, in a line.
    """

    def __init__(self, frames: list[tuple[str, FrameSnapshot]], title: str) -> None:
        self.title = title
        self._frames = [_Frame(task, frame) for task, frame in frames]
        self._at = len(frames) - 1

    def run(self, line: str) -> str:
        """Run a command, or evaluate an expression; what it has to say.

        Raises
        ------
        UnknownCommand
            It is neither.
        Exception
            Whatever the expression raises.
        """
        word, _, rest = line.strip().partition(" ")
        command = self.commands.get(word)
        if command is not None:
            return command(self, rest.strip())
        if word in _OF_A_RUNNING_TASK:
            raise UnknownCommand(f"{word!r} needs a task that runs; this one has ended. %rdebug rerun runs it again")
        return self._evaluate(line.strip().removeprefix("!"), repr)

    # -- commands ---------------------------------------------------------------------------------------------------

    def where(self, rest: str = "") -> str:
        """All frames, outermost first; the arrow shows where you are."""
        lines = [self.title]
        for number, frame in enumerate(self._frames):
            if number == 0 or frame.task != self._frames[number - 1].task:
                lines.append(f"in task `{frame.task}`:")
            lines.append(self._shown(number))
        return "\n".join(lines)

    def up(self, rest: str = "") -> str:
        """To the caller's frame, or that many frames."""
        return self._go(self._at - _count(rest), "the outermost frame: there is none above it")

    def down(self, rest: str = "") -> str:
        """To the frame that was called, or that many frames."""
        return self._go(self._at + _count(rest), "the innermost frame: there is none below it")

    def show_source(self, rest: str = "") -> str:
        """The source around the line."""
        current = self._current.snapshot.line
        shown = []
        for number in range(max(1, current - _AROUND), current + _AROUND + 1):
            text = self._current.line(number)
            if text is not None:
                shown.append(f"{number:5}{' -> ' if number == current else '    '}{text}")
        return "\n".join(shown) or f"there is no source of {self._current.snapshot.filename} here"

    def show_locals(self, rest: str = "") -> str:
        """The local variables."""
        names = self._current.local
        return "\n".join(f"{name} = {names.text(name)}" for name in names) or "no local variables"

    def evaluate(self, rest: str) -> str:
        """The value of an expression."""
        return self._evaluate(rest, repr)

    def pretty(self, rest: str) -> str:
        """The value of an expression, laid out."""
        return self._evaluate(rest, pprint.pformat)

    def whatis(self, rest: str) -> str:
        """The type of an expression's value."""
        return self._evaluate(rest, lambda value: str(type(value)))

    commands: ClassVar[dict[str, Callable[[PostMortem, str], str]]] = {
        "w": where,
        "where": where,
        "bt": where,
        "u": up,
        "up": up,
        "d": down,
        "down": down,
        "l": show_source,
        "list": show_source,
        "a": show_locals,
        "args": show_locals,
        "locals": show_locals,
        "p": evaluate,
        "pp": pretty,
        "whatis": whatis,
    }

    # -- parts ------------------------------------------------------------------------------------------------------

    @property
    def _current(self) -> _Frame:
        return self._frames[self._at]

    def _go(self, target: int, otherwise: str) -> str:
        reached = min(max(target, 0), len(self._frames) - 1)
        if reached == self._at:
            return otherwise
        self._at = reached
        return self._shown(reached)

    def _shown(self, number: int) -> str:
        frame = self._frames[number]
        snapshot = frame.snapshot
        mark = ">" if number == self._at else " "
        text = frame.line(snapshot.line)
        place = f"{mark} {frame_place(snapshot.filename, snapshot.line)}{snapshot.function}()"
        return f"{place}\n  -> {text.strip()}" if text is not None else place

    def _evaluate(self, text: str, show: Callable[[Any], str]) -> str:
        if not text:
            raise UnknownCommand("an expression is missing: p x")
        frame = self._current
        try:
            code: Any = compile(text, "<rdebug>", "eval")
        except SyntaxError:
            return self._execute(text)
        value = eval(code, frame.scope(), frame.local)  # noqa: S307 - a debugger's purpose
        return show(value) if value is not None or show is not repr else ""

    def _execute(self, text: str) -> str:
        try:
            code = compile(text, "<rdebug>", "exec")
        except SyntaxError as error:
            word = text.partition(" ")[0]
            meant = difflib.get_close_matches(word, self.commands, n=1)
            suggestion = f"; did you mean {meant[0]!r}?" if meant else ""
            known = ", ".join(name for name in self.commands if len(name) > 1)
            raise UnknownCommand(f"{text!r} is no command ({known}) and no Python: {error.msg}{suggestion}") from None
        if any(isinstance(node, ast.Global | ast.Nonlocal) for node in ast.walk(ast.parse(text))):
            raise UnknownCommand("global and nonlocal have no meaning in a frame that has ended")
        exec(code, self._current.scope(), self._current.local)
        return ""


_OF_A_RUNNING_TASK: Final = frozenset(
    ("n", "next", "s", "step", "c", "cont", "continue", "r", "return", "unt", "until", "j", "jump", "b", "break")
)


def _count(text: str) -> int:
    if not text:
        return 1
    if not text.isdecimal():
        raise UnknownCommand(f"{text!r} is no number of frames")
    return int(text)
