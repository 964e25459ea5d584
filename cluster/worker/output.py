"""What tasks print: to the worker's log file, and to the driver whose cell submitted the task.

Strategy: ``sys.stdout`` and ``sys.stderr`` are replaced by streams that write through and collect whole lines together
with the task that wrote them, so the driver can show them under the right cell. They leave with the next flush, before
the result of the task, on the same connection: what a task printed is there when `get` returns.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable
from typing import Any, TextIO

__all__ = ["TaskStream"]

_MAX_LINE = 64 * 1024  # characters kept back for the end of a line; a longer one is sent in parts


class TaskStream(io.TextIOBase):
    """Stands in for ``sys.stdout`` (1) or ``sys.stderr`` (2).

    ``source()`` tells on whose behalf the calling thread writes (None: nobody's); finished text goes to
    ``sink`` as (source, stream number, text).
    """

    def __init__(
        self,
        under: TextIO,
        number: int,
        source: Callable[[], Any],
        sink: deque[tuple[Any, int, str]],
        wake: Callable[[], None],
    ) -> None:
        self._under = under
        self._number = number
        self._source = source
        self._sink = sink
        self._wake = wake
        self._partial: dict[Any, str] = {}

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the log file."""
        return self._under.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """Of the log file."""
        return self._under.errors

    @property
    def buffer(self) -> Any:
        """Binary output goes to the log file only."""
        return self._under.buffer

    def writable(self) -> bool:
        """It is."""
        return True

    def isatty(self) -> bool:
        """It is a file."""
        return False

    def fileno(self) -> int:
        """Of the log file."""
        return self._under.fileno()

    def write(self, text: str) -> int:
        """Write text; whole lines go on their way."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._under.write(text)
        source = self._source()
        if source is not None and text:
            key = id(source)
            pending = self._partial.pop(key, "") + text
            end = pending.rfind("\n") + 1
            if not end and (len(pending) >= _MAX_LINE or "\r" in pending):
                end = len(pending)
            if end:
                self._sink.append((source, self._number, pending[:end]))
                self._wake()
            if end < len(pending):
                self._partial[key] = pending[end:]
        return len(text)

    def finish(self, source: Any) -> None:
        """The task is over: what it wrote without an end of line goes too."""
        rest = self._partial.pop(id(source), "")
        if rest:
            self._sink.append((source, self._number, rest))

    def flush(self) -> None:
        """Flush the log file."""
        self._under.flush()
