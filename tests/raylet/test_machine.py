"""The whole machine under any order of events: nothing leaks, and all who can be served are."""

from __future__ import annotations

import itertools
import signal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, precondition, rule

from himalia.cluster.protocol.common import Address, Death, DeathKind
from himalia.cluster.protocol.gcs_messages import ProcessDead, ReportActor, ReportProcessDeath, Welcome
from himalia.cluster.protocol.raylet_messages import (
    ActorStarted,
    AssignActor,
    Blocked,
    Exit,
    KillWorker,
    LeaseGranted,
    LeaseReclaim,
    LeaseSpill,
    ReturnLeases,
    SetDemand,
    StopActor,
    StopRaylet,
)
from himalia.cluster.raylet.events import (
    Candidate,
    DriverGone,
    EndNode,
    MemoryPressure,
    NodeEnding,
    NodeLost,
    Reply,
    StartWorker,
    TellGcs,
)

from .node_on_paper import GCS, HERE, THERE, Node, actor_spec, cpus, lease_spec, node_info

DRIVER = b"\x01driver!"


def test_the_end_is_told_to_all_who_are_connected() -> None:
    node = Node(prestart=1)
    node.start_workers()
    node.driver_comes(DRIVER)
    node.feed(NodeEnding("the gcs ended"))
    assert node.told(DRIVER, Exit) == [Exit("the gcs ended")]
    (worker,) = node.machine.pool.workers
    assert node.told(worker, Exit)
    assert node.machine.next_deadline() is None


def test_the_gcs_may_end_the_node() -> None:
    node = Node()
    node.receive(GCS, StopRaylet("stopped"))
    assert node.take(EndNode) == [EndNode("stopped")]


def test_a_node_that_leaves_lets_what_has_started_end() -> None:
    node = Node(cpus(2), prestart=1, reserve=1)
    node.welcome(node_info(THERE))
    (lease,) = node.leases(DRIVER, 1)
    node.start_actor(b"actor")
    node.start_workers()
    (reply,) = [c for c in node.commands if isinstance(c, Reply) and isinstance(c.message, AssignActor)]
    node.receive(GCS, StopRaylet("scaled down", graceful=True))
    assert node.told(DRIVER, LeaseReclaim) == [LeaseReclaim(lease.lease_id)]
    assert node.told(reply.peer, Exit)[0].graceful
    assert node.demand(DRIVER, 2) == []
    assert len(node.told(DRIVER, LeaseSpill)) == 1, "what is new goes elsewhere"
    node.start_actor(b"late")
    assert [report.rejected for report in node.told_gcs(ReportActor)] == [True]
    node.pass_time(60)
    assert node.take(EndNode) == []
    node.exit(reply.peer)
    (report,) = node.told_gcs(ReportActor)
    assert report.death is not None
    assert report.death.kind is DeathKind.NODE_DIED
    assert node.take(EndNode) == []
    node.demand(DRIVER, 0)
    node.give_back(DRIVER, lease)
    assert node.take(EndNode) == [EndNode("scaled down")]


def test_a_node_that_the_cluster_refuses_ends() -> None:
    node = Node()
    node.from_gcs(Welcome("cluster", [], error="you are dead"))
    assert "you are dead" in node.take(EndNode)[0].reason


def test_a_process_that_died_elsewhere_gives_back_its_leases() -> None:
    node = Node()
    (lease,) = node.leases(b"\x01remote!", 1)
    node.from_gcs(ProcessDead(b"\x01remote!", Death(DeathKind.NODE_DIED)))
    assert node.free == cpus(2)
    assert len(node.told(lease.worker.worker_id, Exit)) == 1


def test_what_comes_of_a_process_that_died_elsewhere_is_too_late() -> None:
    node = Node()
    node.from_gcs(ProcessDead(b"\x01remote!", Death(DeathKind.NODE_DIED)))
    assert node.leases(b"\x01remote!", 1) == []
    assert node.free == cpus(2)


def test_what_the_gcs_says_of_a_worker_of_this_node_is_known_better_here() -> None:
    node = Node()
    (lease,) = node.leases(DRIVER, 1)
    node.from_gcs(ProcessDead(lease.worker.worker_id, Death(DeathKind.CRASHED)))
    assert node.free == cpus(1)


def test_a_lost_node_is_told_to_the_store() -> None:
    node = Node()
    node.welcome(node_info(THERE))
    node.node_comes(node_info(THERE, alive=False))
    assert node.take(NodeLost) == [NodeLost(THERE)]


def test_only_what_runs_something_is_a_candidate_when_memory_is_short() -> None:
    node = Node(cpus(1), prestart=2)
    node.start_workers()
    (lease,) = node.demand(DRIVER, 1)
    (candidate,) = node.machine.running()
    assert candidate == Candidate(lease.worker.worker_id, lease.pid, False, node.now)


def test_an_idle_node_needs_to_be_woken_for_its_heartbeat_only() -> None:
    node = Node(prestart=2)
    node.start_workers()
    node.welcome()
    node.pass_time(5)
    due = node.machine.next_deadline()
    assert due is not None
    assert 0.9 < due - node.now <= 1.0


class AnyOrder(RuleBasedStateMachine):
    """Owners, workers, actors and the GCS do what they may, in any order; messages come from who can send them."""

    owners: Bundle[bytes] = Bundle("owners")
    starts: Bundle[StartWorker] = Bundle("starts")
    workers: Bundle[bytes] = Bundle("workers")
    leases: Bundle[tuple[bytes, LeaseGranted]] = Bundle("leases")
    actors: Bundle[bytes] = Bundle("actors")

    def __init__(self) -> None:
        super().__init__()
        self.node = Node(cpus(4, GPU=2, slot=1), prestart=1, reserve=1, max_workers=12, start_attempts=2)
        self.node.welcome()
        self.numbers = itertools.count(1)
        self.alive: set[bytes] = set()
        self.held: dict[int, bytes] = {}
        self.reclaimed: set[int] = set()

    def _follow(self) -> None:
        """Look at what the machine said, and check that it makes sense."""
        for command in self.node.commands:
            if isinstance(command, Reply):
                message = command.message
                if isinstance(message, LeaseGranted):
                    assert message.lease_id not in self.held
                    assert message.worker.worker_id in self.alive, "a lease of a worker that is not there"
                    self.held[message.lease_id] = command.peer
                elif isinstance(message, LeaseReclaim):
                    assert message.lease_id in self.held
                    assert message.lease_id not in self.reclaimed, "asked back twice"
                    self.reclaimed.add(message.lease_id)
            elif isinstance(command, TellGcs) and isinstance(command.message, ReportProcessDeath):
                self.alive.discard(command.message.worker_id)

    @rule(target=owners)
    def owner_comes(self) -> bytes:
        owner = b"\x01own" + next(self.numbers).to_bytes(4, "big")
        self.node.driver_comes(owner, job_id=owner[-2:])
        return owner

    @rule(
        owner=owners,
        want=st.integers(0, 6),
        class_id=st.integers(1, 3),
        cpu=st.sampled_from([0, 0.5, 1, 3, 9]),
        gpu=st.sampled_from([0, 0, 0.5, 1, 2]),
        slot=st.sampled_from([0, 0, 0, 1]),
    )
    def demand(self, owner: bytes, want: int, class_id: int, cpu: float, gpu: float, slot: float) -> None:
        spec = lease_spec(cpus(cpu, GPU=gpu, slot=slot), job_id=owner[-2:])
        self.node.receive(owner, SetDemand(class_id, want, spec))

    @rule(target=starts)
    def see_starts(self) -> object:
        return multiple(*self.node.take(StartWorker))

    @rule(target=workers, start=consumes(starts))
    def worker_says_hello(self, start: StartWorker) -> bytes:
        if start.worker_id in self.node.machine.pool.workers:
            self.alive.add(start.worker_id)
            self.node.say_hello(start)
        return start.worker_id

    @rule(start=consumes(starts))
    def worker_fails_to_start(self, start: StartWorker) -> None:
        self.node.exit(start.worker_id, 3)

    @rule(worker=consumes(workers), number=st.sampled_from([None, signal.SIGKILL]))
    def worker_dies(self, worker: bytes, number: int | None) -> None:
        self.node.exit(worker, None if number else 0, number)
        self._forget_worker(worker)

    def _forget_worker(self, worker: bytes) -> None:
        known = self.node.machine.leases.leases
        self.held = {lease_id: owner for lease_id, owner in self.held.items() if lease_id in known}

    @rule(worker=workers, blocked=st.booleans())
    def worker_blocks(self, worker: bytes, blocked: bool) -> None:
        self.node.receive(worker, Blocked(blocked))

    @rule(worker=workers, want=st.integers(0, 3))
    def worker_wants_leases(self, worker: bytes, want: int) -> None:
        if worker in self.node.machine.pool.workers:
            self.node.receive(worker, SetDemand(1, want, lease_spec(job_id=b"w1")))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), broken=st.booleans())
    def lease_is_returned(self, data: st.DataObject, broken: bool) -> None:
        lease_id = data.draw(st.sampled_from(sorted(self.held)))
        self.node.receive(self.held.pop(lease_id), ReturnLeases([lease_id], broken))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def worker_is_killed(self, data: st.DataObject) -> None:
        lease_id = data.draw(st.sampled_from(sorted(self.held)))
        lease = self.node.machine.leases.leases.get(lease_id)
        if lease is not None:
            self.node.receive(self.held[lease_id], KillWorker(lease.worker.worker_id, "cancel"))

    @rule(owner=consumes(owners))
    def owner_dies(self, owner: bytes) -> None:
        self.node.feed(DriverGone(owner))
        self.held = {lease_id: holder for lease_id, holder in self.held.items() if holder != owner}

    @rule(worker=workers)
    def memory_is_short(self, worker: bytes) -> None:
        self.node.feed(MemoryPressure(worker, "too much"))

    @rule(target=actors, cpu=st.sampled_from([0, 1, 5]), gpu=st.sampled_from([0, 0.5]))
    def actor_starts(self, cpu: float, gpu: float) -> bytes:
        actor_id = next(self.numbers).to_bytes(16, "big")
        self.node.start_actor(actor_id, actor_spec(cpus(cpu, GPU=gpu)))
        return actor_id

    @precondition(
        lambda self: any(isinstance(c, Reply) and isinstance(c.message, AssignActor) for c in self.node.commands)
    )
    @rule(raises=st.booleans())
    def constructor_ends(self, raises: bool) -> None:
        reply = next(c for c in self.node.commands if isinstance(c, Reply) and isinstance(c.message, AssignActor))
        self.node.commands.remove(reply)
        assert isinstance(reply.message, AssignActor)
        if reply.peer in self.alive:
            error = b"error" if raises else b""
            self.node.receive(reply.peer, ActorStarted(reply.message.actor_id, Address(reply.peer, HERE), error))

    @rule(actor=actors, force=st.booleans())
    def actor_is_stopped(self, actor: bytes, force: bool) -> None:
        self.node.receive(GCS, StopActor(actor, Death(DeathKind.KILLED), force))

    @rule(seconds=st.sampled_from([0.001, 0.02, 0.3, 2, 15]))
    def time_passes(self, seconds: float) -> None:
        self.node.pass_time(seconds)

    @invariant()
    def all_is_well(self) -> None:
        self._follow()
        self.node.commands = [
            c
            for c in self.node.commands
            if isinstance(c, StartWorker) or (isinstance(c, Reply) and isinstance(c.message, AssignActor))
        ]
        self.node.machine.check_invariants()
        assert len(self.node.machine.pool.workers) <= 12 + 1

    def teardown(self) -> None:
        """When all owners and workers are gone, all resources are free."""
        node = self.node
        for owner in list(node.machine.drivers):
            node.feed(DriverGone(owner))
        for actor_id in [actor_id for actor_id, _ in node.machine.actors._lives]:
            node.receive(GCS, StopActor(actor_id, Death(DeathKind.KILLED)))
        for worker_id in list(node.machine.pool.workers):
            node.exit(worker_id, None, 9)
        assert node.free == node.machine.ledger.total
        node.machine.check_invariants()


AnyOrder.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestAnyOrder = AnyOrder.TestCase
