"""The ring of task events is bounded, and counts what it loses."""

from __future__ import annotations

from himalia.cluster.gcs.config import GcsConfig
from himalia.cluster.gcs.event_ring import EventRing
from himalia.cluster.protocol.gcs_messages import TaskEvents


def ring_with(*sizes: int, **config: int) -> EventRing:
    ring = EventRing(GcsConfig(**config))
    for number, size in enumerate(sizes):
        ring.add(TaskEvents(b"%d" % number * 10, size))
    ring.check()
    return ring


def test_the_oldest_go_beyond_the_number_of_tasks() -> None:
    ring = ring_with(4, 4, 4, task_events_kept=10)
    assert ring.tasks == 8
    assert ring.dropped == 4
    assert ring.newest(100, 0)["blobs"] == [b"1" * 10, b"2" * 10]


def test_the_oldest_go_beyond_the_bytes() -> None:
    ring = ring_with(1, 1, 1, task_event_bytes=25)
    assert ring.bytes == 20
    assert ring.dropped == 1


def test_what_senders_dropped_is_counted() -> None:
    ring = ring_with(1)
    ring.add(TaskEvents(b"", 0, 7))
    assert ring.dropped == 7


def test_the_newest_batches_are_enough_for_the_limit() -> None:
    assert ring_with(3, 3, 3).newest(4, 0)["blobs"] == [b"1" * 10, b"2" * 10]


def test_a_reader_asks_for_what_is_new() -> None:
    ring = ring_with(1, 1)
    first = ring.newest(100, 0)
    assert ring.newest(100, first["next"])["blobs"] == []  # type: ignore[arg-type]
    ring.add(TaskEvents(b"new", 1))
    assert ring.newest(100, first["next"])["blobs"] == [b"new"]  # type: ignore[arg-type]
