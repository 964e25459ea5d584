"""What tasks display while the driver that it is for is dead: on disk, for the kernel that comes after it.

Text lies in the worker's log anyway, with the plain text of every display. What has more than text is sent to the
driver and nowhere else; when that is known to be dead, it is appended here: a file a worker beside its log, made when
there is something for it, with a bounded size. What exceeds that is left out, and its text is in the log.

Rejected: writing every display to disk. Figures are large, and all but those of kept tasks reach their driver.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

import msgspec

from ..protocol.core_messages import DisplayData

__all__ = ["LIMIT", "LeftDisplay", "LeftDisplays", "LeftReader"]

LIMIT: Final = 20 << 20
"""Bytes of one worker: as much as a cell shows."""

_LENGTH: Final = 4  # bytes that say how long a record is


class LeftDisplay(msgspec.Struct, array_like=True):
    """One display, and when it was made, in seconds since 1970."""

    at: float
    data: DisplayData


class LeftDisplays:
    """The file of one worker, for writing. In one thread."""

    def __init__(self, base: str, limit: int = LIMIT) -> None:
        self._path = f"{base}.display"
        self._left = limit
        self._encode = msgspec.msgpack.Encoder().encode

    def add(self, message: DisplayData) -> None:
        """Keep a display, unless there is no room for it or the disk is full."""
        record = self._encode(LeftDisplay(time.time(), message))
        if len(record) > self._left:
            return
        self._left -= len(record)
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError:
            self._left = 0  # its text is in the log, or not even that
            return
        with os.fdopen(file, "wb") as opened:
            opened.write(len(record).to_bytes(_LENGTH, "big") + record)


class LeftReader:
    """Reads what all workers of a session on this machine have left, each record once."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._at: dict[Path, int] = {}
        self._decode = msgspec.msgpack.Decoder(LeftDisplay).decode

    def news(self) -> list[LeftDisplay]:
        """What has come since the last call, the oldest first."""
        found: list[LeftDisplay] = []
        for path in self._folder.glob("worker-*.display"):
            try:
                with path.open("rb") as file:
                    file.seek(self._at.get(path, 0))
                    data = file.read()
            except FileNotFoundError:
                continue  # let go with the log of its worker
            place = 0
            while len(data) - place >= _LENGTH:
                end = place + _LENGTH + int.from_bytes(data[place : place + _LENGTH], "big")
                if end > len(data):
                    break  # half a record: the other half is being written
                found.append(self._decode(data[place + _LENGTH : end]))
                place = end
            self._at[path] = self._at.get(path, 0) + place
        return sorted(found, key=lambda one: one.at)
