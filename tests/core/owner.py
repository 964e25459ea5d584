"""An owner on paper, with what tests of its machines need to say in one line."""

from __future__ import annotations

from typing import Any

from himalia.cluster.core.records import Plan, Record
from himalia.cluster.core.refs import INLINE, PENDING, ObjectRef
from himalia.cluster.protocol.common import Address, Death, DeathKind
from himalia.cluster.protocol.core_messages import ARG_INLINE, R_INLINE, Dep, PushTasks, Result, Task, Template
from himalia.cluster.protocol.raylet_messages import LeaseSpec, SetDemand, WorkerDied
from tests.simulation.owner_on_paper import OTHER, OWNER, RAYLET, Owner, Submitted

__all__ = ["BORROWER", "OTHER", "OWNER", "RAYLET", "TestedOwner", "address", "done", "ready"]

BORROWER = b"\x01borrow!"


def address(worker_id: bytes) -> Address:
    return Address(worker_id, b"node", "ipc:///" + worker_id.hex())


def done(counter: int, data: bytes = b"value") -> Result:
    return Result(counter, R_INLINE, data)


def ready(counter: int, data: bytes = b"value") -> ObjectRef:
    """A reference to a value of the owner's that is there."""
    return ObjectRef(OWNER, counter, 0, INLINE, data)


class TestedOwner(Owner):
    """Tasks of several functions, in one class or in several."""

    __test__ = False

    def __init__(self, seconds: float = 0.0001) -> None:
        super().__init__()
        self.plan.estimate = seconds
        self.submission.death_error = lambda record, death, worker: b"died: " + death.detail.encode()

    def plan_of(self, name: str, seconds: float = 0.0001, cpus: int = 1) -> Plan:
        """Another function; ``cpus`` other than 1 make it another scheduling class."""
        plan = Plan(Template(len(name) + 10, name, name.encode()), name, None, estimate=seconds, function=b"payload")
        plan.scheduling = self.submission.scheduling_class(LeaseSpec({"CPU": cpus * 10_000}, b"job"))
        return plan

    def queue(self, *deps: ObjectRef, plan: Plan | None = None, retries: int = 0) -> Submitted:
        """Submit, without pumping."""
        self._last += 1
        plan = plan or self.plan
        ref = ObjectRef(OWNER, self._last)
        task = Task(
            self._last, plan.template.index, b"", [Dep(i, d.binary(), ARG_INLINE) for i, d in enumerate(deps)] or None
        )
        record = Record(task, plan, ref, None, retries, list(deps) or None)
        ref._data = record
        self.submission.submitted(record)
        return Submitted(record, ref)

    def pump(self) -> None:
        self.submission.pump(self.now)

    def wants(self, raylet: bytes = RAYLET) -> list[int]:
        """How many leases a raylet was asked for, each time since the last look."""
        return [demand.want for demand in self.told(raylet, SetDemand)]

    def pushed(self, worker: bytes) -> list[list[int]]:
        """Counters of the tasks in each message to a worker since the last look."""
        return [[task.counter for task in message.tasks] for message in self.told(worker, PushTasks)]

    def dies(self, worker: bytes, last_started: int = -1, detail: str = "killed") -> None:
        lease = self.submission.workers[worker].lease_id
        message = WorkerDied(worker, Death(DeathKind.CRASHED, detail), lease, last_started)
        self.submission.worker_died(message, self.now)
        self.pump()

    def depth(self, worker: bytes) -> int:
        return len(self.submission.workers[worker].inflight)

    def check(self, *submitted: Submitted) -> None:
        """Each task that has not ended is in exactly one place."""
        for record, made in submitted:
            places: list[Any] = [cls for cls in self.submission.by_id.values() if record in cls.queue]
            places += [w for w in self.submission.workers.values() if record in w.inflight.values()]
            waits = record.waiting > 0 and record.worker is None
            assert len(places) + waits == (made._state == PENDING), f"{record.task.counter} is in {places}"
