"""The object store of a node, without IO: every object's life, from creation to the last pin.

Strategy: `handle` takes one event and returns the commands that follow from it. What may follow what is the table in
`records`; who may have memory next is decided in `room`; other nodes are dealt with in `exchange`.

Messages of different processes race. The three races that matter, and what is done about them:

- A worker seals a return value and tells the owner where it lies; the owner's `UnpinObjects` or `FreeObjects` may come
  before the seal. Both are remembered until it comes (`Record.early`, and FREED with a deadline).
- A process dies when its last seals are still on their way, and others know the places already. So its slabs and its
  unsealed objects outlive it by `LATE_SEAL` seconds.
- A retried task makes an object that exists. The newly sealed value replaces the old one, whose memory stays as long as
  anybody has a pin of the object.

Objects made here are primary copies: spilled when memory is short, kept until their owner frees them or dies. What
was pulled from another node is dropped instead, and never promoted when that node dies: its owner, who rebuilds it,
does not know of this copy and would never free it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from ..protocol.ids import object_owner
from ..protocol.raylet_messages import (
    Chunk,
    ChunkCredit,
    CreateObject,
    CreateSlab,
    FreeObjects,
    ObjectCreated,
    ObjectPinned,
    ObjectsPinned,
    PinObjects,
    PullObject,
    ReturnSlab,
    SealedObject,
    SealObjects,
    SlabCreated,
    StoreStats,
    StoreStatsRequest,
    UnpinObjects,
)
from .events import (
    ChunkWritten,
    Command,
    DeleteFile,
    Event,
    Extended,
    FallbackMade,
    NodeDied,
    ProcessDied,
    Received,
    Restored,
    Send,
    SendNode,
    Spilled,
    Tick,
    Warn,
)
from .exchange import Exchange
from .index import Index
from .records import Block, Record, State, Trigger, move
from .relief import Relief
from .report import check_store, holders, no_room_text, store_stats
from .room import Kind, Request, Room
from .slabs import Slabs

__all__ = ["FREED", "LATE_SEAL", "LOST", "NO_ROOM", "PINNED", "SEAL_WAIT", "StoreMachine"]

PINNED: Final = 0
LOST: Final = 1
FREED: Final = 2
NO_ROOM: Final = 3

SEAL_WAIT: Final = 2.0
"""Seconds that an object which others know of may be unknown here: the seal is on its way, or its writer died."""

LATE_SEAL: Final = 1.0
"""Seconds that a dead process's memory is kept for seals that it had sent."""

DEAD_KNOWN: Final = 10_000
"""Dead processes remembered: objects of theirs that tasks still make are freed at once."""


class StoreMachine:
    """The rules of one node's store.

    Parameters
    ----------
    node_id
        The own node.
    capacity
        Bytes of the arena.
    name_of
        How a process is named to people, by its id.
    """

    def __init__(self, node_id: bytes, capacity: int, name_of: Callable[[bytes], str] = bytes.hex) -> None:
        self._node_id = node_id
        self._name_of = name_of
        self._out: list[Command] = []
        self._last_job = 0
        self._answers: dict[bytes, list[ObjectPinned]] = {}
        self.index = Index()
        self.relief = Relief(self.index, self.release, self._keepers, self._emit, self._new_job)
        self.room = Room(capacity, self, self.relief, self._emit, self._new_job)
        self.slabs = Slabs(self.room)
        self.exchange = Exchange(node_id, self.index, self, self._emit, self._new_job)
        self._dying: deque[tuple[float, bytes]] = deque()
        self._dead: dict[bytes, None] = {}
        self._events: dict[type, Callable[[Any, float], None]] = {
            Received: self._received,
            ProcessDied: self._process_died,
            NodeDied: self._node_died,
            Extended: self.room.extended,
            FallbackMade: self.room.fallback_made,
            Spilled: self.relief.spilled,
            Restored: self._restored,
            ChunkWritten: self.exchange.chunk_written,
            Tick: self._tick,
        }
        self._messages: dict[type, Callable[[bytes, Any, float], None]] = {
            CreateObject: self._create,
            CreateSlab: self._create_slab,
            ReturnSlab: self._return_slab,
            SealObjects: self._seal,
            PinObjects: self._pin,
            UnpinObjects: self._unpin,
            FreeObjects: self._free,
            StoreStatsRequest: self._stats_request,
            PullObject: self._asked_for,
            ChunkCredit: self.exchange.credit,
        }

    def handle(self, event: Event, now: float) -> list[Command]:
        """What follows from an event at time ``now`` (seconds, of a clock that never goes back)."""
        self._events[type(event)](event, now)
        if self.room.waiting:
            self.room.pump(now)
        if self._answers:
            for peer, objects in self._answers.items():
                self._out.append(Send(peer, ObjectsPinned(objects)))
            self._answers = {}
        out, self._out = self._out, []
        return out

    def _emit(self, command: Command) -> None:
        self._out.append(command)

    def _new_job(self) -> int:
        self._last_job += 1
        return self._last_job

    def _received(self, event: Received, now: float) -> None:
        if event.peer in self._dead:
            return
        if type(event.message) is Chunk:
            self.exchange.chunk(event, now)
        else:
            self._messages[type(event.message)](event.peer, event.message, now)

    # -- writing -----------------------------------------------------------------------------------------------------

    def _create(self, peer: bytes, message: CreateObject, now: float) -> None:
        cause = f"{self._name_of(peer)} asks for {message.size} bytes"
        record = self.index.get_or_add(message.object_id, cause)
        if peer in record.writers or message.size < 0:
            self._emit(Warn(f"refused: {cause} for object {message.object_id.hex()}, which it is writing already"))
            return
        if record.state is State.FREED and record.block is not None:
            record.stale.append(record.block)
            record.block = None
        move(record, Trigger.CREATE, cause)
        self.index.add_writer(record, peer)
        self.index.set_deadline(record, 0.0)
        self.room.request(Request(Kind.CREATE, message.size, peer, message.object_id), now)

    def _create_slab(self, peer: bytes, message: CreateSlab, now: float) -> None:
        self.room.request(Request(Kind.SLAB, message.size, peer, slab=message.slab), now)

    def _return_slab(self, peer: bytes, message: ReturnSlab, now: float) -> None:
        if not self.slabs.give_back(peer, message.slab, message.offset, message.size):
            self._emit(Warn(f"{self._name_of(peer)} returned memory of slab {message.slab} that it does not hold"))

    def _seal(self, peer: bytes, message: SealObjects, now: float) -> None:
        for sealed in message.objects:
            self._seal_one(peer, sealed, now)

    def _seal_one(self, peer: bytes, sealed: SealedObject, now: float) -> None:
        cause = f"sealed by {self._name_of(peer)}"
        if sealed.slab:
            block = self.slabs.carve(peer, sealed.slab, sealed.offset, sealed.size)
        else:
            record = self.index.get(sealed.object_id)
            block = record.writers.get(peer) if record is not None else None
            if record is not None and block is not None:
                self.index.remove_writer(record, peer)
        if block is None:
            self._emit(Warn(f"refused: object {sealed.object_id.hex()} {cause}, which has no such memory"))
            return
        record = self.index.get_or_add(sealed.object_id, cause)
        if record.state is State.FREED:
            move(record, Trigger.SEAL, cause)
            self._release(block)
            self.index.set_deadline(record, 0.0)
            self._settle_freed(record, cause)
            return
        self._replace(record)
        record.primary = True
        self._arrive(record, block, Trigger.SEAL, cause)
        if sealed.pin_for and not record.early.get(sealed.pin_for) and sealed.pin_for not in self._dead:
            self.index.pin(record, sealed.pin_for)
        self._ready(record, now)
        owner = object_owner(sealed.object_id)
        if owner in self._dead:
            self._free_one(record, f"its owner {self._name_of(owner)} is dead")
            self._settle_freed(record, "its last pin went")

    def _replace(self, record: Record) -> None:
        """A new value is there: part with the old one, if there is any."""
        self.exchange.cancel_pull(record.object_id)
        self.exchange.drop_sends(record)
        self._forget_disk(record)
        if record.block is not None:
            if record.pins:
                record.stale.append(record.block)
            else:
                self._release(record.block)
            record.block = None

    def _arrive(self, record: Record, block: Block, trigger: Trigger, cause: str) -> None:
        record.block = block
        record.size = block.length
        move(record, trigger, cause)
        self.index.set_deadline(record, 0.0)
        self.index.refile(record)

    def _abort(self, record: Record, peer: bytes, cause: str, now: float) -> None:
        """A process does not write this object after all."""
        block = record.writers[peer]
        self.index.remove_writer(record, peer)
        if block is None:
            object_id = record.object_id
            self.room.cancel(lambda r: r.kind is Kind.CREATE and r.object_id == object_id and r.peer == peer)
        else:
            self._release(block)
        if record.state is State.CREATED and not record.writers:
            move(record, Trigger.ABORT, cause)
            self._expect(record, now)
        else:
            self._settle_freed(record, cause)

    # -- room --------------------------------------------------------------------------------------------------------

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

    def _keepers(self) -> list[bytes]:
        processes = {*self.index.processes_with_pins(), *self.slabs.holders()}
        return sorted(processes - self.exchange.receivers)

    def request_room(self, request: Request, now: float) -> None:
        """Room for what is being fetched."""
        self.room.request(request, now)

    def cancel_room(self, object_id: bytes) -> None:
        """An object does not come back, or from elsewhere, after all."""
        self.room.cancel(lambda r: r.object_id == object_id and r.kind in (Kind.PULL, Kind.RESTORE))

    def release(self, block: Block) -> None:
        """One user of a block fewer."""
        self.room.release(block)

    _release = release

    # -- disk --------------------------------------------------------------------------------------------------------

    def _restored(self, event: Restored, now: float) -> None:
        found = self.relief.read(event)
        if found is None:
            return
        record, block = found
        if event.error:
            self._release(block)
            self._forget_disk(record)
            move(record, Trigger.LOST, event.error)
            self._dismiss(record, LOST, event.error)
            self._expect(record, now)
        else:
            self._arrive(record, block, Trigger.RESTORED, "restored from disk")
            self._ready(record, now)

    def _restore(self, record: Record, cause: str, now: float) -> None:
        move(record, Trigger.RESTORE, cause)
        self.room.request(Request(Kind.RESTORE, record.size, object_id=record.object_id), now)

    def _forget_disk(self, record: Record) -> None:
        if record.state is State.RESTORING:
            self.cancel_room(record.object_id)
        record.job = 0
        if record.disk:
            self._emit(DeleteFile(record.disk))
            record.disk = ""

    # -- pins --------------------------------------------------------------------------------------------------------

    def _pin(self, peer: bytes, message: PinObjects, now: float) -> None:
        cause = f"wanted by {self._name_of(peer)}"
        for object_id, nodes in zip(message.object_ids, message.nodes, strict=True):
            record = self.index.get_or_add(object_id, cause)
            if record.is_in_memory:
                self.index.pin(record, peer)
                self._answer(record, peer)
            elif record.state is State.FREED:
                self._tell(peer, ObjectPinned(object_id, FREED))
            else:
                record.waiters.append(peer)
                self._fetch(record, nodes, cause, now)

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

    def _expect(self, record: Record, now: float) -> None:
        """Nothing is under way for this object: it is looked at again when its seal should have come."""
        if record.writers:
            move(record, Trigger.CREATE, "a process is writing it")
        elif not record.deadline:
            self.index.set_deadline(record, now + SEAL_WAIT)

    def _answer(self, record: Record, peer: bytes) -> None:
        block = record.block
        assert block is not None
        self._tell(peer, ObjectPinned(record.object_id, PINNED, block.offset, record.size, block.path))

    def _tell(self, peer: bytes, answer: ObjectPinned) -> None:
        self._answers.setdefault(peer, []).append(answer)

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

    def _dismiss(self, record: Record, status: int, error: str = "") -> None:
        """Tell those who wait for an object that they do in vain."""
        waiters, record.waiters = record.waiters, []
        for peer in waiters:
            self._tell(peer, ObjectPinned(record.object_id, status, error=error))
        askers, record.askers = record.askers, {}
        for node, pull in askers.items():
            self.exchange.deny(record.object_id, node, pull)

    def _unpin(self, peer: bytes, message: UnpinObjects, now: float) -> None:
        cause = f"{self._name_of(peer)} released a pin"
        for object_id, count in zip(message.object_ids, message.counts, strict=True):
            record = self.index.get_or_add(object_id, cause)
            rest = self.index.unpin(record, peer, count)
            while rest and peer in record.waiters:
                record.waiters.remove(peer)
                rest -= 1
            if rest and not record.is_in_memory and record.state not in (State.SPILLED, State.FREED):
                record.early[peer] = record.early.get(peer, 0) + rest
                if record.state is State.EXPECTED:
                    self._expect(record, now)
            self.unpinned(record, now)

    def unpinned(self, record: Record, now: float) -> None:
        """See what follows if an object has no pins any more."""
        if record.pins:
            return
        stale, record.stale = record.stale, []
        for block in stale:
            self._release(block)
        self._settle_freed(record, "its last pin went")
        is_copy_on_disk = record.state is State.SEALED and not record.primary and record.block is not None
        if is_copy_on_disk and record.block is not None and record.block.path and not record.writers:
            block, record.block = record.block, None
            self.index.forget(record, Trigger.EVICT, "a copy in a file is not worth keeping")
            self._release(block)

    # -- freeing -----------------------------------------------------------------------------------------------------

    def _free(self, peer: bytes, message: FreeObjects, now: float) -> None:
        cause = f"freed by {self._name_of(peer)}"
        for node in message.nodes:
            if node != self._node_id:
                self._emit(SendNode(node, FreeObjects(message.object_ids)))
        for object_id in message.object_ids:
            record = self.index.get(object_id)
            if record is None:
                if message.forwarded:
                    continue  # a copy that was dropped
                record = self.index.get_or_add(object_id, cause)
            is_early = record.state is State.EXPECTED or record.deadline > 0
            if peer in record.writers:
                self._abort(record, peer, cause, now)
                is_early = False
                if record.state is State.GONE:
                    continue
            self._free_one(record, cause)
            if is_early and not message.forwarded:
                self.index.set_deadline(record, now + SEAL_WAIT)
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
            self._release(record.block)
            record.block = None
        if not record.writers and not record.deadline:
            self.index.forget(record, Trigger.FORGET, cause)

    # -- other nodes -------------------------------------------------------------------------------------------------

    def _asked_for(self, node: bytes, message: PullObject, now: float) -> None:
        cause = f"node {node.hex()} asks for it"
        record = self.index.get_or_add(message.object_id, cause)
        if record.is_in_memory:
            self.exchange.serve(record, node, message.pull)
        elif record.state in (State.PULLING, State.FREED):
            self.exchange.deny(
                message.object_id, node, message.pull
            )  # two nodes that wait for each other would wait forever
        else:
            record.askers[node] = message.pull
            self._fetch(record, [], cause, now)

    def pulled(self, record: Record, block: Block, source: bytes, now: float) -> None:
        """An object has come from another node."""
        record.primary = False
        self._arrive(record, block, Trigger.PULLED, f"pulled from node {source.hex()}")
        self._ready(record, now)

    def not_pulled(self, record: Record, error: str, now: float) -> None:
        """No node has an object, or there is no room for it."""
        move(record, Trigger.LOST, error or "no node has it")
        self._dismiss(record, NO_ROOM if error else LOST, error)
        self._expect(record, now)

    # -- deaths and time ---------------------------------------------------------------------------------------------

    def _process_died(self, event: ProcessDied, now: float) -> None:
        self._drop_pins(event.peer, now)
        for record in list(self.index.records.values()):
            if event.peer in record.waiters:
                record.waiters = [peer for peer in record.waiters if peer != event.peer]
        self._dying.append((now + LATE_SEAL, event.peer))

    def _drop_pins(self, peer: bytes, now: float) -> None:
        for record in self.index.pinned_by(peer):
            self.index.unpin(record, peer, record.pins[peer])
            self.unpinned(record, now)

    def _bury(self, peer: bytes, now: float) -> None:
        """What a dead process had not sealed, and what it owned, goes."""
        cause = f"{self._name_of(peer)} died"
        self._dead[peer] = None
        if len(self._dead) > DEAD_KNOWN:
            del self._dead[next(iter(self._dead))]
        self.room.cancel(lambda request: request.peer == peer)
        self.slabs.drop(peer)
        for record in self.index.written_by(peer):
            self._abort(record, peer, cause, now)
        self._drop_pins(peer, now)
        for record in self.index.owned_by(peer):
            if record.state is not State.FREED:
                self._free_one(record, cause)
                self._settle_freed(record, cause)

    def _node_died(self, event: NodeDied, now: float) -> None:
        for record in list(self.index.records.values()):
            record.copies.discard(event.node)
            record.askers.pop(event.node, None)
        self.exchange.node_died(event.node, now)

    def _tick(self, event: Tick, now: float) -> None:
        while self._dying and self._dying[0][0] <= now:
            self._bury(self._dying.popleft()[1], now)
        for record in self.index.due(now):
            self.index.set_deadline(record, 0.0)
            if record.state is State.FREED:
                self._settle_freed(record, "its seal did not come")
            else:
                self._dismiss(record, LOST)
                self.index.forget(record, Trigger.FORGET, "it did not come")
        self.exchange.tick(now)

    # -- reports -----------------------------------------------------------------------------------------------------

    def stats(self, *, detail: bool) -> StoreStats:
        """What is in the store; with ``detail`` each object."""
        return store_stats(self, detail=detail)

    def _stats_request(self, peer: bytes, message: StoreStatsRequest, now: float) -> None:
        self._emit(Send(peer, self.stats(detail=message.detail)))

    def check_invariants(self) -> None:
        """Raise AssertionError unless everything agrees; for tests."""
        check_store(self)
