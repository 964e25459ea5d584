"""The actors of a node, from `StartActor` to the report of their end.

Strategy: an actor first gets what it holds for life, then a worker, then the worker becomes it. The GCS chose this node
by what it believed to be free. What could never fit is rejected at once; what does not fit now waits a moment, while
leases are asked back, and is then rejected, so that the GCS can look at other nodes. Each life of an actor is a record
of its own, named by (actor, restart): a new life may begin here while the process of the last one still ends.
"""

from __future__ import annotations

from typing import Final

from ..protocol.common import Address, Death, DeathKind, Resources
from ..protocol.constraints import membership
from ..protocol.gcs_messages import ActorSpec, ReportActor
from ..protocol.raylet_messages import ActorStarted, AssignActor, StartActor, StopActor
from ..protocol.transitions import History, IllegalTransition, Step, new_history
from .bundles_machine import Bundles
from .events import Context
from .ledger import Allocation, Ledger
from .reclaim import Waiter
from .workers_machine import PoolKey, Worker, WorkerPool

__all__ = ["ACTOR_EDGES", "NodeActor", "NodeActors"]

ACTOR_EDGES: Final[dict[tuple[str, str], str]] = {
    ("waiting", "resources"): "placed",
    ("waiting", "reject"): "gone",
    ("waiting", "stop"): "gone",
    ("placed", "worker"): "creating",
    ("placed", "no worker"): "gone",
    ("placed", "stop"): "gone",
    ("creating", "started"): "alive",
    ("creating", "raised"): "failed",
    ("creating", "stop"): "stopping",
    ("creating", "end"): "gone",
    ("alive", "stop"): "stopping",
    ("alive", "end"): "gone",
    ("stopping", "started"): "stopping",
    ("stopping", "raised"): "stopping",
    ("stopping", "stop"): "stopping",
    ("stopping", "end"): "gone",
    ("failed", "stop"): "failed",
    ("failed", "end"): "gone",
}
"""``failed``: its constructor raised, which is reported already; its process ends."""


class NodeActor:
    """One life of an actor on this node."""

    __slots__ = (
        "actor_id",
        "address",
        "allocation",
        "history",
        "member",
        "restart",
        "spec",
        "state",
        "waiting_since",
        "worker",
    )

    def __init__(self, message: StartActor, now: float) -> None:
        self.actor_id = message.actor_id
        self.spec = message.spec
        self.restart = message.restart
        group = membership(message.spec.strategy)
        self.member = None if group is None else (group[0], message.bundle)  # the very bundle, which the GCS chose
        self.state = "waiting"
        self.waiting_since = now
        self.allocation: Allocation | None = None
        self.worker: Worker | None = None
        self.address: Address | None = None
        self.history: History = new_history()

    @property
    def key(self) -> PoolKey:
        return self.spec.job_id, self.spec.runtime_env

    def move(self, fact: str, now: float) -> None:
        after = ACTOR_EDGES.get((self.state, fact))
        if after is None:
            raise IllegalTransition(f"actor {self.actor_id.hex()}", self.state, fact, tuple(self.history))
        self.history.append(Step(now, fact, self.state, after))
        self.state = after


class NodeActors:
    """All lives of actors on this node."""

    def __init__(self, context: Context, pool: WorkerPool, bundles: Bundles) -> None:
        self._context = context
        self._bundles = bundles
        self._pool = pool
        self._lives: dict[tuple[bytes, int], NodeActor] = {}
        self._by_worker: dict[bytes, NodeActor] = {}
        self._unplaced: dict[tuple[bytes, int], NodeActor] = {}  # waiting or placed, first come first
        self.is_draining = False

    # -- facts --------------------------------------------------------------------------------------------------------

    def start(self, message: StartActor) -> None:
        key = (message.actor_id, message.restart)
        known = self._lives.get(key)
        if known is not None:  # the GCS restarted and asks again
            if known.state == "alive":
                self._report(known, address=known.address)
            return
        actor = NodeActor(message, self._context.now)
        self._lives[key] = actor
        self._unplaced[key] = actor
        if self.is_draining or not self._could_fit(actor):
            self._reject(actor)

    def _could_fit(self, actor: NodeActor) -> bool:
        """Whether the node, or its bundle if that is here, is large enough."""
        return any(ledger.could_fit(actor.spec.resources) for ledger in self._bundles.ledgers(actor.member))

    def evict(self, ledgers: set[Ledger], death: Death) -> None:
        """What lives by these ledgers ends: their bundles are given back."""
        for actor in list(self._lives.values()):
            worker = actor.worker
            if actor.allocation is None:
                if actor.member is not None and not self._could_fit(actor):
                    self._reject(actor)
            elif actor.allocation.ledger not in ledgers:
                continue
            elif worker is None:
                actor.move("stop", self._context.now)
                self._forget(actor)
                self._report(actor, death=death)
            elif worker.state != "stopping":
                actor.move("stop", self._context.now)
                self._pool.stop(worker, death, force=True)

    def drain(self, death: Death) -> None:
        """The node is about to leave: those that have begun finish their calls, the others are for another node."""
        self.is_draining = True
        for actor in list(self._lives.values()):
            worker = actor.worker
            if actor.state == "waiting":
                self._reject(actor)
            elif worker is None:
                actor.move("stop", self._context.now)
                self._forget(actor)
                self._report(actor, rejected=True)
            elif worker.state != "stopping":
                actor.move("stop", self._context.now)
                self._pool.stop(worker, death, force=False, graceful=True)

    def stop(self, message: StopActor) -> None:
        """End all its lives here."""
        lives = [actor for (actor_id, _), actor in self._lives.items() if actor_id == message.actor_id]
        if not lives:
            self._context.tell_gcs(ReportActor(message.actor_id, death=message.death))
        for actor in lives:
            worker = actor.worker
            actor.move("stop", self._context.now)
            if actor.state == "gone":
                self._forget(actor)
                self._report(actor, death=message.death)
            elif worker is not None and (worker.state != "stopping" or message.force):
                self._pool.stop(worker, message.death, force=message.force, graceful=True)

    def started(self, worker: Worker, message: ActorStarted) -> None:
        """The constructor returned or raised."""
        actor = self._by_worker.get(worker.worker_id)
        if actor is None or actor.actor_id != message.actor_id:
            self._context.log(
                "error", f"worker {worker.worker_id.hex()} says it is {message.actor_id.hex()}: it is not"
            )
            return
        if message.error or message.detail:
            actor.move("raised", self._context.now)
            death = Death(DeathKind.CREATION_FAILED, message.detail or "its constructor raised", pid=worker.pid)
            if actor.state == "failed":
                self._report(actor, error=message.error, death=death)
                if worker.state == "actor":
                    self._pool.stop(worker, death, force=False)
            return
        actor.move("started", self._context.now)
        if actor.state == "alive":
            actor.address = message.address
            self._report(actor, address=message.address)

    def worker_ended(self, worker: Worker, death: Death) -> None:
        actor = self._by_worker.get(worker.worker_id)
        if actor is None:
            return
        is_reported = actor.state == "failed"
        actor.move("end", self._context.now)
        self._forget(actor)
        if not is_reported:
            self._report(actor, death=death)

    def _reject(self, actor: NodeActor) -> None:
        actor.move("reject", self._context.now)
        self._forget(actor)
        self._report(actor, rejected=True)

    def _forget(self, actor: NodeActor) -> None:
        key = (actor.actor_id, actor.restart)
        del self._lives[key]
        self._unplaced.pop(key, None)
        if actor.worker is not None:
            del self._by_worker[actor.worker.worker_id]
            actor.worker.allocation = None
        if actor.allocation is not None:
            actor.allocation.ledger.release(actor.allocation)
            self._context.report_due = True

    def _report(
        self,
        actor: NodeActor,
        *,
        address: Address | None = None,
        error: bytes = b"",
        death: Death | None = None,
        rejected: bool = False,
    ) -> None:
        self._context.tell_gcs(ReportActor(actor.actor_id, address, error, death, rejected, actor.restart))

    # -- placing ------------------------------------------------------------------------------------------------------

    def schedule(self) -> bool:
        """Give resources and workers to those who wait for them; whether somebody has just begun to wait."""
        has_new = False
        for actor in list(self._unplaced.values()):
            if actor.state == "waiting":
                source = self._bundles.source(actor.member, actor.spec.resources)
                actor.allocation = source.acquire(actor.spec.resources) if source is not None else None
                if actor.allocation is None:
                    has_new = has_new or actor.waiting_since == self._context.now
                    continue
                actor.move("resources", self._context.now)
                self._context.report_due = True
            failure = self._pool.failure(actor.key)
            if failure:
                actor.move("no worker", self._context.now)
                self._forget(actor)
                text = f"no worker could be started for it: {failure}"
                self._report(actor, death=Death(DeathKind.UNSCHEDULABLE, text))
                continue
            worker = self._pool.take(*actor.key, prefer_fresh=True)
            if worker is not None:
                self._assign(actor, worker)
        return has_new

    def _assign(self, actor: NodeActor, worker: Worker) -> None:
        now = self._context.now
        worker.move("assign actor", now)
        worker.actor_id = actor.actor_id
        worker.allocation = actor.allocation
        actor.move("worker", now)
        actor.worker = worker
        del self._unplaced[(actor.actor_id, actor.restart)]
        self._by_worker[worker.worker_id] = actor
        assert actor.allocation is not None
        self._context.reply(
            worker.worker_id,
            AssignActor(actor.actor_id, actor.spec, actor.allocation.accelerators(), actor.restart),
        )

    def needed_workers(self) -> dict[PoolKey, int]:
        """How many more workers of each kind could be used at once."""
        needs: dict[PoolKey, int] = {}
        for actor in self._unplaced.values():
            if actor.state == "placed":
                kind = self._pool.kind(actor.key)
                needs[kind] = needs.get(kind, 0) + 1
        return needs

    def waiters(self) -> list[Waiter]:
        """Those that wait for resources, as owners that hold nothing."""
        return [
            Waiter(actor.actor_id, 0, actor.spec.resources, 1, self._bundles.ledgers(actor.member)[0])
            for actor in self._unplaced.values()
            if actor.state == "waiting"
        ]

    def tick(self) -> None:
        """Reject those that waited in vain."""
        for actor in list(self._unplaced.values()):
            if actor.state == "waiting" and self._context.now >= actor.waiting_since + self._context.config.actor_wait:
                self._reject(actor)

    def next_deadline(self) -> float | None:
        waiting = [actor.waiting_since for actor in self._unplaced.values() if actor.state == "waiting"]
        return min(waiting) + self._context.config.actor_wait if waiting else None

    # -- looking ------------------------------------------------------------------------------------------------------

    def pending(self) -> list[tuple[Resources, int]]:
        """What waits for resources of the node, for the report to the GCS."""
        waiting = (actor for actor in self._unplaced.values() if actor.state == "waiting" and actor.member is None)
        return [(actor.spec.resources, 1) for actor in waiting]

    def alive(self) -> list[tuple[bytes, Address]]:
        """For a GCS that restarted."""
        return [
            (actor.actor_id, actor.address)
            for actor in self._lives.values()
            if actor.state == "alive" and actor.address is not None
        ]

    def unplaced(self) -> list[NodeActor]:
        """Those that wait for resources or for a worker."""
        return list(self._unplaced.values())

    def holding(self) -> list[tuple[ActorSpec, Allocation]]:
        """What each holds that has its resources."""
        return [(life.spec, life.allocation) for life in self._lives.values() if life.allocation is not None]

    def allocations(self) -> int:
        """How many lives hold resources."""
        return sum(actor.allocation is not None for actor in self._lives.values())

    def check_invariants(self) -> None:
        """Every life that was given something holds it, and no other does."""
        for key, actor in self._lives.items():
            assert actor.state != "gone"
            assert key == (actor.actor_id, actor.restart)
            assert (actor.state == "waiting") == (actor.allocation is None)
            assert (actor.state in ("waiting", "placed")) == (key in self._unplaced)
            assert (actor.worker is None) == (actor.state in ("waiting", "placed"))
            if actor.allocation is not None:
                assert actor.allocation in actor.allocation.ledger.held
            if actor.worker is not None:
                assert self._by_worker[actor.worker.worker_id] is actor
                assert actor.worker.allocation is actor.allocation
                assert actor.worker.state in ("actor", "stopping")
        assert len(self._by_worker) == sum(actor.worker is not None for actor in self._lives.values())
