"""Which bytes of the arena are in use: an allocator of offsets, which never touches memory.

Strategy: two-level segregated fit. Free blocks are kept by size class (eight for each power of two); a bitmap of
the classes that hold something finds the smallest sufficient one in a few machine words. Within a class the block freed
last is taken first. Neighbouring free blocks are joined at once, so memory does not fall to pieces as sizes change.

Pages that were used before are an order of magnitude faster to write than fresh ones, whose first touch goes through
the kernel. So the arena has a frontier: all beyond it is fresh. Only when no free block below fits does the frontier
move, and a free block that borders on it is used up first. How far it may move (``limit``) is decided by the caller,
who sees to it that the memory really exists.

Blocks of 64 KB and more are page-aligned, for the kernel maps pages and slabs are handed out in them; smaller ones lie
on cache lines. Rejected: a heap of free blocks ordered by address (compact, but reuses cold memory), one list scanned
for the first fit (linear), buddies (a 33 MB object would take 64).
"""

from __future__ import annotations

from typing import Final

__all__ = ["LINE", "PAGE", "Allocator", "alignment", "rounded"]

LINE: Final = 64
"""Bytes of a cache line: what pickle-5 buffers and SIMD code like to begin on."""

PAGE: Final = 4096

_PAGED_FROM: Final = 64 * 1024
_SECOND_LEVEL: Final = 3  # bits: eight classes for each power of two, so a class spans at most an eighth of its size
_TRIES: Final = 4  # blocks of the class itself, where not each fits, that are looked at before a larger class is


def rounded(size: int) -> int:
    """Bytes that a block for ``size`` bytes takes."""
    unit = PAGE if size >= _PAGED_FROM else LINE
    return max(unit, (size + unit - 1) // unit * unit)


def alignment(size: int) -> int:
    """What the offset of a block for ``size`` bytes is a multiple of."""
    return PAGE if size >= _PAGED_FROM else LINE


def _class_of(size: int) -> int:
    """Number of the class whose blocks have at least its lower bound and less than the next one's."""
    lines = size // LINE
    high = lines.bit_length()
    if high <= _SECOND_LEVEL:
        return lines
    shift = high - _SECOND_LEVEL - 1
    return ((shift + 1) << _SECOND_LEVEL) + (lines >> shift) - (1 << _SECOND_LEVEL)


class Allocator:
    """Allocates blocks of an arena.

    Parameters
    ----------
    capacity
        Bytes of the arena; rounded down to pages.
    limit
        Bytes from its beginning that exist; `extend` raises it.

    Attributes
    ----------
    used
        Bytes in allocated blocks.
    frontier
        Where the memory begins that was never allocated.
    """

    def __init__(self, capacity: int, limit: int | None = None) -> None:
        self.capacity = capacity // PAGE * PAGE
        self.limit = self.capacity if limit is None else min(limit, self.capacity)
        self.frontier = 0
        self.used = 0
        self._allocated: dict[int, int] = {}  # offset → size
        self._free: dict[int, int] = {}  # offset → size
        self._free_ends: dict[int, int] = {}  # end → offset
        self._bins: dict[int, dict[int, None]] = {}  # class → offsets, in the order in which they were freed
        self._bitmap = 0

    # -- allocate and free -------------------------------------------------------------------------------------------

    def allocate(self, size: int) -> int | None:
        """Offset of a new block for ``size`` bytes; None when no free block and no room up to the limit is left."""
        need, align = rounded(size), alignment(size)
        found = self._find(need, align, _TRIES)
        if found is not None:
            return self._take(found, need, align)
        offset = self._advance(need, align)
        if offset is None:
            found = self._find_anywhere(need, align)
            offset = None if found is None else self._take(found, need, align)
        return offset

    def reuse(self, size: int) -> int | None:
        """As `allocate`, but only of memory that was used before."""
        need, align = rounded(size), alignment(size)
        found = self._find(need, align, _TRIES)
        return None if found is None else self._take(found, need, align)

    def limit_needed(self, size: int) -> int | None:
        """The limit with which a block of ``size`` bytes fits beyond the frontier; None if it is past the capacity."""
        end = self._beyond(alignment(size)) + rounded(size)
        return end if end <= self.capacity else None

    def extend(self, limit: int) -> None:
        """More of the arena exists: ``limit`` bytes from its beginning."""
        self.limit = max(self.limit, min(limit, self.capacity))

    def free(self, offset: int) -> None:
        """Give a block back; it is the first to be used again."""
        size = self._allocated.pop(offset)
        self.used -= size
        self._release(offset, size)

    def split(self, offset: int, size: int) -> int:
        """Make two allocated blocks of one; the first has ``size`` bytes, the offset of the second is returned."""
        whole = self._allocated[offset]
        if not 0 < size < whole or size % LINE:
            raise ValueError(f"a block of {whole} bytes cannot be split at {size}")
        self._allocated[offset] = size
        self._allocated[offset + size] = whole - size
        return offset + size

    def size_of(self, offset: int) -> int:
        """Bytes of an allocated block."""
        return self._allocated[offset]

    # -- finding -----------------------------------------------------------------------------------------------------

    def _find(self, need: int, align: int, tries: int) -> int | None:
        """A free block that holds ``need`` aligned bytes; of its own class ``tries`` blocks are looked at."""
        own = _class_of(need)
        for offset in self._newest(own, tries):
            if self._fits(offset, need, align):
                return offset
        # Every block of the classes above is large enough; not so if its beginning has to be aligned.
        above = self._bitmap >> (own + 1)
        number = own
        while above:
            step = (above & -above).bit_length()
            number += step
            above >>= step
            for offset in self._newest(number, tries):
                if self._fits(offset, need, align):
                    return offset
        return None

    def _find_anywhere(self, need: int, align: int) -> int | None:
        """As `_find`, but every block of the own class is looked at: slow, only when the arena is full."""
        return self._find(need, align, len(self._free))

    def _newest(self, number: int, tries: int) -> list[int]:
        offsets = self._bins.get(number)
        if not offsets:
            return []
        newest = reversed(offsets)
        return [offset for offset, _ in zip(newest, range(tries), strict=False)]

    def _fits(self, offset: int, need: int, align: int) -> bool:
        start = -(-offset // align) * align
        return start + need <= offset + self._free[offset]

    def _take(self, offset: int, need: int, align: int) -> int:
        """Allocate from a free block; what is left of it before and behind stays free."""
        size = self._free[offset]
        self._remove_free(offset, size)
        start = -(-offset // align) * align
        if start > offset:
            self._add_free(offset, start - offset)
        end = offset + size
        if start + need < end:
            self._add_free(start + need, end - start - need)
        return self._allocate_at(start, need)

    def _beyond(self, align: int) -> int:
        """Where a block would begin that reaches past the frontier."""
        start = self._free_ends.get(self.frontier, self.frontier)
        return -(-start // align) * align

    def _advance(self, need: int, align: int) -> int | None:
        start = self._beyond(align)
        if start + need > self.limit:
            return None
        before = self._free_ends.get(self.frontier)
        if before is not None:
            self._remove_free(before, self.frontier - before)
        else:
            before = self.frontier
        if start > before:
            self._add_free(before, start - before)
        self.frontier = start + need
        return self._allocate_at(start, need)

    def _allocate_at(self, offset: int, size: int) -> int:
        self._allocated[offset] = size
        self.used += size
        return offset

    # -- free blocks -------------------------------------------------------------------------------------------------

    def _release(self, offset: int, size: int) -> None:
        behind = self._free.get(offset + size)
        if behind is not None:
            self._remove_free(offset + size, behind)
            size += behind
        before = self._free_ends.get(offset)
        if before is not None:
            length = offset - before
            self._remove_free(before, length)
            offset, size = before, size + length
        self._add_free(offset, size)

    def _add_free(self, offset: int, size: int) -> None:
        self._free[offset] = size
        self._free_ends[offset + size] = offset
        number = _class_of(size)
        self._bins.setdefault(number, {})[offset] = None
        self._bitmap |= 1 << number

    def _remove_free(self, offset: int, size: int) -> None:
        del self._free[offset]
        del self._free_ends[offset + size]
        number = _class_of(size)
        offsets = self._bins[number]
        del offsets[offset]
        if not offsets:
            del self._bins[number]
            self._bitmap &= ~(1 << number)

    # -- checks ------------------------------------------------------------------------------------------------------

    def check_invariants(self) -> None:
        """Raise AssertionError unless blocks tile everything below the frontier and every index agrees."""
        position = 0
        was_free = False
        for offset, size in sorted([*self._allocated.items(), *self._free.items()]):
            is_free = offset in self._free
            assert offset == position, f"hole or overlap at {position}, next block at {offset}"
            assert size > 0, f"empty block at {offset}"
            assert size % LINE == 0, f"block of {size} bytes at {offset}"
            assert not (is_free and was_free), f"neighbouring free blocks at {offset}"
            position, was_free = offset + size, is_free
        assert position == self.frontier <= self.limit <= self.capacity, (position, self.frontier, self.limit)
        assert self.used == sum(self._allocated.values())
        assert self._free_ends == {offset + size: offset for offset, size in self._free.items()}
        assert {o for offsets in self._bins.values() for o in offsets} == self._free.keys()
        for number, offsets in self._bins.items():
            assert offsets, f"class {number} is empty"
            assert all(_class_of(self._free[offset]) == number for offset in offsets)
        assert self._bitmap == sum(1 << number for number in self._bins)
