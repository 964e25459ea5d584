"""Copying large buffers into shared memory with more than one core.

Strategy: one core copies at half the speed that the memory allows or less, and while a driver writes an argument the
others mostly wait for it. So a few threads copy large buffers together; NumPy lets go of the interpreter's lock while
it copies. Each takes the next piece when it is done with one, so a thread that gets no core delays nobody: the caller
does it all. The threads start with the first large buffer and end with `close`. Rejected: fixed shares (the slowest
decides), and an executor of `concurrent.futures`, whose futures cost as much as copying a megabyte.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from itertools import count
from queue import SimpleQueue
from typing import Any, Final

from ..serialization.layout import copy_bytes

__all__ = ["Copier"]

PARALLEL_FROM: Final = 4 << 20
"""Bytes: below, waking another thread takes longer than it saves."""

PIECE: Final = 1 << 20
"""Bytes copied at a time: the caller waits for the others' last pieces, 50 µs each."""

MOST: Final = 4
"""Threads that copy one buffer, the caller's included: two or three fill the memory's channels of most machines."""


class _Job:
    """One buffer, copied piece by piece by whoever has time."""

    def __init__(self, target: Any, source: Any, copy: Callable[[Any, Any], None]) -> None:
        self.pieces = -(-len(source) // PIECE)
        self.done = threading.Semaphore(0)  # pieces that threads other than the caller's have copied
        self._target = target
        self._source = source
        self._copy = copy
        self._next = count()  # of CPython's making, so `next` of it is atomic

    def work(self) -> int:
        """Copy pieces as long as there are any; how many."""
        copied = 0
        while (piece := next(self._next)) < self.pieces:
            begin = piece * PIECE
            self._copy(self._target[begin : begin + PIECE], self._source[begin : begin + PIECE])
            copied += 1
        return copied


class Copier:
    """Copies for one process. `copy` may be called from any thread."""

    def __init__(self, cores: int | None = None) -> None:
        available = cores if cores is not None else len(os.sched_getaffinity(0))
        self._parts = min(MOST, available)
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def copy(self, target: memoryview, start: int, source: bytes | memoryview) -> int:
        """Copy flat bytes to ``start``; returns where they end. As `layout.copy_bytes`, and faster for large ones."""
        length = len(source)
        if length < PARALLEL_FROM or self._parts < 2 or not self._is_ready():
            return copy_bytes(target, start, source)
        import numpy as np

        job = _Job(np.frombuffer(target, np.uint8, length, start), np.frombuffer(source, np.uint8), np.copyto)
        for _ in range(self._parts - 1):
            self._jobs.put(job)
        mine = job.work()
        for _ in range(job.pieces - mine):
            job.done.acquire()
        return start + length

    def close(self) -> None:
        """End the threads."""
        with self._lock:
            threads, self._threads, self._parts = self._threads, [], 1
        if self._pid != os.getpid():
            return  # forked: they are not here
        for _ in threads:
            self._jobs.put(None)
        for thread in threads:
            thread.join()

    def _is_ready(self) -> bool:
        if self._pid != os.getpid():
            return False  # forked: the threads are not here
        if not self._threads:
            with self._lock:
                while len(self._threads) < self._parts - 1:
                    name = f"himalia-copy-{len(self._threads)}"
                    thread = threading.Thread(target=self._run, name=name, daemon=True)
                    thread.start()
                    self._threads.append(thread)
        return bool(self._threads)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            for _ in range(job.work()):
                job.done.release()
            del job  # else its buffers stay until the next one
