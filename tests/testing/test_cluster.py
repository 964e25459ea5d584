"""Clusters of several nodes on this machine: leases find the node that has room, and nodes come and go."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from himalia.cluster.launchers.local import find_connection
from himalia.cluster.launchers.query import list_state
from himalia.cluster.protocol.raylet_messages import LeaseGranted, LeaseRefused, LeaseSpec, LeaseSpill, SetDemand
from himalia.cluster.testing import Cluster
from tests.launchers.conftest import FAKE_WORKER, Peer, eventually
from tests.support.source_tree import ROOT

NODE = {"worker_module": FAKE_WORKER, "object_store_memory": 32 << 20}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    folder = Path("/tmp") / f"himalia-test-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("HIMALIA_TMPDIR", str(folder))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    made = Cluster()
    yield made
    made.shutdown()
    folder.rmdir()


@pytest.fixture
def driver(cluster: Cluster) -> Iterator[Peer]:
    cluster.add_node(num_cpus=1, **NODE)
    peer = Peer(cluster.connection)
    peer.hello()
    yield peer
    peer.close()


def test_nodes_join_and_are_known(cluster: Cluster) -> None:
    head = cluster.add_node(num_cpus=1, resources={"head": 1}, **NODE)
    other = cluster.add_node(num_cpus=2, labels={"zone": "b"}, **NODE)
    cluster.wait_for_nodes()
    rows = {row["node_id"].hex(): row for row in list_state(cluster.connection, "nodes")}
    assert set(rows) == {head.node_id, other.node_id}
    assert rows[head.node_id]["is_head"]
    assert rows[head.node_id]["total"]["head"] == 10_000
    assert rows[other.node_id]["total"]["CPU"] == 20_000
    assert rows[other.node_id]["labels"]["zone"] == "b"
    assert cluster.remaining_processes_alive()


@pytest.mark.parametrize("graceful", [True, False])
def test_a_removed_node_is_dead_for_the_cluster(graceful: bool, cluster: Cluster) -> None:
    cluster.add_node(**NODE)
    other = cluster.add_node(**NODE)
    folder = other.connection.session_dir
    cluster.remove_node(other, allow_graceful=graceful)
    assert not other.is_alive()
    eventually(lambda: not Path(folder).exists(), "the end of its folder", 2.0)
    cluster.wait_for_nodes()
    states = {row["node_id"].hex(): row["state"] for row in list_state(cluster.connection, "nodes")}
    assert states[other.node_id] == "DEAD"
    with pytest.raises(ValueError, match="is not a node of this cluster"):
        cluster.remove_node(other)


def test_demand_goes_to_the_node_with_the_resource_it_asks_for(cluster: Cluster, driver: Peer) -> None:
    other = cluster.add_node(num_cpus=1, resources={"special": 1}, **NODE)
    driver.tell(SetDemand(1, 1, LeaseSpec({"special": 10_000}, b"job1")))
    spill = driver.wait_for(LeaseSpill)
    assert spill.raylet.tcp == other.connection.raylet.tcp
    assert not spill.raylet.ipc, "between nodes there is TCP only"
    assert (spill.class_id, spill.count, spill.hops) == (1, 1, 1)


def test_what_does_not_fit_here_goes_where_there_is_room(cluster: Cluster, driver: Peer) -> None:
    other = cluster.add_node(num_cpus=2, **NODE)
    driver.tell(SetDemand(1, 3, LeaseSpec({"CPU": 10_000}, b"job1")))
    assert driver.wait_for(LeaseGranted).class_id == 1
    spills = driver.wait_for(LeaseSpill, 2)
    assert {spill.raylet.node_id for spill in spills} == {other.connection.node_id}


def test_what_no_node_has_is_refused_with_what_there_is(cluster: Cluster, driver: Peer) -> None:
    driver.tell(SetDemand(1, 1, LeaseSpec({"special": 10_000}, b"job1")))
    refused = driver.wait_for(LeaseRefused)
    assert not refused.fatal
    assert "1 special" in refused.text
    other = cluster.add_node(num_cpus=1, resources={"special": 1}, **NODE)
    assert driver.wait_for(LeaseSpill).raylet.node_id == other.connection.node_id


def test_an_argument_that_no_node_takes_is_an_error(cluster: Cluster) -> None:
    with pytest.raises(TypeError, match="add_node\\(\\) takes no num_cpu;"):
        cluster.add_node(num_cpu=1)
    with pytest.raises(RuntimeError, match="call add_node"):
        _ = cluster.address
    with pytest.raises(RuntimeError, match="needs initialize_head=True"):
        Cluster(connect=True)
    with pytest.raises(ValueError, match="head_node_args"):
        Cluster(head_node_args={"num_cpus": 1})


def test_a_driver_that_gives_the_address_joins_at_the_head_node(cluster: Cluster) -> None:
    head = cluster.add_node(**NODE)
    cluster.add_node(**NODE)
    assert find_connection(cluster.address) == head.connection
