"""The ring of task events: blobs as their senders encoded them.

The GCS never decodes one: it counts tasks and bytes, drops the oldest beyond its bounds, and hands blobs to whoever
asks, who merges them (`cluster/telemetry/records.py`). So a million tasks cost the GCS as many list appends as there
were batches.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from ..protocol.gcs_messages import TaskEvents
from ..protocol.transitions import InvariantViolation
from .config import GcsConfig

__all__ = ["EventRing"]


class Batch(NamedTuple):
    number: int
    events: int
    blob: bytes


class EventRing:
    """``dropped``: events lost, by senders whose buffer was full and by this ring."""

    def __init__(self, config: GcsConfig) -> None:
        self._config = config
        self._batches: deque[Batch] = deque()
        self._last = 0
        self.tasks = 0
        self.bytes = 0
        self.dropped = 0

    def add(self, message: TaskEvents) -> None:
        self._last += 1
        self._batches.append(Batch(self._last, message.count, message.blob))
        self.tasks += message.count
        self.bytes += len(message.blob)
        self.dropped += message.dropped
        while self.tasks > self._config.task_events_kept or self.bytes > self._config.task_event_bytes:
            oldest = self._batches.popleft()
            self.tasks -= oldest.events
            self.bytes -= len(oldest.blob)
            self.dropped += oldest.events

    def newest(self, limit: int, after: int) -> dict[str, object]:
        """The newest batches, ``limit`` events at least, oldest first; only those after number ``after``."""
        chosen: list[bytes] = []
        count = 0
        for batch in reversed(self._batches):
            if batch.number <= after or count >= limit:
                break
            chosen.append(batch.blob)
            count += batch.events
        chosen.reverse()
        return {"blobs": chosen, "next": self._last, "dropped": self.dropped}

    def check(self) -> None:
        if self.tasks != sum(b.events for b in self._batches) or self.bytes != sum(len(b.blob) for b in self._batches):
            raise InvariantViolation("the ring of task events has counted wrongly")
