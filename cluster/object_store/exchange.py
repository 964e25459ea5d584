"""The store's dealings with other nodes: objects it fetches, objects it sends. The rules are those of `transfer`.

An object that is sent is pinned in the name of the node that fetches it, as long as that takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..protocol.raylet_messages import Chunk, ChunkCredit, FreeObjects, PullObject
from .events import ChunkWritten, Command, Received, Send, SendChunk, SendNode, WriteChunk
from .index import Index
from .records import Block, Record, State
from .room import Kind, Request
from .transfer import SENDS, STALL, Outgoing, Pull, in_order_for

__all__ = ["Exchange", "Objects"]


class Objects(Protocol):
    """What the exchange asks of the machine that it is part of."""

    def pulled(self, record: Record, block: Block, source: bytes, now: float) -> None: ...

    def not_pulled(self, record: Record, error: str, now: float) -> None:
        """No node has it; or, with ``error``, there is no room."""

    def request_room(self, request: Request, now: float) -> None: ...

    def cancel_room(self, object_id: bytes) -> None: ...

    def release(self, block: Block) -> None: ...

    def unpinned(self, record: Record, now: float) -> None: ...


class Exchange:
    """Transfers of one node.

    Parameters
    ----------
    node_id
        The own node.
    emit
        Takes commands.
    new_job
        Makes numbers for copies under way.
    """

    def __init__(
        self,
        node_id: bytes,
        index: Index,
        objects: Objects,
        emit: Callable[[Command], None],
        new_job: Callable[[], int],
    ) -> None:
        self._node_id = node_id
        self._index = index
        self._objects = objects
        self._emit = emit
        self._new_job = new_job
        self._pulls: dict[bytes, Pull] = {}
        self._sends: dict[bytes, dict[bytes, Outgoing]] = {}  # object → node
        self._writes: dict[int, tuple[bytes, Pull, int, Block]] = {}

    # -- fetching ----------------------------------------------------------------------------------------------------

    def others(self, object_id: bytes, nodes: list[bytes]) -> list[bytes]:
        """Of these nodes the ones to ask, in order."""
        return in_order_for(self._node_id, object_id, nodes)

    def pull(self, record: Record, nodes: list[bytes], now: float) -> None:
        """Fetch an object from one of ``nodes``."""
        pull = self._pulls[record.object_id] = Pull(nodes)
        self._ask_next(record, pull, now)

    def add_nodes(self, object_id: bytes, nodes: list[bytes]) -> None:
        """More nodes that may have an object that is being fetched."""
        self._pulls[object_id].add_nodes(self.others(object_id, nodes))

    def cancel_pull(self, object_id: bytes) -> None:
        """Stop fetching: the object is here by another way, or freed."""
        pull = self._pulls.pop(object_id, None)
        if pull is None:
            return
        self._objects.cancel_room(object_id)
        if pull.source:
            self._emit(SendNode(pull.source, ChunkCredit(object_id, -1, pull.attempt)))
        if pull.block is not None:
            self._objects.release(pull.block)

    def _ask_next(self, record: Record, pull: Pull, now: float) -> None:
        source = pull.next_source(self._new_job(), now)
        if source:
            self._emit(SendNode(source, PullObject(record.object_id, pull.attempt)))
        else:
            self._give_up(record, "", now)

    def _give_up(self, record: Record, error: str, now: float) -> None:
        self.cancel_pull(record.object_id)
        self._objects.not_pulled(record, error, now)

    def chunk(self, event: Received, now: float) -> None:
        """The source said something."""
        message, data = event.message, event.data
        assert isinstance(message, Chunk)
        pull = self._pulls.get(message.object_id)
        record = self._index.get(message.object_id)
        if pull is None or record is None or (event.peer, message.pull) != (pull.source, pull.attempt):
            return  # of an attempt given up, of which the sender was told
        pull.heard = now
        if message.total < 0:
            if message.nodes:
                pull.sent_on(self.others(message.object_id, message.nodes))
            self._ask_next(record, pull, now)
        elif not len(data):
            self._offered(pull, message, now)
        elif message.total == pull.total and pull.accept(message.start, len(data)) and pull.block is not None:
            job = self._new_job()
            pull.block.users += 1
            self._writes[job] = (message.object_id, pull, pull.attempt, pull.block)
            self._emit(WriteChunk(job, pull.block, message.start, data))

    def _offered(self, pull: Pull, message: Chunk, now: float) -> None:
        if pull.offered(message.total):
            self._objects.cancel_room(message.object_id)
            pull.has_requested_room = False
            if pull.block is not None:
                self._objects.release(pull.block)
                pull.block = None
        if pull.block is None and not pull.has_requested_room:
            pull.has_requested_room = True
            self._objects.request_room(Request(Kind.PULL, message.total, object_id=message.object_id), now)
        else:
            self._order(message.object_id, pull)

    def granted(self, object_id: bytes, block: Block, now: float) -> None:
        """There is room for what was offered."""
        pull = self._pulls[object_id]
        pull.block = block
        pull.has_requested_room = False
        pull.heard = now
        self._order(object_id, pull)

    def refused(self, object_id: bytes, error: str, now: float) -> None:
        """There will be no room."""
        record = self._index.get(object_id)
        if object_id in self._pulls and record is not None:
            self._pulls[object_id].has_requested_room = False
            self._give_up(record, error, now)

    def _order(self, object_id: bytes, pull: Pull) -> None:
        credit = pull.more_credit()
        if credit:
            self._emit(SendNode(pull.source, ChunkCredit(object_id, credit, pull.attempt)))

    def chunk_written(self, event: ChunkWritten, now: float) -> None:
        """A chunk is in its block, or could not be written."""
        object_id, pull, attempt, block = self._writes.pop(event.job)
        pull.writing -= 1
        self._objects.release(block)
        record = self._index.get(object_id)
        if self._pulls.get(object_id) is not pull or record is None:
            return
        if event.error:
            self._give_up(record, event.error, now)
            return
        if attempt == pull.attempt:
            pull.written += event.size
        if pull.is_complete and pull.block is not None:
            del self._pulls[object_id]
            self._emit(SendNode(pull.source, ChunkCredit(object_id, -1, pull.attempt)))
            self._objects.pulled(record, pull.block, pull.source, now)
        elif pull.total:
            self._order(object_id, pull)

    # -- sending -----------------------------------------------------------------------------------------------------

    def serve(self, record: Record, node: bytes, pull: int) -> None:
        """Send an object that is in memory; or name nodes that have fetched it, when too many want it at once."""
        sends = self._sends.setdefault(record.object_id, {})
        if node in sends:
            self._end_send(record, node)  # it has begun again
            sends = self._sends.setdefault(record.object_id, {})
        if len(sends) >= SENDS:
            others = sorted(record.copies - {node})
            if others and node not in record.redirected:
                record.redirected.add(node)
                self._emit(Send(node, Chunk(record.object_id, 0, -1, others, pull)))
            else:
                record.askers[node] = pull
            return
        sends[node] = Outgoing(record.size, pull)
        self._index.pin(record, node)
        self._emit(Send(node, Chunk(record.object_id, 0, record.size, pull=pull)))

    def deny(self, object_id: bytes, node: bytes, pull: int) -> None:
        """Say that the object is not here."""
        self._emit(Send(node, Chunk(object_id, 0, -1, pull=pull)))

    def credit(self, peer: bytes, message: ChunkCredit, now: float) -> None:
        """A node wants more chunks, or no more."""
        record = self._index.get(message.object_id)
        if record is None:
            return
        outgoing = self._sends.get(message.object_id, {}).get(peer)
        if outgoing is not None and outgoing.pull != message.pull:
            outgoing = None
        if message.credit < 0:
            if record.askers.get(peer) == message.pull:
                del record.askers[peer]
            if outgoing is not None:
                if outgoing.sent < outgoing.total:
                    pass  # it gave up
                elif record.state is State.FREED:  # when the others were told, this one had not finished
                    self._emit(SendNode(peer, FreeObjects([record.object_id], forwarded=True)))
                else:
                    record.copies.add(peer)
                self._finish_send(record, peer, now)
            return
        if outgoing is None or record.block is None:
            return
        outgoing.credit += message.credit
        for start, size in outgoing.next_chunks():
            self._emit(SendChunk(peer, record.object_id, record.block, start, size, outgoing.total, message.pull))

    def _end_send(self, record: Record, node: bytes) -> None:
        sends = self._sends[record.object_id]
        del sends[node]
        if not sends:
            del self._sends[record.object_id]
        self._index.unpin(record, node, 1)

    def _finish_send(self, record: Record, node: bytes, now: float) -> None:
        self._end_send(record, node)
        while record.is_in_memory and record.askers and len(self._sends.get(record.object_id, ())) < SENDS:
            waiting = next(iter(record.askers))
            self.serve(record, waiting, record.askers.pop(waiting))
        self._objects.unpinned(record, now)

    def drop_sends(self, record: Record) -> None:
        """The object's value is replaced: those who fetch it begin again."""
        for node, outgoing in list(self._sends.get(record.object_id, {}).items()):
            self._end_send(record, node)
            self.deny(record.object_id, node, outgoing.pull)

    # -- failures ----------------------------------------------------------------------------------------------------

    def node_died(self, node: bytes, now: float) -> None:
        """Ask others for what it was to send, and send it nothing more."""
        for object_id, pull in list(self._pulls.items()):
            pull.remove_node(node)
            record = self._index.get(object_id)
            if pull.source == node and record is not None:
                pull.source = b""
                self._ask_next(record, pull, now)
        for object_id in [object_id for object_id, sends in self._sends.items() if node in sends]:
            record = self._index.get(object_id)
            assert record is not None
            self._finish_send(record, node, now)

    def tick(self, now: float) -> None:
        """Turn away from sources that have been silent for too long."""
        for object_id, pull in list(self._pulls.items()):
            record = self._index.get(object_id)
            waits_for_us = pull.has_requested_room or pull.writing
            if record is not None and not waits_for_us and now - pull.heard >= STALL:
                self._emit(SendNode(pull.source, ChunkCredit(object_id, -1, pull.attempt)))
                self._ask_next(record, pull, now)

    @property
    def receivers(self) -> set[bytes]:
        """Nodes in whose name objects are pinned."""
        return {node for sends in self._sends.values() for node in sends}

    def blocks(self) -> list[Block]:
        """What transfers use, once for each use."""
        pulled = [pull.block for pull in self._pulls.values() if pull.block is not None]
        return pulled + [block for _, _, _, block in self._writes.values()]

    @property
    def pulling(self) -> set[bytes]:
        """Objects being fetched."""
        return set(self._pulls)
