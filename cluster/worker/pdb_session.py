"""pdb in the thread of a task, with its ends at the driver; see breakpoints.py."""

from __future__ import annotations

import pdb  # noqa: T100 - the debugger is the purpose here
from collections import deque
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..protocol.places import frame_place
from .peers import Job

if TYPE_CHECKING:
    from .breakpoints import Breakpoints

__all__ = ["PdbSession"]


class PdbSession(pdb.Pdb):
    """One task's pdb. Its own standard streams."""

    def __init__(self, breakpoints: Breakpoints, number: int, job: Job) -> None:
        super().__init__(stdin=self, stdout=self, nosigint=True, readrc=False, skip=["himalia.*"])  # type: ignore[arg-type]
        self.use_rawinput = False
        self.prompt = ""
        self.number = number
        self.job = job
        self.lines: deque[str] = deque()
        self._breakpoints = breakpoints
        self._text: list[str] = []
        self._interrupted = False

    # -- as a stream ------------------------------------------------------------------------------------------------

    encoding = "utf-8"

    def write(self, text: str) -> int:
        """What pdb prints."""
        self._text.append(text)
        return len(text)

    def flush(self) -> None:
        """Text goes when pdb waits."""

    def readline(self) -> str:
        """What pdb reads: a line from the driver."""
        try:
            self._breakpoints.wait_for_line(self, self.take_text())
        except KeyboardInterrupt:
            self._interrupted = True
            return "continue\n"
        return f"{self.lines.popleft()}\n"

    def take_text(self) -> str:
        """What was printed since the last time."""
        text, self._text = "".join(self._text), []
        return text

    # -- as pdb -----------------------------------------------------------------------------------------------------

    def format_stack_entry(self, frame_lineno: tuple[FrameType, int], lprefix: str = ": ") -> str:
        """A frame in one line; a cell is called what it is in the notebook, not what its kernel named its file."""
        text = super().format_stack_entry(frame_lineno, lprefix)
        frame, line = frame_lineno
        filename = self.canonic(frame.f_code.co_filename)
        return text.replace(f"{filename}({line})", frame_place(frame.f_code.co_filename, line), 1)

    def interaction(self, frame: FrameType | None, traceback: Any) -> None:
        """Talk to the driver at one place."""
        super().interaction(frame, traceback)
        if self._interrupted:
            self._interrupted = False
            self.set_continue()
            raise KeyboardInterrupt  # pdb catches it and goes on; it is the task's

    def set_continue(self) -> None:
        """The task goes on: if no breakpoint is left, without us."""
        super().set_continue()
        if not self.breaks:
            self._breakpoints.end(self)

    def set_quit(self) -> None:
        """The task is to end."""
        super().set_quit()
        self._breakpoints.end(self)
