"""Workers are started when needed, kept warm in small numbers, used by one job only, and ended when idle."""

from __future__ import annotations

import json
import signal

import pytest

from himalia.cluster.protocol.cluster_events import EventKind, ReportEvent
from himalia.cluster.protocol.common import PROTOCOL_VERSION, Address, DeathKind
from himalia.cluster.protocol.gcs_messages import ReportProcessDeath
from himalia.cluster.protocol.raylet_messages import (
    CoreHello,
    CoreWelcome,
    Exit,
    KillWorker,
    LeaseGranted,
    LeaseRefused,
    SetDemand,
    WorkerDied,
    WorkerExiting,
)
from himalia.cluster.protocol.transitions import IllegalTransition
from himalia.cluster.raylet.events import (
    DriverGone,
    MemoryPressure,
    ProcessEnded,
    SignalWorker,
    StartWorker,
    WorkerExited,
    WorkerNotForked,
)
from himalia.cluster.raylet.workers_machine import _SPARED, WORKER_EDGES, Worker

from .node_on_paper import HERE, JOB, OTHER_JOB, Node, cpus, lease_spec

DRIVER = b"\x01driver!"
OTHER = b"\x01other!!"


def env(**fields: object) -> str:
    return json.dumps(fields)


def test_workers_are_made_before_anybody_asks() -> None:
    node = Node(prestart=2)
    assert node.start_workers() == 2
    assert len(node.demand(DRIVER, 2)) == 2


def test_a_worker_is_started_for_demand_that_finds_none() -> None:
    node = Node()
    assert node.demand(DRIVER, 1) == []
    assert node.start_workers() == 1
    assert len(node.told(DRIVER, LeaseGranted)) == 1


def test_no_more_workers_are_started_than_there_are_resources_for() -> None:
    node = Node(cpus(2))
    node.demand(DRIVER, 100)
    node.demand(OTHER, 100)
    assert node.start_workers() == 2


def test_only_a_few_workers_start_at_a_time() -> None:
    node = Node(cpus(8), starting_limit=3)
    node.demand(DRIVER, 8)
    first = node.take(StartWorker)
    assert len(first) == 3
    node.say_hello(first[0])
    assert len(node.take(StartWorker)) == 1


def test_no_more_workers_are_started_than_the_limit() -> None:
    node = Node(cpus(8), max_workers=2)
    assert len(node.leases(DRIVER, 8)) == 2


def test_a_worker_with_a_wrong_token_is_not_taken_in() -> None:
    node = Node(prestart=1)
    (start,) = node.take(StartWorker)
    address = Address(start.worker_id, HERE, "ipc:///x")
    node.receive(start.worker_id, CoreHello(PROTOCOL_VERSION, address, 1, "worker", token=b"wrong"))
    assert node.told(start.worker_id, CoreWelcome)[0].error == "this node did not start it"
    assert node.demand(DRIVER, 1) == []


def test_a_process_of_another_protocol_is_refused() -> None:
    node = Node()
    node.receive(DRIVER, CoreHello(99, Address(DRIVER), 1, "driver"))
    assert "version 99" not in node.told(DRIVER, CoreWelcome)[0].error.partition("not")[0]


def test_an_idle_worker_of_a_job_serves_no_other_job() -> None:
    node = Node()
    (lease,) = node.leases(DRIVER, 1)
    node.demand(DRIVER, 0)
    node.give_back(DRIVER, lease)
    assert node.demand(OTHER, 1, lease_spec(job_id=OTHER_JOB)) == []
    assert node.start_workers() == 1
    assert node.told(OTHER, LeaseGranted)[0].worker != lease.worker
    node.demand(OTHER, 0)
    assert node.demand(DRIVER, 1)[0].worker == lease.worker


def test_the_worker_used_last_is_used_next() -> None:
    node = Node()
    first, second = node.leases(DRIVER, 2)
    node.demand(DRIVER, 0)
    node.give_back(DRIVER, first)
    node.give_back(DRIVER, second)
    assert node.demand(DRIVER, 1)[0].worker == second.worker


def test_a_runtime_environment_has_workers_of_its_own() -> None:
    node = Node(prestart=1)
    node.start_workers()
    spec = lease_spec(runtime_env=env(env_vars={"A": "1"}, working_dir="/tmp"))
    assert node.demand(DRIVER, 1, spec) == []
    (start,) = node.take(StartWorker)
    assert (start.env, start.cwd, start.job_id) == ({"A": "1"}, "/tmp", JOB)
    node.say_hello(start)
    assert node.told(DRIVER, LeaseGranted)[0].worker.worker_id == start.worker_id


def test_a_field_that_the_node_does_not_provide_is_an_error_that_names_it() -> None:
    node = Node()
    node.demand(DRIVER, 1, lease_spec(runtime_env=env(pip=["torch"])))
    (refused,) = node.told(DRIVER, LeaseRefused)
    assert refused.fatal
    assert "'pip'" in refused.text
    assert "env_vars" in refused.text


@pytest.mark.parametrize("text", ["[]", "{", env(env_vars={"A": 1}), env(env_vars=3), env(working_dir=3)])
def test_an_environment_that_makes_no_sense_is_an_error(text: str) -> None:
    node = Node()
    node.demand(DRIVER, 1, lease_spec(runtime_env=text))
    assert node.told(DRIVER, LeaseRefused)[0].fatal


# The reserve --------------------------------------------------------------------------------------------------------


def test_the_reserve_is_refilled_a_moment_after_leases_took_from_it() -> None:
    node = Node(prestart=1, reserve=1)
    node.start_workers()
    assert node.demand(DRIVER, 1)
    assert node.take(StartWorker) == []
    node.pass_time(0.06)
    assert len(node.take(StartWorker)) == 1


def test_the_reserve_is_refilled_at_once_after_an_actor_took_from_it() -> None:
    node = Node(prestart=1, reserve=1)
    node.start_workers()
    node.start_actor(b"actor")
    node.pass_time(0)
    assert len(node.take(StartWorker)) == 1


def test_the_reserve_does_not_grow() -> None:
    node = Node(prestart=2, reserve=2)
    node.start_workers()
    for _ in range(5):
        (lease,) = node.demand(DRIVER, 1)
        node.demand(DRIVER, 0)
        node.give_back(DRIVER, lease)
        node.pass_time(0.1)
        node.start_workers()
    assert len(node.machine.pool.workers) == 3


# Idleness -----------------------------------------------------------------------------------------------------------


def test_surplus_workers_end_after_some_idle_seconds_the_longest_idle_first() -> None:
    node = Node(cpus(3), prestart=1, idle_worker_seconds=10)
    leases = node.leases(DRIVER, 3)
    node.demand(DRIVER, 0)
    for lease in leases:
        node.give_back(DRIVER, lease)
        node.pass_time(1)
    node.pass_time(6.5)
    assert [node.told(lease.worker.worker_id, Exit) for lease in leases] == [[], [], []]
    node.pass_time(5)
    assert [len(node.told(lease.worker.worker_id, Exit)) for lease in leases] == [1, 1, 0]


def test_an_idle_worker_leaves_when_nobody_needs_what_it_owns() -> None:
    node = Node(prestart=0, idle_worker_seconds=1)
    (lease,) = node.leases(DRIVER, 1)
    node.demand(DRIVER, 0)
    node.give_back(DRIVER, lease)
    node.pass_time(1.5)
    assert [message.graceful for message in node.told(lease.worker.worker_id, Exit)] == [True]
    node.pass_time(60)
    assert node.take(SignalWorker) == []


def test_a_worker_that_does_not_leave_when_its_job_ended_is_killed() -> None:
    node = Node(prestart=0)
    node.driver_comes(DRIVER)
    (lease,) = node.leases(DRIVER, 1)
    node.demand(DRIVER, 0)
    node.give_back(DRIVER, lease)
    node.feed(DriverGone(DRIVER))
    node.pass_time(0.5)
    assert node.told(lease.worker.worker_id, Exit)
    assert node.take(SignalWorker) == []
    node.pass_time(1)
    assert node.take(SignalWorker) == [SignalWorker(lease.worker.worker_id, signal.SIGKILL)]
    node.pass_time(5)
    assert node.take(SignalWorker) == []


# Failures -----------------------------------------------------------------------------------------------------------


def test_a_worker_that_cannot_start_is_tried_again_and_then_an_error() -> None:
    node = Node(start_attempts=3)
    node.demand(DRIVER, 1)
    for _ in range(3):
        assert node.told(DRIVER, LeaseRefused) == []
        (start,) = node.take(StartWorker)
        node.exit(start.worker_id, 7)
    (refused,) = node.told(DRIVER, LeaseRefused)
    assert refused.fatal
    assert "exit code 7" in refused.text
    assert node.take(StartWorker) == []


def test_a_success_ends_the_count_of_failures() -> None:
    node = Node(start_attempts=2)
    node.demand(DRIVER, 1)
    (start,) = node.take(StartWorker)
    node.exit(start.worker_id, 7)
    assert node.start_workers() == 1
    assert node.told(DRIVER, LeaseGranted)
    assert node.machine.pool.failures == {}


def test_a_process_that_could_not_be_made_is_a_failure_to_start() -> None:
    node = Node(start_attempts=1)
    node.demand(DRIVER, 1)
    (start,) = node.take(StartWorker)
    node.feed(WorkerNotForked(start.worker_id, "the system made no process: no memory"))
    assert "no memory" in node.told(DRIVER, LeaseRefused)[0].text


def test_a_worker_that_says_nothing_is_given_up() -> None:
    node = Node(hello_timeout=60, start_attempts=1)
    node.demand(DRIVER, 1)
    (start,) = node.take(StartWorker)
    node.pass_time(61)
    assert SignalWorker(start.worker_id, signal.SIGKILL) in node.take(SignalWorker)
    assert "has not said hello" in node.told(DRIVER, LeaseRefused)[0].text
    node.exit(start.worker_id, None, 9)


def test_the_death_of_a_worker_is_told_to_the_holder_of_its_lease_and_the_gcs() -> None:
    node = Node()
    (lease,) = node.leases(DRIVER, 1)
    node.exit(lease.worker.worker_id, None, signal.SIGSEGV)
    (died,) = node.told(DRIVER, WorkerDied)
    assert (died.worker_id, died.lease_id) == (lease.worker.worker_id, lease.lease_id)
    assert (died.death.kind, died.death.signal) == (DeathKind.CRASHED, signal.SIGSEGV)
    assert "SIGSEGV" in died.death.detail
    (report,) = node.told_gcs(ReportProcessDeath)
    assert (report.worker_id, report.death, report.is_driver) == (lease.worker.worker_id, died.death, False)
    assert node.take(ProcessEnded) == [ProcessEnded(lease.worker.worker_id)]


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (lambda w: WorkerExited(w, 0, None), DeathKind.CRASHED),
        (lambda w: WorkerExited(w, 3, None), DeathKind.CRASHED),
        (lambda w: WorkerExited(w, None, 9), DeathKind.CRASHED),
        (lambda w: WorkerExited(w, None, 9, True), DeathKind.OUT_OF_MEMORY),
    ],
)
def test_the_kind_of_death_follows_from_how_the_process_ended(event: object, kind: DeathKind) -> None:
    node = Node()
    (lease,) = node.leases(DRIVER, 1)
    node.feed(event(lease.worker.worker_id))  # type: ignore[operator]
    assert node.told(DRIVER, WorkerDied)[0].death.kind is kind


def test_who_ends_a_worker_is_the_reason_of_its_death() -> None:
    node = Node()
    (lease,) = node.leases(DRIVER, 1)
    node.receive(DRIVER, KillWorker(lease.worker.worker_id, "cancelled by force"))
    assert node.take(SignalWorker) == [SignalWorker(lease.worker.worker_id, signal.SIGKILL)]
    node.exit(lease.worker.worker_id, None, 9)
    death = node.told(DRIVER, WorkerDied)[0].death
    assert (death.kind, death.detail, death.signal) == (DeathKind.KILLED, "cancelled by force", 9)


def test_only_the_holder_of_a_lease_may_end_its_worker() -> None:
    node = Node()
    (lease,) = node.leases(DRIVER, 1)
    node.receive(OTHER, KillWorker(lease.worker.worker_id, "hostile"))
    assert node.take(SignalWorker) == []


def test_a_worker_ended_for_memory_dies_of_it() -> None:
    node = Node()
    (lease,) = node.leases(DRIVER, 1)
    node.feed(MemoryPressure(lease.worker.worker_id, "9 of 10 GiB"))
    node.exit(lease.worker.worker_id, None, 9)
    death = node.told(DRIVER, WorkerDied)[0].death
    assert (death.kind, death.detail) == (DeathKind.OUT_OF_MEMORY, "9 of 10 GiB")


@pytest.mark.parametrize(("intended", "kind"), [(True, DeathKind.EXITED), (False, DeathKind.CRASHED)])
def test_a_worker_may_say_why_it_leaves(intended: bool, kind: DeathKind) -> None:
    node = Node()
    (lease,) = node.leases(DRIVER, 1)
    node.receive(lease.worker.worker_id, WorkerExiting("max_calls", intended))
    node.exit(lease.worker.worker_id)
    death = node.told(DRIVER, WorkerDied)[0].death
    assert (death.kind, death.detail) == (kind, "max_calls")


def test_an_exit_that_was_reported_already_changes_nothing() -> None:
    node = Node()
    (lease,) = node.leases(DRIVER, 1)
    node.exit(lease.worker.worker_id)
    node.commands.clear()
    node.exit(lease.worker.worker_id)
    assert not node.told(DRIVER, WorkerDied)


# The table ----------------------------------------------------------------------------------------------------------


def test_an_illegal_fact_raises_with_the_story_of_the_worker() -> None:
    worker = Worker(b"\x01worker!", b"", b"", "", 0.0)
    worker.move("hello", 1.0)
    with pytest.raises(IllegalTransition, match=r"is idle and has no edge for: return(?s:.*)starting -> idle  hello"):
        worker.move("return", 2.0)
    assert worker.state == "idle"


def test_every_state_of_the_table_can_end() -> None:
    states = {state for state, _ in WORKER_EDGES} | set(WORKER_EDGES.values())
    assert {state for state, fact in WORKER_EDGES if fact == "end"} == states - {"gone"}


def test_a_worker_that_owns_what_is_under_way_is_not_lent() -> None:
    node = Node(cpus(4))
    first, second = node.leases(DRIVER, 2)
    parent = second.worker.worker_id
    node.demand(DRIVER, 0)
    node.give_back(DRIVER, first, second)  # the parent was used last
    (child,) = node.leases(parent, 1)
    assert child.worker.worker_id == first.worker.worker_id
    assert node.demand(DRIVER, 1) == []
    assert node.start_workers() == 1
    (other,) = node.told(DRIVER, LeaseGranted)
    node.receive(parent, SetDemand(1, 0))
    node.give_back(parent, child)
    node.give_back(DRIVER, other)
    granted = {lease.worker.worker_id for lease in node.demand(DRIVER, 3)}
    assert parent in granted, "its tasks have ended"


@pytest.mark.parametrize("limit", ["spared", "workers"])
def test_a_worker_that_owns_something_is_lent_when_there_are_too_many_of_them(limit: str) -> None:
    count = _SPARED + 1 if limit == "spared" else 2
    node = Node(cpus(2 * count), max_workers=100 if limit == "spared" else count, starting_limit=100)
    leases = node.leases(DRIVER, count)
    node.demand(DRIVER, 0)
    node.give_back(DRIVER, *leases)
    for lease in leases:
        node.demand(lease.worker.worker_id, 1, lease_spec(cpus(1, absent=1)))
    assert len(node.demand(DRIVER, 1)) == 1


def test_a_worker_that_can_not_be_made_is_in_the_log() -> None:
    node = Node()
    node.demand(DRIVER, 1)
    (start,) = node.take(StartWorker)
    node.feed(WorkerNotForked(start.worker_id, "the system made no process: no memory"))
    (report,) = node.told_gcs(ReportEvent)
    assert report.event.kind is EventKind.WORKER_NOT_STARTED
    assert report.event.message.endswith("could not start: the system made no process: no memory")


def test_what_a_worker_ran_is_reported_with_its_death() -> None:
    node = Node()
    (lease,) = node.leases(DRIVER, 1)
    node.feed(WorkerExited(lease.worker.worker_id, None, signal.SIGSEGV, ran="train", cell=4))
    (report,) = node.told_gcs(ReportProcessDeath)
    assert (report.ran, report.cell, report.death.signal) == ("train", 4, signal.SIGSEGV)
