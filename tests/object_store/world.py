"""A world of stores without IO: machines, memory that is a bytearray, disks that are dictionaries, and a network.

Everything that a machine wants done is done here, at a moment that the test chooses, on real (small) bytes. So a test
sees not only what the machine says but whether anybody's bytes were overwritten while they were pinned.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

from himalia.cluster.object_store.events import (
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
from himalia.cluster.object_store.machine import StoreMachine
from himalia.cluster.object_store.records import Block
from himalia.cluster.protocol.raylet_messages import Chunk


def node_id(number: int) -> bytes:
    return b"N%07d" % number


def process_id(number: int) -> bytes:
    return b"P%07d" % number


def object_id(owner: bytes, number: int) -> bytes:
    return owner + number.to_bytes(12, "big")


def content(of: bytes, version: int, size: int) -> bytes:
    """Bytes that tell which object and version they are of, wherever one looks."""
    return random.Random(of + bytes([version % 256])).randbytes(min(size, 61)).ljust(min(size, 61), b".") * (
        size // 61 + 1
    )


class Disk:
    """Files by name. ``room`` is what still fits; None for no limit."""

    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {}
        self.room: int | None = None
        self._last = 0

    def make(self, kind: str, size: int) -> str:
        if self.room is not None:
            if size > self.room:
                raise OSError(28, "No space left on device")
            self.room -= size
        self._last += 1
        name = f"/{kind}/{self._last}"
        self.files[name] = bytearray(size)
        return name

    def delete(self, name: str) -> None:
        file = self.files.pop(name, b"")
        if self.room is not None:
            self.room += len(file)


class Node:
    """One store: a machine, its memory and disk, and what is under way."""

    def __init__(self, world: World, number: int, capacity: int) -> None:
        self.world = world
        self.id = node_id(number)
        self.machine = StoreMachine(self.id, capacity)
        self.memory = bytearray(self.machine.room.allocator.capacity)
        self.shared_memory = len(self.memory)  # what the "machine" has; less than the capacity simulates a full one
        self.reserved = 0
        self.disk = Disk()
        self.jobs: deque[Callable[[], Event]] = deque()
        self.sent: dict[bytes, deque[Any]] = {}  # to processes
        self.warnings: list[str] = []
        self.is_alive = True

    def happen(self, event: Event) -> list[Command]:
        commands = self.machine.handle(event, self.world.now)
        self.machine.check_invariants()
        for command in commands:
            self._carry_out(command)
        return commands

    def tell(self, peer: bytes, message: Any, data: bytes = b"") -> list[Command]:
        return self.happen(Received(peer, message, data))

    def answers(self, peer: bytes) -> list[Any]:
        """What was sent to a process since the last call."""
        queue = self.sent.get(peer, deque())
        found = list(queue)
        queue.clear()
        return found

    def view(self, offset: int, size: int, path: str = "") -> memoryview:
        return memoryview(self.disk.files[path] if path else self.memory)[offset : offset + size]

    def run_job(self) -> None:
        """Let the oldest job end."""
        self.happen(self.jobs.popleft()())

    def _place(self, block: Block) -> bytearray:
        return self.disk.files[block.path] if block.path else self.memory

    def _carry_out(self, command: Command) -> None:
        match command:
            case Send(peer, message):
                if peer in self.world.nodes:
                    self.world.post(self.id, peer, message)
                else:
                    self.sent.setdefault(peer, deque()).append(message)
            case SendNode(node, message):
                self.world.post(self.id, node, message)
            case SendChunk(peer, of, block, start, size, total, pull):
                place = self._place(block)
                data = bytes(place[block.offset + start : block.offset + start + size])
                self.world.post(self.id, peer, Chunk(of, start, total, pull=pull), data)
            case DeleteFile(place):
                self.disk.delete(place)
            case Warn(text):
                self.warnings.append(text)
            case _:
                self.jobs.append(lambda: self._work(command))

    def _work(self, command: Command) -> Event:
        try:
            match command:
                case Extend(limit):
                    self.reserved = min(limit, self.shared_memory)
                    return Extended(self.reserved, "" if self.reserved == limit else "no space left")
                case WriteSpill(job, _, block, size):
                    name = self.disk.make("spill", size)
                    self.disk.files[name][:] = self._place(block)[block.offset : block.offset + size]
                    return Spilled(job, name)
                case ReadSpill(job, uri, block, size):
                    if uri not in self.disk.files:
                        return Restored(job, f"no file {uri}")
                    self._place(block)[block.offset : block.offset + size] = self.disk.files[uri]
                    return Restored(job)
                case MakeFallback(job, size):
                    return FallbackMade(job, self.disk.make("fallback", size))
                case WriteChunk(job, block, start, data):
                    self._place(block)[block.offset + start : block.offset + start + len(data)] = data
                    return ChunkWritten(job, len(data))
        except OSError as error:
            failed = {WriteSpill: Spilled, MakeFallback: FallbackMade}
            return failed[type(command)](command.job, error=str(error))  # type: ignore[union-attr]
        raise AssertionError(command)


class World:
    """Nodes, the links between them (each in order), and a clock."""

    def __init__(self, nodes: int = 1, capacity: int = 1 << 20) -> None:
        self.now = 100.0
        self.links: dict[tuple[bytes, bytes], deque[tuple[Any, bytes]]] = {}
        self.nodes = {node_id(number): Node(self, number, capacity) for number in range(nodes)}
        self.delivered = 0

    def __getitem__(self, number: int) -> Node:
        return self.nodes[node_id(number)]

    def post(self, source: bytes, target: bytes, message: Any, data: bytes = b"") -> None:
        if self.nodes[source].is_alive and self.nodes[target].is_alive:
            self.links.setdefault((source, target), deque()).append((message, data))

    def busy_links(self) -> list[tuple[bytes, bytes]]:
        return [link for link, queue in self.links.items() if queue]

    def deliver(self, link: tuple[bytes, bytes]) -> None:
        """Let the oldest message of a link arrive."""
        message, data = self.links[link].popleft()
        self.delivered += 1
        self.nodes[link[1]].tell(link[0], message, data)

    def settle(self, limit: int = 10_000) -> None:
        """Let everything under way end, without time passing."""
        for _ in range(limit):
            links = self.busy_links()
            working = [node for node in self.nodes.values() if node.is_alive and node.jobs]
            if not links and not working:
                return
            for link in links:
                self.deliver(link)
            for node in working:
                node.run_job()
        raise AssertionError("does not come to rest")

    def pass_time(self, seconds: float) -> None:
        """Let time pass in ticks, with everything that happens in between."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + 0.25, end)
            self.tick()
            self.settle()

    def tick(self) -> None:
        """One tick of every node, and nothing else."""
        for node in self.nodes.values():
            if node.is_alive:
                node.happen(Tick())

    def kill_node(self, number: int) -> None:
        """A node dies; all others learn of it, as do its messages under way."""
        dead = self[number]
        dead.is_alive = False
        self.links = {link: queue for link, queue in self.links.items() if dead.id not in link}
        for node in self.nodes.values():
            if node.is_alive:
                node.happen(NodeDied(dead.id))

    def kill_process(self, peer: bytes) -> None:
        """A process dies; all nodes learn of it."""
        for node in self.nodes.values():
            if node.is_alive:
                node.happen(ProcessDied(peer))
