"""A reader of the ring: each event once, in order, and what it missed as a number."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from himalia.cluster.gcs.config import GcsConfig
from himalia.cluster.gcs.event_ring import EventRing
from himalia.cluster.protocol.gcs_messages import ReadTaskEvents, TaskEvents
from himalia.cluster.telemetry.buffer import TaskEventBuffer
from himalia.cluster.telemetry.events import Source, TaskState
from himalia.cluster.telemetry.feed import TaskFeed

F = Source("f", b"\x01owner__")


class Ring:
    """A GCS's ring, with a worker that writes to it."""

    def __init__(self, **config: int) -> None:
        self.config = GcsConfig(**config)
        self.ring = EventRing(self.config)
        self.worker = TaskEventBuffer(b"\x01worker_", b"\x01node___", 7)
        self.counter = 0
        self.dead: list[bytes] = []

    def write(self, count: int) -> None:
        for _ in range(count):
            self.counter += 1
            self.worker.add((self.counter, 0, F, TaskState.FINISHED, 1.0, 2.0, None))
        message = self.worker.flush(0.0)
        assert message is not None
        self.ring.add(message)

    def ask(self, message: ReadTaskEvents) -> Any:
        """As the GCS answers over the wire: plain data."""
        answer = self.ring.since(message.after, message.limit)
        answer.dead = self.dead
        return msgspec.msgpack.decode(msgspec.msgpack.encode(answer))


def counters(feed: TaskFeed) -> list[int]:
    return [counter for batch in feed.read_all() for counter in batch.counters]


def test_each_event_is_read_once_and_in_order() -> None:
    ring = Ring()
    feed = TaskFeed(ring.ask)
    ring.write(3)
    ring.write(2)
    assert counters(feed) == [1, 2, 3, 4, 5]
    assert counters(feed) == []
    ring.write(1)
    assert counters(feed) == [6]
    assert (feed.missed, feed.earlier, feed.is_behind) == (0, 0, False)


def test_an_answer_is_bounded_and_the_rest_follows() -> None:
    ring = Ring()
    for _ in range(5):
        ring.write(10)
    feed = TaskFeed(ring.ask, limit=1)
    assert len(feed.read()) == 1
    assert feed.is_behind
    assert len(counters(feed)) == 40


def test_what_was_forgotten_before_it_was_read_is_counted() -> None:
    ring = Ring(task_events_kept=10)
    for _ in range(4):
        ring.write(4)
    feed = TaskFeed(ring.ask)
    assert counters(feed) == list(range(9, 17))
    assert (feed.earlier, feed.missed) == (8, 0)
    for _ in range(4):
        ring.write(4)
    assert counters(feed) == list(range(25, 33))
    assert (feed.earlier, feed.missed) == (8, 8)


def test_reading_goes_on_where_a_feed_before_stopped() -> None:
    ring = Ring()
    ring.write(2)
    first = TaskFeed(ring.ask)
    counters(first)
    ring.write(2)
    assert counters(TaskFeed(ring.ask, first.place)) == [3, 4]


def test_a_gcs_that_began_anew_is_read_from_its_beginning() -> None:
    ring = Ring()
    feed = TaskFeed(ring.ask)
    for _ in range(3):
        ring.write(1)
    counters(feed)
    ring.ring = EventRing(ring.config)
    ring.write(1)
    assert counters(feed) == [4]
    assert feed.missed == 0


def test_a_damaged_batch_does_not_hide_the_others() -> None:
    ring = Ring()
    ring.ring.add(TaskEvents(b"damaged", 5, dropped=2))
    ring.write(1)
    feed = TaskFeed(ring.ask)
    assert counters(feed) == [1]
    assert (feed.refused, feed.unsent) == (1, 2)


def test_each_death_is_told_once() -> None:
    ring = Ring()
    feed = TaskFeed(ring.ask)
    ring.dead = [b"a"]
    feed.read()
    assert feed.dead == [b"a"]
    ring.dead = [b"b", b"a"]
    feed.read()
    assert feed.dead == [b"b"]


def test_following_does_not_hold_the_loop() -> None:
    ring = Ring()
    feed = TaskFeed(ring.ask)
    seen: list[int] = []

    async def follow() -> None:
        async for batches in feed.follow(0.001):
            seen.extend(counter for batch in batches for counter in batch.counters)
            if len(seen) == 3:
                return
            ring.write(1)

    asyncio.run(asyncio.wait_for(follow(), 10))
    assert seen == [1, 2, 3]
