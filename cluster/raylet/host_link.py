"""The raylet's end of the socket pair to the node host, on the loop."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable

from ..launchers import wire

__all__ = ["HostLink"]

_log = logging.getLogger("himalia.raylet")


class HostLink:
    """Sends requests, hands over what the host reports, and says when the host is gone."""

    def __init__(self, fd: int, on_message: Callable[[wire.ForRaylet], None], on_gone: Callable[[], None]) -> None:
        self._fd = fd
        self._on_message = on_message
        self._on_gone = on_gone
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[bytes] = deque()
        self._loop.add_reader(fd, self._read)

    def send(self, message: wire.ForHost) -> None:
        """Ask the host; while it imports or forks, requests wait in the socket, and beyond its room here."""
        data = wire.encode(message)
        if self._waiting:
            self._waiting.append(data)
            return
        if not self._write(data):
            self._waiting.append(data)
            self._loop.add_writer(self._fd, self._flush)

    def _write(self, data: bytes) -> bool:
        try:
            os.write(self._fd, data)
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError):
            _log.warning("the node host is gone")
        return True

    def _flush(self) -> None:
        while self._waiting and self._write(self._waiting[0]):
            self._waiting.popleft()
        if not self._waiting:
            self._loop.remove_writer(self._fd)

    def _read(self) -> None:
        while self._fd >= 0 and (data := wire.receive(self._fd)) is not None:
            if not data:
                self.close()
                self._on_gone()
                return
            self._on_message(wire.decode_for_raylet(data))

    def close(self) -> None:
        """Part with it."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            os.close(self._fd)
            self._fd = -1
