"""Bundles are reserved all or none, used once they are committed, and leave nothing behind."""

from __future__ import annotations

import signal

import pytest

from himalia.cluster.protocol.common import DeathKind
from himalia.cluster.protocol.constraints import in_group
from himalia.cluster.protocol.gcs_messages import NodeReport, ReportActor, ResourceView
from himalia.cluster.protocol.group_messages import (
    CommitBundles,
    GroupInfo,
    GroupUpdate,
    PrepareBundles,
    ReportBundles,
    ReturnBundles,
    WatchGroup,
)
from himalia.cluster.protocol.raylet_messages import (
    AssignActor,
    Blocked,
    LeaseReclaim,
    LeaseRefused,
    LeaseSpec,
    LeaseSpill,
    StartActor,
    StopRaylet,
    WorkerDied,
)
from himalia.cluster.protocol.transitions import IllegalTransition
from himalia.cluster.raylet.bundles_machine import RESERVATION_EDGES, Reservation
from himalia.cluster.raylet.events import SignalWorker

from .node_on_paper import GCS, HERE, ONE_CPU, THERE, UNIT, Node, actor_spec, cpus, lease_spec, node_info

A, B = b"\x01owner_a", b"\x01owner_b"
GROUP = b"the only group!!"
OTHER = b"another group!!!"


def prepare(node: Node, *bundles: dict[str, int], attempt: int = 1, group_id: bytes = GROUP) -> list[bool]:
    """Ask for bundles; what the raylet said at once, true for refused."""
    node.receive(GCS, PrepareBundles(group_id, attempt, dict(enumerate(bundles))))
    return answers(node)


def answers(node: Node) -> list[bool]:
    return [report.refused for report in node.told_gcs(ReportBundles)]


def reserve(node: Node, *bundles: dict[str, int], attempt: int = 1, group_id: bytes = GROUP) -> None:
    """Bundles that are there to be used, which this raylet knows."""
    assert prepare(node, *bundles, attempt=attempt, group_id=group_id) == [False]
    node.receive(GCS, CommitBundles(group_id, attempt))
    know(node, *bundles, group_id=group_id)


def know(node: Node, *bundles: dict[str, int], nodes: list[bytes] | None = None, group_id: bytes = GROUP) -> None:
    where = nodes if nodes is not None else [HERE] * len(bundles)
    node.from_gcs(GroupUpdate(GroupInfo(group_id, "CREATED", list(bundles), where)))


def member(index: int = -1, resources: dict[str, int] | None = None, group_id: bytes = GROUP) -> LeaseSpec:
    return lease_spec(resources, strategy=in_group(group_id, index))


def test_all_bundles_are_held_or_none() -> None:
    node = Node(cpus(2))
    assert prepare(node, cpus(1), cpus(2)) == [True], "more than there is"
    node.leases(A, 1)
    assert prepare(node, cpus(1), cpus(1), attempt=2) == [], "not now"
    assert node.free == cpus(1)


def test_a_reservation_waits_for_leases_that_are_asked_back() -> None:
    node = Node(cpus(2))
    leases = node.leases(A, 2)
    assert prepare(node, cpus(2)) == []
    node.pass_time(0.2)
    assert len(node.told(A, LeaseReclaim)) == 2
    node.give_back(A, leases[0])
    assert node.free == cpus(1), "what comes free is kept for it, though the owner wants it back"
    node.give_back(A, leases[1])
    assert answers(node) == [False]
    assert node.free == {"CPU": 0}


def test_a_reservation_that_waits_in_vain_is_refused_and_others_had_their_turn() -> None:
    node = Node(cpus(2))
    leases = node.leases(A, 2)
    prepare(node, cpus(2))
    node.pass_time(1.2)
    node.demand(A, 1)
    node.give_back(A, leases[0])
    assert len(node.leases(B, 1)) == 1, "in the second half of each two seconds"
    node.pass_time(3.0)
    assert answers(node) == [True]
    node.receive(GCS, CommitBundles(GROUP, 1))  # it crossed: nothing


def test_nothing_runs_in_bundles_before_they_are_committed() -> None:
    node = Node(cpus(1))
    prepare(node, cpus(1))
    know(node, cpus(1))
    assert node.leases(A, 1, member(0)) == []
    node.receive(GCS, CommitBundles(GROUP, 1))
    node.start_workers()
    assert len(node.demand(A, 1, member(0))) == 1


def test_leases_of_a_group_take_from_its_bundles_and_from_nothing_else() -> None:
    node = Node(cpus(3))
    reserve(node, cpus(1), cpus(1))
    assert len(node.leases(A, 9, member(0))) == 1
    assert len(node.leases(A, 9, member(-1), class_id=2)) == 1
    assert node.free == cpus(1), "the node has what it had"
    assert len(node.leases(B, 9)) == 1
    assert [row[2] for row in node.machine.bundles.rows()] == [{"CPU": 0}, {"CPU": 0}]


def test_bundles_have_devices_of_their_own() -> None:
    node = Node(cpus(4, GPU=4))
    reserve(node, cpus(1, GPU=2), cpus(1, GPU=1))
    one = {"GPU": UNIT}
    held = [node.leases(A, 1, member(0, one), class_id=number)[0].accelerators["GPU"] for number in (1, 2)]
    assert sorted(held) == [[0], [1]]
    assert node.leases(A, 1, member(1, one), class_id=3)[0].accelerators == {"GPU": [2]}
    assert node.leases(A, 1, lease_spec(one), class_id=4)[0].accelerators == {"GPU": [3]}


def test_a_share_of_a_device_is_shared_within_its_bundle() -> None:
    node = Node(cpus(2, GPU=1))
    reserve(node, {"GPU": UNIT // 2}, {"GPU": UNIT // 2})
    quarter = {"GPU": UNIT // 4}
    granted = [node.leases(A, 1, member(0, quarter), class_id=number) for number in range(1, 4)]
    assert [len(each) for each in granted] == [1, 1, 0]


def test_the_cpus_of_a_blocked_task_are_lent_within_its_bundle() -> None:
    node = Node(cpus(2))
    reserve(node, cpus(1))
    (lease,) = node.leases(A, 1, member(0))
    node.receive(lease.worker.worker_id, Blocked(True))
    assert len(node.leases(B, 1, member(0))) == 1
    assert node.free == cpus(1)


def test_within_a_bundle_leases_are_asked_back_as_on_a_node() -> None:
    node = Node(cpus(4))
    reserve(node, cpus(2))
    node.leases(A, 2, member(0))
    node.leases(B, 1, member(0))
    node.pass_time(0.5)
    assert len(node.told(A, LeaseReclaim)) == 1


def test_what_runs_in_bundles_ends_when_they_are_given_back_and_then_the_node_has_them() -> None:
    node = Node(cpus(2))
    reserve(node, cpus(1), cpus(1))
    assert len(node.leases(A, 1, member(0))) == 1
    node.receive(GCS, StartActor(b"an actor", actor_spec(ONE_CPU, strategy=in_group(GROUP, 1)), 0, 1))
    node.start_workers()
    (assigned,) = [message for worker in node.machine.pool.workers for message in node.told(worker, AssignActor)]
    assert assigned.actor_id == b"an actor"
    node.take(SignalWorker)
    node.receive(GCS, ReturnBundles(GROUP, 0, "it was removed"))
    killed = node.take(SignalWorker)
    assert [each.signal for each in killed] == [signal.SIGKILL] * 2
    assert node.free == {"CPU": 0}, "they still run"
    for each in killed:
        node.exit(each.worker_id, None, signal.SIGKILL)
    (died,) = node.told(A, WorkerDied)
    assert died.death.kind is DeathKind.GROUP_REMOVED
    assert [report.death.kind for report in node.told_gcs(ReportActor) if report.death] == [DeathKind.GROUP_REMOVED]
    assert node.free == cpus(2)
    assert node.machine.bundles.held() == []


def test_an_actor_that_waits_for_a_bundle_is_rejected_when_that_goes() -> None:
    node = Node(cpus(2))
    reserve(node, cpus(1))
    node.leases(A, 1, member(0))
    node.receive(GCS, StartActor(b"an actor", actor_spec(ONE_CPU, strategy=in_group(GROUP, 0)), 0, 0))
    assert node.told_gcs(ReportActor) == []
    node.receive(GCS, ReturnBundles(GROUP))
    assert [report.rejected for report in node.told_gcs(ReportActor)] == [True]
    node.receive(GCS, StartActor(b"too late", actor_spec(ONE_CPU, strategy=in_group(GROUP, 0)), 0, 0))
    assert [report.rejected for report in node.told_gcs(ReportActor)] == [True]


def test_one_attempt_is_given_back_without_the_others() -> None:
    node = Node(cpus(4))
    reserve(node, cpus(1))
    assert prepare(node, cpus(1), attempt=2) == [False]
    node.receive(GCS, ReturnBundles(GROUP, 2))
    assert node.free == cpus(3)
    assert [held[1] for held in node.machine.bundles.held()] == [1]


def test_reports_and_the_hello_of_a_raylet_name_its_bundles() -> None:
    node = Node(cpus(4))
    node.welcome()
    reserve(node, cpus(1), cpus(2))
    prepare(node, cpus(1), group_id=OTHER)
    node.pass_time(0.2)
    assert node.told_gcs(NodeReport)[-1].bundles == [(GROUP, 0, cpus(1)), (GROUP, 1, cpus(2))]
    assert node.machine.living()[1] == [(GROUP, 1, [0, 1], True), (OTHER, 1, [0], False)]


def test_asking_again_for_what_is_held_is_answered_again() -> None:
    node = Node(cpus(4))
    reserve(node, cpus(1))
    assert prepare(node, cpus(1)) == [False]
    assert node.free == cpus(3)
    node.receive(GCS, CommitBundles(GROUP, 1))
    assert node.machine.bundles.rows() == [(GROUP, 0, cpus(1))]


def test_a_node_that_leaves_holds_nothing_new() -> None:
    node = Node(cpus(2))
    node.leases(A, 2)
    prepare(node, cpus(1))
    node.receive(GCS, StopRaylet("asked to", graceful=True))
    assert answers(node) == [True]
    assert prepare(node, cpus(1), attempt=2) == [True]


def test_an_illegal_fact_raises_with_the_story_of_the_bundles() -> None:
    reservation = Reservation(PrepareBundles(GROUP, 1, {0: ONE_CPU}), 0.0)
    with pytest.raises(IllegalTransition, match="commit"):
        reservation.move("commit", 1.0)
    assert set(RESERVATION_EDGES.values()) == {"prepared", "gone", "committed", "ending"}


# -- where a request goes ----------------------------------------------------------------------------------------------


def two_nodes() -> Node:
    """This node, and another one that it knows."""
    node = Node(cpus(2))
    node.welcome(node_info())
    return node


def view(node: Node, free: dict[str, int], index: int = 1) -> None:
    node.from_gcs(ResourceView([(THERE, cpus(4), cpus(4))], [(THERE, [(GROUP, index, free)])]))


def test_a_group_that_nobody_asked_for_yet_is_asked_about_once() -> None:
    node = two_nodes()
    node.demand(A, 1, member())
    node.demand(B, 1, member())
    assert [watch.group_id for watch in node.told_gcs(WatchGroup)] == [GROUP]
    node.welcome()
    assert [watch.group_id for watch in node.told_gcs(WatchGroup)] == [GROUP], "the GCS may be a new one"


def test_a_request_waits_while_its_group_has_no_bundle_for_it() -> None:
    node = two_nodes()
    node.from_gcs(GroupUpdate(GroupInfo(GROUP, "RESCHEDULING", [cpus(1), cpus(1)], [THERE, b""])))
    node.demand(A, 1, member(1))
    assert node.told(A, LeaseSpill) == []
    assert node.told(A, LeaseRefused) == []
    know(node, cpus(1), cpus(1), nodes=[THERE, THERE])
    assert [spill.raylet.worker_id for spill in node.told(A, LeaseSpill)] == [THERE]


def test_a_request_goes_to_the_only_node_that_has_its_bundle() -> None:
    node = two_nodes()
    know(node, cpus(1), cpus(1), nodes=[HERE, THERE])
    node.demand(A, 2, member(1))
    assert len(node.told(A, LeaseSpill)) == 2, "also where no room is known there"


def test_a_request_for_any_bundle_goes_where_one_has_room() -> None:
    node = two_nodes()
    assert prepare(node, cpus(1)) == [False]
    node.receive(GCS, CommitBundles(GROUP, 1))
    know(node, cpus(1), cpus(2), nodes=[HERE, THERE])
    view(node, cpus(2))
    assert len(node.leases(A, 4, member())) == 1
    assert len(node.told(A, LeaseSpill)) == 2, "as many as there is room for; the last waits here"
    view(node, cpus(1))
    node.demand(B, 1, member())
    assert len(node.told(A, LeaseSpill)) + len(node.told(B, LeaseSpill)) == 1


@pytest.mark.parametrize(
    ("info", "index", "resources", "said", "removed"),
    [
        (GroupInfo(GROUP, "REMOVED", [ONE_CPU], [b""], "it was"), 0, None, "was removed: it was", True),
        (GroupInfo(GROUP, "CREATED", [ONE_CPU], [HERE]), 1, None, "has 1 bundles", False),
        (GroupInfo(GROUP, "CREATED", [ONE_CPU], [HERE]), 0, cpus(2), "bundle 0 has {'CPU': 1.0}", False),
        (GroupInfo(GROUP, "CREATED", [ONE_CPU], [HERE]), -1, cpus(2), "no bundle has so much", False),
    ],
)
def test_what_can_never_be_is_refused_for_good(
    info: GroupInfo, index: int, resources: dict[str, int] | None, said: str, removed: bool
) -> None:
    node = two_nodes()
    node.from_gcs(GroupUpdate(info))
    node.demand(A, 1, member(index, resources))
    (refused,) = node.told(A, LeaseRefused)
    assert said in refused.text
    assert (refused.fatal, refused.group_removed) == (True, removed)
