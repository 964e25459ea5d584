"""A model that is kept current by questions."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from himalia.cluster.gcs.config import GcsConfig
from himalia.cluster.gcs.event_ring import EventRing
from himalia.cluster.protocol.core_messages import R_INLINE
from himalia.cluster.protocol.gcs_messages import ListState, ReadTaskEvents
from himalia.cluster.telemetry.buffer import TaskEventBuffer
from himalia.cluster.telemetry.events import Source
from himalia.dashboard.feed import ModelFeed

F = Source("f", b"\x01owner__")


class Gcs:
    """The ring, and one node."""

    def __init__(self) -> None:
        self.ring = EventRing(GcsConfig())
        self.worker = TaskEventBuffer(b"\x01worker_", b"\x01node___", 7)
        self.asked: list[str] = []
        self.now = 100.0
        self.counter = 0

    def ran(self, count: int) -> None:
        for _ in range(count):
            self.counter += 1
            self.worker.record((F, self.counter, 0, R_INLINE, 1.0, 0.5, "", 0))
        message = self.worker.flush(0.0)
        assert message is not None
        self.ring.add(message)

    def ask(self, message: Any) -> Any:
        self.asked.append(type(message).__name__)
        if isinstance(message, ReadTaskEvents):
            return msgspec.msgpack.decode(msgspec.msgpack.encode(self.ring.since(message.after, message.limit)))
        assert message == ListState("nodes")
        node = {
            "node_id": b"\x01node___",
            "host": "here",
            "alive": True,
            "total": {"CPU": 20_000},
            "available": {"CPU": 10_000},
            "store_used": 10,
            "object_store_bytes": 100,
            "pending": [],
        }
        return [node]

    def feed(self) -> ModelFeed:
        return ModelFeed(self.ask, clock=lambda: self.now, wall=lambda: 1000.0 + self.now)


def test_tasks_and_nodes_come_into_the_model() -> None:
    gcs = Gcs()
    gcs.ran(3)
    model = gcs.feed().catch_up()
    changes = model.changes_since()
    assert [(one.name, one.finished) for one in changes.groups] == [("f", 3)]
    (node,) = changes.nodes
    assert [(sample.at, sample.used["CPU"]) for sample in node.samples] == [(1100.0, 1.0)]


def test_nodes_are_sampled_once_a_second_and_rates_taken_then() -> None:
    gcs = Gcs()
    feed = gcs.feed()
    for step in range(5):
        gcs.ran(10)
        gcs.now = 100.0 + step * 0.5
        feed.catch_up()
    assert gcs.asked.count("ListState") == 3
    assert feed.model.groups.all[0].rate == 20.0


def test_one_that_is_behind_catches_up_before_anything_else() -> None:
    gcs = Gcs()
    for _ in range(40):
        gcs.ran(1_000)
    feed = gcs.feed()
    feed.catch_up()
    assert feed.model.groups.all[0].finished == 40_000
    assert gcs.asked.count("ReadTaskEvents") > 2
    assert gcs.asked[-1] == "ListState"
    assert gcs.asked.count("ListState") == 1


def test_following_applies_what_is_read_elsewhere() -> None:
    gcs = Gcs()
    feed = gcs.feed()

    async def follow() -> int:
        async for model in feed.follow(0.001):
            if model.groups.all and model.groups.all[0].finished == 3:
                return model.version
            gcs.ran(1)
        raise AssertionError

    assert asyncio.run(asyncio.wait_for(follow(), 10)) > 0
