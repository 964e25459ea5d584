"""Follow task events as they come: a place in the GCS's ring, and what came after it, decoded.

Strategy: readers poll. The GCS keeps nothing for them, so any number may read, each at its own pace, and one that
stands still costs nothing. What a reader cannot take in time falls out of the ring; it then learns how many events it
missed. An answer is bounded, so that decoding never holds a notebook's kernel for longer than some milliseconds.

Rejected: events pushed by the GCS. A reader that hangs would fill its memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec

from ..protocol.gcs_messages import EventsRead, ReadTaskEvents
from .events import Batch, decode_batch

__all__ = ["INTERVAL", "TaskFeed"]

INTERVAL: Final = 0.1
"""Seconds between questions. Senders flush four times a second, each at its own time."""

READ_BYTES: Final = 1 << 19
"""Bytes of one answer: 20,000 tasks, which take about five milliseconds to decode."""


class TaskFeed:
    """A reader's place.

    Parameters
    ----------
    ask
        Brings a message to the GCS and its answer back: `Core.gcs_call`, or `GcsClient.call`.
    after
        The place to begin at: `place` of a feed before. 0: at the oldest that is remembered; -1: at what comes after
        the first question.

    Attributes
    ----------
    place
        Number of the last batch that was read.
    missed
        Events that the ring forgot before this feed read them, those before its first answer not counted.
    earlier
        Events that were forgotten before the first answer.
    unsent
        Rows that senders dropped because they came too fast, since the cluster began.
    refused
        Batches that could not be decoded.
    dead
        Processes that ended since the answer before the last.
    is_behind
        There was more than fitted into the last answer.
    blobs
        The batches of the last answer, as they were encoded.
    """

    def __init__(self, ask: Callable[[ReadTaskEvents], Any], after: int = 0, limit: int = READ_BYTES) -> None:
        self._ask = ask
        self._limit = limit
        self._end = -1
        self.place = after
        self.missed = 0
        self.earlier = 0
        self.unsent = 0
        self.refused = 0
        self.dead: list[bytes] = []
        self.is_behind = False
        self.blobs: list[bytes] = []
        self._known_dead: set[bytes] = set()

    def read(self) -> list[Batch]:
        """Ask once; the batches that came since, oldest first, and no more than one answer holds."""
        return self.take(msgspec.convert(self._ask(ReadTaskEvents(self.place, self._limit)), EventsRead))

    def look(self) -> None:
        """Ask once, and leave `blobs` to whoever knows which of them to decode."""
        self._move(msgspec.convert(self._ask(ReadTaskEvents(self.place, self._limit)), EventsRead))

    def _move(self, answer: EventsRead) -> None:
        if answer.next < self.place:  # the GCS began anew
            self._end = -1
        if self._end >= 0:
            self.missed += max(0, answer.begin - self._end)
        elif not self.place:
            self.earlier = answer.begin
        self._end, self.place = answer.end, answer.next
        self.unsent, self.is_behind = answer.unsent, answer.more
        self.dead = [process for process in answer.dead if process not in self._known_dead]
        self._known_dead = set(answer.dead)
        self.blobs = answer.blobs

    def take(self, answer: EventsRead) -> list[Batch]:
        """Move on by an answer."""
        self._move(answer)
        batches: list[Batch] = []
        self.blobs = []
        for blob in answer.blobs:
            try:
                batches.append(decode_batch(blob))
                self.blobs.append(blob)
            except msgspec.DecodeError:  # of another version: one damaged batch does not hide the others
                self.refused += 1
        return batches

    def read_all(self) -> Iterator[Batch]:
        """All there is now, without waiting for more."""
        self.is_behind = True
        while self.is_behind:
            yield from self.read()

    async def follow(self, interval: float = INTERVAL) -> AsyncIterator[list[Batch]]:
        """Batches as they come, for ever; an empty list each time that there is nothing new.

        Questions and decoding run in a thread of the iterator, so the loop goes on meanwhile.

        Parameters
        ----------
        interval
            Seconds between questions. A reader that is behind does not wait.

        Raises
        ------
        ConnectionError
            The cluster is gone.
        """
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, thread_name_prefix="himalia-feed") as thread:
            while True:
                yield await loop.run_in_executor(thread, self.read)
                if not self.is_behind:
                    await asyncio.sleep(interval)
