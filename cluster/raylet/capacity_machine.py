"""How many CPUs the node has, as a driver says, or as the work asks for within two limits (`adaptive_machine`).

Totals change in the ledger and in what the GCS is told; what is held stays held, and leases beyond the number are asked
back.
"""

from __future__ import annotations

from collections.abc import Callable

from ..protocol.common import RESOURCE_UNIT, Resources, SetCapacity
from .adaptive_machine import Adaptive, explain_setting
from .events import Context
from .leases_machine import Leases
from .ledger import Ledger
from .workers_machine import WorkerPool

__all__ = ["Capacity"]


class Capacity:
    """The node's CPUs. ``waiting()`` tells what waits, and how many of each."""

    def __init__(self, context: Context, ledger: Ledger, pool: WorkerPool, leases: Leases) -> None:
        self._context = context
        self._ledger = ledger
        self._pool = pool
        self._leases = leases
        self.waiting: Callable[[], list[tuple[Resources, int]]] = list
        self.is_resized = False
        self._adaptive: Adaptive | None = None

    def set(self, peer: bytes, message: SetCapacity) -> None:
        """A driver says how many there are, or between what they adapt."""
        if peer in self._pool.workers:
            self._context.log("error", f"{peer.hex()} may not change what this node has: it is a worker of it")
            return
        if message.cpus <= 0:
            self._context.log("error", f"a node can not have {message.cpus} units of CPU")
            return
        self._adaptive = Adaptive(message.cpus, message.most, message.idle) if message.most > message.cpus else None
        self._context.event(explain_setting(self._ledger.total.get("CPU", 0), message))
        self._ledger.most = {"CPU": message.most} if self._adaptive is not None else {}
        if self._adaptive is None:
            self._resize(message.cpus)
        self.is_resized = self._context.report_due = True

    def _resize(self, cpus: int) -> None:
        self.is_resized = True
        self._ledger.resize("CPU", cpus)
        self._pool.resize(-(-cpus // RESOURCE_UNIT))
        self._leases.shrink()
        self._context.report_due = True

    def tick(self) -> None:
        """Have as many CPUs as what runs and waits asks for, within the limits."""
        policy = self._adaptive
        if policy is None:
            return
        total = self._ledger.total.get("CPU", 0)
        held = total - self._ledger.available.get("CPU", 0)
        wanted = sum(
            resources.get("CPU", 0) * count for resources, count in self.waiting() if self._ledger.could_fit(resources)
        )
        cpus = policy.decide(total, held, wanted, self._context.now)
        if cpus != total:
            self._context.event(policy.explain(total, cpus, held, wanted))
            self._resize(cpus)

    def next_deadline(self) -> float | None:
        """When `tick` may decide otherwise, though nothing has happened."""
        return self._adaptive.next_deadline() if self._adaptive is not None else None
