"""How fast the object store takes and gives large objects, as a part of what copying memory costs in the same run.

The store's server runs in a process of its own, as in a raylet, and is talked to over a pipe. ``put`` copies an array
into the arena (a slab part or a place asked for), seals it, and frees it again; ``get`` pins an object by a message
and looks at it; ``reader`` is what a `get` costs when the pin is held already.

Usage: python bench/store.py [--rounds N] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import msgspec
import numpy as np

from himalia.cluster.object_store.client import ArenaClient
from himalia.cluster.object_store.server import ObjectStoreServer
from himalia.cluster.object_store.slab import SlabPool
from himalia.cluster.protocol.common import Address
from himalia.cluster.protocol.raylet_messages import (
    CreateObject,
    FreeObjects,
    ObjectCreated,
    ObjectsPinned,
    PinObjects,
    RayletMessage,
    RayletReply,
    SealedObject,
    SealObjects,
    SlabCreated,
    UnpinObjects,
)

MB = 1 << 20
LARGE, MEDIUM, SMALL = 400 * MB, 10 * MB, 256 * 1024
PROCESS = b"process1"


def serve(pipe: Connection, capacity: int) -> None:
    """The store, in its process."""

    async def run(folder: str) -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        encoder, decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(RayletMessage)
        store = ObjectStoreServer(
            b"node0001",
            folder,
            capacity,
            send=lambda peer, message, frames: pipe.send_bytes(encoder.encode(message)),
            send_to_node=lambda node, message: None,
        )

        def readable() -> None:
            while pipe.poll():
                data = pipe.recv_bytes()
                if not data:
                    done.set_result(None)
                    return
                store.handle(PROCESS, decoder.decode(data))

        pipe.send((store.arena_path, store.arena_bytes))
        loop.add_reader(pipe.fileno(), readable)
        await done
        store.close()

    with tempfile.TemporaryDirectory(prefix="himalia-bench-") as folder:
        asyncio.run(run(folder))


class Client:
    """What a core does with the store, without the rest of it."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._encoder, self._decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(RayletReply)
        self.arena = ArenaClient(*pipe.recv())
        self._pool = SlabPool()
        self._counter = 0
        self.released: list[bytes] = []

    def send(self, message: Any) -> None:
        self._pipe.send_bytes(self._encoder.encode(message))

    def take_in(self) -> Any:
        message = self._decoder.decode(self._pipe.recv_bytes())
        if isinstance(message, SlabCreated):
            self._pool.on_created(message, time.monotonic())
        return message

    def wait_for(self, kind: type) -> Any:
        while True:
            message = self.take_in()
            if isinstance(message, kind):
                return message

    def put(self, value: np.ndarray) -> tuple[bytes, int]:
        self._counter += 1
        object_id = PROCESS + self._counter.to_bytes(12, "big")
        while self._pipe.poll():
            self.take_in()
        part = self._pool.take(value.nbytes, time.monotonic())
        for message in self._pool.messages():
            self.send(message)
        if part is None:
            self.send(CreateObject(object_id, value.nbytes, Address(PROCESS)))
            offset = self.wait_for(ObjectCreated).offset
            sealed = SealedObject(object_id, PROCESS)
        else:
            offset = part.offset
            sealed = SealedObject(object_id, PROCESS, *part)
        self.arena.writer(offset, value.nbytes)[:] = value.data
        self.send(SealObjects([sealed]))
        return object_id, offset

    def free(self, object_id: bytes) -> None:
        self.send(UnpinObjects([object_id], [1]))
        self.send(FreeObjects([object_id]))

    def get(self, object_id: bytes) -> np.ndarray:
        self.send(PinObjects([object_id], [[]]))
        (answer,) = self.wait_for(ObjectsPinned).objects
        view = self.arena.reader(answer.offset, answer.size, answer.path, lambda: self.released.append(object_id))
        return np.frombuffer(view, np.uint8)


def seconds(work: Callable[[], Any], count: int) -> float:
    """Median seconds of one ``work()`` over ``count`` of them."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(client: Client, rounds: int) -> list[tuple[str, float, float]]:
    """Rows of name, seconds, and seconds of copying the same bytes (0: nothing to compare with)."""
    rows = []
    source = np.random.default_rng(0).integers(0, 255, LARGE, dtype=np.uint8)
    target = np.empty_like(source)
    np.copyto(target, source)
    gc.disable()

    def put_and_free(value: np.ndarray) -> None:
        object_id, _ = client.put(value)
        client.free(object_id)

    copy_large = seconds(lambda: np.copyto(target, source), rounds)
    rows.append(("put 400 MB, first", seconds(lambda: put_and_free(source), 1), copy_large))
    rows.append(("put 400 MB", seconds(lambda: put_and_free(source), rounds), copy_large))
    for name, size, count in (("10 MB", MEDIUM, 100), ("256 KB", SMALL, 1000)):
        # The bytes change from copy to copy, as those of the store do: the same ten megabytes would stay in the cache.
        parts = [slice(start, start + size) for start in range(0, LARGE - size, size)][:20]
        turn = iter(range(1_000_000))

        def copy(parts: list[slice] = parts, turn: Any = turn) -> None:
            part = parts[next(turn) % len(parts)]
            np.copyto(target[part], source[part])

        def put(parts: list[slice] = parts, turn: Any = turn) -> None:
            put_and_free(source[parts[next(turn) % len(parts)]])

        seconds(put, count)
        rows.append((f"put {name}", seconds(put, count * rounds), seconds(copy, count * rounds)))
    object_id, offset = client.put(source)
    rows.append(("get 400 MB, with a pin", seconds(lambda: client.get(object_id), 200 * rounds), 0.0))
    read = seconds(lambda: client.arena.reader(offset, LARGE, "", client.released.clear), 2000 * rounds)
    rows.append(("reader 400 MB", read, 0.0))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(theirs, 2048 * MB))
    server.start()
    client = Client(ours)
    rows = measure(client, arguments.rounds)
    ours.send_bytes(b"")
    server.join()
    print(f"{'':26}{'µs':>12}{'memcpy µs':>12}{'of memcpy':>12}{'more µs':>10}")
    for name, took, copying in rows:
        ratio, more = (f"{copying / took:.2f}", f"{(took - copying) * 1e6:.0f}") if copying else ("", "")
        print(f"{name:26}{took * 1e6:12.1f}{copying * 1e6:12.1f}{ratio:>12}{more:>10}")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump([{"name": name, "seconds": took, "memcpy": copying} for name, took, copying in rows], file)


if __name__ == "__main__":
    main()
