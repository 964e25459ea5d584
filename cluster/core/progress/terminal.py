"""Bars in a terminal: one line on standard error, drawn again and again; and plain lines where it can not be."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from typing import Any, Final, TextIO

from .line import Drawing, drawings
from .model import Frame, duration

__all__ = ["LinesFront", "TerminalFront", "terminal_front", "text_of"]

_BAR: Final = 16  # characters
_CLEAR: Final = "\r\x1b[2K"
_LINE_PERIOD: Final = 2.0  # seconds between plain lines: often enough to see that it moves, too seldom to fill a log


def terminal_front() -> TerminalFront | None:
    """The terminal of this process, if somebody looks at it."""
    try:
        looks = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):  # there is none, or it is closed
        return None
    return TerminalFront() if looks else None


def text_of(frame: Frame, width: int) -> str:
    """A frame as one line of at most so many characters."""
    counts = frame.counts
    filled = round(_BAR * counts.ended / counts.total) if counts.total else 0
    left = f", {duration(frame.left)} left" if frame.left is not None else ""
    bar = f"[{'#' * filled}{'-' * (_BAR - filled)}]"
    parts = [f"{bar} {counts.ended}/{counts.total} in {duration(frame.elapsed)}{left}"]
    for row in sorted(frame.rows, key=lambda row: not row.counts.running):
        if row.open or row.counts.failed:
            count = f" {row.counts.ended}/{row.counts.total}" if len(frame.rows) > 1 else ""
            parts.append(", ".join([f"{frame.title or row.label}{count}", *row.notes()]))
    text = " | ".join(parts)
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


class TerminalFront(Drawing):
    """Draws all bars of the process in the terminal's last line."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may print while the thread that it interrupts draws
        self._texts: dict[TerminalBar, Frame] = {}
        self._drawn = False
        drawings.add(self)

    def place(self) -> Any:
        """A line that was ended can not be drawn again: each wait has its own."""
        return None

    def open(self) -> TerminalBar:
        """A new bar."""
        return TerminalBar(self)

    def draw(self, bar: TerminalBar, frame: Frame) -> None:
        """Show a bar's frame beside those of others."""
        with self._lock:
            self._texts[bar] = frame
            self._draw()

    def end(self, bar: TerminalBar, frame: Frame) -> None:
        """Turn a bar into a line that stays."""
        with self._lock:
            self._texts.pop(bar, None)
            _write(f"{_CLEAR if self._drawn else ''}{frame.line()}\n")
            self._drawn = False
            self._draw()

    def _draw(self) -> None:
        if not self._texts:
            return
        width = shutil.get_terminal_size().columns - 1
        each = width // len(self._texts) - (3 if len(self._texts) > 1 else 0)
        _write(_CLEAR + " | ".join(text_of(frame, each) for frame in self._texts.values()))
        self._drawn = True

    def clear(self) -> None:
        """Clear the line. The bars are drawn again below what is written next."""
        with self._lock:
            if self._drawn:
                _write(_CLEAR)
                self._drawn = False


class TerminalBar:
    """One wait in the terminal."""

    def __init__(self, front: TerminalFront) -> None:
        self._front = front

    def draw(self, frame: Frame) -> None:
        """Show how far it is."""
        self._front.draw(self, frame)

    def end(self, frame: Frame) -> None:
        """Show one line, which stays."""
        self._front.end(self, frame)


class LinesFront:
    """Where nothing can be drawn again, but progress was asked for: a line now and then."""

    def place(self) -> Any:
        """Each wait has lines of its own."""
        return None

    def open(self) -> LinesBar:
        """A new bar."""
        return LinesBar()


class LinesBar:
    """One wait in lines."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _LINE_PERIOD

    def draw(self, frame: Frame) -> None:
        """Write a line if it is time."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _LINE_PERIOD
            _write(text_of(frame, 200) + "\n")

    def end(self, frame: Frame) -> None:
        """The last line."""
        _write(frame.line() + "\n")


def _write(text: str) -> None:
    stream: TextIO | None = sys.stderr
    if stream is None:
        return
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError):  # it is closed, or whoever read it has gone: then nobody looks
        return
