"""Notice that a process which is not our child ends: a driver."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

__all__ = ["ProcessWatch"]

_POLL_SECONDS: Final = 0.5
"""Where the kernel has no pidfd_open."""


class ProcessWatch:
    """Calls ``on_end(key)`` once, at the end of each watched process."""

    def __init__(self, on_end: Callable[[bytes], None]) -> None:
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._descriptors: dict[bytes, int] = {}
        self._polled: dict[bytes, asyncio.TimerHandle] = {}

    def add(self, key: bytes, pid: int) -> None:
        """Watch a process; one that has ended already is reported soon."""
        self.remove(key)
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._loop.call_soon(self._on_end, key)
            return
        except OSError:
            self._polled[key] = self._loop.call_later(_POLL_SECONDS, self._poll, key, pid)
            return
        self._descriptors[key] = fd
        self._loop.add_reader(fd, self._ended, key)

    def _poll(self, key: bytes, pid: int) -> None:
        if os.path.exists(f"/proc/{pid}"):
            self._polled[key] = self._loop.call_later(_POLL_SECONDS, self._poll, key, pid)
        else:
            self._ended(key)

    def _ended(self, key: bytes) -> None:
        self.remove(key)
        self._on_end(key)

    def remove(self, key: bytes) -> None:
        """Watch it no more."""
        fd = self._descriptors.pop(key, None)
        if fd is not None:
            self._loop.remove_reader(fd)
            os.close(fd)
        timer = self._polled.pop(key, None)
        if timer is not None:
            timer.cancel()

    def close(self) -> None:
        """Watch nothing any more."""
        for key in [*self._descriptors, *self._polled]:
            self.remove(key)
