"""What happens to one object: it arrives, is waited for, goes. The steps of which the machine's answers are made.

Each step takes an edge of the table in `records` and does what belongs to it: memory changes hands, those who wait are
told, copies on other nodes and on disk are deleted. Which step follows from which event is the business of `machine`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..protocol.raylet_messages import FreeObjects, ObjectCreated, ObjectPinned, SlabCreated
from .events import Command, DeleteFile, Restored, Send, SendNode
from .exchange import Exchange
from .index import Index
from .records import Block, Record, State, Trigger, move
from .relief import Relief
from .report import holders, no_room_text
from .room import Kind, Request, Room
from .slabs import Slabs

__all__ = ["FREED", "LOST", "NO_ROOM", "PINNED", "SEAL_WAIT", "Lifecycle"]

PINNED: Final = 0
LOST: Final = 1
FREED: Final = 2
NO_ROOM: Final = 3
"""What `ObjectPinned` says of an object."""

SEAL_WAIT: Final = 2.0
"""Seconds that an object which others know of may be unknown here: the seal is on its way, or its writer died."""


class Lifecycle:
    """The steps in every object's life, and the parts of the store that take part in them."""

    def __init__(self, node_id: bytes, capacity: int, name_of: Callable[[bytes], str]) -> None:
        self._name_of = name_of
        self._out: list[Command] = []
        self._answers: dict[bytes, list[ObjectPinned]] = {}
        self._last_job = 0
        self.index = Index()
        self.relief = Relief(self.index, self.release, self._keepers, self._emit, self._new_job)
        self.room = Room(capacity, self, self.relief, self._emit, self._new_job)
        self.slabs = Slabs(self.room)
        self.exchange = Exchange(node_id, self.index, self, self._emit, self._new_job)

    def _emit(self, command: Command) -> None:
        self._out.append(command)

    def _new_job(self) -> int:
        self._last_job += 1
        return self._last_job

    # -- here by any way -----------------------------------------------------------------------------------------------

    def _arrive(self, record: Record, block: Block, trigger: Trigger, cause: str) -> None:
        record.block = block
        record.size = block.length
        move(record, trigger, cause)
        self.index.set_deadline(record, 0.0)
        self.index.refile(record)

    def _replace(self, record: Record) -> None:
        """A new value is there: part with the old one, if there is any."""
        self.exchange.cancel_pull(record.object_id)
        self.exchange.drop_sends(record)
        self._forget_disk(record)
        if record.block is not None:
            if record.pins:
                record.stale.append(record.block)
            else:
                self.release(record.block)
            record.block = None

    def _ready(self, record: Record, now: float) -> None:
        """An object is in memory: give it to those who waited."""
        record.early = {}
        waiters, record.waiters = record.waiters, []
        for peer in waiters:
            self.index.pin(record, peer)
            self._answer(record, peer)
        askers, record.askers = record.askers, {}
        for node, pull in askers.items():
            self.exchange.serve(record, node, pull)
        self.unpinned(record, now)

    def _restored(self, event: Restored, now: float) -> None:
        found = self.relief.read(event)
        if found is None:
            return
        record, block = found
        if event.error:
            self.release(block)
            self._forget_disk(record)
            move(record, Trigger.LOST, event.error)
            self._dismiss(record, LOST, event.error)
            self._expect(record, now)
        else:
            self._arrive(record, block, Trigger.RESTORED, "restored from disk")
            self._ready(record, now)

    def pulled(self, record: Record, block: Block, source: bytes, now: float) -> None:
        """An object has come from another node."""
        record.primary = False
        self._arrive(record, block, Trigger.PULLED, f"pulled from node {source.hex()}")
        self._ready(record, now)

    # -- wanted and not here -------------------------------------------------------------------------------------------

    def _fetch(self, record: Record, nodes: list[bytes], cause: str, now: float) -> None:
        """Somebody waits for this object: do what brings it here."""
        if record.state is State.SPILLED:
            self._restore(record, cause, now)
        elif record.state is State.PULLING:
            self.exchange.add_nodes(record.object_id, nodes)
        elif record.state is State.EXPECTED:
            others = self.exchange.others(record.object_id, nodes)
            if others:
                move(record, Trigger.PULL, cause)
                self.index.set_deadline(record, 0.0)
                self.exchange.pull(record, others, now)
            else:
                self._expect(record, now)

    def _restore(self, record: Record, cause: str, now: float) -> None:
        move(record, Trigger.RESTORE, cause)
        self.room.request(Request(Kind.RESTORE, record.size, object_id=record.object_id), now)

    def _expect(self, record: Record, now: float) -> None:
        """Nothing is under way for this object: it is looked at again when its seal should have come."""
        if record.writers:
            move(record, Trigger.CREATE, "a process is writing it")
        elif not record.deadline:
            self.index.set_deadline(record, now + SEAL_WAIT)

    def not_pulled(self, record: Record, error: str, now: float) -> None:
        """No node has an object, or there is no room for it."""
        move(record, Trigger.LOST, error or "no node has it")
        self._dismiss(record, NO_ROOM if error else LOST, error)
        self._expect(record, now)

    def _dismiss(self, record: Record, status: int, error: str = "") -> None:
        """Tell those who wait for an object that they do in vain."""
        waiters, record.waiters = record.waiters, []
        for peer in waiters:
            self._tell(peer, ObjectPinned(record.object_id, status, error=error))
        askers, record.askers = record.askers, {}
        for node, pull in askers.items():
            self.exchange.deny(record.object_id, node, pull)

    def _answer(self, record: Record, peer: bytes) -> None:
        block = record.block
        assert block is not None
        self._tell(peer, ObjectPinned(record.object_id, PINNED, block.offset, record.size, block.path))

    def _tell(self, peer: bytes, answer: ObjectPinned) -> None:
        self._answers.setdefault(peer, []).append(answer)

    # -- leaving -------------------------------------------------------------------------------------------------------

    def unpinned(self, record: Record, now: float) -> None:
        """See what follows if an object has no pins any more."""
        if record.pins:
            return
        stale, record.stale = record.stale, []
        for block in stale:
            self.release(block)
        self._settle_freed(record, "its last pin went")
        is_copy_on_disk = record.state is State.SEALED and not record.primary and record.block is not None
        if is_copy_on_disk and record.block is not None and record.block.path and not record.writers:
            block, record.block = record.block, None
            self.index.forget(record, Trigger.EVICT, "a copy in a file is not worth keeping")
            self.release(block)

    def _abort(self, record: Record, peer: bytes, cause: str, now: float) -> None:
        """A process does not write this object after all."""
        block = record.writers[peer]
        self.index.remove_writer(record, peer)
        if block is None:
            object_id = record.object_id
            self.room.cancel(lambda r: r.kind is Kind.CREATE and r.object_id == object_id and r.peer == peer)
        else:
            self.release(block)
        if record.state is State.CREATED and not record.writers:
            move(record, Trigger.ABORT, cause)
            self._expect(record, now)
        else:
            self._settle_freed(record, cause)

    def _free_one(self, record: Record, cause: str) -> None:
        self.exchange.cancel_pull(record.object_id)
        self._forget_disk(record)
        move(record, Trigger.FREE, cause)
        self.index.set_deadline(record, 0.0)
        self.index.refile(record)
        self._dismiss(record, FREED)
        record.early = {}
        copies, record.copies = record.copies, set()
        for node in sorted(copies):
            self._emit(SendNode(node, FreeObjects([record.object_id], forwarded=True)))

    def _settle_freed(self, record: Record, cause: str) -> None:
        """Part with a freed object as far as nobody uses it."""
        if record.state is not State.FREED or record.pins:
            return
        if record.block is not None:
            self.release(record.block)
            record.block = None
        if not record.writers and not record.deadline:
            self.index.forget(record, Trigger.FORGET, cause)

    def _forget_disk(self, record: Record) -> None:
        if record.state is State.RESTORING:
            self.cancel_room(record.object_id)
        record.job = 0
        if record.disk:
            self._emit(DeleteFile(record.disk))
            record.disk = ""

    # -- room ----------------------------------------------------------------------------------------------------------

    def grant(self, request: Request, block: Block, now: float) -> None:
        """There is room for a request."""
        if request.kind is Kind.SLAB:
            self.slabs.add(request.peer, request.slab, block)
            self._emit(Send(request.peer, SlabCreated(request.slab, block.offset, block.size)))
            return
        if request.kind is Kind.PULL:
            self.exchange.granted(request.object_id, block, now)
            return
        record = self.index.records[request.object_id]
        if request.kind is Kind.CREATE:
            record.writers[request.peer] = block
            answer = ObjectCreated(request.object_id, block.offset, request.size, block.path)
            self._emit(Send(request.peer, answer))
        else:
            self.relief.read_back(record, block)

    def refuse(self, request: Request, error: str, now: float) -> None:
        """There will be no room for a request."""
        if request.kind is Kind.SLAB:
            self._emit(Send(request.peer, SlabCreated(request.slab, -1, 0)))
            return
        if request.kind is Kind.PULL:
            self.exchange.refused(request.object_id, self._no_room(request, error), now)
            return
        record = self.index.records[request.object_id]
        if request.kind is Kind.CREATE:
            allocator = self.room.allocator
            answer = ObjectCreated(
                request.object_id,
                -1,
                request.size,
                error=self._no_room(request, error),
                holders=holders(self.index, self.slabs, self._name_of),
                capacity=allocator.capacity,
                used=allocator.used,
            )
            self._emit(Send(request.peer, answer))
            self._abort(record, request.peer, "there is no room", now)
        else:
            move(record, Trigger.NO_ROOM, error)
            self._dismiss(record, NO_ROOM, self._no_room(request, error))

    def _no_room(self, request: Request, error: str) -> str:
        return no_room_text(self.room, request.size, error, self.relief.spill_error)

    def request_room(self, request: Request, now: float) -> None:
        """Room for what is being fetched."""
        self.room.request(request, now)

    def cancel_room(self, object_id: bytes) -> None:
        """An object does not come back, or from elsewhere, after all."""
        self.room.cancel(lambda r: r.object_id == object_id and r.kind in (Kind.PULL, Kind.RESTORE))

    def release(self, block: Block) -> None:
        """One user of a block fewer."""
        self.room.release(block)

    def _keepers(self) -> list[bytes]:
        processes = {*self.index.processes_with_pins(), *self.slabs.holders()}
        return sorted(processes - self.exchange.receivers)
