"""A node that goes away: its work is done elsewhere, what it held is made again, and nobody waits for it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from himalia.cluster.launchers.boot import NodeOptions
from himalia.cluster.launchers.local import NodeStartError, start_node
from himalia.cluster.transport.keys import new_keys
from himalia.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    ObjectLostError,
    OwnerDiedError,
    WorkerCrashedError,
)
from tests.integration.conftest import Nodes
from tests.support.clusters import eventually, node_processes, slay, took_less_than

MB = 1 << 20


@pytest.mark.parametrize("graceful", [True, False])
def test_the_tasks_of_a_removed_node_are_run_elsewhere(graceful: bool, one_node: Nodes, tmp_path: Path) -> None:
    hv = one_node.hv
    first = one_node.add(resources={"pool": 10})

    @hv.remote(max_retries=3, num_cpus=0, resources={"pool": 1})
    def work(i: int, folder: Path) -> tuple[int, str]:
        node = str(hv.get_runtime_context().get_node_id())
        (folder / f"{node}-{i}").touch()
        if len(list(folder.glob(f"{node}-*"))) <= 5 and node == first_id:
            time.sleep(60)
        return i, node

    first_id = first.node_id
    refs = [work.remote(i, tmp_path) for i in range(20)]
    eventually(lambda: len(list(tmp_path.iterdir())) >= 5, "some tasks to run")
    processes = node_processes(first.connection.session_dir)
    second = one_node.add(resources={"pool": 10})
    one_node.cluster.remove_node(first, allow_graceful=graceful)
    with took_less_than(15):
        seen = hv.get(refs)
    assert [i for i, _ in seen] == list(range(20))
    assert second.node_id in {node for _, node in seen}
    pids = [pid for group in processes.values() for pid in group]
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the end of the node's processes")
    assert not Path(first.connection.session_dir).exists()


@pytest.mark.parametrize("graceful", [True, False])
def test_a_task_without_retries_fails_with_the_death_of_its_node(
    graceful: bool, two_nodes: Nodes, on: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    hv = two_nodes.hv

    @hv.remote(max_retries=0, **on("other"))
    def sleep(path: Path) -> None:
        path.touch()
        time.sleep(60)

    ref = sleep.remote(tmp_path / "running")
    eventually((tmp_path / "running").exists, "it to run")
    with took_less_than(8):
        two_nodes.cluster.remove_node(two_nodes.other, allow_graceful=graceful)
        with pytest.raises((NodeDiedError, WorkerCrashedError)):
            hv.get(ref)


@pytest.mark.parametrize("role", ["raylet", "host"])
def test_a_killed_server_of_another_node_is_noticed_within_two_seconds(
    role: str, two_nodes: Nodes, on: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    hv = two_nodes.hv

    @hv.remote(max_retries=0, **on("other"))
    def sleep(path: Path) -> None:
        path.touch()
        time.sleep(60)

    class Sleeper:
        def sleep(self) -> None:
            time.sleep(60)

    actor = hv.remote(**on("other"))(Sleeper).remote()
    refs = [sleep.remote(tmp_path / "running"), actor.sleep.remote()]
    eventually((tmp_path / "running").exists, "it to run")
    hv.wait([refs[1]], timeout=0.3)
    slay(node_processes(two_nodes.other.connection.session_dir)[role][0])
    with took_less_than(2.1):
        with pytest.raises((NodeDiedError, WorkerCrashedError)):
            hv.get(refs[0])
        with pytest.raises(ActorDiedError, match=r"node|raylet|host"):
            hv.get(refs[1])


@pytest.mark.parametrize("size", [200_000, 20 * MB])
def test_a_lost_object_is_rebuilt_from_lineage(
    size: int, one_node: Nodes, on: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    hv = one_node.hv
    first = one_node.add(resources={"pool": 10})

    @hv.remote(max_retries=2, **on("pool"))
    def make(n: int, folder: Path) -> np.ndarray:
        with (folder / "made").open("a") as file:
            file.write("x")
        return np.full(n, 7, np.uint8)

    @hv.remote(max_retries=2, **on("pool"))
    def double(x: np.ndarray) -> np.ndarray:
        return x * 2

    made = make.remote(size, tmp_path)
    doubled = double.remote(made)
    assert not hv.wait([made, doubled], num_returns=2, timeout=10, fetch_local=False)[1]
    one_node.add(resources={"pool": 10})
    one_node.cluster.remove_node(first, allow_graceful=False)
    with took_less_than(15):
        value = hv.get(doubled)
        assert value.nbytes == size
        assert value[0] == value[-1] == 14
        assert hv.get(made)[-1] == 7
    assert (tmp_path / "made").read_text() == "xx"


def test_a_lost_object_is_rebuilt_for_a_task_and_a_borrower_that_need_it(
    one_node: Nodes, on: Callable[..., dict[str, Any]]
) -> None:
    hv = one_node.hv
    first = one_node.add(resources={"pool": 10})

    @hv.remote(max_retries=2, **on("pool"))
    def make() -> np.ndarray:
        return np.full(MB, 7, np.uint8)

    @hv.remote(**on("head"))
    def total(x: np.ndarray) -> int:
        return int(x.sum())

    @hv.remote(**on("head"))
    def total_of(refs: list[Any]) -> int:
        return int(hv.get(refs[0]).sum())

    made = [make.remote(), make.remote()]
    assert not hv.wait(made, num_returns=2, timeout=10, fetch_local=False)[1]
    one_node.add(resources={"pool": 10})
    one_node.cluster.remove_node(first, allow_graceful=False)
    with took_less_than(15):
        assert hv.get(total.remote(made[0])) == 7 * MB
        assert hv.get(total_of.remote([made[1]])) == 7 * MB


def test_an_object_that_was_put_on_a_lost_node_is_lost_with_its_owner(
    two_nodes: Nodes, on: Callable[..., dict[str, Any]]
) -> None:
    hv = two_nodes.hv

    class Owner:
        def put(self) -> list[Any]:
            self.ref = hv.put(np.ones(MB, np.uint8))
            return [self.ref]

    owner = hv.remote(**on("other"))(Owner).remote()
    [ref] = hv.get(owner.put.remote())
    two_nodes.cluster.remove_node(two_nodes.other, allow_graceful=False)
    with took_less_than(5), pytest.raises((OwnerDiedError, ObjectLostError)):
        hv.get(ref)


def test_a_lost_object_without_retries_is_an_error_and_not_a_wait(
    two_nodes: Nodes, on: Callable[..., dict[str, Any]]
) -> None:
    hv = two_nodes.hv

    @hv.remote(max_retries=0, **on("other"))
    def make() -> np.ndarray:
        return np.ones(MB, np.uint8)

    ref = make.remote()
    assert hv.wait([ref], timeout=10, fetch_local=False)[0]
    two_nodes.cluster.remove_node(two_nodes.other, allow_graceful=False)
    with took_less_than(8), pytest.raises(ObjectLostError):
        hv.get(ref)


def test_an_actor_with_restarts_lives_again_on_another_node(one_node: Nodes, on: Callable[..., dict[str, Any]]) -> None:
    hv = one_node.hv
    first = one_node.add(resources={"pool": 10})

    class Place:
        def where(self) -> str:
            return str(hv.get_runtime_context().get_node_id())

        def sleep(self) -> None:
            time.sleep(60)

    place = hv.remote(max_restarts=1, name="place", **on("pool"))(Place).remote()
    assert hv.get(place.where.remote()) == first.node_id
    second = one_node.add(resources={"pool": 10})
    in_flight = place.sleep.remote()
    hv.wait([in_flight], timeout=0.2)
    one_node.cluster.remove_node(first, allow_graceful=False)
    with took_less_than(5), pytest.raises(ActorUnavailableError):
        hv.get(in_flight)

    def lives() -> str:
        try:
            return str(hv.get(hv.get_actor("place").where.remote(), timeout=5))
        except ActorUnavailableError:
            return ""

    assert eventually(lives, "the actor to live again") == second.node_id


def test_the_loss_of_the_head_node_is_an_error_of_all_that_is_pending_within_two_seconds(two_nodes: Nodes) -> None:
    from himalia.exceptions import RaySystemError

    hv = two_nodes.hv

    @hv.remote(num_cpus=0, resources={"other": 1}, max_retries=-1)
    def sleep() -> None:
        time.sleep(60)

    refs = [sleep.remote() for _ in range(3)]
    hv.wait(refs, timeout=0.3)
    head = two_nodes.head
    threading.Timer(0.1, slay, [node_processes(head.connection.session_dir)["gcs"][0]]).start()
    with took_less_than(2.1), pytest.raises(RaySystemError):
        hv.get(refs)


def test_a_driver_of_a_node_that_is_lost_is_told_within_two_seconds(
    two_nodes: Nodes, on: Callable[..., dict[str, Any]]
) -> None:
    import himalia
    from himalia.exceptions import RaySystemError

    hv = two_nodes.hv
    other = two_nodes.other
    hv.shutdown()
    himalia.init(other.connection.session_dir, log_to_driver=False)

    @hv.remote(**on("head", max_retries=-1))
    def sleep() -> None:
        time.sleep(60)

    ref = sleep.remote()
    hv.wait([ref], timeout=0.3)
    threading.Timer(0.1, slay, [other.process.pid]).start()
    with took_less_than(2.1), pytest.raises(RaySystemError):
        hv.get(ref)
    with took_less_than(3):
        hv.shutdown()


def test_a_node_with_a_wrong_key_is_refused_and_says_why(one_node: Nodes) -> None:
    import msgspec

    wrong = new_keys()
    right = one_node.cluster.connection
    # Without the Unix socket, which the mode of its folder protects. In the second case the server's key is right, so
    # that the handshake gets as far as the proof of our own.
    gcs = msgspec.structs.replace(right.gcs, ipc="")
    for public, secret in ((wrong.public, wrong.secret), (right.public_key, wrong.secret)):
        connection = msgspec.structs.replace(right, gcs=gcs, public_key=public, secret_key=secret)
        with took_less_than(10), pytest.raises(NodeStartError, match="key"):
            start_node(connection, NodeOptions(num_cpus=1, object_store_memory=32 * MB, owner_pid=os.getpid()))
    assert len([node for node in one_node.hv.nodes() if node["Alive"]]) == 1


def test_a_peer_without_the_key_gets_no_answer(one_node: Nodes) -> None:
    import zmq

    endpoint = one_node.cluster.connection.gcs.tcp
    keys = new_keys()
    with zmq.Context() as context:
        for curve in (False, True):
            with context.socket(zmq.DEALER) as peer:
                peer.linger = 0
                if curve:
                    peer.curve_serverkey = one_node.cluster.connection.public_key.encode()
                    peer.curve_publickey, peer.curve_secretkey = keys.public.encode(), keys.secret.encode()
                monitor = peer.get_monitor_socket()
                peer.connect(endpoint)
                peer.send(b"hello")
                assert _failed_handshake(monitor), "the handshake did not fail"
                assert not peer.poll(200)
                peer.disable_monitor()
                monitor.close(0)
    assert one_node.hv.get(one_node.hv.put(1)) == 1


def _failed_handshake(monitor: Any) -> bool:
    import zmq
    from zmq.utils.monitor import recv_monitor_message

    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if monitor.poll(1000):
            event = recv_monitor_message(monitor)["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                return False
            if event & (
                zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
                | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
                | zmq.EVENT_HANDSHAKE_FAILED_AUTH
                | zmq.EVENT_DISCONNECTED
            ):
                return True
    return False
