"""What of the text that tasks of one cell print in this worker goes to the driver. All of it is in the worker's log.

- Equal lines in a row are counted: the first few pass at once, the others as one line with a number, at the latest at
  the next tick.
- Text passes while the cell's allowance lasts. After that only its end is kept, and what falls out of that is counted
  in lines; the end leaves when the allowance has filled up, or when the task is over. So what is dropped is in the
  middle, and the driver knows how much it was.

Rejected: leaving all this to the driver. Eight workers that print as fast as they can would keep its interpreter busy
with decoding alone.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import msgspec

from ..telemetry.allowance_machine import Allowance

__all__ = ["Piece", "Throttle"]

REPEATS: Final = 3
"""So many equal lines pass before they are counted: three can be meant (a banner, dots), more are noise."""
TAIL: Final = 4_096  # characters of the end that are kept


class Piece(msgspec.Struct, eq=False):
    """Text on its way. ``count``: it is one line, so many times. ``omitted``: lines that were dropped before it."""

    voice: Any
    stream: int
    text: str
    count: int = 1
    omitted: int = 0


class Throttle:
    """Text of one cell in one worker, on its way to ``ready``. A voice is whoever speaks: opaque here."""

    def __init__(self, allowance: Allowance, ready: list[Any]) -> None:
        self._allowance = allowance
        self._ready = ready
        self._held: deque[Piece] = deque()
        self._held_size = 0
        self._omitted = 0  # lines dropped before what is held
        self._line = ""
        self._line_stream = 0
        self._seen = 0  # how often the line has come in a row
        self._waiting = 0  # of these, how many are only counted so far
        self._line_voice: Any = None

    @property
    def restless(self) -> bool:
        """Whether `settle` would have something to do."""
        return self._waiting > 0 or bool(self._held)

    def add(self, voice: Any, stream: int, text: str, now: float) -> None:
        """Whole lines were printed."""
        if text == self._line and stream == self._line_stream:
            self._seen += 1
            if self._seen > REPEATS and text.find("\n") in (-1, len(text) - 1):
                self._waiting += 1
                self._line_voice = voice
                return
        else:
            if self._waiting:
                self._end_run(now)
            self._line, self._line_stream, self._seen = text, stream, 1
        self._pass(Piece(voice, stream, text), now)

    def settle(self, now: float) -> None:
        """Some time has passed: say how often the last line came, and let go of what is held if there is room."""
        if self._waiting:
            self._end_run(now)
        if self._held and self._allowance.take(self._held_size, now):
            self._let_go()

    def end(self, now: float) -> None:
        """A task is over: what it printed last goes ahead of its result, if the reserve allows."""
        if self._held and self._allowance.take_end(self._held_size, now):
            self._let_go()

    def _end_run(self, now: float) -> None:
        piece = Piece(self._line_voice, self._line_stream, self._line, self._waiting)
        self._waiting = 0
        self._line_voice = None
        self._pass(piece, now)

    def _pass(self, piece: Piece, now: float) -> None:
        if not self._held:
            if self._allowance.take(len(piece.text), now):
                self._ready.append(piece)
                return
            self._pass_part(piece, now)
        if piece.text:
            self._hold(piece)

    def _pass_part(self, piece: Piece, now: float) -> None:
        """Let the first lines of a long text pass, as many as there is room for."""
        end = piece.text.rfind("\n", 0, int(self._allowance.room(now))) + 1
        if end and self._allowance.take(end, now):
            self._ready.append(Piece(piece.voice, piece.stream, piece.text[:end]))
            piece.text = piece.text[end:]

    def _hold(self, piece: Piece) -> None:
        text = piece.text
        if len(text) > TAIL:
            start = text.find("\n", len(text) - TAIL) + 1
            if start == 0 or start == len(text):  # the end of one very long line
                start = len(text) - TAIL
            self._omitted += text.count("\n", 0, start) * piece.count
            piece.text = text[start:]
        self._held.append(piece)
        self._held_size += len(piece.text)
        while self._held_size > TAIL:
            oldest = self._held.popleft()
            self._held_size -= len(oldest.text)
            self._omitted += _lines(oldest)

    def _let_go(self) -> None:
        self._held[0].omitted = self._omitted
        self._ready.extend(self._held)
        self._held.clear()
        self._held_size = self._omitted = 0


def _lines(piece: Piece) -> int:
    return max(1, piece.text.count("\n")) * piece.count
