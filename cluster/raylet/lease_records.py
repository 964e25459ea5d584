"""What a raylet keeps about demand and about leases. Data, and the table of a lease's life."""

from __future__ import annotations

from typing import Final

from ..protocol.constraints import membership
from ..protocol.raylet_messages import LeaseSpec
from ..protocol.transitions import History, IllegalTransition, Step, new_history
from .ledger import Allocation
from .workers_machine import PoolKey, Worker

__all__ = ["LEASE_EDGES", "Demand", "Lease"]

LEASE_EDGES: Final[dict[tuple[str, str], str]] = {
    ("granted", "reclaim"): "reclaimed",
    ("granted", "return"): "ended",
    ("granted", "worker ended"): "ended",
    ("granted", "owner ended"): "ended",
    ("reclaimed", "return"): "ended",
    ("reclaimed", "worker ended"): "ended",
    ("reclaimed", "owner ended"): "ended",
}


class Lease:
    """A worker in the use of an owner. ``reclaimed``: its owner was asked to give it up.

    ``weight``: the largest share of any of the node's resources that it holds, in millionths.
    """

    __slots__ = ("allocation", "demand", "granted_at", "history", "lease_id", "state", "weight", "worker")

    def __init__(self, lease_id: int, demand: Demand, worker: Worker, allocation: Allocation, now: float) -> None:
        self.lease_id = lease_id
        self.demand = demand
        self.worker = worker
        self.allocation = allocation
        self.granted_at = now
        self.state = "granted"
        self.weight = 0
        self.history: History = new_history()

    def move(self, fact: str, now: float) -> None:
        after = LEASE_EDGES.get((self.state, fact))
        if after is None:
            raise IllegalTransition(f"lease {self.lease_id}", self.state, fact, tuple(self.history))
        self.history.append(Step(now, fact, self.state, after))
        self.state = after


class Demand:
    """What one owner wants of one class. ``waiting_since``: since when it has less than it wants; None when it has all.

    ``refused``: what the owner was told last, so that it is told once. ``turn``: when it was served last. ``need``:
    equal for demands that the same leases could meet. ``name``, ``cell``: of the task that waited first, when
    it was said. ``member``: its placement group, and the bundle of it.
    """

    __slots__ = (
        "cell",
        "class_id",
        "held",
        "hops",
        "member",
        "name",
        "need",
        "owner",
        "queued",
        "refused",
        "spec",
        "turn",
        "waiting_since",
        "want",
    )

    def __init__(self, owner: bytes, class_id: int, spec: LeaseSpec) -> None:
        self.owner = owner
        self.class_id = class_id
        self.spec = spec
        self.member = membership(spec.strategy)
        self.need = (
            frozenset(spec.resources.items()),
            spec.strategy,
            frozenset(spec.labels.items()),
            spec.job_id,
            spec.runtime_env,
        )
        self.want = 0
        self.held: dict[int, Lease] = {}
        self.hops = 0
        self.queued = 0
        self.name = ""
        self.cell = 0
        self.refused = ""
        self.turn = 0
        self.waiting_since: float | None = None

    @property
    def unmet(self) -> int:
        return self.want - len(self.held)

    @property
    def key(self) -> PoolKey:
        return self.spec.job_id, self.spec.runtime_env
