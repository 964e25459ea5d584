"""Actors get resources and a worker, live, and are reported to the GCS whatever happens to them."""

from __future__ import annotations

import json
import signal

import pytest

from himalia.cluster.protocol.common import Address, Death, DeathKind
from himalia.cluster.protocol.gcs_messages import ReportActor, ReportProcessDeath
from himalia.cluster.protocol.raylet_messages import (
    ActorStarted,
    AssignActor,
    Exit,
    LeaseReclaim,
    StartActor,
    StopActor,
    WorkerExiting,
)
from himalia.cluster.protocol.transitions import IllegalTransition
from himalia.cluster.raylet.actors_machine import ACTOR_EDGES, NodeActor
from himalia.cluster.raylet.events import Reply, SignalWorker, StartWorker

from .node_on_paper import GCS, HERE, UNIT, Node, actor_spec, cpus

ACTOR = b"actor number one"
OWNER = b"\x01owner!!"


def assigned(node: Node, actor_id: bytes = ACTOR) -> bytes:
    """The worker that was told to become the actor."""
    (reply,) = [
        c
        for c in node.commands
        if isinstance(c, Reply) and isinstance(c.message, AssignActor) and c.message.actor_id == actor_id
    ]
    node.commands.remove(reply)
    return reply.peer


def started(node: Node, actor_id: bytes = ACTOR, **spec: object) -> bytes:
    """Start an actor, and let its constructor return; its worker."""
    node.start_actor(actor_id, actor_spec(**spec))  # type: ignore[arg-type]
    node.start_workers()
    worker = assigned(node, actor_id)
    node.receive(worker, ActorStarted(actor_id, Address(worker, HERE, "ipc:///actor")))
    (report,) = node.told_gcs(ReportActor)
    assert report.address is not None
    return worker


def test_a_warm_worker_becomes_the_actor_at_once() -> None:
    node = Node(prestart=1)
    node.start_workers()
    node.start_actor(ACTOR, actor_spec(cpus(1)), restart=3)
    worker = assigned(node)
    node.receive(worker, ActorStarted(ACTOR, Address(worker, HERE, "ipc:///actor")))
    (report,) = node.told_gcs(ReportActor)
    assert (report.actor_id, report.address, report.restart) == (ACTOR, Address(worker, HERE, "ipc:///actor"), 3)
    assert node.free == cpus(1)


def test_an_actor_that_holds_nothing_needs_no_free_cpu() -> None:
    node = Node(cpus(1))
    node.leases(OWNER, 1)
    node.start_actor(ACTOR, actor_spec({}))
    node.start_workers()
    assert assigned(node)


def test_an_actor_is_told_its_devices() -> None:
    node = Node(cpus(1, GPU=2))
    node.start_actor(ACTOR, actor_spec({"GPU": UNIT // 2}))
    node.start_workers()
    (reply,) = [c for c in node.commands if isinstance(c, Reply) and isinstance(c.message, AssignActor)]
    assert isinstance(reply.message, AssignActor)
    assert reply.message.accelerators == {"GPU": [0]}


def test_what_can_never_fit_is_rejected_at_once() -> None:
    node = Node(cpus(1))
    node.start_actor(ACTOR, actor_spec(cpus(2)), restart=1)
    (report,) = node.told_gcs(ReportActor)
    assert (report.rejected, report.restart) == (True, 1)


def test_what_does_not_fit_now_waits_a_moment_and_has_leases_asked_back() -> None:
    node = Node(cpus(2))
    leases = node.leases(OWNER, 2)
    node.start_actor(ACTOR, actor_spec(cpus(1)))
    assert node.told_gcs(ReportActor) == []
    node.pass_time(0.02)
    (reclaim,) = node.told(OWNER, LeaseReclaim)
    node.give_back(OWNER, *[lease for lease in leases if lease.lease_id == reclaim.lease_id])
    node.start_workers()
    assert assigned(node)


def test_an_actor_comes_before_leases_that_wait() -> None:
    node = Node(cpus(1))
    (lease,) = node.leases(OWNER, 5)
    node.start_actor(ACTOR, actor_spec(cpus(1)))
    node.give_back(OWNER, lease)
    node.start_workers()
    assert assigned(node)


def test_who_waits_too_long_is_rejected_so_that_the_gcs_can_look_elsewhere() -> None:
    node = Node(cpus(1), actor_wait=1.0)
    node.leases(OWNER, 1)
    node.start_actor(ACTOR, actor_spec(cpus(1)))
    node.pass_time(1.1)
    assert [report.rejected for report in node.told_gcs(ReportActor)] == [True]


def test_a_constructor_that_raises_is_reported_once_and_its_resources_are_free_again() -> None:
    node = Node(cpus(1))
    node.start_actor(ACTOR, actor_spec(cpus(1)))
    node.start_workers()
    worker = assigned(node)
    node.receive(worker, ActorStarted(ACTOR, Address(worker), b"pickled", "ValueError: no"))
    (report,) = node.told_gcs(ReportActor)
    assert report.error == b"pickled"
    assert report.death is not None
    assert (report.death.kind, report.death.detail) == (DeathKind.CREATION_FAILED, "ValueError: no")
    assert node.told(worker, Exit)
    node.exit(worker)
    assert node.told_gcs(ReportActor) == []
    assert node.free == cpus(1)


@pytest.mark.parametrize("is_alive", [False, True])
def test_the_death_of_its_process_is_the_death_of_the_actor(is_alive: bool) -> None:
    node = Node(cpus(1))
    node.start_actor(ACTOR, actor_spec(cpus(1)), restart=2)
    node.start_workers()
    worker = assigned(node)
    if is_alive:
        node.receive(worker, ActorStarted(ACTOR, Address(worker)))
        node.told_gcs(ReportActor)
    node.exit(worker, None, signal.SIGABRT)
    (report,) = node.told_gcs(ReportActor)
    assert report.death is not None
    assert (report.death.kind, report.death.signal, report.restart) == (DeathKind.CRASHED, signal.SIGABRT, 2)
    assert node.told_gcs(ReportProcessDeath)[0].worker_id == worker
    assert node.free == cpus(1)


def test_an_actor_may_leave_by_itself() -> None:
    node = Node()
    worker = started(node)
    node.receive(worker, WorkerExiting("exit_actor"))
    node.exit(worker)
    (report,) = node.told_gcs(ReportActor)
    assert report.death is not None
    assert (report.death.kind, report.death.detail) == (DeathKind.EXITED, "exit_actor")


def test_kill_ends_it_at_once() -> None:
    node = Node()
    worker = started(node)
    node.receive(GCS, StopActor(ACTOR, Death(DeathKind.KILLED, "himalia.kill")))
    assert node.take(SignalWorker) == [SignalWorker(worker, signal.SIGKILL)]
    assert node.told_gcs(ReportActor) == []
    node.exit(worker, None, 9)
    (report,) = node.told_gcs(ReportActor)
    assert report.death is not None
    assert (report.death.kind, report.death.detail) == (DeathKind.KILLED, "himalia.kill")


def test_an_actor_out_of_scope_finishes_what_it_has_however_long_that_takes() -> None:
    node = Node()
    worker = started(node)
    node.receive(GCS, StopActor(ACTOR, Death(DeathKind.OUT_OF_SCOPE), force=False))
    assert node.told(worker, Exit) == [Exit("", graceful=True)]
    node.pass_time(60)
    assert node.take(SignalWorker) == []
    node.receive(GCS, StopActor(ACTOR, Death(DeathKind.KILLED)))
    assert node.take(SignalWorker) == [SignalWorker(worker, signal.SIGKILL)]


@pytest.mark.parametrize("has_resources", [False, True])
def test_an_actor_may_be_stopped_before_it_has_a_worker(has_resources: bool) -> None:
    node = Node(cpus(1))
    if not has_resources:
        node.leases(OWNER, 1)
    node.start_actor(ACTOR, actor_spec(cpus(1)))
    node.receive(GCS, StopActor(ACTOR, Death(DeathKind.KILLED)))
    (report,) = node.told_gcs(ReportActor)
    assert report.death is not None
    assert report.death.kind is DeathKind.KILLED
    node.start_workers()
    assert node.free["CPU"] == (UNIT if has_resources else 0)


def test_stopping_an_actor_that_is_not_here_is_answered() -> None:
    node = Node()
    node.receive(GCS, StopActor(ACTOR, Death(DeathKind.KILLED)))
    assert node.told_gcs(ReportActor)[0].death == Death(DeathKind.KILLED)


def test_a_new_life_may_begin_while_the_last_one_still_ends() -> None:
    node = Node(cpus(2))
    first = started(node, resources=cpus(1))
    node.receive(GCS, StopActor(ACTOR, Death(DeathKind.KILLED)))
    node.start_actor(ACTOR, actor_spec(cpus(1)), restart=1)
    node.start_workers()
    second = assigned(node)
    assert second != first
    node.exit(first, None, 9)
    assert node.told_gcs(ReportActor)[0].restart == 0
    node.receive(second, ActorStarted(ACTOR, Address(second)))
    assert node.told_gcs(ReportActor)[0].restart == 1


def test_asked_again_by_a_gcs_that_restarted_it_says_where_the_actor_is() -> None:
    node = Node()
    worker = started(node)
    node.start_actor(ACTOR)
    (report,) = node.told_gcs(ReportActor)
    assert report.address is not None
    assert report.address.worker_id == worker
    assert node.machine.actors.alive() == [(ACTOR, report.address)]


def test_no_worker_for_its_environment_is_the_death_of_an_actor() -> None:
    node = Node()
    node.start_actor(ACTOR, actor_spec(runtime_env=json.dumps({"conda": "x"})))
    (report,) = node.told_gcs(ReportActor)
    assert report.death is not None
    assert report.death.kind is DeathKind.UNSCHEDULABLE
    assert "'conda'" in report.death.detail
    assert node.take(StartWorker) == []


def test_a_worker_cannot_claim_to_be_another_actor() -> None:
    node = Node()
    worker = started(node)
    node.receive(worker, ActorStarted(b"another actor!!!", Address(worker)))
    assert node.told_gcs(ReportActor) == []


def test_an_illegal_fact_raises_with_the_story_of_the_actor() -> None:
    actor = NodeActor(StartActor(ACTOR, actor_spec()), 0.0)
    actor.move("resources", 1.0)
    with pytest.raises(IllegalTransition, match="waiting -> placed  resources"):
        actor.move("started", 2.0)
    assert actor.state == "placed"


def test_every_state_of_the_table_is_reached_and_left() -> None:
    left = {state for state, _ in ACTOR_EDGES}
    reached = set(ACTOR_EDGES.values()) | {"waiting"}
    assert reached - left == {"gone"}
    assert left <= reached
