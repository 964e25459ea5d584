"""A cluster of the tests: it answers what the dashboard asks, out of what the test says has happened."""

from __future__ import annotations

import functools
from typing import Any

import msgspec

from himalia.cluster.gcs.client import GcsUnreachableError
from himalia.cluster.gcs.config import GcsConfig
from himalia.cluster.gcs.event_ring import EventRing
from himalia.cluster.protocol.common import Cell
from himalia.cluster.protocol.core_messages import R_ERROR, R_INLINE
from himalia.cluster.protocol.gcs_messages import ListState, ReadTaskEvents
from himalia.cluster.telemetry.buffer import TaskEventBuffer
from himalia.cluster.telemetry.events import Source
from himalia.dashboard.state import StateFeed

__all__ = ["PlayedCluster", "source"]

OWNER = b"\x01owner__"


@functools.cache  # a process has one for each template: they are compared by identity
def source(name: str, cell: int = 0) -> Source:
    """A function that a cell submits."""
    return Source(name, OWNER, cell=Cell(b"job1", cell, "message") if cell else None)


class PlayedCluster:
    """Workers, by number, ran what they are told here; `rows` are answers of the state API, by name."""

    def __init__(self) -> None:
        self.ring = EventRing(GcsConfig())
        self.now = 100.0
        self.rows_of: dict[str, list[dict[str, Any]]] = {"newest_events:500": []}
        self.asked: list[str] = []
        self.cpus_used = 1
        self.is_gone = False
        self.silent: set[str] = set()  # rows whose node, or whoever has them, does not answer
        self.dies_at = ""  # when it is asked for these rows
        self._workers: dict[int, TaskEventBuffer] = {}
        self._counter = 0

    def ran(self, what: Source, count: int = 1, *, worker: int = 1, took: float = 0.5, error: str = "") -> None:
        """A worker ran tasks, one after the other, up to now."""
        buffer = self._workers.setdefault(worker, TaskEventBuffer(b"\x01work%03d" % worker, b"\x01node___", worker))
        for index in range(count):
            self._counter += 1
            begin = 1000.0 + self.now - took * (count - index)
            kind = R_ERROR if error else R_INLINE
            buffer.record((what, self._counter, 0, kind, begin, took, error, 0))
        message = buffer.flush(0.0)
        assert message is not None
        self.ring.add(message)

    def call(self, message: Any) -> Any:
        """What the GCS answers."""
        if self.is_gone:
            raise ConnectionError("it is gone")
        self.asked.append(type(message).__name__)
        if isinstance(message, ReadTaskEvents):
            return msgspec.msgpack.decode(msgspec.msgpack.encode(self.ring.since(message.after, message.limit)))
        assert message == ListState("nodes")
        node = {
            "node_id": b"\x01node___",
            "host": "here",
            "alive": True,
            "total": {"CPU": 40_000},
            "available": {"CPU": 40_000 - 10_000 * self.cpus_used},
            "store_used": 10,
            "object_store_bytes": 100,
            "pending": [],
        }
        return [node]

    def rows(self, name: str) -> list[dict[str, Any]]:
        """What the state API lists."""
        self.asked.append(name)
        self.is_gone = self.is_gone or name == self.dies_at
        if name in self.silent or self.is_gone:
            raise GcsUnreachableError(f"{name} did not come")
        return self.rows_of[name]

    def feed(self) -> StateFeed:
        """A feed that asks this cluster."""
        return StateFeed(self, clock=lambda: self.now, wall=lambda: 1000.0 + self.now)
