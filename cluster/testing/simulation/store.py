"""The object store of a simulated node: its machine on a little real memory, with disks that take their time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ...object_store.client import ArenaClient
from ...object_store.events import (
    ChunkWritten,
    Command,
    DeleteFile,
    Event,
    Extend,
    Extended,
    FallbackMade,
    MakeFallback,
    NodeDied,
    ProcessDied,
    ReadSpill,
    Received,
    Restored,
    Send,
    SendChunk,
    SendNode,
    Spilled,
    Tick,
    Warn,
    WriteChunk,
    WriteSpill,
)
from ...object_store.machine import StoreMachine
from ...protocol.raylet_messages import Chunk

if TYPE_CHECKING:
    from .servers import Node

__all__ = ["SimulatedArena", "Store"]

_TICK: Final = 0.25


class _Mapping:
    """Stands for a mapped file."""

    def __init__(self, memory: bytearray) -> None:
        self.memory = memory
        self.view = memoryview(memory)

    def populate(self, offset: int, size: int) -> None:
        """All of it is there."""


class SimulatedArena(ArenaClient):
    """A process's view of the arena."""

    def __init__(self, store: Store) -> None:
        super().__init__("", len(store.memory))
        self._files = store.files
        mapping: Any = _Mapping(store.memory)
        self._arena = mapping

    def _file(self, path: str, size: int) -> Any:
        return _Mapping(self._files[path])


class Store:
    """See the top of the file."""

    def __init__(self, node: Node, capacity: int) -> None:
        self._node = node
        self._kernel = node.cluster.kernel
        self.machine = StoreMachine(node.node_id, capacity)
        self.memory = bytearray(self.machine.room.allocator.capacity)
        self.files: dict[str, bytearray] = {}  # in place of memory
        self._spilled: dict[str, bytes] = {}
        self._is_closed = False
        self._is_ticking = False

    def take(self, peer: bytes, message: Any, data: bytes) -> None:
        self._happen(Received(peer, message, data))

    def process_died(self, process_id: bytes) -> None:
        self._happen(ProcessDied(process_id))

    def node_died(self, node_id: bytes) -> None:
        self._happen(NodeDied(node_id))

    def close(self) -> None:
        self._is_closed = True

    def _happen(self, event: Event) -> None:
        if self._is_closed:
            return
        commands = self.machine.handle(event, self._kernel.now)
        self.machine.check_invariants()
        for command in commands:
            self._carry_out(command)
        if not self._is_ticking and self.machine.index.records:
            self._is_ticking = True
            self._kernel.after(_TICK, self._tick)

    def _tick(self) -> None:
        self._is_ticking = False
        self._happen(Tick())

    def _carry_out(self, command: Command) -> None:
        match command:
            case Send(peer, message):
                self._node.reply(peer, message)
            case SendNode(node, message):
                self._node.send_to_node(node, message)
            case SendChunk(peer, of, block, start, size, total, pull):
                memory = self.files[block.path] if block.path else self.memory
                data = bytes(memory[block.offset + start : block.offset + start + size])
                self._node.reply(peer, Chunk(of, start, total, pull=pull), data)
            case DeleteFile(place):
                self._spilled.pop(place, None)
                self.files.pop(place, None)
            case Warn(text):
                self._node.cluster.note(f"store {self._node.node_id.hex()}", text)
            case _:
                delay = self._kernel.random.uniform(0.0001, 0.003)
                self._kernel.after(delay, lambda: self._happen(self._work(command)))

    def _work(self, command: Command) -> Event:
        match command:
            case Extend(limit):
                return Extended(limit)
            case WriteSpill(job, object_id, block, size):
                place = f"/{object_id.hex()}/{job}"
                self._spilled[place] = bytes(self.memory[block.offset : block.offset + size])
                return Spilled(job, place)
            case ReadSpill(job, uri, block, size):
                memory = self.files[block.path] if block.path else self.memory
                memory[block.offset : block.offset + size] = self._spilled[uri]
                return Restored(job)
            case MakeFallback(job, size):
                self.files[path := f"/fallback/{job}"] = bytearray(size)
                return FallbackMade(job, path)
            case WriteChunk(job, block, start, data):
                memory = self.files[block.path] if block.path else self.memory
                memory[block.offset + start : block.offset + start + len(data)] = data
                return ChunkWritten(job, len(data))
        raise AssertionError(command)
