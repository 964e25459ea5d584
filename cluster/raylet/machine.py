"""The machine of a raylet: one event in, commands out, no clock and no socket.

Strategy: the parts (workers, bundles, leases, actors) know their own tables and share a ledger; this file only says
which fact concerns whom, in which order, and lets everything that has become possible happen after each event. Bundles
and actors are served before leases: they are few, and whoever made one waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..protocol.common import PROTOCOL_VERSION, Address, CancelCell, Death, DeathKind, Resources, SetCapacity
from ..protocol.gcs_messages import (
    NodeReport,
    NodeUpdate,
    ProcessDead,
    ReportProcessDeath,
    ResourceView,
    Welcome,
)
from ..protocol.group_messages import CommitBundles, GroupUpdate, PrepareBundles, ReturnBundles
from ..protocol.raylet_messages import (
    ActorStarted,
    Blocked,
    CoreHello,
    CoreWelcome,
    Exit,
    KillWorker,
    ReturnLeases,
    SetDemand,
    StartActor,
    StopActor,
    StopRaylet,
    WorkerExiting,
)
from ..protocol.transitions import IllegalTransition
from .actors_machine import NodeActors
from .bundles_machine import Bundles
from .capacity_machine import Capacity
from .cells_machine import NodeCells
from .events import (
    Candidate,
    Command,
    Context,
    DriverGone,
    EndNode,
    Event,
    FromGcs,
    Log,
    MemoryPressure,
    NodeConfig,
    NodeEnding,
    NodeLost,
    ProcessEnded,
    Received,
    Tick,
    WatchDriver,
    WorkerExited,
    WorkerForked,
    WorkerNotForked,
)
from .group_view import GroupView
from .leases_machine import Leases
from .ledger import Ledger
from .policy import ClusterView
from .workers_machine import PoolKey, WorkerPool

__all__ = ["HANDLED", "Driver", "RayletMachine"]


class Driver:
    """A driver of this node. ``owns_cluster``: its end is the end of the cluster."""

    __slots__ = ("address", "job_id", "owns_cluster", "pid")

    def __init__(self, hello: CoreHello) -> None:
        self.address = hello.address
        self.pid = hello.pid
        self.job_id = hello.job_id
        self.owns_cluster = hello.owns_cluster


class RayletMachine:
    """One node's manager.

    Parameters
    ----------
    config
        What is fixed about the node.
    draw
        Random bytes, as many as asked.
    """

    def __init__(self, config: NodeConfig, draw: Callable[[int], bytes]) -> None:
        self.config = config
        self._context = Context(config, draw)
        self.ledger = Ledger(config.total)
        self.pool = WorkerPool(self._context)
        self.view = ClusterView(config.node_id, self.ledger.total, config.labels, config.hops)
        self.bundles = Bundles(self._context, self.ledger)
        self.groups = GroupView(self._context, self.view)
        self.leases = Leases(self._context, self.ledger, self.pool, self.view, self.bundles, self.groups)
        self.actors = NodeActors(self._context, self.pool, self.bundles)
        self.leases.waiting_actors = lambda: [*self.bundles.waiters(), *self.actors.waiters()]
        self.bundles.evict = self._evict
        self.capacity = Capacity(self._context, self.ledger, self.pool, self.leases)
        self.capacity.waiting = self._waiting
        self.cells = NodeCells(self._context, self.pool, self.view)
        self.drivers: dict[bytes, Driver] = {}
        self._is_ending = False
        self._leaving = ""
        self._reported_at: float | None = None
        self._events: dict[type, Callable[..., None]] = {
            Received: self._received,
            FromGcs: self._from_gcs,
            WorkerForked: lambda event: self.pool.forked(event.worker_id, event.pid),
            WorkerNotForked: self._worker_not_forked,
            WorkerExited: self._worker_exited,
            DriverGone: self._driver_gone,
            MemoryPressure: self._memory_pressure,
            NodeEnding: self._node_ending,
            Tick: lambda event: None,
        }
        self._requests: dict[type, Callable[..., None]] = {
            CoreHello: self._hello,
            SetDemand: self.leases.set_demand,
            ReturnLeases: lambda peer, message: self.leases.returned(peer, message.lease_ids, message.broken),
            Blocked: self._blocked,
            KillWorker: self._kill_worker,
            ActorStarted: self._actor_started,
            WorkerExiting: self._exiting,
            StartActor: lambda peer, message: self.actors.start(message),
            StopActor: lambda peer, message: self.actors.stop(message),
            StopRaylet: self._stop_raylet,
            CancelCell: self.cells.cancel,
            SetCapacity: self.capacity.set,
            PrepareBundles: lambda peer, message: self.bundles.prepare(message),
            CommitBundles: lambda peer, message: self.bundles.commit(message),
            ReturnBundles: lambda peer, message: self.bundles.give_back(message),
        }

    # -- one step -----------------------------------------------------------------------------------------------------

    def start(self, now: float) -> list[Command]:
        """Make the first workers."""
        self._context.now = now
        self.pool.prestart()
        return self._context.take()

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take a fact; returns what is to be done about it.

        Raises
        ------
        IllegalTransition
            If the fact cannot be true; nothing is to be done about it then, and the state is as before for its subject.
        """
        context = self._context
        context.now = now
        try:
            self._events[type(event)](event)
        except IllegalTransition:
            context.take()
            raise
        if not self._is_ending:
            self._settle()
        return context.take()

    def _settle(self) -> None:
        """Let all that has become possible, or due, happen."""
        self.pool.tick()
        self.bundles.tick()
        self.actors.tick()
        self.leases.tick()
        self.capacity.tick()
        self._schedule()
        self._report()
        if self._leaving and not self.leases.leases and not self.actors.allocations():
            self._end_node(self._leaving)
            self._leaving = ""

    def _schedule(self) -> None:
        """Serve whom can be served, and start the workers that are missing for it."""
        while True:
            if self.bundles.schedule() | self.actors.schedule():
                self.leases.want_reclaim()
            self.leases.schedule()
            needs: dict[PoolKey, int] = self.actors.needed_workers()
            for kind, count in self.leases.needed_workers().items():
                needs[kind] = needs.get(kind, 0) + count
            # A kind of worker that cannot be made is an error for those who wait for it.
            if not needs or self.pool.ask_for(needs):
                return

    def next_deadline(self) -> float | None:
        """When `Tick` is due."""
        if self._is_ending:
            return None
        times = [
            time
            for time in (
                self.pool.next_deadline(),
                self.bundles.next_deadline(),
                self.actors.next_deadline(),
                self.leases.next_deadline(),
                self.capacity.next_deadline(),
            )
            if time is not None
        ]
        if self._reported_at is not None:
            times.append(self._reported_at + self._report_wait())
        return min(times, default=None)

    def _report_wait(self) -> float:
        return self.config.report_interval if self._context.report_due else self.config.heartbeat

    def _report(self) -> None:
        """Tell the GCS what is free and what waits: on change, not too often, and as a sign of life."""
        now = self._context.now
        if self._reported_at is not None and now < self._reported_at + self._report_wait():
            return
        if not self.view.is_known:  # it does not know us yet
            return
        self._reported_at = now
        self._context.report_due = False
        # Each time: the GCS may have been restarted.
        total = dict(self.ledger.total) if self.capacity.is_resized else None
        self._context.tell_gcs(
            NodeReport(
                dict(self.ledger.available),
                self._waiting(),
                total=total,
                most=dict(self.ledger.most),
                workers=self.describe_workers(),
                bundles=self.bundles.rows(),
            )
        )

    def _waiting(self) -> list[tuple[Resources, int]]:
        """What waits for resources, and how many of each."""
        return [*self.bundles.pending(), *self.actors.pending(), *self.leases.pending()]

    def _evict(self, ledgers: set[Ledger], death: Death) -> None:
        """End what runs by the ledgers of bundles that are given back."""
        self.actors.evict(ledgers, death)
        self.leases.evict(ledgers, death)

    def describe_workers(self) -> list[dict[str, object]]:
        """The workers, for the state API."""
        return [
            {
                "worker_id": worker.worker_id,
                "pid": worker.pid,
                "state": "blocked" if worker.blocked else worker.state,
                "job_id": worker.job_id,
                "actor_id": worker.actor_id,
                "address": worker.address,
            }
            for worker in self.pool.workers.values()
        ]

    # -- processes of this node ---------------------------------------------------------------------------------------

    def _received(self, event: Received) -> None:
        self._requests[type(event.message)](event.peer, event.message)

    def _hello(self, peer: bytes, hello: CoreHello) -> None:
        error = self._admit(peer, hello)
        config = self.config
        self._context.reply(
            peer,
            CoreWelcome(
                config.node_id,
                config.arena_path,
                config.arena_bytes,
                config.session_dir,
                config.gcs,
                config.raylet,
                self.ledger.total,
                hello.job_id,
                error,
            ),
        )
        worker = self.pool.workers.get(peer)
        if worker is not None and not error:
            self.cells.welcome(worker)

    def _admit(self, peer: bytes, hello: CoreHello) -> str:
        """Take a process in; a reason if not."""
        if hello.protocol != PROTOCOL_VERSION:
            return f"this node speaks version {PROTOCOL_VERSION} of the protocol, not {hello.protocol}"
        if hello.address.worker_id != peer:
            return "its address names another process"
        if hello.kind == "driver":
            if peer not in self.drivers:
                self._context.add(WatchDriver(peer, hello.pid))
            self.drivers[peer] = Driver(hello)
            return ""
        worker = self.pool.workers.get(peer)
        if worker is None or worker.token != hello.token:
            return "this node did not start it"
        if worker.state in ("starting", "stopping"):
            self.pool.hello(worker, hello.address, hello.pid)
        return ""

    def _blocked(self, peer: bytes, message: Blocked) -> None:
        worker = self.pool.workers.get(peer)
        if worker is not None:
            self.leases.set_blocked(worker, message.blocked)

    def _kill_worker(self, peer: bytes, message: KillWorker) -> None:
        worker = self.pool.workers.get(message.worker_id)
        if worker is None:
            return
        lease = self.leases.lease_of(worker)
        if lease is None or lease.demand.owner != peer:
            self._context.log(
                "error", f"{peer.hex()} may not end worker {message.worker_id.hex()}: it has no lease of it"
            )
            return
        self.pool.stop(worker, Death(DeathKind.KILLED, message.reason or "its owner ended it"), force=True)

    def _actor_started(self, peer: bytes, message: ActorStarted) -> None:
        worker = self.pool.workers.get(peer)
        if worker is not None:
            self.actors.started(worker, message)

    def _exiting(self, peer: bytes, message: WorkerExiting) -> None:
        if peer in self.drivers:
            self._driver_ended(peer, Death(DeathKind.EXITED, message.reason or "it disconnected"))
            return
        worker = self.pool.workers.get(peer)
        if worker is not None:
            kind = DeathKind.EXITED if message.intended else DeathKind.CRASHED
            self.pool.leaving(worker, Death(kind, message.reason))

    def _worker_exited(self, event: WorkerExited) -> None:
        worker = self.pool.workers.get(event.worker_id)
        if worker is None:
            return
        was_connected = worker.address is not None
        death = self.pool.ended(worker, event.code, event.signal, event.by_kernel)
        self.leases.worker_ended(worker, death)
        self.actors.worker_ended(worker, death)
        if was_connected:
            self.leases.owner_ended(worker.worker_id)
            self._context.add(ProcessEnded(worker.worker_id))
            report = ReportProcessDeath(worker.worker_id, death, worker.job_id, ran=event.ran, cell=event.cell)
            self._context.tell_gcs(report)

    def _worker_not_forked(self, event: WorkerNotForked) -> None:
        worker = self.pool.workers.get(event.worker_id)
        if worker is not None:
            self.pool.not_forked(worker, event.text)

    def _driver_gone(self, event: DriverGone) -> None:
        self._driver_ended(event.driver_id, Death(DeathKind.EXITED, "its process ended"))

    def _driver_ended(self, driver_id: bytes, death: Death) -> None:
        driver = self.drivers.pop(driver_id, None)
        if driver is None:
            return
        death = Death(death.kind, death.detail, pid=driver.pid)
        self._context.tell_gcs(ReportProcessDeath(driver_id, death, driver.job_id, is_driver=True))
        self._context.add(ProcessEnded(driver_id))
        for job_id in self.leases.owner_ended(driver_id) | {driver.job_id} - {b""}:
            self.pool.end_job(job_id)
        if driver.owns_cluster:
            self._end_node(f"the driver (pid {driver.pid}) that owned the cluster ended")

    def _memory_pressure(self, event: MemoryPressure) -> None:
        worker = self.pool.workers.get(event.worker_id)
        if worker is not None:
            self.pool.stop(worker, Death(DeathKind.OUT_OF_MEMORY, event.detail), force=True)

    # -- the cluster --------------------------------------------------------------------------------------------------

    def _from_gcs(self, event: FromGcs) -> None:
        message = event.message
        if isinstance(message, Welcome):
            if message.error:
                self._end_node(f"the cluster refused this node: {message.error}")
                return
            for info in message.nodes:
                self.view.node_changed(info)
            self.view.is_known = True
            self.groups.welcomed()
        elif isinstance(message, NodeUpdate):
            is_new = self.view.find(message.node.node_id) is None
            self.view.node_changed(message.node)
            if is_new and self.view.find(message.node.node_id) is not None:
                self.cells.node_joined(message.node.node_id)
            if not message.node.alive and message.node.node_id != self.config.node_id:
                self._context.add(NodeLost(message.node.node_id))
        elif isinstance(message, ResourceView):
            self.view.resources_changed(message.nodes)
            self.groups.resources_changed(message)
        elif isinstance(message, GroupUpdate):
            self.groups.update(message.info)
        elif isinstance(message, ProcessDead):
            self._dead_elsewhere(message.worker_id, message.death)

    def _dead_elsewhere(self, process_id: bytes, death: Death) -> None:
        """A process that the GCS declared dead: one of another node, or a driver that said goodbye to the GCS only."""
        if process_id in self.pool.workers:
            return  # the host reports it, with its exit code
        if process_id in self.drivers:
            self._driver_ended(process_id, death)
            return
        for job_id in self.leases.owner_ended(process_id):
            self.pool.end_job(job_id)
        self._context.add(ProcessEnded(process_id))

    # -- the end ------------------------------------------------------------------------------------------------------

    def _stop_raylet(self, peer: bytes, message: StopRaylet) -> None:
        reason = message.reason or "the cluster was stopped"
        if not message.graceful:
            self._end_node(reason)
            return
        self._leaving = reason
        self.view.is_draining = self.pool.is_closed = True
        self.leases.reclaim_all()
        self.bundles.drain()
        self.actors.drain(Death(DeathKind.NODE_DIED, f"its node left the cluster: {reason}"))

    def _end_node(self, reason: str) -> None:
        """Have the host end the node; it answers with `NodeEnding`."""
        self._context.add(EndNode(reason))

    def _node_ending(self, event: NodeEnding) -> None:
        """Tell all who are connected why they will lose us. The host ends the processes."""
        self._is_ending = True
        reason = event.reason or "the cluster was stopped"
        for driver_id in self.drivers:
            self._context.reply(driver_id, Exit(reason))
        for worker in self.pool.workers.values():
            if worker.address is not None:
                self._context.reply(worker.worker_id, Exit(reason))
        self._context.add(Log("info", f"the node ends: {reason}"))

    # -- looking ------------------------------------------------------------------------------------------------------

    def running(self) -> list[Candidate]:
        """The workers that run something, for the choice of one to end."""
        return [
            Candidate(worker.worker_id, worker.pid, worker.state == "actor", worker.since)
            for worker in self.pool.workers.values()
            if worker.state in ("leased", "actor")
        ]

    def living(self) -> tuple[list[tuple[bytes, Address]], list[tuple[bytes, int, list[int], bool]]]:
        """The actors and the bundles that are here, for a GCS that restarted."""
        return self.actors.alive(), self.bundles.held()

    def address_of(self, process_id: bytes) -> Address | None:
        """Where a process of this node is reached."""
        driver = self.drivers.get(process_id)
        if driver is not None:
            return driver.address
        worker = self.pool.workers.get(process_id)
        return None if worker is None else worker.address

    def check_invariants(self) -> None:
        """No resource is leaked or booked twice, and all parts tell the same story."""
        self.ledger.check_invariants()
        self.pool.check_invariants()
        self.leases.check_invariants()
        self.actors.check_invariants()
        self.bundles.check_invariants()
        held = len(self.leases.leases) + self.actors.allocations() + self.bundles.allocations()
        booked = len(self.ledger.held) + sum(len(ledger.held) for ledger in self.bundles.all_ledgers())
        assert held == booked, f"{booked} allocations, {held} holders"


HANDLED: Final = frozenset(
    {
        CoreHello,
        SetDemand,
        ReturnLeases,
        Blocked,
        KillWorker,
        ActorStarted,
        WorkerExiting,
        StartActor,
        StopActor,
        StopRaylet,
        CancelCell,
        SetCapacity,
        PrepareBundles,
        CommitBundles,
        ReturnBundles,
    }
)
"""The requests that are this machine's; the others are the object store's."""
