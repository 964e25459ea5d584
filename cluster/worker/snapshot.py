"""What is kept of a failed task's frames, so that they can be walked when its worker is long at other work.

Strategy: as soon as the exception has left the user's code, its frames are taken apart: places, source lines, and of
each variable its `repr` and its pickle, within budgets of bytes and time; then the frames are let go, with the
arguments that they hold. It travels with the error, to the one process that can ask for it. Only failures of notebook
cells are kept, and of the same failure (cell, function, line, type) only a few in a while, so a million tasks that fail
alike stay cheap.

Rejected: keeping the worker or the frames alive (its CPU, its memory and whatever the frames hold would wait for
somebody who may never come), and pickling all of it whatever it costs (a frame may hold gigabytes).
"""

from __future__ import annotations

import linecache
import reprlib
import time
from collections import deque
from io import BytesIO
from pickle import PickleBuffer
from types import FrameType, TracebackType
from typing import Any, Final

from ..core.actor_class import ActorHandle
from ..core.generator import ObjectRefGenerator
from ..core.refs import ObjectRef
from ..protocol.common import Cell
from ..protocol.frames import FrameSnapshot, Variable, pack_frames
from ..protocol.traceback_text import is_internal
from ..serialization.values import ValuePickler

__all__ = ["Allowance", "FrameTaker", "snapshot_frames"]

VALUE_BYTES: Final = 256 << 10
"""Of one variable's pickle: what a person looks at is smaller, and a table of some thousand rows fits."""

FAILURE_BYTES: Final = 1 << 20
"""Of all variables of one failure."""

FAILURE_SECONDS: Final = 0.1
"""Spent on pickling for one failure; what is left then is kept as text."""

FRAMES: Final = 20
"""Innermost frames kept of a deep recursion."""

PERIOD: Final = 10.0
"""Seconds to which the limits of `Allowance` refer."""

ALIKE: Final = 3
"""Failures of one kind kept in a period: the first shows what is wrong, two more whether the data matter."""

PERIOD_BYTES: Final = 8 << 20
"""Of all failures kept in a period by one worker."""

_LINES_BEFORE: Final = 30
_LINES_AFTER: Final = 10
_MODULE: Final = "__builtins__"

_shortener = reprlib.Repr()
_shortener.maxother = _shortener.maxstring = _shortener.maxlong = 300
_shortener.maxdict = _shortener.maxlist = _shortener.maxtuple = _shortener.maxset = 10
_shortener.maxlevel = 3


class Allowance:
    """How much may be kept: pure, told the time."""

    def __init__(self) -> None:
        self._kept: deque[tuple[float, object, int]] = deque()

    def may_keep(self, kind: object, now: float) -> int:
        """Bytes that a failure of this kind may take; 0: it is not kept."""
        while self._kept and self._kept[0][0] <= now - PERIOD:
            self._kept.popleft()
        alike = sum(1 for _, other, _ in self._kept if other == kind)
        if alike >= ALIKE:
            return 0
        return max(0, min(FAILURE_BYTES, PERIOD_BYTES - sum(size for _, _, size in self._kept)))

    def kept(self, kind: object, size: int, now: float) -> None:
        """A failure was kept."""
        self._kept.append((now, kind, size))


class _TooLarge(Exception):
    """A value's pickle exceeds what is left."""


class _Refused(Exception):
    """A value holds what must not be pickled aside."""


class _BoundedFile(BytesIO):
    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def write(self, data: Any, /) -> int:
        """Write, unless that is too much."""
        if self.tell() + memoryview(data).nbytes > self.limit:
            raise _TooLarge
        return super().write(data)


class _SnapshotPickler(ValuePickler):
    """Pickles values for looking at: not references, which would count as held by whoever looks."""

    def persistent_id(self, obj: Any) -> None:
        """Refuse references."""
        if type(obj) in (ObjectRef, ActorHandle, ObjectRefGenerator):
            raise _Refused(f"it holds an {type(obj).__name__}")


def _pickled(value: Any, limit: int) -> bytes:
    file = _BoundedFile(limit)

    def within(buffer: PickleBuffer) -> bool:
        if file.tell() + buffer.raw().nbytes > limit:
            raise _TooLarge
        return True

    _SnapshotPickler(file, 5, buffer_callback=within).dump(value)
    return file.getvalue()


def _text(value: Any) -> str:
    try:
        return _shortener.repr(value)
    except Exception as failure:  # noqa: BLE001 - a broken __repr__ must not hide the rest
        return f"<{type(value).__name__}, whose repr raised {type(failure).__name__}>"


class _Taker:
    """Takes the frames of one failure within its budget."""

    def __init__(self, limit: int) -> None:
        self.left = limit
        self.deadline = time.perf_counter() + FAILURE_SECONDS

    def variable(self, name: str, value: Any) -> Variable:
        text = _text(value)
        if time.perf_counter() > self.deadline:
            return Variable(name, text, reason="there was no time left to keep it")
        limit = min(self.left, VALUE_BYTES)
        try:
            data = _pickled(value, limit)
        except _TooLarge:
            return Variable(name, text, reason=f"its pickle has more than {limit} bytes")
        except Exception as failure:  # noqa: BLE001 - pickling runs code of the user's: anything may come
            return Variable(name, text, reason=f"it can not be pickled: {failure}"[:200])
        self.left -= len(data)
        return Variable(name, text, data)

    def frame(self, frame: FrameType, line: int) -> FrameSnapshot:
        code = frame.f_code
        lines = linecache.getlines(code.co_filename, frame.f_globals)
        first = max(code.co_firstlineno, line - _LINES_BEFORE)
        source = [text.rstrip("\n") for text in lines[first - 1 : line + _LINES_AFTER]]
        local = dict(frame.f_locals)
        names = [name for name in code.co_names if name in frame.f_globals and name not in local and name != _MODULE]
        return FrameSnapshot(
            code.co_qualname,
            code.co_filename,
            line,
            first,
            source,
            [self.variable(name, value) for name, value in local.items() if not name.startswith("@")],
            [self.variable(name, frame.f_globals[name]) for name in names],
        )


def _user_frames(traceback: TracebackType | None) -> list[tuple[FrameType, int]]:
    """The frames from the user's first one on."""
    found: list[tuple[FrameType, int]] = []
    while traceback is not None:
        if found or not is_internal(traceback.tb_frame.f_code.co_filename):
            found.append((traceback.tb_frame, traceback.tb_lineno))
        traceback = traceback.tb_next
    while found and is_internal(found[-1][0].f_code.co_filename):
        found.pop()  # an error of ours, raised by what the user called
    return found


def snapshot_frames(error: BaseException, limit: int = FAILURE_BYTES) -> bytes:
    """The user's frames of an exception that was just caught, innermost kept best; nothing if there are none.

    Parameters
    ----------
    error
        With its traceback.
    limit
        Bytes of pickles at most.
    """
    return _packed(_user_frames(error.__traceback__), limit)


def _packed(frames: list[tuple[FrameType, int]], limit: int) -> bytes:
    taker = _Taker(limit)
    taken = [taker.frame(frame, line) for frame, line in reversed(frames[-FRAMES:])]
    return pack_frames(taken[::-1])


class FrameTaker:
    """Takes the frames of a worker's failed tasks, as far as is allowed."""

    def __init__(self) -> None:
        self._allowance = Allowance()

    def take(self, name: str, cell: Cell, error: BaseException) -> bytes:
        """The frames of a task's failure, packed; nothing if it is one of too many of its cell."""
        frames = _user_frames(error.__traceback__)
        if not frames:
            return b""
        frame, line = frames[-1]
        kind = (name, cell, frame.f_code.co_filename, line, type(error))
        now = time.monotonic()
        limit = self._allowance.may_keep(kind, now)
        if not limit:
            return b""
        data = _packed(frames, limit)
        self._allowance.kept(kind, len(data), now)
        return data
