"""Nodes start, and end with everything they made, however they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
import pytest

from himalia.cluster.launchers import local, session
from himalia.cluster.launchers.boot import NodeOptions
from himalia.cluster.protocol.common import DeathKind
from himalia.cluster.protocol.raylet_messages import (
    Exit,
    KillWorker,
    LeaseGranted,
    LeaseRefused,
    LeaseSpec,
    ReturnLeases,
    SetDemand,
    WorkerDied,
)
from tests.support.clusters import took_less_than

from .conftest import FAKE_WORKER, Node, Peer, eventually, kill

CPU = {"CPU": 10_000}
StartNode = Callable[..., Node]
Connect = Callable[..., Peer]


def is_gone(node: Node, processes: list[psutil.Process]) -> bool:
    return not Path(node.info.session_dir).exists() and not any(
        process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes
    )


def all_of(node: Node) -> list[psutil.Process]:
    return [process for role in node.children().values() for process in role]


def test_a_node_has_one_host_a_gcs_a_raylet_and_a_worker_for_each_cpu(start_node: StartNode) -> None:
    node = start_node()
    node.wait_for_workers(2)
    assert {role: len(found) for role, found in node.children().items()} == {
        "host": 1,
        "gcs": 1,
        "raylet": 1,
        "worker": 2,
    }


def test_the_host_has_a_single_thread(start_node: StartNode) -> None:
    node = start_node()
    node.wait_for_workers(1)
    assert node.children()["host"][0].num_threads() == 1


def test_a_node_for_this_machine_opens_no_tcp_port(start_node: StartNode) -> None:
    node = start_node()
    node.wait_for_workers(2)
    assert [c for process in all_of(node) for c in process.net_connections("inet")] == []


def test_the_dashboard_listens_on_this_machine_only_and_its_socket_is_the_hosts(start_node: StartNode) -> None:
    node = start_node(include_dashboard=None)
    node.wait_for_workers(2)
    opened = {c.laddr for process in all_of(node) for c in process.net_connections("inet")}
    assert {f"http://{place.ip}:{place.port}" for place in opened} == {node.info.dashboard_url}
    assert {place.ip for place in opened} == {"127.0.0.1"}


def test_a_node_that_listens_has_its_address_and_key_in_the_connection_file(start_node: StartNode) -> None:
    node = start_node(tcp_host="127.0.0.1")
    assert node.info.gcs.tcp.startswith("tcp://127.0.0.1:")
    assert node.info.raylet.tcp.startswith("tcp://127.0.0.1:")
    assert len(node.info.secret_key) == 40
    file = Path(node.info.session_dir) / session.CONNECTION_FILE
    assert file.stat().st_mode & 0o777 == 0o600
    assert session.read_connection_file(file) == node.info


def test_the_session_folder_is_for_its_user_alone(start_node: StartNode) -> None:
    node = start_node()
    folder = Path(node.info.session_dir)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.parent.stat().st_mode & 0o777 == 0o700


def test_stopping_a_node_is_quick_and_leaves_nothing(start_node: StartNode) -> None:
    node = start_node()
    node.wait_for_workers(2)
    processes = all_of(node)
    with took_less_than(0.5):
        node.process.stop()
    assert is_gone(node, processes)
    assert not session.session_root().exists()


@pytest.mark.parametrize("role", ["gcs", "raylet", "host"])
@pytest.mark.chaos
def test_killing_a_server_or_the_host_ends_the_node_and_leaves_nothing(role: str, start_node: StartNode) -> None:
    node = start_node()
    node.wait_for_workers(2)
    processes = all_of(node)
    kill(node.children()[role][0])
    eventually(lambda: not node.process.is_running(), "the end of the host")
    eventually(lambda: is_gone(node, processes), f"the end of all after the {role} was killed", 2.0)
    reason = node.process.end_reason()
    assert "SIGKILL" in reason
    assert role in reason
    assert not list(session.session_root().parent.glob("himalia-*"))


@pytest.mark.chaos
def test_a_driver_hears_why_its_node_ends(start_node: StartNode, peer: Connect) -> None:
    node = start_node()
    driver = peer(node)
    driver.hello()
    kill(node.children()["gcs"][0])
    assert "the gcs" in driver.wait_for(Exit, seconds=2).reason


@pytest.mark.chaos
def test_killing_everything_at_once_is_swept_up_by_the_next_start(start_node: StartNode) -> None:
    node = start_node()
    processes = all_of(node)
    for process in processes:  # first stopped, so that nobody can clean up after another
        kill(process, signal.SIGSTOP)
    for process in processes:
        kill(process)
    eventually(lambda: not node.process.is_running(), "the end of the host")
    assert Path(node.info.session_dir).exists()
    other = start_node()
    assert not Path(node.info.session_dir).exists()
    assert Path(other.info.session_dir).exists()


@pytest.mark.chaos
def test_the_end_of_the_owning_driver_ends_the_node(in_own_folder: Path) -> None:
    script = f"""
import os, sys, time
from himalia.cluster.launchers import local
from himalia.cluster.launchers.boot import NodeOptions
node = local.start_head(NodeOptions(num_cpus=1, owner_pid=os.getpid(), worker_module={FAKE_WORKER!r}))
print(node.pid, node.connection.session_dir, flush=True)
time.sleep(60)
"""
    driver = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    with driver.stdout:
        pid, folder = driver.stdout.readline().split()
    driver.kill()
    driver.wait()
    eventually(lambda: session.process_started(int(pid)) == 0, "the end of the host", 2.0)
    assert not Path(folder).exists()
    in_own_folder.rmdir()


@pytest.mark.chaos
def test_what_a_worker_started_ends_with_it(start_node: StartNode, peer: Connect) -> None:
    node = start_node()
    driver = peer(node)
    driver.hello()
    env = msgspec.json.encode({"env_vars": {"FAKE_WORKER": "starts a process"}}).decode()
    driver.tell(SetDemand(1, 1, LeaseSpec(CPU, b"job1", runtime_env=env)))
    lease = driver.wait_for(LeaseGranted)
    grandchildren = eventually(lambda: psutil.Process(lease.pid).children(), "the process it starts")
    driver.tell(KillWorker(lease.worker.worker_id, "test"))
    driver.wait_for(WorkerDied)
    eventually(lambda: not any(process.is_running() for process in grandchildren), "the end of what it started")


# Leases, through all processes ----------------------------------------------------------------------------------------


def test_a_driver_gets_warm_workers_and_gives_them_back(start_node: StartNode, peer: Connect) -> None:
    node = start_node()
    driver = peer(node)
    welcome = driver.hello()
    assert welcome.resources["CPU"] == 20_000
    assert os.stat(welcome.arena_path).st_size >= welcome.arena_bytes
    driver.tell(SetDemand(1, 2, LeaseSpec(CPU, b"job1")))
    granted = driver.wait_for(LeaseGranted, 2)
    assert len({lease.worker.worker_id for lease in granted}) == 2
    driver.tell(ReturnLeases([lease.lease_id for lease in granted]))
    driver.tell(SetDemand(1, 1))
    again = driver.wait_for(LeaseGranted)
    assert again.worker in [lease.worker for lease in granted]


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGKILL, DeathKind.CRASHED), (signal.SIGSEGV, DeathKind.CRASHED)])
@pytest.mark.chaos
def test_how_a_worker_died_is_told_exactly(
    number: signal.Signals, kind: DeathKind, start_node: StartNode, peer: Connect
) -> None:
    node = start_node()
    driver = peer(node)
    driver.hello()
    driver.tell(SetDemand(1, 1, LeaseSpec(CPU, b"job1")))
    lease = driver.wait_for(LeaseGranted)
    os.kill(lease.pid, number)
    died = driver.wait_for(WorkerDied)
    assert (died.worker_id, died.lease_id) == (lease.worker.worker_id, lease.lease_id)
    assert (died.death.kind, died.death.signal, died.death.pid) == (kind, number, lease.pid)
    assert number.name in died.death.detail
    # The demand still stands: another worker takes its place.
    assert driver.wait_for(LeaseGranted).worker != lease.worker


def test_a_worker_that_cannot_start_is_an_error_that_names_its_log(start_node: StartNode, peer: Connect) -> None:
    node = start_node()
    driver = peer(node)
    driver.hello()
    env = msgspec.json.encode({"env_vars": {"FAKE_WORKER": "fails"}}).decode()
    driver.tell(SetDemand(1, 1, LeaseSpec(CPU, b"job1", runtime_env=env)))
    refused = driver.wait_for(LeaseRefused)
    assert refused.fatal
    assert "exit code 7" in refused.text
    assert "/logs/worker-" in refused.text


def test_a_working_directory_that_is_not_there_is_an_error(start_node: StartNode, peer: Connect) -> None:
    node = start_node()
    driver = peer(node)
    driver.hello()
    env = msgspec.json.encode({"working_dir": "/nowhere"}).decode()
    driver.tell(SetDemand(1, 1, LeaseSpec(CPU, b"job1", runtime_env=env)))
    assert "'/nowhere' is not there" in driver.wait_for(LeaseRefused).text


@pytest.mark.chaos
def test_the_end_of_a_driver_returns_its_leases(start_node: StartNode, peer: Connect) -> None:
    node = start_node()
    sleeper = subprocess.Popen(["sleep", "60"])
    dying = peer(node, b"\x01dying!!")
    dying.hello(pid=sleeper.pid)
    dying.tell(SetDemand(1, 2, LeaseSpec(CPU, b"job1")))
    held = {lease.worker.worker_id for lease in dying.wait_for(LeaseGranted, 2)}
    other = peer(node, b"\x01other!!")
    other.hello()
    other.tell(SetDemand(1, 2, LeaseSpec(CPU, b"job2")))
    sleeper.kill()
    sleeper.wait()
    granted = other.wait_for(LeaseGranted, 2)
    assert not held & {lease.worker.worker_id for lease in granted}


# What cannot start ----------------------------------------------------------------------------------------------------


def test_options_that_contradict_each_other_are_an_error(in_own_folder: Path) -> None:
    with pytest.raises(local.NodeStartError, match="has an argument of its own"):
        local.start_head(NodeOptions(resources={"CPU": 1}, worker_module=FAKE_WORKER))
    assert not list(in_own_folder.iterdir())
    in_own_folder.rmdir()


def test_an_object_store_too_small_is_an_error(in_own_folder: Path) -> None:
    with pytest.raises(local.NodeStartError, match="at least"):
        local.start_head(NodeOptions(object_store_memory=1, worker_module=FAKE_WORKER))
    in_own_folder.rmdir()


def test_a_worker_module_that_cannot_be_imported_ends_the_node_and_says_so(in_own_folder: Path) -> None:
    process = local.launch(NodeOptions(num_cpus=1, worker_module="no.such.module"))
    eventually(lambda: not process.is_running(), "its end")
    assert "No module named 'no'" in process.end_reason()
    process.stop()
    in_own_folder.rmdir()


# Several nodes --------------------------------------------------------------------------------------------------------


def test_a_further_node_joins_with_the_key_of_the_cluster(start_node: StartNode) -> None:
    head = start_node(tcp_host="127.0.0.1")
    node = start_node(join=head.info)
    assert node.info.cluster_id == head.info.cluster_id
    assert not node.info.is_head
    assert "gcs" not in node.children()


def test_a_wrong_key_is_refused(start_node: StartNode) -> None:
    head = start_node(tcp_host="127.0.0.1")
    other = start_node(tcp_host="127.0.0.1")
    wrong = msgspec.structs.replace(
        head.info,
        gcs=msgspec.structs.replace(head.info.gcs, ipc=""),
        public_key=other.info.public_key,
        secret_key=other.info.secret_key,
    )
    with pytest.raises(local.NodeStartError, match="the key is not that of this cluster"):
        start_node(join=wrong)


def test_a_node_cannot_join_a_cluster_without_tcp(start_node: StartNode) -> None:
    head = start_node()
    with pytest.raises(local.NodeStartError, match="from its own node only"):
        start_node(join=head.info)


def test_the_end_of_the_head_ends_the_other_nodes(start_node: StartNode) -> None:
    head = start_node(tcp_host="127.0.0.1")
    node = start_node(join=head.info)
    head.process.stop()
    eventually(lambda: not node.process.is_running(), "the end of the other node", 3.0)


# Finding clusters -----------------------------------------------------------------------------------------------------


def test_a_running_cluster_is_found(start_node: StartNode) -> None:
    with pytest.raises(local.ClusterNotFoundError, match=r"himalia start --head"):
        local.find_connection()
    node = start_node(tcp_host="127.0.0.1")
    assert local.find_connection("auto") == node.info
    assert local.find_connection(node.info.gcs.tcp) == node.info
    assert local.find_connection(node.info.gcs.tcp.removeprefix("tcp://")) == node.info
    assert local.find_connection(node.info.session_dir) == node.info
    with pytest.raises(local.ClusterNotFoundError, match=r"No cluster '127\.0\.0\.1:1' is known"):
        local.find_connection("127.0.0.1:1")


def test_a_cluster_that_lives_by_itself_is_found_before_that_of_a_driver(start_node: StartNode) -> None:
    lasting = start_node()
    start_node(owner_pid=os.getpid())
    assert local.find_connection() == lasting.info


def test_the_address_may_come_from_the_environment(start_node: StartNode, monkeypatch: pytest.MonkeyPatch) -> None:
    first = start_node()
    start_node()
    monkeypatch.setenv("HIMALIA_ADDRESS", first.info.session_dir)
    assert local.find_connection() == first.info


def test_stop_all_stops_the_nodes_of_one_cluster_or_of_all(start_node: StartNode) -> None:
    first = start_node()
    second = start_node()
    assert local.stop_all(first.info.session_dir) == 1
    assert not Path(first.info.session_dir).exists()
    assert second.process.is_running()
    assert local.stop_all() == 1
    assert local.stop_all() == 0


def test_a_detached_node_lives_on(start_node: StartNode) -> None:
    node = start_node()
    node.process.detach()
    assert local.find_connection() == node.info
    assert local.stop_all() == 1
    os.waitpid(node.info.pid, 0)


def test_a_node_listens_where_the_head_reaches_it() -> None:
    """Of several networks, or where there is no route out of the machine at all."""
    assert local.machine_address(towards="127.0.0.1") == "127.0.0.1"
    assert local.machine_address(towards="127.0.0.9") in ("127.0.0.1", "127.0.0.9")


@pytest.mark.parametrize(
    ("url", "head", "here", "reached"),
    [
        ("http://127.0.0.1:8265", "127.0.0.1", "127.0.0.1", True),
        ("http://127.0.0.1:8265", "10.0.0.1", "10.0.0.1", True),
        ("http://127.0.0.1:8265", "10.0.0.1", "10.0.0.2", False),
        ("https://10.0.0.1:8265", "10.0.0.1", "10.0.0.2", True),
        ("", "10.0.0.1", "10.0.0.1", False),
    ],
)
def test_a_node_elsewhere_does_not_take_its_own_loopback_for_the_heads(
    url: str, head: str, here: str, reached: bool
) -> None:
    assert local.is_reached(url, head, here) is reached


def test_a_node_told_to_listen_everywhere_names_the_address_that_others_reach(start_node: StartNode) -> None:
    node = start_node(tcp_host="0.0.0.0")
    assert f"//{local.machine_address()}:" in node.info.gcs.tcp
    assert "0.0.0.0" not in node.info.raylet.tcp
