"""Real nodes with workers that only say hello."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from himalia.cluster.launchers import local
from himalia.cluster.launchers.boot import ConnectionInfo, NodeOptions
from himalia.cluster.protocol.common import PROTOCOL_VERSION, Address
from himalia.cluster.protocol.raylet_messages import CoreHello, CoreWelcome, RayletReply
from himalia.cluster.transport.bus import Bus
from himalia.cluster.transport.keys import CurveKeys
from tests.support.source_tree import ROOT

FAKE_WORKER = "tests.launchers.fake_worker"
PATIENCE = 30.0


def eventually(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Wait until ``condition()`` is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.005)
    return found


class Node:
    """A started node, seen from outside."""

    def __init__(self, process: local.ClusterProcess) -> None:
        self.process = process
        self.info: ConnectionInfo = process.connection

    def children(self) -> dict[str, list[psutil.Process]]:
        """Processes by role: host, gcs, raylet, worker."""
        found: dict[str, list[psutil.Process]] = {"host": [psutil.Process(self.process.pid)]}
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in found["host"][0].children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    name = Path(f"/proc/{child.pid}/comm").read_text().strip()
                    found.setdefault(name.removeprefix("himalia:"), []).append(child)
        return found

    def workers_that_said_hello(self) -> list[Path]:
        return [log for log in self.logs.glob("worker-*.out") if log.stat().st_size]

    @property
    def logs(self) -> Path:
        return Path(self.info.session_dir) / "logs"

    def wait_for_workers(self, count: int) -> None:
        eventually(lambda: len(self.workers_that_said_hello()) >= count, f"{count} workers")


class Peer:
    """A core's connection to a raylet, by hand. ``said`` is all that came."""

    def __init__(self, info: ConnectionInfo, worker_id: bytes = b"\x01driver!") -> None:
        self.bus = Bus(worker_id, CurveKeys(info.public_key, info.secret_key))
        self.info = info
        self.address = Address(worker_id, info.node_id, f"ipc://{info.session_dir}/{worker_id.hex()}")
        self.bus.connect(info.raylet)
        self.said: list[Any] = []
        self._decode = msgspec.msgpack.Decoder(RayletReply).decode

    def tell(self, message: Any) -> None:
        self.bus.send(self.info.raylet.worker_id, [msgspec.msgpack.encode(message)])

    def hello(self, *, pid: int = 0, owns_cluster: bool = False) -> CoreWelcome:
        self.tell(
            CoreHello(PROTOCOL_VERSION, self.address, pid or os.getpid(), "driver", b"job1", owns_cluster=owns_cluster)
        )
        welcome = self.wait_for(CoreWelcome)
        assert not welcome.error
        return welcome

    def wait_for(self, kind: type, count: int = 1, seconds: float = PATIENCE) -> Any:
        """The first message of this type (of several, all), when as many came; they are taken out of ``said``."""
        deadline = time.monotonic() + seconds
        while len(found := [message for message in self.said if isinstance(message, kind)]) < count:
            left = deadline - time.monotonic()
            assert left > 0, f"no {kind.__name__} within {seconds} s, but {self.said}"
            if self.bus.client.poll(int(left * 1000)):
                self.said.append(self._decode(self.bus.client.recv_multipart()[1]))
        taken = found[:count]
        self.said = [message for message in self.said if not any(message is other for other in taken)]
        return taken[0] if count == 1 else taken

    def close(self) -> None:
        self.bus.close()


@pytest.fixture
def in_own_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sessions of the test lie in a folder of their own, so that it finds no others."""
    folder = Path("/tmp") / f"himalia-test-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("HIMALIA_TMPDIR", str(folder))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return folder


@pytest.fixture
def start_node(in_own_folder: Path) -> Iterator[Callable[..., Node]]:
    """Start heads (or further nodes, given ``join``), which are stopped at the end."""
    nodes: list[Node] = []

    def start(join: ConnectionInfo | None = None, **options: Any) -> Node:
        options.setdefault("num_cpus", 2)
        options.setdefault("object_store_memory", 64 << 20)
        options.setdefault("include_dashboard", False)
        chosen = NodeOptions(worker_module=FAKE_WORKER, **options)
        process = local.start_head(chosen) if join is None else local.start_node(join, chosen)
        nodes.append(Node(process))
        return nodes[-1]

    yield start
    for node in reversed(nodes):
        node.process.stop()
    in_own_folder.rmdir()


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    peers: list[Peer] = []

    def connect(node: Node, worker_id: bytes = b"\x01driver!") -> Peer:
        peers.append(Peer(node.info, worker_id))
        return peers[-1]

    yield connect
    for made in peers:
        made.close()


def kill(process: psutil.Process, number: int = signal.SIGKILL) -> None:
    os.kill(process.pid, number)
