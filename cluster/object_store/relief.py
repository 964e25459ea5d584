"""Ways to get memory back: drop what exists elsewhere, spill what does not, ask for pins kept only for speed.

Which of them is used when is decided in `room`. Here is what each does to the objects concerned, and what follows when
a disk has answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from ..protocol.raylet_messages import ReleasePins
from .events import Command, DeleteFile, ReadSpill, Restored, Send, Spilled, Warn, WriteSpill
from .index import Index
from .records import Block, Record, Trigger, move

__all__ = ["ASK_AGAIN", "SPILLS", "SPILL_AGAIN", "Relief"]

ASK_AGAIN: Final = 0.5
"""Seconds between requests to release pins, while memory is short."""

SPILLS: Final = 4
"""Objects spilled at a time: two threads write, two wait their turn."""

SPILL_AGAIN: Final = 10.0
"""Seconds without spilling after it failed; a full disk does not get room in less."""


class _Job:
    """A copy to or from disk under way; uses its block."""

    __slots__ = ("block", "object_id", "size")

    def __init__(self, object_id: bytes, block: Block, size: int) -> None:
        self.object_id = object_id
        self.block = block
        self.size = size


class Relief:
    """What can be done about a full store.

    Parameters
    ----------
    release
        Takes a block of which one user less is left.
    keepers
        Processes that may hold memory only for speed.

    Attributes
    ----------
    spilled_bytes, restored_bytes
        Copied to disk and back, since the beginning.
    spill_error
        Why the last attempt to spill failed; empty if it did not.
    """

    def __init__(
        self,
        index: Index,
        release: Callable[[Block], None],
        keepers: Callable[[], Iterable[bytes]],
        emit: Callable[[Command], None],
        new_job: Callable[[], int],
    ) -> None:
        self._index = index
        self._release = release
        self._keepers = keepers
        self._emit = emit
        self._new_job = new_job
        self._jobs: dict[int, _Job] = {}
        self._spilling: dict[int, int] = {}  # job → bytes
        self._asked_at = float("-inf")
        self._no_spill_before = float("-inf")
        self.spill_error = ""
        self.spilled_bytes = 0
        self.restored_bytes = 0

    # -- memory back at once -----------------------------------------------------------------------------------------

    def droppable_bytes(self) -> int:
        """Bytes that `drop_one` can give."""
        return self._index.droppable_bytes

    def drop_one(self) -> bool:
        """Drop the least recently used object that is elsewhere, too; False if there is none."""
        record = next(iter(self._index.droppable.values()), None)
        if record is None:
            return False
        block, record.block = record.block, None
        assert block is not None
        if record.disk:
            move(record, Trigger.SPILLED, "dropped from memory: it is on disk")
            self._index.refile(record)
        elif record.writers:
            move(record, Trigger.DROP, "dropped from memory: another node has it")
            self._index.refile(record)
        else:
            self._index.forget(record, Trigger.EVICT, "dropped from memory: another node has it")
        self._release(block)
        return True

    def ask_for_pins(self, now: float) -> None:
        """Ask all who may keep memory only for speed."""
        if now - self._asked_at < ASK_AGAIN:
            return
        self._asked_at = now
        for peer in self._keepers():
            self._emit(Send(peer, ReleasePins()))

    # -- to disk -----------------------------------------------------------------------------------------------------

    def spill(self, size: int, now: float) -> bool:
        """Write unpinned objects of ``size`` bytes in all to disk; whether any are being written."""
        spillable = self._index.spillable
        under_way = sum(self._spilling.values())
        while spillable and under_way < size and len(self._spilling) < SPILLS and now >= self._no_spill_before:
            record = next(iter(spillable.values()))
            assert record.block is not None
            move(record, Trigger.SPILL, "memory is short")
            self._index.refile(record)
            record.job = self._new_job()
            record.block.users += 1
            self._jobs[record.job] = _Job(record.object_id, record.block, record.size)
            self._spilling[record.job] = record.block.size
            under_way += record.block.size
            self._emit(WriteSpill(record.job, record.object_id, record.block, record.size))
        return bool(self._spilling)

    def spilled(self, event: Spilled, now: float) -> None:
        """An object is on disk, or could not be written."""
        job = self._jobs.pop(event.job)
        del self._spilling[event.job]
        self._release(job.block)
        self.spill_error = event.error
        if event.error:
            self._no_spill_before = now + SPILL_AGAIN
            self._emit(Warn(f"could not spill object {job.object_id.hex()} ({job.size} bytes): {event.error}"))
        else:
            self.spilled_bytes += job.size
        record = self._index.get(job.object_id)
        if record is None or record.job != event.job:
            if event.uri:
                self._emit(DeleteFile(event.uri))  # freed or replaced meanwhile
            return
        record.job = 0
        record.disk = event.uri
        if event.error or record.pins:
            move(record, Trigger.KEPT, event.error or "spilled, but pinned meanwhile")
        else:
            move(record, Trigger.SPILLED, f"spilled to {event.uri}")
            assert record.block is not None
            self._release(record.block)
            record.block = None
        self._index.refile(record)

    # -- and back ----------------------------------------------------------------------------------------------------

    def read_back(self, record: Record, block: Block) -> None:
        """There is room for a spilled object."""
        record.job = self._new_job()
        self._jobs[record.job] = _Job(record.object_id, block, record.size)
        block.length = record.size
        self._emit(ReadSpill(record.job, record.disk, block, record.size))

    def read(self, event: Restored) -> tuple[Record, Block] | None:
        """The object that was read and where to; None if nobody wants it any more."""
        job = self._jobs.pop(event.job)
        record = self._index.get(job.object_id)
        if record is None or record.job != event.job:
            self._release(job.block)
            return None
        record.job = 0
        if event.error:
            self._emit(Warn(f"could not restore object {record.object_id.hex()}: {event.error}"))
        else:
            self.restored_bytes += job.size
        return record, job.block

    def blocks(self) -> list[Block]:
        """What copies under way use."""
        return [job.block for job in self._jobs.values()]
