"""The ring of task events: blobs as their senders encoded them.

The GCS never decodes one: it counts tasks and bytes, drops the oldest beyond its bounds, and hands blobs to whoever
asks, who merges them (`cluster/telemetry/records.py`). So a million tasks cost the GCS as many list appends as there
were batches.

A reader keeps its place as the number of the batch that it had last. Each batch knows how many events came before it,
so a reader that was too slow, and whose place the ring has left behind, learns how many it missed.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import NamedTuple

from ..protocol.gcs_messages import EventsRead, TaskEvents
from ..protocol.transitions import InvariantViolation
from .config import GcsConfig

__all__ = ["EventRing"]


class Batch(NamedTuple):
    number: int
    before: int
    events: int
    blob: bytes


class EventRing:
    """``dropped``: events lost, by senders whose buffer was full (``unsent``) and by this ring."""

    def __init__(self, config: GcsConfig) -> None:
        self._config = config
        self._batches: deque[Batch] = deque()
        self._last = 0
        self._added = 0
        self.tasks = 0
        self.bytes = 0
        self.dropped = 0
        self.unsent = 0

    def add(self, message: TaskEvents) -> None:
        self._last += 1
        self._batches.append(Batch(self._last, self._added, message.count, message.blob))
        self._added += message.count
        self.tasks += message.count
        self.bytes += len(message.blob)
        self.dropped += message.dropped
        self.unsent += message.dropped
        while self.tasks > self._config.task_events_kept or self.bytes > self._config.task_event_bytes:
            oldest = self._batches.popleft()
            self.tasks -= oldest.events
            self.bytes -= len(oldest.blob)
            self.dropped += oldest.events

    def newest(self, limit: int) -> dict[str, object]:
        """The newest batches, ``limit`` events at least, oldest first; ``older``: events that are left out."""
        chosen: list[bytes] = []
        count = 0
        for batch in reversed(self._batches):
            if count >= limit:
                break
            chosen.append(batch.blob)
            count += batch.events
        chosen.reverse()
        return {"blobs": chosen, "dropped": self.dropped, "older": self.tasks - count}

    def since(self, after: int, limit: int) -> EventsRead:
        """The oldest batches after number ``after``: one, and more while they have no more than ``limit`` bytes.

        A number that was never given is that of a ring before this one: reading begins anew. A negative one asks for
        the place of what is still to come.
        """
        if after < 0:
            return EventsRead([], self._last, self._added, self._added, self.unsent)
        batches = self._batches
        first = batches[0].number if batches else self._last + 1
        start = first if after > self._last else max(after + 1, first)
        chosen: list[Batch] = []
        size = 0
        for batch in islice(batches, start - first, None):
            size += len(batch.blob)
            if chosen and size > limit:
                break
            chosen.append(batch)
        begin = chosen[0].before if chosen else self._added
        end = chosen[-1].before + chosen[-1].events if chosen else self._added
        last = chosen[-1].number if chosen else self._last
        blobs = [batch.blob for batch in chosen]
        return EventsRead(blobs, last, begin, end, self.unsent, more=last < self._last)

    def check(self) -> None:
        if self.tasks != sum(b.events for b in self._batches) or self.bytes != sum(len(b.blob) for b in self._batches):
            raise InvariantViolation("the ring of task events has counted wrongly")
