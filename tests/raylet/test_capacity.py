"""A node whose CPUs are changed while it works."""

from __future__ import annotations

import pytest

from himalia.cluster.protocol.cluster_events import ClusterEvent, EventKind, ReportEvent
from himalia.cluster.protocol.common import SetCapacity
from himalia.cluster.protocol.gcs_messages import NodeReport
from himalia.cluster.protocol.raylet_messages import Blocked, LeaseGranted, LeaseReclaim, LeaseRefused, SetDemand
from himalia.cluster.raylet.events import Log
from himalia.cluster.raylet.ledger import Allocation, Ledger
from himalia.cluster.raylet.reclaim import Holder, choose_surplus

from .node_on_paper import UNIT, Node, cpus, lease_spec

DRIVER = b"\x01driver!"
SECOND = b"\x01driver2"


@pytest.fixture
def node() -> Node:
    node = Node(cpus(2))
    node.welcome()
    node.driver_comes(DRIVER)
    return node


def test_more_cpus_serve_who_waits_at_once(node: Node) -> None:
    assert len(node.leases(DRIVER, 4)) == 2
    node.receive(DRIVER, SetCapacity(4 * UNIT))
    node.start_workers()
    assert len(node.told(DRIVER, LeaseGranted)) == 2
    assert node.free == cpus(0) | {"CPU": 0}


def test_fewer_cpus_ask_back_the_youngest_leases_and_grant_no_more_until_they_fit(node: Node) -> None:
    first = node.leases(DRIVER, 1)
    node.pass_time(1.0)
    second = node.leases(DRIVER, 3)
    node.receive(DRIVER, SetCapacity(UNIT))
    assert [back.lease_id for back in node.told(DRIVER, LeaseReclaim)] == [second[0].lease_id]
    node.give_back(DRIVER, *second)
    node.start_workers()
    assert node.told(DRIVER, LeaseGranted) == []
    node.give_back(DRIVER, *first)
    node.start_workers()
    assert len(node.told(DRIVER, LeaseGranted)) == 1


def test_what_never_fits_any_more_is_said_and_served_when_it_fits_again(node: Node) -> None:
    node.receive(DRIVER, SetCapacity(UNIT))
    assert node.leases(DRIVER, 1, lease_spec(cpus(2))) == []
    refused = node.told(DRIVER, LeaseRefused)
    assert "1 CPU" in refused[0].text
    assert not refused[0].fatal
    node.receive(DRIVER, SetCapacity(2 * UNIT))
    node.start_workers()
    assert len(node.told(DRIVER, LeaseGranted)) == 1


def test_the_gcs_is_told_the_total_each_time_from_then_on(node: Node) -> None:
    node.pass_time(2.0)
    assert {report.total is None for report in node.told_gcs(NodeReport)} == {True}
    node.receive(DRIVER, SetCapacity(5 * UNIT))
    node.pass_time(0.1)
    assert node.told_gcs(NodeReport)[-1].total == cpus(5)
    node.receive(DRIVER, SetCapacity(2 * UNIT))
    node.pass_time(3.0)
    reports = node.told_gcs(NodeReport)
    assert len(reports) >= 2
    assert all(report.total == cpus(2) for report in reports)


def test_idle_workers_beyond_the_cpus_end_after_a_while() -> None:
    node = Node(cpus(4), prestart=4, idle_worker_seconds=10.0)
    node.welcome()
    node.driver_comes(DRIVER)
    node.start_workers()
    node.pass_time(30.0)
    assert all(worker.state == "idle" for worker in node.machine.pool.workers.values())
    node.receive(DRIVER, SetCapacity(UNIT))
    node.pass_time(30.0)
    states = [worker.state for worker in node.machine.pool.workers.values()]
    assert states.count("idle") == 1
    assert states.count("stopping") == 3


def test_a_task_may_not_do_it_and_nobody_to_nothing(node: Node) -> None:
    worker = node.leases(DRIVER, 1)[0].worker.worker_id
    node.take(Log)
    node.receive(worker, SetCapacity(9 * UNIT))
    node.receive(DRIVER, SetCapacity(0))
    assert ["a worker of it" in log.text for log in node.take(Log)] == [True, False]
    assert node.machine.ledger.total == cpus(2)


def test_a_tool_that_is_no_driver_may_do_it(node: Node) -> None:
    node.receive(SECOND, SetCapacity(9 * UNIT))
    assert node.machine.ledger.total == cpus(9)


def test_a_worker_that_goes_on_after_a_shrink_ends_what_it_runs(node: Node) -> None:
    lease = node.leases(DRIVER, 1)[0]
    node.receive(lease.worker.worker_id, Blocked(True))
    node.receive(DRIVER, SetCapacity(UNIT))
    assert node.told(DRIVER, LeaseReclaim) == []
    node.receive(lease.worker.worker_id, Blocked(False))
    assert node.free == {"CPU": 0}


def test_surplus_counts_what_is_on_its_way_back_and_skips_who_holds_none() -> None:
    ledger = Ledger(cpus(4))
    held = [ledger.acquire(cpus(1)) for _ in range(4)]
    ledger.resize("CPU", 2 * UNIT)
    holders = [Holder(i, DRIVER, 1, each or Allocation({}, ledger), float(i)) for i, each in enumerate(held)]
    holders.append(Holder(9, DRIVER, 2, Allocation({}, ledger), 9.0))
    assert choose_surplus(holders, [], ledger) == [3, 2]
    assert choose_surplus(holders[:3], [holders[3].allocation], ledger) == [2]
    assert choose_surplus(holders, [], Ledger(cpus(4))) == []


def changes(node: Node) -> list[ClusterEvent]:
    events = [report.event for report in node.told_gcs(ReportEvent)]
    return [event for event in events if event.kind is EventKind.CAPACITY_CHANGED]


def test_a_change_that_a_driver_asks_for_is_told(node: Node) -> None:
    node.receive(DRIVER, SetCapacity(4 * UNIT))
    (event,) = changes(node)
    assert event.message == "A driver set the node's CPUs from 2 to 4."


def test_growing_and_shrinking_are_told_with_their_reasons_and_numbers(node: Node) -> None:
    node.receive(DRIVER, SetCapacity(2 * UNIT, 8 * UNIT, 5.0))
    (limits,) = changes(node)
    assert limits.message == "A driver lets the node have 2 to 8 CPUs, as work asks for them."
    granted = node.leases(DRIVER, 5)
    grown = changes(node)
    assert grown
    assert grown[0].source == "AUTOSCALER"
    assert (grown[0].numbers["from"], grown[-1].numbers["to"]) == (2.0, 5.0)
    assert "work that waits asks for" in grown[0].message
    node.receive(DRIVER, SetDemand(1, 0))
    node.give_back(DRIVER, *granted, *node.told(DRIVER, LeaseGranted))
    node.pass_time(6.0)
    (shrunk,) = changes(node)
    assert shrunk.message == ("The node shrinks from 5 to 2 CPUs: for 5 s no more were needed; the limits are 2 and 8.")
