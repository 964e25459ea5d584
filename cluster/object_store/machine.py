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
    ObjectPinned,
    ObjectShared,
    ObjectsPinned,
    PinObjects,
    PullObject,
    ReturnSlab,
    SealedObject,
    SealObjects,
    ShareObject,
    StoreStats,
    StoreStatsRequest,
    UnpinObjects,
)
from .events import (
    ChunkWritten,
    Command,
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
from .lifecycle import FREED, LOST, SEAL_WAIT, Lifecycle
from .records import Block, Record, State, Trigger, move
from .report import check_store, store_stats
from .room import Kind, Request

__all__ = ["LATE_SEAL", "StoreMachine"]

LATE_SEAL: Final = 1.0
"""Seconds that a dead process's memory is kept for seals that it had sent."""

DEAD_KNOWN: Final = 10_000
"""Dead processes remembered: objects of theirs that tasks still make are freed at once."""


class StoreMachine(Lifecycle):
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
        super().__init__(node_id, capacity, name_of)
        self._node_id = node_id
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
            ShareObject: self._share,
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

    def _received(self, event: Received, now: float) -> None:
        message = event.message
        if event.peer in self._dead:
            return
        if type(message) is Chunk:
            self.exchange.chunk(event, now)
        elif (isinstance(message, PinObjects) and len(message.nodes) != len(message.object_ids)) or (
            isinstance(message, UnpinObjects) and len(message.counts) != len(message.object_ids)
        ):
            self._emit(Warn(f"refused: {self._name_of(event.peer)} sent lists of different lengths"))
        else:
            self._messages[type(message)](event.peer, message, now)

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

    def _share(self, peer: bytes, message: ShareObject, now: float) -> None:
        """An object whose bytes are here already, as another's: one block with one user more."""
        source = self.index.get(message.source)
        block = source.block_at(message.offset) if source is not None else None
        if block is None:
            self._emit(Send(peer, ObjectShared(message.object_id, -1, 0)))
            return
        block.users += 1
        self._emit(Send(peer, ObjectShared(message.object_id, block.offset, block.length)))
        cause = f"shared with {message.source.hex()} by {self._name_of(peer)}"
        self._sealed(message.object_id, block, message.pin_for, cause, now)

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
        self._sealed(sealed.object_id, block, sealed.pin_for, cause, now)

    def _sealed(self, object_id: bytes, block: Block, pin_for: bytes, cause: str, now: float) -> None:
        """An object is complete."""
        record = self.index.get_or_add(object_id, cause)
        if record.state is State.FREED:
            move(record, Trigger.SEAL, cause)
            self._sealed_late(record, block, pin_for)
            self.index.set_deadline(record, 0.0)
            self._settle_freed(record, cause)
            return
        self._replace(record)
        record.primary = True
        self._arrive(record, block, Trigger.SEAL, cause)
        if pin_for and not record.early.get(pin_for) and pin_for not in self._dead:
            self.index.pin(record, pin_for)
        self._ready(record, now)
        owner = object_owner(object_id)
        if owner in self._dead:
            self._free_one(record, f"its owner {self._name_of(owner)} is dead")
            self._settle_freed(record, "its last pin went")

    def _sealed_late(self, record: Record, block: Block, pin_for: bytes) -> None:
        """The seal that a free overtook. Its owner had the value from the result, and may read it still."""
        kept = record.kept.pop(pin_for, 0)
        if kept and record.block is None and pin_for not in self._dead:
            record.block, record.size = block, block.length
            self.index.pin(record, pin_for, kept)
        else:
            self.release(block)

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

    def _unpin(self, peer: bytes, message: UnpinObjects, now: float) -> None:
        cause = f"{self._name_of(peer)} released a pin"
        for object_id, count in zip(message.object_ids, message.counts, strict=True):
            record = self.index.get_or_add(object_id, cause)
            rest = self.index.unpin(record, peer, max(count, 1))
            if rest and record.kept:
                record.kept[peer] = max(0, record.kept.get(peer, 0) - rest)
            while rest and peer in record.waiters:
                record.waiters.remove(peer)
                rest -= 1
            if rest and not record.is_in_memory and record.state not in (State.SPILLED, State.FREED):
                record.early[peer] = record.early.get(peer, 0) + rest
                if record.state is State.EXPECTED:
                    self._expect(record, now)
            self.unpinned(record, now)

    # -- freeing -----------------------------------------------------------------------------------------------------

    def _free(self, peer: bytes, message: FreeObjects, now: float) -> None:
        cause = f"freed by {self._name_of(peer)}"
        for node in message.nodes:
            if node != self._node_id:
                self._emit(SendNode(node, FreeObjects(message.object_ids)))
        for number, object_id in enumerate(message.object_ids):
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
            if message.pins:
                held, kept = record.pins.get(peer, 0), message.pins[number]
                self.index.unpin(record, peer, max(0, held - kept))
                if kept > held:
                    record.kept[peer] = kept - held
                self.unpinned(record, now)
            self._settle_freed(record, cause)

    # -- other nodes -------------------------------------------------------------------------------------------------

    def _asked_for(self, node: bytes, message: PullObject, now: float) -> None:
        cause = f"node {node.hex()} asks for it"
        record = self.index.get_or_add(message.object_id, cause)
        if record.is_in_memory:
            self.exchange.serve(record, node, message.pull)
        elif record.state in (State.PULLING, State.FREED):
            # Two nodes that are fetching it and wait for each other would wait forever.
            self.exchange.deny(message.object_id, node, message.pull)
        else:
            record.askers[node] = message.pull
            self._fetch(record, [], cause, now)

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
