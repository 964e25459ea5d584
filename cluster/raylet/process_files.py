"""The files of a process in the session folder: its socket, its logs, and the page that says what it began last.

The page begins with one number in the machine's byte order: the counter of the task that the worker began last. It is
written without a system call before each task, and read here when the worker has died, so that its owner knows which of
the tasks it had sent may have run. The worker's notes follow (`telemetry/run_notes.py`).
"""

from __future__ import annotations

import contextlib
import os
import sys

from ..telemetry.run_notes import PAGE_BYTES, Notes, decode_notes

__all__ = ["ProcessFiles"]


class ProcessFiles:
    """Finds files by the id of their process."""

    def __init__(self, session_dir: str) -> None:
        self._folder = session_dir

    def _page(self, worker_id: bytes) -> str:
        return f"{self._folder}/{worker_id.hex()}.run"

    def last_started(self, worker_id: bytes) -> int:
        """The counter of the last task it began; 0: none; -1: it left no page."""
        try:
            with open(self._page(worker_id), "rb") as file:
                data = file.read(8)
        except OSError:
            return -1
        return int.from_bytes(data, sys.byteorder) if len(data) == 8 else -1

    def notes(self, worker_id: bytes) -> Notes | None:
        """What it noted about itself; None if it has not, or does so at this moment."""
        try:
            with open(self._page(worker_id), "rb") as file:
                return decode_notes(file.read(PAGE_BYTES))
        except OSError:
            return None

    def reset_started(self, worker_id: bytes) -> None:
        """Make it 0, while the worker is idle."""
        with contextlib.suppress(OSError):
            fd = os.open(self._page(worker_id), os.O_WRONLY)
            try:
                os.pwrite(fd, bytes(8), 0)
            finally:
                os.close(fd)

    def remove(self, process_id: bytes) -> None:
        """The process is gone: remove its files, of its logs those that are empty."""
        name = process_id.hex()
        logs = [f"{self._folder}/logs/worker-{name}.{kind}" for kind in ("out", "err")]
        for path in (f"{self._folder}/{name}", self._page(process_id), *logs):
            with contextlib.suppress(OSError):
                if path not in logs or os.path.getsize(path) == 0:
                    os.unlink(path)
