"""Leases are granted in turns, asked back for those who wait, and end with their owner or worker."""

from __future__ import annotations

import signal

import pytest

from himalia.cluster.protocol.common import Death, DeathKind
from himalia.cluster.protocol.gcs_messages import NodeReport, ProcessDead, ReportProcessDeath
from himalia.cluster.protocol.raylet_messages import (
    Blocked,
    Exit,
    LeaseGranted,
    LeaseReclaim,
    LeaseRefused,
    SetDemand,
    WorkerDied,
    WorkerExiting,
)
from himalia.cluster.raylet.events import DriverGone, EndNode, ProcessEnded, ResetStarted, SignalWorker, WatchDriver

from .node_on_paper import JOB, ONE_CPU, OTHER_JOB, UNIT, Node, cpus, lease_spec

A, B, C = b"\x01owner_a", b"\x01owner_b", b"\x01owner_c"


def warm(total: dict[str, int] | None = None, **config: object) -> Node:
    """A node with more idle workers of the job than CPUs."""
    node = Node(total, **config)
    leases = node.leases(b"\x01warmer!", 8, lease_spec(cpus(0)))
    node.demand(b"\x01warmer!", 0, lease_spec(cpus(0)))
    node.give_back(b"\x01warmer!", *leases)
    node.commands.clear()
    return node


def test_a_grant_names_the_worker_and_its_devices() -> None:
    node = warm(cpus(2, GPU=2))
    (lease,) = node.demand(A, 1, lease_spec(cpus(1, GPU=2)))
    assert lease.accelerators == {"GPU": [0, 1]}
    assert lease.pid
    assert lease.worker.ipc
    assert node.free == cpus(1) | {"GPU": 0}


def test_saying_the_same_again_is_harmless() -> None:
    node = warm()
    assert len(node.demand(A, 2)) == 2
    assert node.demand(A, 2) == []


def test_demand_may_grow_and_shrink() -> None:
    node = warm()
    (lease,) = node.demand(A, 1)
    assert len(node.demand(A, 5)) == 1
    node.demand(A, 1)
    node.give_back(A, lease)
    assert node.told(A, LeaseGranted) == []
    assert len(node.demand(A, 2)) == 1


def test_only_the_first_message_of_a_class_describes_it() -> None:
    node = warm()
    node.demand(A, 1)
    node.receive(A, SetDemand(1, 2))
    assert len(node.told(A, LeaseGranted)) == 1
    node.receive(A, SetDemand(9, 2))
    (refused,) = node.told(A, LeaseRefused)
    assert refused.fatal


def test_owners_take_turns() -> None:
    node = warm(cpus(1))
    (lease,) = node.demand(A, 10)
    node.demand(B, 10)
    node.demand(C, 10)
    order = []
    holder, held = A, lease
    for _ in range(6):
        node.give_back(holder, held)
        (holder, held), *_ = [(owner, granted) for owner in (A, B, C) for granted in node.told(owner, LeaseGranted)]
        order.append(holder)
    assert sorted(order[:3]) == [A, B, C]
    assert order[:3] == order[3:]


def test_the_classes_of_one_owner_take_turns() -> None:
    node = warm(cpus(1))
    (held,) = node.demand(A, 1, class_id=9)
    node.demand(A, 3, class_id=1)
    node.demand(A, 3, class_id=2)
    node.demand(A, 0, class_id=9)
    order = []
    for _ in range(4):
        node.give_back(A, held)
        (held,) = node.told(A, LeaseGranted)
        order.append(held.class_id)
    assert order == [1, 2, 1, 2]


def test_returned_resources_serve_who_waits() -> None:
    node = warm(cpus(1))
    (lease,) = node.demand(A, 1)
    assert node.demand(B, 1) == []
    node.demand(A, 0)
    node.give_back(A, lease)
    assert len(node.told(B, LeaseGranted)) == 1


def test_a_large_request_does_not_hold_up_a_small_one() -> None:
    node = warm(cpus(2))
    node.demand(A, 1)
    assert node.demand(B, 1, lease_spec(cpus(2))) == []
    assert len(node.demand(C, 1)) == 1


def test_a_large_request_gets_its_turn_though_small_ones_keep_coming() -> None:
    node = warm(cpus(2), reclaim_after=1000)
    held = {lease.lease_id: lease for lease in node.demand(A, 10)}
    node.demand(B, 1, lease_spec(cpus(2)))
    for _ in range(100):
        node.pass_time(0.01)
        lease = held.pop(min(held))
        node.give_back(A, lease)
        held |= {granted.lease_id: granted for granted in node.told(A, LeaseGranted)}
        if node.told(B, LeaseGranted):
            return
        if not held:
            break
    pytest.fail("the large request starved")


def test_a_broken_worker_is_not_used_again() -> None:
    node = warm()
    (lease,) = node.demand(A, 1)
    node.demand(A, 0)
    node.give_back(A, lease, broken=True)
    assert node.take(SignalWorker) == [SignalWorker(lease.worker.worker_id, signal.SIGKILL)]
    assert node.free == cpus(2)
    assert node.demand(A, 1)[0].worker != lease.worker


def test_a_lease_is_returned_by_its_owner_only() -> None:
    node = warm()
    (lease,) = node.demand(A, 1)
    node.give_back(B, lease)
    assert node.free == cpus(1)
    node.give_back(A, lease)
    node.give_back(A, lease)  # returned already: harmless
    node.machine.check_invariants()


def test_a_worker_that_comes_from_another_owner_forgets_what_it_began() -> None:
    node = warm(cpus(2))
    (lease,) = node.demand(A, 1)
    node.demand(A, 0)
    node.take(ResetStarted)
    node.give_back(A, lease)
    (again,) = node.demand(A, 1)
    assert again.worker == lease.worker
    assert node.take(ResetStarted) == []
    node.demand(A, 0)
    node.give_back(A, again)
    node.demand(B, 1)
    assert node.take(ResetStarted) == [ResetStarted(lease.worker.worker_id)]


# Blocking -----------------------------------------------------------------------------------------------------------


def test_a_blocked_worker_lends_its_cpu_so_that_nested_work_cannot_deadlock() -> None:
    node = warm(cpus(1))
    (outer,) = node.demand(A, 1)
    worker = outer.worker.worker_id
    assert node.demand(worker, 1) == []
    node.receive(worker, Blocked(True))
    (inner,) = node.told(worker, LeaseGranted)
    node.receive(worker, Blocked(False))
    assert node.free["CPU"] == -UNIT
    assert node.demand(B, 1) == []
    node.demand(worker, 0)
    node.give_back(worker, inner)
    assert node.told(B, LeaseGranted) == []
    node.demand(A, 0)
    node.give_back(A, outer)
    assert len(node.told(B, LeaseGranted)) == 1


def test_a_worker_that_ends_while_blocked_leaks_nothing() -> None:
    node = warm(cpus(1))
    (lease,) = node.demand(A, 1)
    node.demand(A, 0)
    node.receive(lease.worker.worker_id, Blocked(True))
    node.exit(lease.worker.worker_id)
    assert node.free == cpus(1)


# Fairness -----------------------------------------------------------------------------------------------------------


def test_who_waits_has_leases_asked_back_from_who_holds_more() -> None:
    node = warm(cpus(4))
    held = node.demand(A, 10)
    assert len(held) == 4
    node.demand(B, 10)
    node.pass_time(0.005)
    assert node.told(A, LeaseReclaim) == []
    node.pass_time(0.010)
    reclaimed = {message.lease_id for message in node.told(A, LeaseReclaim)}
    assert len(reclaimed) == 2
    assert reclaimed == {lease.lease_id for lease in held[2:]}, "the youngest are asked back"
    node.pass_time(1)
    assert node.told(A, LeaseReclaim) == [], "nobody is asked twice, and half is a fair share"
    node.give_back(A, *held[2:])
    assert len(node.told(B, LeaseGranted)) == 2


def test_two_owners_of_one_cpu_take_turns_in_slices() -> None:
    node = warm(cpus(1), slice_seconds=0.1)
    (held,) = node.demand(A, 10)
    node.demand(B, 10)
    node.pass_time(0.05)
    assert node.told(A, LeaseReclaim) == []
    node.pass_time(0.07)
    assert len(node.told(A, LeaseReclaim)) == 1
    node.give_back(A, held)
    (held,) = node.told(B, LeaseGranted)
    node.pass_time(0.05)
    assert node.told(B, LeaseReclaim) == []
    node.pass_time(0.07)
    assert len(node.told(B, LeaseReclaim)) == 1


def test_an_owner_that_waits_alone_asks_nothing_back() -> None:
    node = warm(cpus(2))
    node.demand(A, 10)
    node.pass_time(1)
    assert node.told(A, LeaseReclaim) == []


def test_one_class_of_an_owner_does_not_starve_another() -> None:
    node = warm(cpus(2))
    node.demand(A, 10, class_id=1)
    node.demand(A, 10, class_id=2)
    node.pass_time(0.02)
    assert len(node.told(A, LeaseReclaim)) == 1


def test_leases_that_hold_nothing_of_what_lacks_are_left_alone() -> None:
    node = warm(cpus(4, slot=1))
    node.demand(A, 3, lease_spec(cpus(1)))
    node.demand(C, 1, lease_spec(cpus(0, slot=1)))
    node.demand(B, 1, lease_spec(cpus(0, slot=1)))
    node.pass_time(0.3)
    assert node.told(A, LeaseReclaim) == []
    assert len(node.told(C, LeaseReclaim)) == 1


def test_a_blocked_worker_is_not_asked_for_a_cpu_that_it_lent() -> None:
    node = warm(cpus(1))
    (outer,) = node.demand(A, 1)
    node.receive(outer.worker.worker_id, Blocked(True))
    node.demand(B, 1)
    node.demand(C, 1)
    node.pass_time(0.3)
    assert node.told(A, LeaseReclaim) == []


# Ends ---------------------------------------------------------------------------------------------------------------


def test_the_end_of_a_driver_returns_all_it_has() -> None:
    node = warm()
    node.driver_comes(A)
    assert node.take(WatchDriver) == [WatchDriver(A, 77)]
    leases = node.demand(A, 2)
    node.demand(B, 1, lease_spec(job_id=OTHER_JOB))
    node.feed(DriverGone(A))
    workers = {lease.worker.worker_id for lease in leases}
    assert all(len(node.told(worker, Exit)) == 1 for worker in workers)  # and tells what it has run
    assert not workers & {command.worker_id for command in node.take(SignalWorker)}
    assert node.free == cpus(2)
    (report,) = node.told_gcs(ReportProcessDeath)
    assert (report.worker_id, report.job_id, report.is_driver, report.death.pid) == (A, JOB, True, 77)
    assert ProcessEnded(A) in node.take(ProcessEnded)
    node.pass_time(1.1)
    assert workers <= {command.worker_id for command in node.take(SignalWorker)}
    for lease in leases:
        node.exit(lease.worker.worker_id, None, 9)
    assert node.told(A, WorkerDied) == []
    deaths = {report.death.kind for report in node.told_gcs(ReportProcessDeath)}
    assert deaths == {DeathKind.OWNER_DIED}
    node.feed(DriverGone(A))
    assert node.told_gcs(ReportProcessDeath) == []


def test_a_driver_may_say_goodbye_and_live_on() -> None:
    node = warm()
    node.driver_comes(A)
    node.demand(A, 1)
    node.receive(A, WorkerExiting("shutdown"))
    assert node.free == cpus(2)
    assert node.told_gcs(ReportProcessDeath)[0].is_driver


def test_the_idle_workers_of_a_job_end_with_its_driver() -> None:
    node = warm()
    node.driver_comes(A)
    (lease,) = node.demand(A, 1)
    node.demand(A, 0)
    node.give_back(A, lease)
    node.feed(DriverGone(A))
    assert all(worker.state == "stopping" for worker in node.machine.pool.workers.values())


def test_a_driver_on_another_node_takes_the_idle_workers_of_its_job_with_it() -> None:
    node = Node()
    (lease,) = node.leases(A, 1)
    node.demand(A, 0)
    node.give_back(A, lease)
    node.from_gcs(ProcessDead(A, Death(DeathKind.EXITED)))
    assert [worker.state for worker in node.machine.pool.workers.values()] == ["stopping"]


def test_the_idle_workers_of_a_job_stay_while_somebody_else_of_it_wants_some() -> None:
    node = Node()
    node.demand(B, 0)
    (lease,) = node.leases(A, 1)
    node.demand(A, 0)
    node.give_back(A, lease)
    node.from_gcs(ProcessDead(A, Death(DeathKind.CRASHED)))
    assert [worker.state for worker in node.machine.pool.workers.values()] == ["idle"]


def test_the_end_of_a_driver_that_owns_the_cluster_ends_the_node() -> None:
    node = warm()
    node.driver_comes(A, owns_cluster=True)
    node.feed(DriverGone(A))
    (end,) = node.take(EndNode)
    assert "77" in end.reason


def test_the_end_of_a_worker_that_owns_leases_returns_them() -> None:
    node = warm(cpus(2))
    (outer,) = node.demand(A, 1)
    node.demand(A, 0)
    (inner,) = node.demand(outer.worker.worker_id, 1)
    node.exit(outer.worker.worker_id, None, 11)
    assert len(node.told(inner.worker.worker_id, Exit)) == 1
    assert node.free == cpus(2)
    node.pass_time(1.1)
    assert SignalWorker(inner.worker.worker_id, signal.SIGKILL) in node.take(SignalWorker)


# The report ---------------------------------------------------------------------------------------------------------


def test_changes_are_reported_together_and_silence_is_broken() -> None:
    node = warm(cpus(2), report_interval=0.05, heartbeat=1.0)
    node.welcome()
    node.told_gcs(NodeReport)
    node.pass_time(0.2)
    node.told_gcs(NodeReport)
    node.demand(A, 1)
    (first,) = node.told_gcs(NodeReport)
    assert first.available == ONE_CPU
    node.demand(A, 5)
    assert node.told_gcs(NodeReport) == []
    node.pass_time(0.06)
    (second,) = node.told_gcs(NodeReport)
    assert (second.available, second.pending) == ({"CPU": 0}, [(ONE_CPU, 3)])
    node.pass_time(2.5)
    assert len(node.told_gcs(NodeReport)) == 2


def test_an_owner_can_tell_leases_of_several_nodes_apart_by_their_number() -> None:
    node = warm()
    (lease,) = node.demand(A, 1)
    assert lease.lease_id >> 32 == int.from_bytes(node.config.node_id[1:5], "big") >> 1
