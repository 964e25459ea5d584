"""What the store tells about itself: numbers, the largest holders, why there is no room, whether everything agrees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..protocol.ids import object_owner
from ..protocol.raylet_messages import StoreStats
from .index import Index
from .records import Record, State
from .room import Room
from .slabs import Slabs

if TYPE_CHECKING:
    from .machine import StoreMachine

__all__ = ["check_store", "holders", "no_room_text", "store_stats"]

_HOLDERS: Final = 5


def holders(index: Index, slabs: Slabs, name_of: Callable[[bytes], str]) -> list[tuple[str, int]]:
    """Who owns most of what is in memory: name and bytes, largest first."""
    held = slabs.bytes_of()
    counted: set[int] = set()  # blocks: objects can share one
    for record in index.records.values():
        blocks = [record.block, *record.stale, *record.writers.values()]
        size = sum(block.size for block in blocks if block is not None and id(block) not in counted)
        counted.update(map(id, blocks))
        if size:
            owner = object_owner(record.object_id)
            held[owner] = held.get(owner, 0) + size
    largest = sorted(held.items(), key=lambda item: (-item[1], item[0]))[:_HOLDERS]
    return [(name_of(owner), size) for owner, size in largest]


def no_room_text(room: Room, size: int, error: str, spill_error: str) -> str:
    """One sentence: what was asked, what there is, and what stood in the way."""
    allocator = room.allocator
    text = (
        f"no room for {size} bytes in the object store: {allocator.used} of {allocator.capacity} bytes are in use, "
        "and nothing more of it can be dropped or spilled"
    )
    if room.extension_error:
        text += f"; shared memory has no room beyond {allocator.limit} bytes ({room.extension_error})"
    if spill_error:
        text += f"; spilling failed ({spill_error})"
    if error:
        text += f"; no file on disk could be made instead ({error})"
    return text


def store_stats(machine: StoreMachine, *, detail: bool) -> StoreStats:
    """Numbers of a store; ``spilled`` and ``restored`` count from its beginning."""
    records = machine.index.records
    objects = [
        (object_id, record.size, str(record.state), sum(record.pins.values()), object_owner(object_id))
        for object_id, record in (records.items() if detail else ())
    ]
    return StoreStats(
        capacity=machine.room.allocator.capacity,
        used=machine.room.allocator.used,
        spilled=machine.relief.spilled_bytes,
        restored=machine.relief.restored_bytes,
        fallback=machine.room.fallback_bytes,
        count=sum(record.state not in (State.EXPECTED, State.FREED) for record in records.values()),
        objects=objects,
        pinned_by=[list(record.pins) for record in records.values()] if detail else [],
        shares=_shares(records) if detail else [],
    )


def _shares(records: dict[bytes, Record]) -> list[bytes]:
    """For each object the first one that has the same block; empty if that is itself."""
    first: dict[int, bytes] = {}
    return [
        b"" if record.block is None or (other := first.setdefault(id(record.block), object_id)) == object_id else other
        for object_id, record in records.items()
    ]


def check_store(machine: StoreMachine) -> None:
    """Raise AssertionError unless everything agrees; in particular every block has exactly its users."""
    machine.index.check_invariants()
    machine.room.allocator.check_invariants()
    records = machine.index.records.values()
    pulling = {record.object_id for record in records if record.state is State.PULLING}
    assert machine.exchange.pulling == pulling, (machine.exchange.pulling, pulling)
    blocks = machine.relief.blocks() + machine.exchange.blocks() + machine.slabs.blocks()
    for record in records:
        blocks += [record.block] if record.block is not None else []
        blocks += record.stale
        blocks += [block for block in record.writers.values() if block is not None]
    users = Counter(map(id, blocks))
    distinct = {id(block): block for block in blocks}
    assert all(block.users == users[key] for key, block in distinct.items()), (distinct, users)
    in_arena = [block for block in distinct.values() if not block.path]
    assert sum(block.size for block in in_arena) == machine.room.allocator.used
    for block in in_arena:
        assert machine.room.allocator.size_of(block.offset) == block.size, block
    assert sum(block.size for block in distinct.values() if block.path) == machine.room.fallback_bytes
