"""The GCS as a process, over real sockets."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from himalia.cluster.gcs.client import GcsClient, GcsRefusedError, GcsUnreachableError
from himalia.cluster.gcs.config import GcsConfig
from himalia.cluster.gcs.storage import FILE_NAME, open_storage
from himalia.cluster.launchers.boot import ConnectionInfo, GcsBoot, Ready
from himalia.cluster.protocol.common import PROTOCOL_VERSION, Address, NodeInfo, to_units
from himalia.cluster.protocol.gcs_messages import (
    ActorSpec,
    ActorUpdate,
    CreateActor,
    DriverHello,
    GcsReply,
    GetActor,
    JobInfo,
    KvGet,
    KvPut,
    ListState,
    NodeHello,
    NodeReport,
    ReportActor,
    Stop,
    Welcome,
)
from himalia.cluster.protocol.ids import make_task_id
from himalia.cluster.protocol.raylet_messages import RayletMessage, StartActor
from himalia.cluster.transport.bus import Bus
from himalia.cluster.transport.keys import CurveKeys, new_keys

GCS, NODE, RAYLET, DRIVER = (b"\x01" + name.encode() * 7 for name in "gnrd")

SERVE = """
import sys, msgspec
from himalia.cluster.gcs.server import run_gcs
from himalia.cluster.launchers.boot import GcsBoot
run_gcs(msgspec.json.decode(sys.stdin.buffer.read(), type=GcsBoot))
"""

# As the node host does: the servers do without the public API.
LOAD = """
import sys
from importlib.util import find_spec, module_from_spec
sys.modules["himalia"] = module_from_spec(find_spec("himalia"))
import himalia.cluster.gcs.server
print({"numpy", "pandas", "sqlite3"} & set(sys.modules) or "lean")
"""


class Gcs:
    """A GCS process."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.folder = folder
        reader, writer = os.pipe()
        boot = GcsBoot(
            cluster_id="test",
            process_id=GCS,
            node_id=NODE,
            ipc=f"ipc://{folder}/gcs",
            session_dir=str(folder),
            ready_fd=writer,
            **more,
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE], stdin=subprocess.PIPE, pass_fds=(writer,), stderr=subprocess.PIPE
        )
        os.close(writer)
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(boot))
        self.process.stdin.close()
        with open(reader, "rb") as pipe:
            self.ready = msgspec.msgpack.decode(pipe.read(), type=Ready)

    @property
    def address(self) -> Address:
        assert self.ready.address is not None, self.ready.error
        return self.ready.address

    def connection(self, keys: CurveKeys | None = None, *, over_tcp: bool = False) -> ConnectionInfo:
        address = Address(GCS, NODE, "", self.address.tcp) if over_tcp else self.address
        public, secret = (keys.public, keys.secret) if keys is not None else ("", "")
        return ConnectionInfo(
            cluster_id="test",
            node_id=NODE,
            gcs=address,
            raylet=Address(RAYLET),
            session_dir=str(self.folder),
            public_key=public,
            secret_key=secret,
        )

    def end(self) -> int:
        self.process.kill()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return self.process.wait(5)


class Peer:
    """A raylet or driver that is only its sockets."""

    def __init__(self, folder: Path, identity: bytes, gcs: Address) -> None:
        self.bus = Bus(identity, CurveKeys())
        ipc = self.bus.bind_ipc(str(folder / identity.hex()))
        self.address = Address(identity, NODE, ipc)
        self.bus.connect(gcs)

    @property
    def path(self) -> Path:
        return Path(self.address.ipc.removeprefix("ipc://"))

    def stop_listening(self) -> None:
        """As a process that was killed, whose socket's file remains."""
        self.bus.server.close(0)
        while True:  # ZeroMQ's thread closes it
            with socket.socket(socket.AF_UNIX) as client:
                try:
                    client.connect(str(self.path))
                except ConnectionRefusedError:
                    return

    def say(self, message: Any) -> None:
        self.bus.send(GCS, [msgspec.msgpack.encode(message)])

    def hear(self, kind: type[Any]) -> Any:
        """The next answer of a kind, on what we asked."""
        while self.bus.client.poll(5000):
            message = msgspec.msgpack.decode(self.bus.client.recv_multipart()[1], type=GcsReply)
            if isinstance(message, kind):
                return message
        raise AssertionError(f"no {kind.__name__} came")

    def told(self, kind: type[Any]) -> Any:
        """The next order of a kind, on what we serve."""
        while self.bus.server.poll(5000):
            message = msgspec.msgpack.decode(self.bus.server.recv_multipart()[1], type=RayletMessage)
            if isinstance(message, kind):
                return message
        raise AssertionError(f"no {kind.__name__} came")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Gcs]]:
    started: list[Gcs] = []

    def start_one(**more: Any) -> Gcs:
        started.append(Gcs(tmp_path, **more))
        return started[-1]

    yield start_one
    for gcs in started:
        gcs.end()


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[Callable[[bytes, Gcs], Peer]]:
    made: list[Peer] = []

    def make(identity: bytes, gcs: Gcs) -> Peer:
        made.append(Peer(tmp_path, identity, gcs.address))
        return made[-1]

    yield make
    for peer in made:
        peer.bus.close()


def join(raylet: Peer) -> None:
    info = NodeInfo(NODE, raylet.address, "host", 1, to_units({"CPU": 2}), {}, 0)
    raylet.say(NodeHello(PROTOCOL_VERSION, info))
    raylet.hear(Welcome)


def wait_until_stored(gcs: Gcs, *tables: str) -> None:
    """A batch is written after the answers. The GCS alone may open its file, so look at copies of it."""
    copy = gcs.folder / "copy"
    while True:
        copy.mkdir()
        for file in gcs.folder.glob(f"{FILE_NAME}*"):
            shutil.copy(file, copy)
        storage = open_storage("", str(copy))
        stored = storage.load()
        storage.close()
        shutil.rmtree(copy)
        if stored.keys() >= {*tables}:
            return


def test_an_actor_is_made_over_real_sockets(start: Callable[..., Gcs], peers: Callable[[bytes, Gcs], Peer]) -> None:
    gcs = start()
    raylet, driver = peers(RAYLET, gcs), peers(DRIVER, gcs)
    join(raylet)
    driver.say(DriverHello(PROTOCOL_VERSION, driver.address, JobInfo(b"", driver.address, 1, "", "", 0.0), 1))
    job_id = driver.hear(Welcome).job_id
    actor_id = make_task_id(DRIVER, 1)
    driver.say(CreateActor(actor_id, ActorSpec(b"hash", "A", job_id, driver.address)))
    assert raylet.told(StartActor).actor_id == actor_id
    raylet.say(ReportActor(actor_id, Address(b"\x01workerr", NODE)))
    assert driver.hear(ActorUpdate).info.state == "ALIVE"


def test_state_outlives_a_kill(start: Callable[..., Gcs], peers: Callable[[bytes, Gcs], Peer]) -> None:
    gcs = start()
    raylet, driver = peers(RAYLET, gcs), peers(DRIVER, gcs)
    join(raylet)
    driver.say(CreateActor(make_task_id(DRIVER, 1), ActorSpec(b"", "A", b"", driver.address, name="it"), request=1))
    raylet.told(StartActor)
    with GcsClient(gcs.connection()) as client:
        client.call(KvPut(b"key", b"value"))
        wait_until_stored(gcs, "kv", "actors")
    assert gcs.end() == -signal.SIGKILL
    again = start()
    with GcsClient(again.connection()) as client:
        assert client.call(KvGet(b"key")) == b"value"
        assert client.call(GetActor(name="it"))[0][1] == "PENDING"
        (node,) = client.call(ListState("nodes"))
        assert node["alive"]


def seconds_until_dead(client: GcsClient) -> float:
    """How long the one node was alive to the GCS, by its own clock: a busy machine delays both ends of that alike."""
    while (node := client.call(ListState("nodes"))[0])["alive"]:
        time.sleep(0.02)
    return float(node["died"] - node["joined"])


SILENCE = GcsConfig().heartbeat_timeout
"""Seconds after which a node is dead however it ended: what is noticed sooner was noticed by its connection."""


def test_the_death_of_a_raylet_is_noticed_by_its_connection(
    start: Callable[..., Gcs], peers: Callable[[bytes, Gcs], Peer]
) -> None:
    gcs = start()
    raylet = peers(RAYLET, gcs)
    join(raylet)
    raylet.say(NodeReport(to_units({"CPU": 2})))
    with GcsClient(gcs.connection()) as client:
        raylet.bus.close()
        assert seconds_until_dead(client) < SILENCE


@pytest.mark.parametrize("is_removed", [True, False], ids=["its socket is removed", "nobody listens at its socket"])
def test_a_raylet_that_died_before_it_was_connected_to_is_noticed(
    start: Callable[..., Gcs], peers: Callable[[bytes, Gcs], Peer], *, is_removed: bool
) -> None:
    gcs = start()
    raylet = peers(RAYLET, gcs)
    raylet.stop_listening()
    if is_removed:
        raylet.path.unlink()
    with GcsClient(gcs.connection()) as client:
        join(raylet)
        assert seconds_until_dead(client) < SILENCE


def test_what_a_raylet_said_last_does_not_make_it_alive_again(
    start: Callable[..., Gcs], peers: Callable[[bytes, Gcs], Peer]
) -> None:
    """Its report is read after its connection broke: they come by two sockets."""
    gcs = start()
    raylet, driver = peers(RAYLET, gcs), peers(DRIVER, gcs)
    join(raylet)
    driver.say(CreateActor(make_task_id(DRIVER, 1), ActorSpec(b"", "A", b"", driver.address)))
    raylet.told(StartActor)  # so the GCS is connected to it
    with GcsClient(gcs.connection()) as client:
        raylet.stop_listening()
        raylet.say(NodeReport(to_units({"CPU": 2})))
        assert seconds_until_dead(client) < SILENCE


def test_a_gcs_comes_back_when_the_raylet_it_knew_has_gone(
    start: Callable[..., Gcs], peers: Callable[[bytes, Gcs], Peer]
) -> None:
    gcs = start()
    raylet = peers(RAYLET, gcs)
    join(raylet)
    wait_until_stored(gcs, "nodes")
    gcs.end()
    raylet.bus.close()
    with GcsClient(start().connection()) as client:
        assert client.call(ListState("nodes"))[0]["alive"]  # it has its usual time to say hello again


def test_stop_ends_the_process(start: Callable[..., Gcs]) -> None:
    gcs = start()
    with GcsClient(gcs.connection()) as client:
        assert client.call(Stop("enough")) is True
    assert gcs.process.wait(5) == 0


def test_a_signal_ends_the_process_and_its_socket(start: Callable[..., Gcs], tmp_path: Path) -> None:
    gcs = start()
    gcs.process.terminate()
    assert gcs.process.wait(5) == 0
    assert not (tmp_path / "gcs").exists()


def test_storage_that_cannot_be_used_is_told_to_who_started_it(start: Callable[..., Gcs]) -> None:
    gcs = start(storage="redis://localhost")
    assert "Redis is not in this version" in gcs.ready.error
    assert gcs.process.wait(5) == 0


def test_over_tcp_only_the_clusters_key_is_let_in(start: Callable[..., Gcs]) -> None:
    keys, wrong = new_keys(), new_keys()
    gcs = start(tcp_host="127.0.0.1", public_key=keys.public, secret_key=keys.secret)
    with GcsClient(gcs.connection(keys, over_tcp=True)) as client:
        assert client.call(KvGet(b"nothing")) is None
    with GcsClient(gcs.connection(wrong, over_tcp=True)) as client, pytest.raises(GcsUnreachableError, match="its key"):
        client.call(KvGet(b"nothing"), timeout=0.5)


def test_a_refusal_names_its_kind(start: Callable[..., Gcs]) -> None:
    with GcsClient(start().connection()) as client:
        with pytest.raises(GcsRefusedError, match="no living actor") as caught:
            client.call(GetActor(name="nobody"))
        assert caught.value.kind == "not_found"


def test_rubbish_is_refused_and_harms_nobody(start: Callable[..., Gcs], peers: Callable[[bytes, Gcs], Peer]) -> None:
    gcs = start()
    stranger = peers(DRIVER, gcs)
    for rubbish in (b"", b"\xff\xff", msgspec.msgpack.encode([99, 1]), msgspec.msgpack.encode([16, "key"])):
        stranger.bus.send(GCS, [rubbish])
    with GcsClient(gcs.connection()) as client:
        assert client.call(KvGet(b"nothing")) is None


def test_a_cluster_that_is_gone_is_told_as_such(tmp_path: Path) -> None:
    where = ConnectionInfo(
        cluster_id="test",
        node_id=NODE,
        gcs=Address(GCS, NODE, f"ipc://{tmp_path}/gcs"),
        raylet=Address(RAYLET),
        session_dir="",
    )
    with pytest.raises(GcsUnreachableError, match="cannot be reached"):
        GcsClient(where)


def test_the_server_imports_nothing_heavy() -> None:
    run = subprocess.run([sys.executable, "-c", LOAD], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "lean"


def test_who_died_after_it_was_asked_is_not_waited_for(start: Callable[..., Gcs], tmp_path: Path) -> None:
    """Its socket is there and nobody answers, as while a process ends."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "ending"))
    ending = Address(worker_id=b"\x01ending_", node_id=b"", ipc=f"ipc://{tmp_path / 'ending'}", tcp="")
    looked: list[float] = []

    def living() -> set[bytes]:
        looked.append(time.monotonic())
        return {ending.worker_id} if len(looked) < 3 else set()

    with GcsClient(start().connection()) as client:
        assert client.holdings([ending], living, timeout=600.0) == ([], [])
        assert len(looked) == 3
        assert client.holdings([ending], lambda: {ending.worker_id}, timeout=0.01) == ([], [ending])
    listener.close()
