"""Leases: who wants how many workers of which kind, who holds which, and whose turn it is.

Strategy: demand is a standing statement of an owner, one for each of its classes. Whenever something may have become
possible (demand, a returned lease, a started worker, CPUs lent), leases are granted one by one, each to the owner that
holds least (of equals, to the one served longest ago), and within an owner to its class likewise. An owner that finds
the node full waits a few milliseconds, then those who hold more than it are asked to give up a lease when what runs on
it ends. A lease is never taken by force: a task that runs is not lost for fairness.

A request too large for what comes free piece by piece would wait for ever behind small ones. So after a while the node
keeps what comes free for the one that waits longest, for a bounded time, since what it waits for may itself depend on
one of those held up.

Who belongs to a placement group takes from the ledgers of its bundles, and competes with others only within these.

Rejected: a queue of requests (each would need an answer, and a lost or repeated one would count); shares by weight of
tasks queued (an owner would gain by submitting early).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from ..protocol.common import Death, DeathKind, Resources
from ..protocol.raylet_messages import (
    LeaseGranted,
    LeaseReclaim,
    LeaseRefused,
    LeaseSpill,
    SetDemand,
    WorkerDied,
)
from .bundles_machine import Bundles
from .events import Context, ResetStarted
from .group_view import GroupView
from .lease_records import LEASE_EDGES, Demand, Lease
from .ledger import Allocation, Ledger
from .policy import Choice, ClusterView
from .reclaim import Holder, Waiter, choose_reclaims, choose_surplus
from .workers_machine import PoolKey, Worker, WorkerPool

__all__ = ["LEASE_EDGES", "Demand", "Lease", "Leases"]

_HOLD_AFTER: Final = 0.2
_HOLD_PERIOD: Final = 2.0
"""After 0.2 s of waiting, and then in the first half of each 2 s, what comes free is kept for the longest wait."""

ENDED_KNOWN: Final = 10_000
"""Owners that are gone and remembered: when a network that was cut heals, what they had asked for comes after all."""

Kept = tuple[Demand | None, Resources]
"""For whom something is kept, and what."""


class Leases:
    """All demand on this node, and all leases of its workers."""

    def __init__(
        self, context: Context, ledger: Ledger, pool: WorkerPool, view: ClusterView, bundles: Bundles, groups: GroupView
    ) -> None:
        self._context = context
        self._ledger = ledger
        self._pool = pool
        self._view = view
        self._bundles = bundles
        self._groups = groups
        # An owner holds leases of several nodes and tells them apart by number: the upper half names the node.
        self._next_id = (int.from_bytes(context.config.node_id[1:5], "big") >> 1) << 32
        self.leases: dict[int, Lease] = {}
        self._demands: dict[bytes, dict[int, Demand]] = {}
        self._unmet: dict[bytes, dict[int, Demand]] = {}
        self._turn = 0
        self._turns: dict[bytes, int] = {}  # of each owner, when it was served last
        self._shares: dict[bytes, int] = {}  # of each owner, the sum of its leases' weights
        self._ended: dict[bytes, None] = {}  # owners that are gone
        self._reclaim_at: float | None = None
        pool.owns_work = self._owns_work
        self.waiting_actors: Callable[[], list[Waiter]] = list
        """Actors that wait for resources here count as owners that hold nothing."""

    # -- facts --------------------------------------------------------------------------------------------------------

    def set_demand(self, owner: bytes, message: SetDemand) -> None:
        if owner in self._ended:
            return  # it came late, and nobody will return the lease
        classes = self._demands.setdefault(owner, {})
        self._turns.setdefault(owner, 0)
        demand = classes.get(message.class_id)
        if demand is None:
            if message.spec is None:
                text = f"class {message.class_id} was never described to node {self._context.config.node_id.hex()}"
                self._context.reply(owner, LeaseRefused(message.class_id, text, fatal=True))
                return
            demand = classes[message.class_id] = Demand(owner, message.class_id, message.spec)
        demand.want = message.want
        demand.hops = message.hops
        demand.queued = message.queued
        if message.name:
            demand.name, demand.cell = message.name, message.cell
        self._sort_in(demand)

    def _sort_in(self, demand: Demand) -> None:
        """Let it have its turns if it has less than it wants, and none otherwise."""
        waiting = self._unmet.get(demand.owner)
        if demand.unmet > 0:
            if demand.waiting_since is None:
                demand.waiting_since = self._context.now
                self._plan_reclaim()
            if waiting is None:
                waiting = self._unmet[demand.owner] = {}
            waiting.setdefault(demand.class_id, demand)
            return
        demand.waiting_since = None
        demand.refused = ""
        if waiting is not None and waiting.pop(demand.class_id, None) is not None and not waiting:
            del self._unmet[demand.owner]

    def returned(self, owner: bytes, lease_ids: list[int], broken: bool) -> None:
        for lease_id in lease_ids:
            lease = self.leases.get(lease_id)
            if lease is None:
                continue  # its worker ended; the owner's message and ours crossed
            if lease.demand.owner != owner:
                self._context.log("error", f"{owner.hex()} returned lease {lease_id}, which is not its own")
                continue
            lease.move("return", self._context.now)
            self._end(lease)
            if lease.worker.state != "leased":
                continue  # it is leaving already
            if broken:
                death = Death(DeathKind.KILLED, "its owner could not use it any more")
                self._pool.stop(lease.worker, death, force=True)
            else:
                self._pool.give_back(lease.worker)

    def _owns_work(self, owner: bytes) -> bool:
        return any(demand.held or demand.unmet > 0 for demand in self._demands.get(owner, {}).values())

    def _end(self, lease: Lease) -> None:
        """The lease is no more: its resources are free. The worker is the caller's business."""
        lease.allocation.ledger.release(lease.allocation)
        self._shares[lease.demand.owner] -= lease.weight
        lease.worker.allocation = None
        del self.leases[lease.lease_id]
        del lease.demand.held[lease.lease_id]
        self._sort_in(lease.demand)
        self._context.report_due = True

    def worker_ended(self, worker: Worker, death: Death) -> None:
        """The worker of a lease is gone: its owner is told."""
        lease = self.leases.get(worker.lease_id)
        if lease is None:
            return
        lease.move("worker ended", self._context.now)
        self._end(lease)
        self._context.reply(lease.demand.owner, WorkerDied(worker.worker_id, death, lease.lease_id))

    def owner_ended(self, owner: bytes) -> set[bytes]:
        """A process that may hold leases is gone: what its tasks run on cannot be used for others.

        It is asked to leave, and killed a moment later if it does not: so it tells what it has run, which is all there
        was to see of a program that ended right after its last task.

        Returns its jobs for which nobody else has asked for workers here.
        """
        jobs = {demand.spec.job_id for demand in self._demands.get(owner, {}).values()}
        for demand in self._demands.pop(owner, {}).values():
            demand.want = 0
            for lease in list(demand.held.values()):
                lease.move("owner ended", self._context.now)
                self._end(lease)
                if lease.worker.state == "leased":
                    death = Death(DeathKind.OWNER_DIED, f"the process {owner.hex()} whose tasks it ran ended")
                    self._pool.stop(lease.worker, death, force=False)
        self._unmet.pop(owner, None)
        self._turns.pop(owner, None)
        self._shares.pop(owner, None)
        self._ended[owner] = None
        if len(self._ended) > ENDED_KNOWN:
            del self._ended[next(iter(self._ended))]
        if jobs:
            jobs -= {demand.spec.job_id for classes in self._demands.values() for demand in classes.values()}
        return jobs

    def set_blocked(self, worker: Worker, blocked: bool) -> None:
        """Its task waits for others, so they may have its CPUs; or it goes on."""
        allocation = worker.allocation
        worker.blocked = blocked
        if allocation is None:
            return
        if blocked:
            allocation.ledger.lend(allocation)
        else:
            allocation.ledger.take_back(allocation)
        self._context.report_due = True

    # -- granting -----------------------------------------------------------------------------------------------------

    def schedule(self) -> None:
        """Serve all who can be served now, in turns."""
        if not self._unmet:
            return
        kept = self.kept_for_longest()
        full: set[object] = set()  # demands that got nothing in this call, and what they need
        while self._serve_first(full, kept):
            pass

    def _serve_first(self, full: set[object], kept: Kept | None) -> bool:
        """Serve the first in line who can be served; False if nobody can."""
        for owner in sorted(self._unmet, key=self._rank):
            while (demand := self._next_class(owner, full)) is not None:
                if self._serve(demand, kept, full):
                    self._turn += 1
                    demand.turn = self._turns[owner] = self._turn
                    return True
                full.add(demand)
        return False

    def _rank(self, owner: bytes) -> tuple[int, int]:
        """Who holds least comes first; of equals, who was served longest ago."""
        return self._shares.get(owner, 0), self._turns[owner]

    def _next_class(self, owner: bytes, full: set[object]) -> Demand | None:
        classes = self._unmet.get(owner, {}).values()
        waiting = [demand for demand in classes if demand not in full and (demand.need, demand.hops) not in full]
        return min(waiting, key=lambda demand: (len(demand.held), demand.turn), default=None)

    def _serve(self, demand: Demand, kept: Kept | None, full: set[object]) -> bool:
        """Grant it one lease, or send one wish elsewhere; False if neither can be.

        What it lacks then, all who need the same lack too, and go into ``full``: a thousand of them cost one look.
        """
        spec = demand.spec
        source = self._bundles.source(demand.member, spec.resources)
        choice = self._choose(demand, source is not None and not self.is_kept(demand, kept))
        if choice.node is not None:
            self._spill(demand, choice.node)
            return True
        if choice.wait:
            self._refuse(demand, choice.refused, choice.fatal, group_removed=choice.group_removed)
            if not choice.refused and kept is None:
                full.add((demand.need, demand.hops))
            return False
        failure = self._pool.failure(demand.key)
        if failure:
            self._refuse(demand, f"no worker could be started for it: {failure}", True)
            return False
        worker = self._pool.take(spec.job_id, spec.runtime_env)
        if worker is None:
            full.add((demand.need, demand.hops))
            return False
        assert source is not None
        allocation = source.acquire(spec.resources)
        assert allocation is not None
        self._grant(demand, worker, allocation)
        return True

    def _choose(self, demand: Demand, fits_here: bool) -> Choice:
        spec, member = demand.spec, demand.member
        if member is None:
            return self._view.choose(spec, fits_here, demand.hops)
        could_here = any(ledger.could_fit(spec.resources) for ledger in self._bundles.ledgers(member))
        return self._groups.choose(member, spec.resources, fits_here=fits_here, could_here=could_here, hops=demand.hops)

    def _grant(self, demand: Demand, worker: Worker, allocation: Allocation) -> None:
        context = self._context
        self._next_id += 1
        lease = Lease(self._next_id, demand, worker, allocation, context.now)
        # What it holds of its own bundle nobody else could have.
        lease.weight = self._ledger.weight(allocation.resources) if demand.member is None else 0
        self._shares[demand.owner] = self._shares.get(demand.owner, 0) + lease.weight
        self.leases[lease.lease_id] = lease
        demand.held[lease.lease_id] = lease
        demand.refused = ""
        # Whoever still wants more waits anew: it has just been served.
        demand.waiting_since = None
        worker.move("lease", context.now)
        worker.lease_id = lease.lease_id
        worker.allocation = allocation
        if worker.last_owner not in (b"", demand.owner):
            context.add(ResetStarted(worker.worker_id))
        worker.last_owner = demand.owner
        assert worker.address is not None
        context.reply(
            demand.owner,
            LeaseGranted(demand.class_id, lease.lease_id, worker.address, allocation.accelerators(), worker.pid),
        )
        context.report_due = True
        self._sort_in(demand)

    def _spill(self, demand: Demand, node_id: bytes) -> None:
        info = self._view.find(node_id)
        assert info is not None, "the view chose a node that it does not have"
        if demand.member is None:
            self._view.note_sent(node_id, demand.spec.resources)
        else:
            self._groups.note_sent(node_id, demand.member[0])
        demand.want -= 1
        self._context.reply(demand.owner, LeaseSpill(demand.class_id, 1, info.raylet, demand.hops + 1))
        self._sort_in(demand)

    def _refuse(self, demand: Demand, text: str, fatal: bool, *, group_removed: bool = False) -> None:
        """Tell the owner why it gets nothing, once; a fatal refusal ends the demand."""
        if not text:
            demand.refused = ""
            return
        if text != demand.refused:
            demand.refused = text
            self._context.reply(demand.owner, LeaseRefused(demand.class_id, text, fatal, group_removed))
        if fatal:
            demand.want = len(demand.held)
            self._sort_in(demand)

    def needed_workers(self) -> dict[PoolKey, int]:
        """How many more workers of each kind could be used at once."""
        needs: dict[PoolKey, int] = {}
        if not self._unmet:
            return needs
        kept = self.kept_for_longest()
        taken: list[Allocation] = []
        full: set[object] = set()
        for classes in self._unmet.values():
            for demand in classes.values():
                if demand.need in full or self.is_kept(demand, kept) or self._pool.failure(demand.key):
                    continue
                pool = self._pool.kind(demand.key)
                for _ in range(demand.unmet):
                    source = self._bundles.source(demand.member, demand.spec.resources)
                    if source is None:
                        full.add(demand.need)
                        break
                    allocation = source.acquire(demand.spec.resources)
                    assert allocation is not None
                    taken.append(allocation)
                    needs[pool] = needs.get(pool, 0) + 1
                    if needs[pool] >= self._context.config.max_workers:
                        break
        for allocation in taken:
            allocation.ledger.release(allocation)
        return needs

    # -- fairness -----------------------------------------------------------------------------------------------------

    def kept_for_longest(self) -> Kept | None:
        """The demand for which what comes free of the node is kept at this time, if any; None is a placement group."""
        now = self._context.now
        claim = self._bundles.claim()
        if claim is not None:
            return None, claim
        waiting = (demand for demand in self.waiting() if demand.member is None)
        longest = min(waiting, key=lambda demand: demand.waiting_since or now, default=None)
        if longest is None or longest.waiting_since is None:
            return None
        waited = now - longest.waiting_since
        if waited < _HOLD_AFTER or waited % _HOLD_PERIOD > _HOLD_PERIOD / 2:
            return None
        if not self._ledger.could_fit(longest.spec.resources):
            return None
        return longest, longest.spec.resources

    def is_kept(self, demand: Demand, kept: Kept | None) -> bool:
        """Whether it asks for what is kept for another."""
        if kept is None or kept[0] is demand or demand.member is not None:
            return False
        scarce = kept[1]
        available = self._ledger.available
        return any(
            name in scarce and available.get(name, 0) - units < scarce[name]
            for name, units in demand.spec.resources.items()
        )

    def waiting(self) -> Iterator[Demand]:
        """All demand that is not met."""
        for classes in self._unmet.values():
            yield from classes.values()

    def _plan_reclaim(self) -> None:
        due = self._context.now + self._context.config.reclaim_after
        self._reclaim_at = due if self._reclaim_at is None else min(self._reclaim_at, due)

    def reclaim_all(self) -> None:
        """The node is about to leave: all leases are asked back."""
        self._ask_back([lease.lease_id for lease in self.leases.values() if lease.state == "granted"])

    def shrink(self) -> None:
        """The node may have fewer CPUs than are held: leases that make up for it are asked back."""
        self._ask_back(choose_surplus(self._holders(self._ledger), self._coming(self._ledger), self._ledger))

    def evict(self, ledgers: set[Ledger], death: Death) -> None:
        """What runs by these ledgers ends: their bundles are given back."""
        for lease in list(self.leases.values()):
            if lease.allocation.ledger in ledgers and lease.worker.state == "leased":
                self._pool.stop(lease.worker, death, force=True)

    def _holders(self, ledger: Ledger) -> list[Holder]:
        return [
            Holder(lease.lease_id, lease.demand.owner, lease.demand.class_id, lease.allocation, lease.granted_at)
            for lease in self.leases.values()
            if lease.state == "granted" and lease.allocation.ledger is ledger
        ]

    def _coming(self, ledger: Ledger) -> list[Allocation]:
        held = (lease.allocation for lease in self.leases.values() if lease.state == "reclaimed")
        return [allocation for allocation in held if allocation.ledger is ledger]

    def _ask_back(self, lease_ids: Iterable[int]) -> None:
        for lease_id in lease_ids:
            lease = self.leases[lease_id]
            lease.move("reclaim", self._context.now)
            self._context.reply(lease.demand.owner, LeaseReclaim(lease_id))

    def want_reclaim(self) -> None:
        """Somebody else (an actor) waits for resources that leases hold."""
        self._plan_reclaim()

    def tick(self) -> None:
        now = self._context.now
        if self._reclaim_at is None or now < self._reclaim_at:
            return
        self._reclaim_at = None
        waiters = self.waiting_actors()
        for demand in self.waiting():
            waited = 0.0 if demand.waiting_since is None else now - demand.waiting_since
            if waited < self._context.config.reclaim_after * 0.99:
                continue
            able = [each for each in self._bundles.ledgers(demand.member) if each.could_fit(demand.spec.resources)]
            if able and not any(ledger.fits(demand.spec.resources) for ledger in able):
                waiters.append(Waiter(demand.owner, demand.class_id, demand.spec.resources, demand.unmet, able[0]))
        young = now - self._context.config.slice_seconds
        for ledger in dict.fromkeys(waiter.ledger or self._ledger for waiter in waiters):
            mine = [waiter for waiter in waiters if (waiter.ledger or self._ledger) is ledger]
            self._ask_back(choose_reclaims(mine, self._holders(ledger), self._coming(ledger), ledger, young))
        if self._unmet or waiters:
            # Whoever begins to wait is looked at sooner. For the others something changes when a lease gets older than
            # a slice, or when one is returned, which serves them by itself.
            self._reclaim_at = now + max(self._context.config.reclaim_after, self._context.config.slice_seconds)

    def next_deadline(self) -> float | None:
        return self._reclaim_at

    # -- looking ------------------------------------------------------------------------------------------------------

    def pending(self) -> list[tuple[Resources, int]]:
        """What waits, for the report to the GCS."""
        return [(demand.spec.resources, demand.unmet) for demand in self.waiting()]

    def lease_of(self, worker: Worker) -> Lease | None:
        return self.leases.get(worker.lease_id)

    def check_invariants(self) -> None:
        """Every lease is known to its demand, its worker and the ledger, and to no other."""
        for lease in self.leases.values():
            assert lease.demand.held.get(lease.lease_id) is lease
            assert self._demands[lease.demand.owner][lease.demand.class_id] is lease.demand
            assert lease.worker.lease_id == lease.lease_id
            assert lease.worker.allocation is lease.allocation
            assert lease.allocation in lease.allocation.ledger.held
            assert lease.worker.state in ("leased", "stopping")
        for owner in self._demands:
            weight = sum(lease.weight for lease in self.leases.values() if lease.demand.owner == owner)
            assert self._shares.get(owner, 0) == weight
        held = sum(len(demand.held) for classes in self._demands.values() for demand in classes.values())
        assert held == len(self.leases)
        unmet = {id(demand) for demand in self.waiting()}
        for classes in self._demands.values():
            for demand in classes.values():
                assert (demand.unmet > 0) == (id(demand) in unmet), f"class {demand.class_id}: unmet {demand.unmet}"
