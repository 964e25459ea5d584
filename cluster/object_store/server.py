"""The object store inside the raylet: turns messages into the machine's events, and carries its commands out.

Strategy: the raylet's loop calls `handle` with decoded messages; whatever blocks (reserving memory, disk, writing
received chunks) runs on a few threads and comes back as an event. Nothing here decides anything.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from ..protocol.cluster_events import EventKind
from ..protocol.raylet_messages import Chunk, StoreStats
from .arena import SHARED_MEMORY, Arena, read_range, write_range
from .events import (
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
    StoreReply,
    StoreRequest,
    Tick,
    Warn,
    WriteChunk,
    WriteSpill,
)
from .machine import StoreMachine
from .records import Block
from .spill import FallbackFolder, open_spill

__all__ = ["ObjectStoreServer"]

_log = logging.getLogger(__name__)

TICK: Final = 0.25
"""Seconds between looks at deadlines, the shortest of which is a second."""

_THREADS: Final = 4  # two for disks, one that reserves memory, one that writes what other nodes send


class ObjectStoreServer:
    """One node's object store. All methods are called on the loop's thread.

    Parameters
    ----------
    node_id
        The own node.
    session_dir
        A folder of this session on disk; spilled objects and fallback files go below it.
    capacity
        Bytes of the arena.
    send
        ``send(peer_id, message, frames)``: to a core or raylet that connected to this raylet's server socket. Frames
        are bytes, not to be changed by anybody.
    send_to_node
        ``send_to_node(node_id, message)``: to another raylet's server socket. What comes back from there (`Chunk`) is
        given to `handle` with the node's id as peer.
    name_of
        How a process is named to people (``driver, pid 4711``), by its worker id.
    happened
        Told of what belongs into the cluster's log: the kind, the size of the object that it is about, a text.
    spill_to
        A folder or an fsspec URL in place of the session folder.
    shared_memory
        The tmpfs for the arena.
    loop
        The loop that calls; by default the running one.

    Attributes
    ----------
    arena_path, arena_bytes
        What processes need to map the arena (`CoreWelcome` tells them).
    """

    def __init__(
        self,
        node_id: bytes,
        session_dir: str | os.PathLike[str],
        capacity: int,
        *,
        send: Callable[[bytes, StoreReply, Sequence[bytes]], None],
        send_to_node: Callable[[bytes, StoreRequest], None],
        name_of: Callable[[bytes], str] = bytes.hex,
        spill_to: str = "",
        happened: Callable[[EventKind, int, str], None] = lambda kind, size, text: None,
        shared_memory: str | os.PathLike[str] = SHARED_MEMORY,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._send = send
        self._tell = happened
        self._send_to_node = send_to_node
        self._loop = loop or asyncio.get_running_loop()
        folder = Path(session_dir)
        self._spill = open_spill(spill_to, folder / "spill", node_id.hex())
        self._fallback = FallbackFolder(folder / "fallback" / node_id.hex())
        self._machine = StoreMachine(node_id, capacity, name_of)
        self._arena = Arena(self._machine.room.allocator.capacity, Path(shared_memory))
        self._threads = ThreadPoolExecutor(_THREADS, "object store")
        self._is_closed = False
        self._carry: dict[type, Callable[[Any], None]] = {
            Send: lambda c: self._send(c.peer, c.message, ()),
            SendNode: lambda c: self._send_to_node(c.node, c.message),
            SendChunk: self._send_chunk,
            Extend: lambda c: self._in_thread(self._extend, c),
            WriteSpill: self._spill_later,
            ReadSpill: lambda c: self._in_thread(self._read_spill, c),
            MakeFallback: self._fall_back_later,
            WriteChunk: lambda c: self._in_thread(self._write_chunk, c),
            DeleteFile: self._delete_later,
            Warn: self._warn,
        }
        self._timer = self._loop.call_later(TICK, self._tick)

    # -- what the raylet calls ---------------------------------------------------------------------------------------

    @property
    def arena_path(self) -> str:
        return self._arena.path

    @property
    def arena_bytes(self) -> int:
        return self._arena.capacity

    def handle(self, peer_id: bytes, message: StoreRequest, frames: Sequence[bytes | memoryview] = ()) -> None:
        """A message of a core or raylet: any of `StoreRequest`; ``frames`` are those behind the message's own."""
        self._happened(Received(peer_id, message, frames[0] if frames else b""))

    def process_died(self, peer_id: bytes) -> None:
        """A process is no more, on this node or another: its pins end, and what it owned is freed."""
        self._happened(ProcessDied(peer_id))

    def node_died(self, node_id: bytes) -> None:
        """Another node is no more."""
        self._happened(NodeDied(node_id))

    def stats(self, *, detail: bool = False) -> StoreStats:
        """What is in the store."""
        return self._machine.stats(detail=detail)

    def close(self) -> None:
        """Delete all files and part with the arena; waits for copies under way."""
        if self._is_closed:
            return
        self._is_closed = True
        self._timer.cancel()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._spill.close()
        self._fallback.close()
        self._arena.close()

    # -- events and commands -----------------------------------------------------------------------------------------

    def _happened(self, event: Event) -> None:
        if self._is_closed:
            return
        for command in self._machine.handle(event, time.monotonic()):
            self._carry[type(command)](command)

    def _spill_later(self, command: WriteSpill) -> None:
        self._in_thread(self._write_spill, command)
        self._tell(EventKind.STORE_SPILLING, command.size, "")

    def _fall_back_later(self, command: MakeFallback) -> None:
        self._in_thread(self._make_fallback, command)
        self._tell(EventKind.STORE_FULL, command.size, "")

    def _warn(self, command: Warn) -> None:
        _log.warning("%s", command.text)
        self._tell(EventKind.STORE_TROUBLE, 0, command.text)

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK, self._tick)
        self._happened(Tick())

    def _in_thread(self, work: Callable[[Any], Event], command: Command) -> None:
        def run() -> None:
            event = work(command)
            if not self._is_closed:
                self._loop.call_soon_threadsafe(self._happened, event)

        self._threads.submit(run)

    def _delete_later(self, command: DeleteFile) -> None:
        self._threads.submit(self._delete, command.place)

    def _send_chunk(self, command: SendChunk) -> None:
        chunk = Chunk(command.object_id, command.start, command.total, pull=command.pull)
        self._send(command.peer, chunk, (self._read(command.block, command.start, command.size),))

    def _read(self, block: Block, start: int, size: int) -> bytes:
        if not block.path:
            return self._arena.read(block.offset + start, size)
        descriptor = os.open(block.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return read_range(descriptor, size, start)
        finally:
            os.close(descriptor)

    # -- on threads --------------------------------------------------------------------------------------------------

    def _extend(self, command: Extend) -> Extended:
        return Extended(*self._arena.extend(command.limit))

    def _write_spill(self, command: WriteSpill) -> Spilled:
        try:
            return Spilled(command.job, self._spill.save(self._arena.descriptor, command.block.offset, command.size))
        except Exception as error:  # noqa: BLE001 — file systems of fsspec raise what they like; the machine reports it
            return Spilled(command.job, error=_text(error))

    def _read_spill(self, command: ReadSpill) -> Restored:
        block = command.block
        try:
            if block.path:
                descriptor = os.open(block.path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    self._spill.load(command.uri, descriptor, 0, command.size)
                finally:
                    os.close(descriptor)
            else:
                self._spill.load(command.uri, self._arena.descriptor, block.offset, command.size)
        except Exception as error:  # noqa: BLE001 — as above
            return Restored(command.job, _text(error))
        return Restored(command.job)

    def _make_fallback(self, command: MakeFallback) -> FallbackMade:
        try:
            return FallbackMade(command.job, self._fallback.make(command.size))
        except OSError as error:
            return FallbackMade(command.job, error=_text(error))

    def _write_chunk(self, command: WriteChunk) -> ChunkWritten:
        block = command.block
        try:
            if block.path:
                descriptor = os.open(block.path, os.O_WRONLY | os.O_CLOEXEC)
                try:
                    write_range(descriptor, command.data, command.start)
                finally:
                    os.close(descriptor)
            else:
                self._arena.write(command.data, block.offset + command.start)
        except OSError as error:
            return ChunkWritten(command.job, 0, _text(error))
        return ChunkWritten(command.job, len(command.data))

    def _delete(self, place: str) -> None:
        try:
            if self._fallback.holds(place):
                self._fallback.delete(place)
            else:
                self._spill.delete(place)
        except Exception as error:  # noqa: BLE001 — a file that stays behind is only reported
            _log.warning("could not delete %s: %s", place, _text(error))


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
