"""When a process asks for slabs, and which bytes of them its objects get. Decides only; sends nothing itself.

Strategy: a slab is one piece of the arena that the process divides itself, so that writing an object of medium size
costs no round trip: take a part, write, seal. A process that writes one object now and then asks for none. From the
second object within `SOON` seconds on it asks, and for the next slab when half of what is at hand is gone, well before
it is needed. Slabs are small, since a process that frees what it wrote then goes round in memory that is still in the
processor's cache: writing there takes half the time. Only when a slab comes too late is the next twice as large, so
that who does nothing but write gets `LARGEST`; when several come in time, half as large is tried again. What is left of
a slab goes back when the next object does not fit, when nothing was written for `IDLE` seconds, and at once when memory
is short.

Parts are taken in ascending order. Memory that objects gave back is handed out again by the raylet, last freed first,
so a process that writes and frees goes round in pages that are mapped and touched already. Rejected: recycling freed
objects inside the process (only the raylet knows who else reads them), one slab for each size (holds several times
the memory), slabs for objects above `LARGEST_PART` (their round trip is lost in the copying).
"""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import Final, NamedTuple

from ..protocol.raylet_messages import CreateSlab, ReturnSlab, SlabCreated
from .allocator import LINE, rounded

__all__ = ["IDLE", "LARGEST", "LARGEST_PART", "SHRINK_AFTER", "SMALLEST", "SlabPart", "SlabPool"]

LARGEST: Final = 64 << 20
"""Bytes of a slab at most: some 6 ms of writing, twenty times the wait for the next."""

SMALLEST: Final = 4 << 20
"""Bytes of a slab at least."""

LARGEST_PART: Final = 16 << 20
"""Bytes of an object above which it is better asked for: copying takes a millisecond, asking a quarter of that."""

SHRINK_AFTER: Final = 8
"""Slabs in a row in time, after which half the size is tried: being late once in so many costs next to nothing."""

SOON: Final = 1.0
"""Seconds between two objects that let expect a third."""

IDLE: Final = 2.0
"""Seconds without writing after which memory is given back."""

BACK_OFF: Final = 1.0
"""Seconds without slabs after one was refused or memory was short."""


class SlabPart(NamedTuple):
    """Memory for one object: goes into `SealedObject` as it is."""

    slab: int
    offset: int
    size: int


class _Slab:
    """``position`` is where the next part begins, ``end`` where the slab ends."""

    __slots__ = ("end", "number", "position")

    def __init__(self, number: int, offset: int, size: int) -> None:
        self.number = number
        self.position = offset
        self.end = offset + size

    @property
    def rest(self) -> int:
        return self.end - self.position


class SlabPool:
    """The slabs of one process. Methods may be called from any thread.

    After each call the messages that `messages` returns are to be sent to the raylet.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slabs: list[_Slab] = []  # in the order in which they are used up
        self._messages: list[CreateSlab | ReturnSlab] = []
        self._last_number = 0
        self._asked = 0  # number of the slab asked for; 0 for none
        self._size = 0  # bytes asked for last
        self._asked_at = float("-inf")
        self._in_time = 0  # slabs in a row that came before they were needed
        self._is_late = False  # an object had to do without the slab asked for
        self._last_take = float("-inf")
        self._none_before = float("-inf")

    def take(self, size: int, now: float) -> SlabPart | None:
        """Memory for an object of ``size`` bytes; None: ask for this one with `CreateObject`."""
        if not 0 < size <= LARGEST_PART:
            return None
        need = rounded(size)
        with self._lock:
            is_soon = now - self._last_take < SOON
            self._last_take = now
            part = self._part(need, size)
            self._is_late |= part is None and self._asked > 0
            if is_soon and not self._asked and now >= self._none_before:
                self._ask_ahead(need, now)
            return part

    def _part(self, need: int, size: int) -> SlabPart | None:
        slabs = self._slabs
        for number, slab in enumerate(slabs):
            if slab.rest >= need:
                for emptied in slabs[:number]:
                    self._return_rest(emptied)
                del slabs[:number]
                part = SlabPart(slab.number, slab.position, size)
                slab.position += need
                if not slab.rest:
                    del slabs[0]
                return part
        return None

    def _ask_ahead(self, need: int, now: float) -> None:
        at_hand = sum(slab.rest for slab in self._slabs if slab.rest >= need)
        if at_hand and at_hand * 2 >= self._size:
            return
        is_fast = now - self._asked_at < SOON
        self._in_time = 0 if self._is_late else self._in_time + 1
        wanted = self._size * 2 if self._is_late else self._size
        if self._in_time >= SHRINK_AFTER:
            wanted, self._in_time = self._size // 2, 0
        self._size = min(max(wanted if is_fast else 0, need, SMALLEST), LARGEST)
        self._asked_at, self._is_late = now, False
        self._last_number += 1
        self._asked = self._last_number
        self._messages.append(CreateSlab(self._asked, self._size))

    def give_up(self, part: SlabPart) -> None:
        """An object will not be written after all; its memory goes back."""
        with self._lock:
            self._messages.append(ReturnSlab(part.slab, part.offset, rounded(part.size)))

    def on_created(self, message: SlabCreated, now: float) -> None:
        """The raylet's answer; the slab may be smaller than asked for."""
        with self._lock:
            self._asked = 0
            if message.offset < 0:
                self._none_before = now + BACK_OFF
                return
            slab = _Slab(message.slab, message.offset, message.size)
            if now < self._none_before:
                self._return_rest(slab)  # memory became short since it was asked for
            else:
                self._slabs.append(slab)

    def release(self, now: float) -> None:
        """Memory is short: everything goes back, and nothing is asked for during `BACK_OFF` seconds."""
        with self._lock:
            self._none_before = now + BACK_OFF
            self._return_all()

    def tick(self, now: float) -> None:
        """Give back what has been idle; to be called about once a second."""
        with self._lock:
            if self._slabs and now - self._last_take >= IDLE:
                self._return_all()

    def messages(self) -> list[CreateSlab | ReturnSlab]:
        """What is to be sent to the raylet now, in this order."""
        if not self._messages:
            return []
        with self._lock:
            messages, self._messages = self._messages, []
        return messages

    def _return_all(self) -> None:
        for slab in self._slabs:
            self._return_rest(slab)
        self._slabs = []

    def _return_rest(self, slab: _Slab) -> None:
        if slab.rest:
            self._messages.append(ReturnSlab(slab.number, slab.position, slab.rest))

    def check_invariants(self) -> None:
        """Raise AssertionError unless slabs are distinct and nothing overlaps."""
        spans = sorted((slab.position, slab.end) for slab in self._slabs)
        assert all(start < end for start, end in spans), spans
        assert all(first[1] <= second[0] for first, second in pairwise(spans)), spans
        assert all(slab.position % LINE == 0 for slab in self._slabs)
        assert len({slab.number for slab in self._slabs}) == len(self._slabs)
