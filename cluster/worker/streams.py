"""Where the text of tasks comes from: ``sys.stdout`` and ``sys.stderr``, and the files behind descriptors 1 and 2."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from .output import Output
    from .peers import Job

__all__ = ["OpenFiles", "TaskStream", "install"]


_RAW_KEPT: Final = 16 << 20
"""Bytes that a file behind a descriptor may have: who writes to it appends, so that it can be emptied."""


class TaskStream(io.TextIOBase):
    """Stands in for ``sys.stdout`` (1) or ``sys.stderr`` (2)."""

    def __init__(self, under: TextIO, number: int, output: Output) -> None:
        self._under = under
        self._number = number
        self._output = output
        self._source = output.source
        self.name = under.name

    @property
    def encoding(self) -> str:  # type: ignore[override]  # an attribute there
        """Of the file beneath."""
        return self._under.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]  # as above
        """Of the file beneath."""
        return self._under.errors

    @property
    def buffer(self) -> Any:
        """Binary output goes to the file beneath, and from there to the task's cell."""
        return self._under.buffer

    def writable(self) -> bool:
        """It is."""
        return True

    def isatty(self) -> bool:
        """It is a file."""
        return False

    def fileno(self) -> int:
        """Of the file beneath."""
        return self._under.fileno()

    def write(self, text: str) -> int:
        """Write text; whole lines go on their way."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        job = self._source()
        if job is None or self._output.is_forked:
            self._under.write(text)
            if "\n" in text:
                self._under.flush()
        elif text:
            self._output.write(job, self._number, text)
        return len(text)

    def flush(self) -> None:
        """Have everything seen, also half a line."""
        self._under.flush()
        job = self._source()
        if job is not None and not self._output.is_forked:
            self._output.flush(job, self._number)


class OpenFiles:
    """The files behind descriptors 1 and 2, where text ends up that does not come through ``sys.stdout``."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._seen = [os.fstat(fd).st_size for fd in (1, 2)]

    def look(self, job: Job) -> None:
        """Print what has come since the last time in the name of this task."""
        for fd in (1, 2):
            size = os.fstat(fd).st_size
            if size != self._seen[fd - 1]:
                self._print(job, fd, size)

    def _print(self, job: Job, fd: int, size: int) -> None:
        with self._output.lock:
            begin, self._seen[fd - 1] = self._seen[fd - 1], size
            if size <= begin:
                return  # somebody truncated it, or was faster
            with contextlib.suppress(OSError), open(f"/proc/self/fd/{fd}", "rb") as file:
                file.seek(begin)
                text = file.read(size - begin).decode("utf-8", "replace")
                self._output.write(job, fd, text)
            if size > _RAW_KEPT and os.fstat(fd).st_size == size:
                os.ftruncate(fd, 0)  # all of it stands in the log of tasks now, which is bounded
                self._seen[fd - 1] = 0


def install(output: Output) -> None:
    """Route all output of this process."""
    for name, number in (("stdout", 1), ("stderr", 2)):
        setattr(sys, name, TaskStream(getattr(sys, name), number, output))
    output.files = OpenFiles(output)
    os.register_at_fork(after_in_child=output.after_fork)
