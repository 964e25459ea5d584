"""The allocator of offsets: aligned, joined, recycled, and never two blocks on one byte."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from himalia.cluster.object_store.allocator import LINE, PAGE, Allocator, _class_of, alignment, rounded

MB = 1 << 20


def test_small_blocks_lie_on_cache_lines_and_large_ones_on_pages() -> None:
    allocator = Allocator(MB)
    first, second, large = allocator.allocate(1), allocator.allocate(100), allocator.allocate(70_000)
    assert (first, second, large) == (0, LINE, PAGE)
    assert [allocator.size_of(offset) for offset in (0, LINE, PAGE)] == [LINE, 2 * LINE, 18 * PAGE]
    allocator.check_invariants()


def test_the_block_freed_last_is_used_first() -> None:
    allocator = Allocator(64 * MB)
    blocks = [allocator.allocate(MB) for _ in range(7)]
    for number in (1, 5, 3):
        allocator.free(blocks[number])  # type: ignore[arg-type]
    assert [allocator.allocate(MB) for _ in range(3)] == [blocks[3], blocks[5], blocks[1]]


def test_used_memory_is_recycled_before_the_frontier_moves() -> None:
    allocator = Allocator(64 * MB)
    offset = allocator.allocate(10 * MB)
    frontier = allocator.frontier
    for size in (10 * MB, 3 * MB, 10 * MB, 100_000):
        assert offset is not None
        allocator.free(offset)
        offset = allocator.allocate(size)
        assert allocator.frontier == frontier
    allocator.check_invariants()


def test_a_free_block_at_the_frontier_is_used_up_first() -> None:
    allocator = Allocator(64 * MB)
    allocator.allocate(MB)
    last = allocator.allocate(MB)
    assert last is not None
    allocator.free(last)
    assert allocator.allocate(5 * MB) == last
    assert allocator.frontier == last + 5 * MB
    allocator.check_invariants()


def test_neighbours_are_joined() -> None:
    allocator = Allocator(4 * MB)
    blocks = [allocator.allocate(MB) for _ in range(4)]
    for number in (0, 2, 1, 3):
        allocator.free(blocks[number])  # type: ignore[arg-type]
    allocator.check_invariants()
    assert allocator.allocate(4 * MB) == 0


def test_a_full_arena_has_no_block() -> None:
    allocator = Allocator(4 * MB)
    assert allocator.allocate(4 * MB + 1) is None
    assert allocator.allocate(4 * MB) == 0
    assert allocator.allocate(1) is None
    assert allocator.limit_needed(1) is None


def test_the_limit_holds_until_it_is_raised() -> None:
    allocator = Allocator(4 * MB, limit=MB)
    assert allocator.allocate(2 * MB) is None
    assert allocator.limit_needed(2 * MB) == 2 * MB
    allocator.extend(2 * MB)
    assert allocator.allocate(2 * MB) == 0
    allocator.extend(MB)
    assert allocator.limit == 2 * MB


def test_a_block_that_fits_is_found_among_many_of_its_class_that_do_not() -> None:
    allocator = Allocator(100 * MB)
    fits = allocator.allocate(8 * MB + 800_000)
    others = []
    for _ in range(10):
        allocator.allocate(PAGE)  # keeps neighbours apart
        others.append(allocator.allocate(8 * MB))
    allocator.free(fits)  # type: ignore[arg-type]
    for offset in others:
        allocator.free(offset)  # type: ignore[arg-type]
    allocator.limit = allocator.frontier
    assert allocator.allocate(8 * MB + 700_000) == fits


def test_a_split_block_is_freed_in_parts() -> None:
    allocator = Allocator(4 * MB)
    slab = allocator.allocate(MB)
    assert slab == 0
    rest = allocator.split(0, 256 * 1024)
    allocator.check_invariants()
    allocator.free(0)
    allocator.check_invariants()
    assert allocator.size_of(rest) == 768 * 1024
    allocator.free(rest)
    assert allocator.used == 0


@pytest.mark.parametrize("size", [0, 1, 100, MB, 2 * MB])
def test_a_split_outside_the_block_or_off_the_lines_is_refused(size: int) -> None:
    allocator = Allocator(4 * MB)
    allocator.allocate(MB)
    with pytest.raises(ValueError, match="cannot be split"):
        allocator.split(0, size)


@given(st.integers(1, 1 << 45), st.integers(0, 1 << 45))
def test_classes_are_ordered_like_sizes(size: int, more: int) -> None:
    assert _class_of(rounded(size)) <= _class_of(rounded(size + more))


@given(st.integers(0, 1 << 45))
def test_rounding_is_stable_and_no_smaller(size: int) -> None:
    assert size <= rounded(size) == rounded(rounded(size))
    assert rounded(size) % alignment(size) == 0


class AllocatorMachine(RuleBasedStateMachine):
    """Any order of allocate, free, split and extend keeps the invariants, and no two blocks overlap."""

    def __init__(self) -> None:
        super().__init__()
        self.allocator = Allocator(8 * MB, limit=MB)
        self.blocks: dict[int, int] = {}

    @rule(size=st.one_of(st.integers(1, 4096), st.integers(60_000, 3 * MB)))
    def allocate(self, size: int) -> None:
        offset = self.allocator.allocate(size)
        if offset is None:
            needed = self.allocator.limit_needed(size)
            assert needed is None or needed > self.allocator.limit
            return
        assert offset % alignment(size) == 0
        self.blocks[offset] = rounded(size)

    @precondition(lambda self: self.blocks)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(self.blocks)))
        del self.blocks[offset]
        self.allocator.free(offset)

    @precondition(lambda self: self.blocks)
    @rule(data=st.data())
    def split(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(self.blocks)))
        lines = self.blocks[offset] // LINE
        if lines < 2:
            return
        size = data.draw(st.integers(1, lines - 1)) * LINE
        second = self.allocator.split(offset, size)
        self.blocks[second] = self.blocks[offset] - size
        self.blocks[offset] = size

    @rule(limit=st.integers(0, 9 * MB))
    def extend(self, limit: int) -> None:
        self.allocator.extend(limit)

    @invariant()
    def agrees(self) -> None:
        self.allocator.check_invariants()
        assert self.allocator._allocated == self.blocks


TestAllocatorMachine = AllocatorMachine.TestCase
TestAllocatorMachine.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
