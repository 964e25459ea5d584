"""Of what happens in a store, the log says the first at once and then a sum now and then."""

from __future__ import annotations

from himalia.cluster.protocol.cluster_events import ClusterEvent, EventKind, Severity
from himalia.cluster.raylet.store_events_machine import EVERY, StoreEvents

GIB = 1 << 30


def use() -> tuple[int, int]:
    return 3 * GIB, 4 * GIB


def spill(events: StoreEvents, now: float, size: int = GIB) -> ClusterEvent | None:
    return events.happened(EventKind.STORE_SPILLING, now, use, size)


def test_the_first_is_told_at_once() -> None:
    event = spill(StoreEvents(), 0.0)
    assert event is not None
    assert event.severity is Severity.INFO
    assert "1 object of 1.00 GiB" in event.message
    assert "3.00 of 4.00 GiB are in use" in event.message


def test_what_follows_soon_is_counted_and_told_later() -> None:
    events = StoreEvents()
    spill(events, 0.0)
    assert [spill(events, at) for at in (1.0, 2.0, 9.0)] == [None] * 3
    event = spill(events, EVERY)
    assert event is not None
    assert event.numbers == {"count": 4, "bytes": 4 * GIB, "used": 3 * GIB, "capacity": 4 * GIB}
    later = spill(events, 2 * EVERY)
    assert later is not None
    assert later.numbers["count"] == 1


def test_kinds_do_not_wait_for_each_other() -> None:
    events = StoreEvents()
    spill(events, 0.0)
    full = events.happened(EventKind.STORE_FULL, 0.1, use, GIB)
    trouble = events.happened(EventKind.STORE_TROUBLE, 0.2, use, detail="could not spill: the disk is full")
    assert full is not None
    assert full.severity is Severity.WARNING
    assert trouble is not None
    assert "the disk is full" in trouble.message


def test_use_is_looked_at_only_for_an_event() -> None:
    looks: list[int] = []

    def looking() -> tuple[int, int]:
        looks.append(1)
        return use()

    events = StoreEvents()
    for at in range(5):
        events.happened(EventKind.STORE_FULL, float(at), looking, 1)
    assert len(looks) == 1
