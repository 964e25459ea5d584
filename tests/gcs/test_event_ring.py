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
    assert ring.newest(100)["blobs"] == [b"1" * 10, b"2" * 10]


def test_the_oldest_go_beyond_the_bytes() -> None:
    ring = ring_with(1, 1, 1, task_event_bytes=25)
    assert ring.bytes == 20
    assert ring.dropped == 1


def test_what_senders_dropped_is_counted() -> None:
    ring = ring_with(1)
    ring.add(TaskEvents(b"", 0, 7))
    assert ring.dropped == 7


def test_the_newest_batches_are_enough_for_the_limit() -> None:
    assert ring_with(3, 3, 3).newest(4)["blobs"] == [b"1" * 10, b"2" * 10]


def test_what_the_limit_leaves_out_is_told() -> None:
    assert [ring_with(3, 3, 3).newest(limit)["older"] for limit in (1, 4, 100)] == [6, 3, 0]


def test_a_reader_asks_for_what_is_new() -> None:
    ring = ring_with(2, 3)
    first = ring.since(0, 1_000)
    assert (first.blobs, first.begin, first.end, first.more) == ([b"0" * 10, b"1" * 10], 0, 5, False)
    assert ring.since(first.next, 1_000).blobs == []
    ring.add(TaskEvents(b"new", 1))
    second = ring.since(first.next, 1_000)
    assert (second.blobs, second.begin, second.end) == ([b"new"], 5, 6)


def test_what_is_too_much_for_one_answer_comes_with_the_next() -> None:
    ring = ring_with(1, 1, 1)
    place, read = 0, []
    while (answer := ring.since(place, 15)).blobs:
        assert len(answer.blobs) == 1
        read += answer.blobs
        place = answer.next
        assert answer.more is (len(read) < 3)
    assert read == [b"0" * 10, b"1" * 10, b"2" * 10]


def test_a_batch_larger_than_the_limit_comes_alone() -> None:
    assert len(ring_with(1, 1).since(0, 1).blobs) == 1


def test_a_reader_that_was_too_slow_learns_how_much_it_missed() -> None:
    ring = ring_with(4, task_events_kept=10)
    seen = ring.since(0, 1_000)
    for _ in range(3):
        ring.add(TaskEvents(b"later", 4, dropped=1))
    answer = ring.since(seen.next, 1_000)
    assert answer.begin - seen.end == 4
    assert len(answer.blobs) == 2
    assert answer.unsent == 3


def test_a_place_in_a_ring_before_this_one_is_none_here() -> None:
    ring = ring_with(1, 1)
    assert len(ring.since(99, 1_000).blobs) == 2


def test_a_reader_of_what_is_to_come_is_told_the_place_only() -> None:
    ring = ring_with(3, 3)
    place = ring.since(-1, 1_000)
    assert (place.blobs, place.next, place.more) == ([], 2, False)
    ring.add(TaskEvents(b"new", 1))
    assert ring.since(place.next, 1_000).blobs == [b"new"]
