"""The arena: one file in shared memory, which the raylet keeps and every process of the node maps.

Strategy: the file has its full size from the start, so that processes map it once; its pages come to exist step by
step, reserved by `extend` before anybody may write to them. So a full /dev/shm is an error here, at a known moment,
and never a SIGBUS in a process that writes to a mapping.

The file has no name (O_TMPFILE): processes open it through /proc, by the raylet's process id and descriptor. When the
last process that has it is gone, however it went, the kernel takes the memory back; a killed raylet leaves nothing.

The raylet itself copies with pread and pwrite, which run without the GIL and without mapping a page. So its own memory
stays small, and it needs no numpy.

Rejected: a named file (stays behind when the raylet is killed); memfd_create (not bounded by the size of /dev/shm,
which an administrator may have chosen on purpose); touching fresh pages ahead of writers, from here. That takes the
same second or two of a core for each gigabyte, from the tasks, whoever does it; a writer still has to map the pages
(0.2 s for each gigabyte); the memory counts as used though most sessions never need it; and with recycling only the
first round over the arena would gain.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["SHARED_MEMORY", "Arena", "read_range", "write_range"]

SHARED_MEMORY: Final = Path("/dev/shm")

_STEP: Final = 64 << 20


def write_range(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of ``data``; a system call may write less than it was given."""
    view = memoryview(data).cast("B")
    while len(view):
        written = os.pwrite(descriptor, view, offset)
        view = view[written:]
        offset += written


def read_range(descriptor: int, size: int, offset: int) -> bytes:
    """Read exactly ``size`` bytes; EOFError if there are not so many."""
    data = os.pread(descriptor, size, offset)
    if len(data) == size:
        return data
    parts = [data]
    got = len(data)
    while data and got < size:
        data = os.pread(descriptor, size - got, offset + got)
        parts.append(data)
        got += len(data)
    if got < size:
        raise EOFError(f"{size} bytes expected at {offset}, got {got}")
    return b"".join(parts)


class Arena:
    """The file. All methods may be called from any thread.

    Parameters
    ----------
    capacity
        Bytes; address space only, until `extend`.
    folder
        A tmpfs.

    Attributes
    ----------
    descriptor
        Of the open file.
    path
        Where other processes of the same user open it.
    """

    def __init__(self, capacity: int, folder: Path = SHARED_MEMORY) -> None:
        self.capacity = capacity
        self._limit = 0
        self.descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(self.descriptor, capacity)
        except OSError:
            os.close(self.descriptor)
            raise
        self.path = f"/proc/{os.getpid()}/fd/{self.descriptor}"

    def extend(self, limit: int) -> tuple[int, str]:
        """Reserve memory for the first ``limit`` bytes.

        Returns
        -------
        tuple
            Bytes from the beginning that are reserved, and why they are fewer than asked for, if they are.
        """
        limit = min(limit, self.capacity)
        while self._limit < limit:
            step = min(_STEP, limit - self._limit)
            try:
                os.posix_fallocate(self.descriptor, self._limit, step)
            except OSError as error:
                return self._limit, f"{error.strerror} when reserving {step} bytes of shared memory"
            self._limit += step
        return self._limit, ""

    def read(self, offset: int, size: int) -> bytes:
        """A copy of a range."""
        return read_range(self.descriptor, size, offset)

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """Write into a range that was reserved."""
        write_range(self.descriptor, data, offset)

    def close(self) -> None:
        """Part with the file; those who mapped it may go on reading."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
