"""The server on a real loop, with real shared memory, disk and threads."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from himalia.cluster.object_store.client import ArenaClient
from himalia.cluster.object_store.server import ObjectStoreServer
from himalia.cluster.protocol.common import Address
from himalia.cluster.protocol.raylet_messages import (
    CreateObject,
    FreeObjects,
    ObjectCreated,
    ObjectsPinned,
    PinObjects,
    SealedObject,
    SealObjects,
    UnpinObjects,
)
from tests.object_store.world import node_id, object_id, process_id

MB = 1 << 20
ME = process_id(0)
A, B = object_id(ME, 1), object_id(ME, 2)


class Host:
    """Stores of one "machine", connected to each other and to processes by queues."""

    def __init__(self, folder: Path, shared_memory: Path, nodes: int = 1, capacity: int = 64 * MB) -> None:
        self.stores: dict[bytes, ObjectStoreServer] = {}
        self.clients: dict[bytes, ArenaClient] = {}
        self.answers: dict[bytes, asyncio.Queue[Any]] = {}
        self.chunks = 0
        loop = asyncio.get_running_loop()
        for number in range(nodes):
            me = node_id(number)

            def send(peer: bytes, message: Any, frames: Any, me: bytes = me) -> None:
                if peer in self.stores:
                    self.chunks += bool(frames)
                    loop.call_soon(self.stores[peer].handle, me, message, frames)
                else:
                    self.answers[me].put_nowait(message)

            def send_to_node(node: bytes, message: Any, me: bytes = me) -> None:
                loop.call_soon(self.stores[node].handle, me, message)

            store = ObjectStoreServer(
                me, folder, capacity, send=send, send_to_node=send_to_node, shared_memory=shared_memory
            )
            self.stores[me] = store
            self.clients[me] = ArenaClient(store.arena_path, store.arena_bytes)
            self.answers[me] = asyncio.Queue()

    async def answer(self, node: int, kind: type) -> Any:
        while True:
            message = await asyncio.wait_for(self.answers[node_id(node)].get(), 20)
            if isinstance(message, kind):
                return message

    async def put(self, of: bytes, content: bytes, node: int = 0) -> ObjectCreated:
        store = self.stores[node_id(node)]
        store.handle(ME, CreateObject(of, len(content), Address(ME)))
        place: ObjectCreated = await self.answer(node, ObjectCreated)
        if not place.error:
            with self.clients[node_id(node)].writer(place.offset, place.size, place.path) as target:
                target[:] = content
            store.handle(ME, SealObjects([SealedObject(of)]))
        return place

    async def get(self, of: bytes, node: int = 0, at: int = 0) -> bytes:
        self.stores[node_id(node)].handle(ME, PinObjects([of], [[node_id(at)]]))
        (answer,) = (await self.answer(node, ObjectsPinned)).objects
        assert answer.status == 0, answer
        content = bytes(self.clients[node_id(node)].reader(answer.offset, answer.size, answer.path, list))
        self.stores[node_id(node)].handle(ME, UnpinObjects([of], [1]))
        return content

    def free(self, *ids: bytes) -> None:
        for store in self.stores.values():
            store.handle(ME, FreeObjects(list(ids)))

    def close(self) -> None:
        for client in self.clients.values():
            client.close()
        for store in self.stores.values():
            store.close()


MakeHost = Callable[..., Host]


@pytest.fixture
async def make_host(tmp_path: Path) -> AsyncIterator[MakeHost]:
    hosts: list[Host] = []

    def make(shared_memory: Path = Path("/dev/shm"), **options: Any) -> Host:
        hosts.append(Host(tmp_path / "session", shared_memory, **options))
        return hosts[-1]

    yield make
    for host in hosts:
        host.close()
        host.close()


@pytest.fixture
def small_tmpfs(tmp_path: Path) -> Iterator[Path]:
    """Shared memory of 80 MB."""
    folder = tmp_path / "shm"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs needs rights that are not there")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def test_an_object_is_written_read_and_freed(make_host: MakeHost) -> None:
    host = make_host()
    content = os.urandom(3 * MB)
    await host.put(A, content)
    assert await host.get(A) == content
    host.free(A)
    assert host.stores[node_id(0)].stats().used == 0


async def test_objects_are_spilled_to_disk_and_come_back(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host()
    first, second = os.urandom(40 * MB), os.urandom(40 * MB)
    await host.put(A, first)
    await host.put(B, second)
    folder = tmp_path / "session" / "spill" / node_id(0).hex()
    assert [path.stat().st_size for path in folder.iterdir()] == [40 * MB]
    assert await host.get(A) == first
    assert await host.get(B) == second
    host.free(A, B)
    stats = host.stores[node_id(0)].stats()
    assert (stats.used, stats.spilled, stats.restored) == (0, 80 * MB, 80 * MB)


async def test_more_than_fits_falls_back_to_a_file(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host()
    content = os.urandom(65 * MB)
    place = await host.put(A, content)
    assert place.path
    assert await host.get(A) == content
    host.close()
    assert not (tmp_path / "session" / "fallback" / node_id(0).hex()).exists()


async def test_full_shared_memory_is_not_the_end(
    make_host: MakeHost, small_tmpfs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host = make_host(small_tmpfs, capacity=256 * MB)
    contents = {object_id(ME, number): os.urandom(30 * MB) for number in range(4)}
    with caplog.at_level(logging.WARNING):
        for of, content in contents.items():
            place = await host.put(of, content)
            assert not place.error
    assert "cannot grow beyond 67108864 bytes: No space left on device" in caplog.text
    for of, content in contents.items():
        assert await host.get(of) == content
    host.free(*contents)


async def test_an_object_goes_to_another_node_in_chunks(make_host: MakeHost) -> None:
    host = make_host(nodes=3)
    content = os.urandom(50 * MB)
    await host.put(A, content)
    assert await host.get(A, node=1, at=0) == content
    assert host.chunks == 13
    assert await host.get(A, node=2, at=1) == content
    host.stores[node_id(0)].handle(ME, FreeObjects([A]))
    while any(store.stats().used for store in host.stores.values()):  # noqa: ASYNC110 nobody tells of it
        await asyncio.sleep(0.01)


async def test_an_object_in_a_file_goes_to_another_node_and_into_a_file(make_host: MakeHost) -> None:
    host = make_host(nodes=2)
    content = os.urandom(65 * MB)
    await host.put(A, content)
    assert await host.get(A, node=1, at=0) == content
    host.free(A)


async def test_a_closed_store_leaves_nothing_and_hears_nothing(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host()
    await host.put(A, os.urandom(40 * MB))
    await host.put(B, os.urandom(40 * MB))
    host.close()
    host.stores[node_id(0)].handle(ME, PinObjects([A], [[]]))
    assert not list((tmp_path / "session").rglob("*/*/*"))
