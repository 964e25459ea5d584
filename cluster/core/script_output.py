"""What tasks print and show, in a program: below whatever is there, each line with its task and process in front.

A core hands what arrives to an `OutputSink`. This one is for programs and terminals; the extension has one that finds
the cell. A terminal has one line that is drawn over, and it shows what was drawn last; a file gets only what stays.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Protocol

from ..protocol.comm_messages import CommData
from ..protocol.core_messages import DisplayData, LogLines, UnseenErrors
from .progress.line import Drawing, drawings, erase

if TYPE_CHECKING:
    from ..protocol.core_messages import TaskOutput

__all__ = ["OutputSink", "ScriptOutput", "mark_of", "marked", "plain_text", "write_text"]


class OutputSink(Protocol):
    """Where a core brings the output of tasks. All is called by whoever leads the core, so it must not wait for it."""

    def show(self, message: TaskOutput) -> None:
        """Output has come."""

    def tick(self, now: float) -> None:
        """Half a second has passed."""

    def close(self) -> None:
        """Nothing more will come."""


def mark_of(message: TaskOutput) -> str:
    """What stands before each line: who prints."""
    return f"({message.actor or message.task} pid={message.pid}) "


def marked(text: str, mark: str) -> str:
    """Text with a mark before each line, and an end of line at its end."""
    return "".join(f"{mark}{line}\n" for line in text.replace("\r\n", "\n").removesuffix("\n").split("\n"))


def plain_text(message: DisplayData) -> str:
    """What was displayed, for where only text can be shown."""
    text = message.data.get("text/plain")
    return text if isinstance(text, str) else f"[{', '.join(sorted(message.data)) or 'nothing'}]"


class LiveLine(Drawing):
    """The terminal's last line, where what tasks draw over is seen until something else is written."""

    def __init__(self) -> None:
        self._is_drawn = False
        drawings.add(self)

    def draw(self, line: str) -> None:
        """Show a line; nothing if nobody looks."""
        stream = sys.stderr
        try:
            if not stream.isatty():
                return
            width = os.get_terminal_size(stream.fileno()).columns
            erase()
            stream.write(f"\r{line[: width - 1]}\x1b[K")
            stream.flush()
        except (AttributeError, ValueError, OSError):
            return  # closed, or no terminal after all
        self._is_drawn = True

    def clear(self) -> None:
        """Make room for other text."""
        if self._is_drawn:
            self._is_drawn = False
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


class ScriptOutput:
    """An `OutputSink` for programs."""

    def __init__(self) -> None:
        self._line = LiveLine()

    def show(self, message: TaskOutput) -> None:
        """Write it."""
        if isinstance(message, CommData):
            return  # a widget, which is made where there is a notebook only: the extension was unloaded meanwhile
        mark = mark_of(message)
        if isinstance(message, LogLines):
            write_text(message.stream, _lines(message, mark))
        elif isinstance(message, DisplayData):
            write_text(1, marked(plain_text(message), mark))
        elif isinstance(message, UnseenErrors):
            write_text(2, message.describe())
        elif message.is_over:
            if message.rows:
                write_text(message.stream, marked("\n".join(message.rows), mark))
        elif message.rows:
            self._line.draw(f"{mark}{message.rows[-1]}")

    def tick(self, now: float) -> None:
        """Nothing is held back here."""

    def close(self) -> None:
        """Nothing is held back here."""


def write_text(number: int, text: str) -> None:
    """Write to stream 1 (stdout) or 2 (stderr)."""
    stream = sys.stdout if number == 1 else sys.stderr
    try:
        erase()
        stream.write(text)
        stream.flush()
    except ValueError:
        return  # the stream is closed: the process is ending


def _lines(message: LogLines, mark: str) -> str:
    gap = ""
    if message.omitted:
        where = f"himalia logs {message.task_id.hex()}"
        gap = f"{mark}… {message.omitted:,} lines left out; `{where}` shows what this task printed\n"
    if message.count > 1:
        return f"{gap}{mark}{message.text.rstrip()}  [{message.count:,} more times]\n"
    return gap + marked(message.text, mark)
