"""Room in the arena: who waits for it, and what is done to make some.

Strategy: requests stand in one queue, and only its head is served, so a large object is not starved by small ones. When
the head does not fit, the cheapest remedy that applies is used, in this order:

1. more of the arena is made to exist, while it is below its capacity;
2. unpinned objects that exist elsewhere (copies of another node's, objects also on disk) are dropped, oldest use first;
3. processes are asked to release pins they keep only for speed, and unpinned objects are spilled to disk;
4. the head waits: tasks end, and their pins go with them;
5. after `FALLBACK_AFTER` seconds of waiting for nothing that is under way it gets a file on disk in place of memory,
   since whoever holds the pins may itself be waiting for this request;
6. if the disk has no room either, it is refused, with the names of the largest holders.

A request for a slab is a wish for speed, so it goes no further than step 2.
Rejected: letting small requests pass the head (under load it never fits); spilling ahead of need at a threshold (writes
to disk what mostly would have been freed soon).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import IntEnum
from typing import Final, Protocol

from .allocator import Allocator, rounded
from .events import Command, DeleteFile, Extend, Extended, FallbackMade, MakeFallback, Warn
from .records import Block
from .relief import Relief

__all__ = ["EXTEND_STEP", "FALLBACK_AFTER", "Granter", "Kind", "Request", "Room"]

EXTEND_STEP: Final = 64 << 20
"""Bytes by which the arena grows at least: reserving that much takes some 20 ms, on a thread."""

FALLBACK_AFTER: Final = 1.0
"""Seconds. Long enough for cores to answer `ReleasePins` and for short tasks to end; a user hardly notices it."""

FALLBACK_AGAIN: Final = 0.1
"""Seconds instead, while nothing was given back since the last request that fell back: cores have been asked."""

RETRY_EXTEND_AFTER: Final = 5.0
"""Seconds until it is tried again whether shared memory, once full, has room."""


class Kind(IntEnum):
    """What a request is for."""

    CREATE = 0
    SLAB = 1
    RESTORE = 2
    PULL = 3


class Request:
    """Somebody needs ``size`` bytes. ``slab`` is set for slabs, ``object_id`` for all others."""

    __slots__ = ("cancelled", "kind", "object_id", "peer", "since", "size", "slab")

    def __init__(self, kind: Kind, size: int, peer: bytes = b"", object_id: bytes = b"", slab: int = 0) -> None:
        self.kind = kind
        self.size = size
        self.peer = peer
        self.object_id = object_id
        self.slab = slab
        self.since = -1.0  # when it got to the head of the queue and nothing was under way for it; -1: not yet
        self.cancelled = False


class Granter(Protocol):
    """Who carries out what is decided about requests."""

    def grant(self, request: Request, block: Block, now: float) -> None: ...

    def refuse(self, request: Request, error: str, now: float) -> None: ...


class Room:
    """The arena's memory, and the queue for it.

    Attributes
    ----------
    fallback_bytes
        In files on disk that stand in for arena memory.
    """

    def __init__(
        self,
        capacity: int,
        granter: Granter,
        relief: Relief,
        emit: Callable[[Command], None],
        new_job: Callable[[], int],
    ) -> None:
        self.allocator = Allocator(capacity, limit=0)
        self.fallback_bytes = 0
        self._granter = granter
        self._relief = relief
        self._emit = emit
        self._new_job = new_job
        self._queue: deque[Request] = deque()
        self._falling_back: dict[int, Request] = {}
        self._extending = False
        self._no_extension_before = 0.0
        self._extension_error = ""
        self._was_freed = True  # any memory, since the last request that fell back

    # -- requests ----------------------------------------------------------------------------------------------------

    def request(self, request: Request, now: float) -> None:
        """Ask for room; answered by `Granter.grant` or `Granter.refuse`, perhaps at once."""
        self._queue.append(request)
        if len(self._queue) == 1:
            self.pump(now)

    def pump(self, now: float) -> None:
        """Serve as much of the queue as possible. To be called when anything was freed, and from time to time."""
        while self._queue:
            request = self._queue[0]
            if request.cancelled:
                self._queue.popleft()
                continue
            offset = self._find_for_slab(request) if request.kind is Kind.SLAB else self._find(request.size)
            if offset is not None:
                self._queue.popleft()
                self._granter.grant(request, Block(offset, self.allocator.size_of(offset), request.size), now)
                continue
            if self._extend_for(request.size, now):
                return
            if request.kind is Kind.SLAB:
                self._queue.popleft()
                self._granter.refuse(request, "", now)
                continue
            if self._press(request, now):
                return
            self._queue.popleft()
            self._was_freed = self._was_freed and rounded(request.size) > self.allocator.capacity
            job = self._new_job()
            self._falling_back[job] = request
            self._emit(MakeFallback(job, request.size))

    def cancel(self, wanted: Callable[[Request], bool]) -> None:
        """Forget the requests for which ``wanted`` holds."""
        for request in [*self._queue, *self._falling_back.values()]:
            if wanted(request):
                request.cancelled = True

    @property
    def waiting(self) -> int:
        """Requests without an answer."""
        return len(self._queue) + len(self._falling_back)

    def _find(self, size: int) -> int | None:
        offset = self.allocator.allocate(size)
        if offset is not None or self._may_extend(size):
            return offset
        if rounded(size) > self.allocator.limit - self.allocator.used + self._relief.droppable_bytes():
            return None  # all of it together would not do, so nothing is dropped
        while offset is None and self._relief.drop_one():
            offset = self.allocator.allocate(size)
        return offset

    def _find_for_slab(self, request: Request) -> int | None:
        """A smaller slab of memory that was used before is better than one of fresh memory."""
        for size in (request.size, request.size // 2, request.size // 4):
            offset = self.allocator.reuse(size) if size else None
            if offset is not None:
                return offset
        return self._find(request.size)

    def _press(self, request: Request, now: float) -> bool:
        """Make room for the head of the queue; False when there is nothing more to wait for."""
        if rounded(request.size) > self.allocator.capacity:
            return False
        self._relief.ask_for_pins(now)
        if self._relief.spill(rounded(request.size), now):
            request.since = -1.0
            return True
        if request.since < 0:
            request.since = now
        return now - request.since < (FALLBACK_AFTER if self._was_freed else FALLBACK_AGAIN)

    # -- the arena grows ---------------------------------------------------------------------------------------------

    def _may_extend(self, size: int) -> bool:
        return self._extending or (not self._extension_error and self.allocator.limit_needed(size) is not None)

    def _extend_for(self, size: int, now: float) -> bool:
        if self._extending:
            return True
        if self._extension_error and now < self._no_extension_before:
            return False
        needed = self.allocator.limit_needed(size)
        if needed is None:
            return False
        step = min(self.allocator.limit + EXTEND_STEP, self.allocator.capacity)
        self._extending = True
        self._emit(Extend(max(needed, step)))
        return True

    def extended(self, event: Extended, now: float) -> None:
        """The arena has grown, or could not."""
        self._extending = False
        self.allocator.extend(event.limit)
        if event.error and not self._extension_error:
            self._emit(Warn(f"the object store cannot grow beyond {self.allocator.limit} bytes: {event.error}"))
        self._extension_error = event.error
        self._no_extension_before = now + RETRY_EXTEND_AFTER
        self.pump(now)

    # -- blocks ------------------------------------------------------------------------------------------------------

    def fallback_made(self, event: FallbackMade, now: float) -> None:
        """A file in place of memory is there, or could not be made."""
        request = self._falling_back.pop(event.job)
        if event.error:
            if not request.cancelled:
                self._granter.refuse(request, event.error, now)
            return
        self.fallback_bytes += request.size
        block = Block(0, request.size, request.size, event.path)
        if request.cancelled:
            self.release(block)
        else:
            self._granter.grant(request, block, now)

    def release(self, block: Block) -> None:
        """One user fewer; the last one's going gives the memory back."""
        block.users -= 1
        assert block.users >= 0, block
        if block.users:
            return
        if block.path:
            self.fallback_bytes -= block.size
            self._emit(DeleteFile(block.path))
        else:
            self._was_freed = True
            self.allocator.free(block.offset)

    @property
    def extension_error(self) -> str:
        """Why the arena could not grow to its capacity; empty if it can."""
        return self._extension_error
