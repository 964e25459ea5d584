"""When a process asks for slabs, and what it gets out of them."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from himalia.cluster.object_store.allocator import rounded
from himalia.cluster.object_store.slab import (
    BACK_OFF,
    IDLE,
    LARGEST,
    LARGEST_PART,
    SHRINK_AFTER,
    SMALLEST,
    SlabPart,
    SlabPool,
)
from himalia.cluster.protocol.raylet_messages import CreateSlab, ReturnSlab, SlabCreated

MB = 1 << 20


def busy_pool(size: int = MB) -> tuple[SlabPool, CreateSlab]:
    """A pool that has just asked for its first slab."""
    pool = SlabPool()
    assert pool.take(size, 10.0) is None
    assert pool.take(size, 10.1) is None
    (message,) = pool.messages()
    assert isinstance(message, CreateSlab)
    return pool, message


def test_an_object_now_and_then_asks_for_nothing() -> None:
    pool = SlabPool()
    for now in (0.0, 5.0, 10.0):
        assert pool.take(MB, now) is None
        assert not pool.messages()


def test_the_second_object_soon_asks_for_a_small_slab() -> None:
    _, message = busy_pool()
    assert (message.slab, message.size) == (1, SMALLEST)


def test_only_one_slab_is_asked_for_at_a_time() -> None:
    pool, _ = busy_pool()
    assert pool.take(MB, 10.2) is None
    assert not pool.messages()


def test_parts_lie_one_after_another() -> None:
    pool, _ = busy_pool()
    pool.on_created(SlabCreated(1, 40960, SMALLEST), 10.2)
    assert pool.take(100_000, 10.3) == SlabPart(1, 40960, 100_000)
    assert pool.take(MB, 10.3) == SlabPart(1, 40960 + rounded(100_000), MB)


def test_the_next_slab_is_asked_for_at_half_and_is_as_large_if_it_comes_in_time() -> None:
    pool, _ = busy_pool()
    pool.on_created(SlabCreated(1, 0, SMALLEST), 10.2)
    pool.take(MB, 10.2)
    pool.take(MB, 10.2)
    pool.take(MB, 10.3)
    assert pool.messages() == [CreateSlab(2, SMALLEST)]
    pool.on_created(SlabCreated(2, 64 * MB, SMALLEST), 10.3)
    pool.take(MB, 10.3)
    pool.take(MB, 10.3)
    pool.take(MB, 10.3)
    pool.take(MB, 10.3)
    assert pool.messages() == [CreateSlab(3, SMALLEST)]


def test_after_a_slab_that_comes_too_late_the_next_is_twice_as_large() -> None:
    pool, message = busy_pool()
    assert pool.take(MB, 10.1) is None
    pool.on_created(SlabCreated(1, 0, message.size), 10.2)
    for _ in range(3):
        pool.take(MB, 10.3)
    assert pool.messages() == [CreateSlab(2, 2 * SMALLEST)]


def test_slabs_that_come_in_time_get_smaller_again() -> None:
    pool, message = busy_pool()
    assert pool.take(MB, 10.1) is None  # too late
    size, number, sizes = message.size, 0, []
    while len(sizes) < 2 + SHRINK_AFTER:
        number += 1
        pool.on_created(SlabCreated(number, number << 30, size), 10.2)
        asked: list[int] = []
        while not asked:
            assert pool.take(MB, 10.2) is not None
            asked = [m.size for m in pool.messages() if isinstance(m, CreateSlab)]
        (size,) = asked
        sizes.append(size)
    assert sizes == [2 * SMALLEST] * SHRINK_AFTER + [SMALLEST, SMALLEST]


def test_a_slab_holds_at_least_the_object() -> None:
    _, message = busy_pool(10 * MB)
    assert message.size == 10 * MB


def test_slabs_grow_no_further_than_the_largest() -> None:
    pool, message = busy_pool(10 * MB)
    size = message.size
    for number in range(1, 6):
        while pool.take(10 * MB, 10.2) is not None:  # until one is too late
            pass
        pool.on_created(SlabCreated(number, number << 30, size), 10.2)
        asked: list[int] = []
        while not asked:
            pool.take(10 * MB, 10.3)
            asked = [message.size for message in pool.messages() if isinstance(message, CreateSlab)]
        (size,) = asked
    assert size == LARGEST


def test_what_does_not_hold_the_next_object_goes_back() -> None:
    pool, _ = busy_pool(3 * MB)
    pool.on_created(SlabCreated(1, 0, 4 * MB), 10.2)
    pool.take(3 * MB, 10.3)
    pool.messages()
    pool.on_created(SlabCreated(2, 100 * MB, 8 * MB), 10.3)
    assert pool.take(3 * MB, 10.4) == SlabPart(2, 100 * MB, 3 * MB)
    assert ReturnSlab(1, 3 * MB, MB) in pool.messages()


def test_idle_slabs_go_back() -> None:
    pool, _ = busy_pool()
    pool.on_created(SlabCreated(1, 0, SMALLEST), 10.2)
    pool.take(MB, 10.3)
    pool.messages()
    pool.tick(10.3 + IDLE - 0.1)
    assert not pool.messages()
    pool.tick(10.3 + IDLE)
    assert pool.messages() == [ReturnSlab(1, MB, SMALLEST - MB)]
    assert pool.take(MB, 20) is None


def test_all_goes_back_when_memory_is_short_also_what_is_on_its_way() -> None:
    pool, _ = busy_pool()
    pool.on_created(SlabCreated(1, 0, SMALLEST), 10.2)
    for _ in range(3):
        pool.take(MB, 10.3)
    assert CreateSlab(2, SMALLEST) in pool.messages()
    pool.release(10.4)
    assert pool.messages() == [ReturnSlab(1, 3 * MB, MB)]
    pool.on_created(SlabCreated(2, 64 * MB, SMALLEST), 10.5)
    assert pool.messages() == [ReturnSlab(2, 64 * MB, SMALLEST)]
    pool.take(MB, 10.6)
    assert not pool.messages()
    pool.take(MB, 10.4 + BACK_OFF)
    assert [type(message) for message in pool.messages()] == [CreateSlab]


def test_a_refusal_is_respected_for_a_while() -> None:
    pool, _ = busy_pool()
    pool.on_created(SlabCreated(1, -1, 0), 10.2)
    pool.take(MB, 10.3)
    assert not pool.messages()
    pool.take(MB, 11.2)
    assert pool.messages()


def test_large_objects_are_asked_for_one_by_one() -> None:
    pool = SlabPool()
    for now in (1.0, 1.1, 1.2):
        assert pool.take(LARGEST_PART + 1, now) is None
    assert not pool.messages()


def test_a_part_given_up_goes_back_whole() -> None:
    pool, _ = busy_pool()
    pool.on_created(SlabCreated(1, 0, SMALLEST), 10.2)
    part = pool.take(100_000, 10.3)
    assert part is not None
    pool.give_up(part)
    assert pool.messages() == [ReturnSlab(1, 0, rounded(100_000))]


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_parts_never_overlap_and_nothing_is_lost(data: st.DataObject) -> None:
    pool = SlabPool()
    now = 0.0
    granted: dict[int, int] = {}
    taken: dict[int, int] = {}
    returned: dict[int, int] = {}
    spans: list[tuple[int, int]] = []
    pending: list[CreateSlab] = []
    base = 0
    for _ in range(data.draw(st.integers(1, 60))):
        now += data.draw(st.sampled_from([0.0, 0.1, 1.5, 3.0]))
        match data.draw(st.sampled_from(["take", "take", "take", "grant", "tick", "release"])):
            case "take":
                part = pool.take(data.draw(st.integers(1, LARGEST_PART + MB)), now)
                if part is not None:
                    taken[part.slab] = taken.get(part.slab, 0) + rounded(part.size)
                    spans.append((part.offset, part.offset + rounded(part.size)))
            case "grant" if pending:
                message = pending.pop()
                size = message.size // data.draw(st.sampled_from([1, 2, 4]))
                granted[message.slab] = size
                pool.on_created(SlabCreated(message.slab, base, size), now)
                base += size
            case "tick":
                pool.tick(now)
            case "release":
                pool.release(now)
        pool.check_invariants()
        for message in pool.messages():
            if isinstance(message, CreateSlab):
                pending.append(message)
            else:
                returned[message.slab] = returned.get(message.slab, 0) + message.size
        assert len(pending) <= 1
    pool.release(now)
    for message in pool.messages():
        assert isinstance(message, ReturnSlab)
        returned[message.slab] = returned.get(message.slab, 0) + message.size
    assert {slab: taken.get(slab, 0) + returned.get(slab, 0) for slab in granted} == granted
    spans.sort()
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
