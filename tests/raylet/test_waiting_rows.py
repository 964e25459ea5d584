"""What a raylet says of those who wait on its node."""

from __future__ import annotations

from typing import Any

from himalia.cluster.protocol.raylet_messages import SetDemand
from himalia.cluster.raylet.waiting_rows import waiting_row
from tests.raylet.node_on_paper import HERE, ONE_CPU, Node, actor_spec, cpus, lease_spec

A, B = b"\x01ownera!", b"\x01ownerb!"


def demands(node: Node) -> list[dict[str, Any]]:
    return list(waiting_row(node.machine, node.now)["demands"])


def test_a_node_where_nobody_waits_has_no_demand() -> None:
    node = Node(cpus(2))
    node.leases(A, 2)
    row = waiting_row(node.machine, node.now)
    assert (row["node_id"], row["demands"], row["actors"]) == (HERE, [], [])


def test_a_full_node_tells_who_waits_for_what_since_when() -> None:
    node = Node(cpus(1))
    node.leases(A, 1)
    node.receive(B, SetDemand(1, 3, lease_spec(), 0, 12, "train", 4))
    node.pass_time(1.5)
    (row,) = demands(node)
    assert (row["owner"], row["name"], row["cell"], row["queued"]) == (B, "train", 4, 12)
    assert (row["wanted"], row["held"], row["resources"]) == (3, 0, ONE_CPU)
    assert row["waited"] == 1.5
    assert row["state"] == "busy"


def test_the_name_that_was_said_stays_when_only_the_number_changes() -> None:
    node = Node(cpus(1))
    node.leases(A, 1)
    node.receive(B, SetDemand(1, 3, lease_spec(), 0, 12, "train", 4))
    node.receive(B, SetDemand(1, 2))
    (row,) = demands(node)
    assert (row["name"], row["cell"], row["wanted"]) == ("train", 4, 2)


def test_a_worker_that_is_being_started_is_the_reason() -> None:
    node = Node(cpus(2))
    node.demand(A, 1)
    (row,) = demands(node)
    assert row["state"] == "starting"
    assert "1 start at this moment" in row["text"]


def test_a_limit_of_processes_is_the_reason() -> None:
    node = Node(cpus(4), max_workers=1)
    node.leases(A, 1)
    node.demand(A, 2)
    (row,) = demands(node)
    assert row["state"] == "limit"
    assert "max_workers" in row["text"]


def test_resources_that_are_kept_for_a_larger_request_are_the_reason() -> None:
    node = Node(cpus(2), prestart=2)
    node.start_workers()
    (first,) = node.leases(A, 1)
    node.receive(A, SetDemand(2, 1, lease_spec(cpus(2)), 0, 1, "large"))
    node.pass_time(0.3)
    node.receive(B, SetDemand(1, 1, lease_spec(), 0, 1, "small"))
    rows = {row["name"]: row for row in demands(node)}
    assert rows["large"]["state"] == "busy"
    assert rows["small"]["state"] == "kept"
    assert "large" in rows["small"]["text"]
    assert first.lease_id


def test_actors_that_wait_are_told() -> None:
    node = Node(cpus(1))
    node.leases(A, 1)
    node.start_actor(b"actor", actor_spec(cpus(1)))
    node.now += 0.5
    (row,) = waiting_row(node.machine, node.now)["actors"]
    assert (row["actor_id"], row["state"]) == (b"actor", "waiting")
    assert row["waited"] == 0.5


def test_who_holds_what_is_summed_by_function_and_class() -> None:
    node = Node(cpus(4))
    node.receive(A, SetDemand(1, 2, lease_spec(), 0, 2, "load"))
    node.start_workers()
    node.start_actor(b"actor", actor_spec(cpus(1)))
    node.start_workers()
    holders = waiting_row(node.machine, node.now)["holders"]
    assert holders == [
        {"kind": "task", "name": "load", "count": 2, "resources": cpus(2)},
        {"kind": "actor", "name": "Class", "count": 1, "resources": cpus(1)},
    ]
