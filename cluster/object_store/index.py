"""The records of all objects on the node, and who pins what.

Strategy: what an event asks about is found without a scan: the objects of an owner, the pins and writings of a process,
the least recently used object that may be dropped (a copy of another node's, or one that is on disk as well) or spilled
(made here). Both orders hold only unpinned objects whose bytes lie in the arena: an object enters them when its last
pin goes, at the end, and leaves when it is pinned.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from ..protocol.ids import object_owner
from .records import Record, State, Trigger, move

__all__ = ["Index"]


class Index:
    """Records by object, owner and process.

    Attributes
    ----------
    droppable, spillable
        Unpinned objects in the arena by last use: bytes that can be had without IO, and with.
    droppable_bytes
        The sum of the former.
    """

    def __init__(self) -> None:
        self.records: dict[bytes, Record] = {}
        self.droppable: OrderedDict[bytes, Record] = OrderedDict()
        self.spillable: OrderedDict[bytes, Record] = OrderedDict()
        self.droppable_bytes = 0
        self.deadlines: dict[bytes, Record] = {}
        self._filed: dict[bytes, int] = {}  # object → bytes counted in droppable_bytes
        self._owned: dict[bytes, dict[bytes, None]] = {}  # owner → ids in order of appearance
        self._pinned: dict[bytes, set[bytes]] = {}  # process → ids
        self._written: dict[bytes, set[bytes]] = {}  # process → ids

    # -- records -----------------------------------------------------------------------------------------------------

    def get(self, object_id: bytes) -> Record | None:
        return self.records.get(object_id)

    def get_or_add(self, object_id: bytes, cause: str) -> Record:
        record = self.records.get(object_id)
        if record is None:
            record = self.records[object_id] = Record(object_id, cause)
            self._owned.setdefault(object_owner(object_id), {})[object_id] = None
        return record

    def forget(self, record: Record, trigger: Trigger, cause: str) -> None:
        """Take the edge that ends the record."""
        move(record, trigger, cause)
        del self.records[record.object_id]
        owner = object_owner(record.object_id)
        owned = self._owned[owner]
        del owned[record.object_id]
        if not owned:
            del self._owned[owner]
        self.deadlines.pop(record.object_id, None)
        self.refile(record)

    def owned_by(self, owner: bytes) -> list[Record]:
        return [self.records[object_id] for object_id in self._owned.get(owner, ())]

    def set_deadline(self, record: Record, deadline: float) -> None:
        """When the record is looked at again; 0 for never."""
        record.deadline = deadline
        if deadline:
            self.deadlines[record.object_id] = record
        else:
            self.deadlines.pop(record.object_id, None)

    def due(self, now: float) -> list[Record]:
        return [record for record in self.deadlines.values() if record.deadline <= now]

    # -- pins --------------------------------------------------------------------------------------------------------

    def pin(self, record: Record, peer: bytes, count: int = 1) -> None:
        record.pins[peer] = record.pins.get(peer, 0) + count
        self._pinned.setdefault(peer, set()).add(record.object_id)
        self.refile(record)

    def unpin(self, record: Record, peer: bytes, count: int) -> int:
        """Release up to ``count`` pins of a process; returns how many of these it did not have."""
        held = record.pins.get(peer, 0)
        if held > count:
            record.pins[peer] = held - count
            return 0
        if held:
            del record.pins[peer]
            self._discard(self._pinned, peer, record.object_id)
            self.refile(record)
        return count - held

    def pinned_by(self, peer: bytes) -> list[Record]:
        return [self.records[object_id] for object_id in sorted(self._pinned.get(peer, ()))]

    def processes_with_pins(self) -> Iterable[bytes]:
        return list(self._pinned)

    # -- writers -----------------------------------------------------------------------------------------------------

    def add_writer(self, record: Record, peer: bytes) -> None:
        record.writers[peer] = None
        self._written.setdefault(peer, set()).add(record.object_id)

    def remove_writer(self, record: Record, peer: bytes) -> None:
        del record.writers[peer]
        self._discard(self._written, peer, record.object_id)

    def written_by(self, peer: bytes) -> list[Record]:
        return [self.records[object_id] for object_id in sorted(self._written.get(peer, ()))]

    # -- order of use ------------------------------------------------------------------------------------------------

    def refile(self, record: Record) -> None:
        """Put a record where its state and pins say, as the most recently used."""
        object_id = record.object_id
        if self.droppable.pop(object_id, None) is not None:
            self.droppable_bytes -= self._filed.pop(object_id)
        self.spillable.pop(object_id, None)
        if record.state is not State.SEALED or record.pins or record.block is None or record.block.path:
            return
        if record.primary and not record.disk:
            self.spillable[object_id] = record
        else:
            self.droppable[object_id] = record
            self._filed[object_id] = record.block.size
            self.droppable_bytes += record.block.size

    @staticmethod
    def _discard(index: dict[bytes, set[bytes]], peer: bytes, object_id: bytes) -> None:
        members = index[peer]
        members.discard(object_id)
        if not members:
            del index[peer]

    # -- checks ------------------------------------------------------------------------------------------------------

    def check_invariants(self) -> None:
        """Raise AssertionError unless every index says what the records say."""
        owned: dict[bytes, set[bytes]] = {}
        pinned: dict[bytes, set[bytes]] = {}
        written: dict[bytes, set[bytes]] = {}
        for object_id, record in self.records.items():
            assert record.object_id == object_id
            assert record.state is not State.GONE, record.history
            assert all(count > 0 for count in record.pins.values()), record.pins
            owned.setdefault(object_owner(object_id), set()).add(object_id)
            for peer in record.pins:
                pinned.setdefault(peer, set()).add(object_id)
            for peer in record.writers:
                written.setdefault(peer, set()).add(object_id)
            self._check_record(record)
        assert {owner: set(ids) for owner, ids in self._owned.items()} == owned
        assert self.droppable_bytes == sum(r.block.size for r in self.droppable.values() if r.block is not None)
        assert self._pinned == pinned
        assert self._written == written
        assert all(record.deadline for record in self.deadlines.values())
        assert self.deadlines.keys() == {record.object_id for record in self.records.values() if record.deadline}

    def _check_record(self, record: Record) -> None:
        state, story = record.state, record.history
        assert (record.block is not None) == record.is_in_memory or state is State.FREED, story
        assert bool(record.disk) >= (state in (State.SPILLED, State.RESTORING)), story
        assert (record.job != 0) <= (state in (State.SPILLING, State.RESTORING)), story
        assert not (state is State.CREATED and not record.writers), story
        assert not record.waiters or state in (State.EXPECTED, State.CREATED, State.PULLING, State.RESTORING), story
        assert not record.stale or record.pins, story
        may_go = state is State.SEALED and not record.pins and record.block is not None and not record.block.path
        in_orders = (record.object_id in self.droppable, record.object_id in self.spillable)
        kept_on_disk = bool(record.disk) or not record.primary
        assert in_orders == (may_go and kept_on_disk, may_go and not kept_on_disk), (story, in_orders)
