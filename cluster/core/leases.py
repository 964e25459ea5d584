"""An owner's leases: which workers it holds for which class of tasks, and how many it asks for. Pure: no IO, no clock.

Demand is told to the raylet as a number of leases, rounded up to powers of two so that a burst costs few messages. What
an owner believes it asked for (`asked`) is what it told, so no lease is lent and returned for ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from ..protocol.common import Address
from ..protocol.core_messages import StealTasks
from ..protocol.raylet_messages import (
    LeaseGranted,
    LeaseReclaim,
    LeaseRefused,
    LeaseSpec,
    LeaseSpill,
    ReturnLeases,
    SetDemand,
)
from .commands import Connect, Send
from .completion import Completion
from .records import LeasedWorker, Record, SchedulingClass

__all__ = ["LINGER", "TARGET", "USEFUL", "Leases"]

TARGET: Final = 0.010  # seconds of estimated work at a worker: several round trips, so that it never runs dry
MAX_WANT: Final = 4_096  # leases asked for at once; more nodes than that are added over time
USEFUL: Final = 0.001  # a further worker is worth a lease for this much estimated work
LINGER: Final = 0.25  # an idle lease is kept this long: the next burst or call needs no raylet

LeaseKey = tuple[Any, ...]


class Leases:
    """Scheduling classes of one owner, with their workers."""

    def __init__(self, completion: Completion, out: list[Any], raylet: bytes, address: Address) -> None:
        self.completion = completion
        self.out = out
        self.raylet = raylet
        self.address = address
        self.classes: dict[LeaseKey, SchedulingClass] = {}
        self.by_id: dict[int, SchedulingClass] = {}
        self.workers: dict[bytes, LeasedWorker] = {}  # by worker id
        self.leases: dict[int, LeasedWorker] = {}
        self.dead_raylets: set[bytes] = set()
        self.dirty: list[SchedulingClass] = []
        self.refuse_error: Callable[[Record, LeaseRefused], bytes] = lambda record, message: b""
        self.warn: Callable[[str], None] = lambda text: None
        self.next_due: float | None = None  # when `tick` has something to do: an idle lease is to be returned

    def scheduling_class(self, spec: LeaseSpec) -> SchedulingClass:
        """The class of tasks that need such a lease."""
        key = lease_key(spec)
        cls = self.classes.get(key)
        if cls is None:
            cls = SchedulingClass(len(self.classes) + 1, spec, deque(), {}, {})
            self.classes[key] = cls
            self.by_id[cls.class_id] = cls
        return cls

    def _touch(self, cls: SchedulingClass) -> None:
        if not cls.dirty:
            cls.dirty = True
            self.dirty.append(cls)

    # -- leases -----------------------------------------------------------------------------------------------------

    def lease_granted(self, raylet: bytes, message: LeaseGranted, now: float) -> None:
        """A raylet lends us a worker."""
        cls = self.by_id.get(message.class_id)
        if raylet in self.dead_raylets:  # it came late, and nobody will tell of the worker's end
            if cls is not None:
                self._touch(cls)
            return
        if cls is None or (not cls.queue and not self._is_working(cls)):
            if cls is not None:  # else the raylet would lend it again, and again
                cls.asked[raylet] = self._held(cls, raylet)
                self.out.append(Send(raylet, SetDemand(cls.class_id, cls.asked[raylet])))
            self.out.append(Send(raylet, ReturnLeases([message.lease_id])))
            return
        worker = LeasedWorker(
            message.worker.worker_id, message.worker, message.lease_id, cls, message.accelerators, {}, set(), set()
        )
        worker.pid, worker.raylet, worker.idle_since = message.pid, raylet, now
        cls.workers[message.lease_id] = worker
        cls.refused = ""
        self.workers[worker.worker_id] = worker
        self.leases[worker.lease_id] = worker
        self.out.append(Connect(message.worker))
        self._touch(cls)

    def lease_spill(self, raylet: bytes, message: LeaseSpill) -> None:
        """Another node has room: ask there rather than at ``raylet``."""
        cls = self.by_id.get(message.class_id)
        if cls is None:
            return
        cls.asked[raylet] = max(0, cls.asked.get(raylet, 0) - message.count)
        there = message.raylet.worker_id
        if there in self.dead_raylets:  # we heard of its death sooner than who sends us there: ask anew
            self._touch(cls)
            return
        fresh = there not in cls.asked
        cls.asked[there] = cls.asked.get(there, 0) + message.count
        self.out.append(Connect(message.raylet))
        spec = cls.spec if fresh else None
        self.out.append(Send(there, SetDemand(cls.class_id, cls.asked[there], spec, message.hops, 0, *_first(cls))))

    def lease_refused(self, raylet: bytes, message: LeaseRefused) -> None:
        """No node can meet this: warn once, or fail the tasks where it can never be."""
        cls = self.by_id.get(message.class_id)
        if cls is None:
            return
        if message.fatal:
            cls.asked[raylet] = self._held(cls, raylet)  # our demand there is over: later tasks ask anew
            queue, cls.queue = cls.queue, deque()
            for record in queue:
                self.completion.fail(record, self.refuse_error(record, message))
        elif cls.refused != message.text:
            name = f"Task `{cls.queue[0].plan.name}` cannot run. " if cls.queue else ""
            self.warn(name + message.text)
        cls.refused = message.text

    def lease_reclaim(self, message: LeaseReclaim) -> None:
        """Others wait: this lease goes back when what has started is done."""
        worker = self.leases.get(message.lease_id)
        if worker is None:
            return
        worker.reclaim = True
        if len(worker.inflight) > 1 and not worker.stealing:
            worker.stealing = True
            self.out.append(Send(worker.worker_id, StealTasks(len(worker.inflight))))
        self._touch(worker.scheduling)

    def _return(self, workers: list[LeasedWorker]) -> None:
        by_raylet: dict[bytes, list[int]] = {}
        for worker in workers:
            cls = worker.scheduling
            del cls.workers[worker.lease_id]
            self.leases.pop(worker.lease_id, None)
            if self.workers.get(worker.worker_id) is worker:
                del self.workers[worker.worker_id]
            by_raylet.setdefault(worker.raylet, []).append(worker.lease_id)
            asked = cls.asked.get(worker.raylet, 0)
            held = self._held(cls, worker.raylet)
            if not cls.queue and asked > held:
                cls.asked[worker.raylet] = held
                self.out.append(Send(worker.raylet, SetDemand(cls.class_id, held)))
            else:
                self._touch(cls)
        for raylet, lease_ids in by_raylet.items():
            self.out.append(Send(raylet, ReturnLeases(lease_ids)))

    def _give_up(self, cls: SchedulingClass) -> None:
        """What some of its workers do was cancelled, and nothing waits: their leases go back as soon as that ends."""
        for worker in cls.workers.values():
            worker.reclaim = worker.reclaim or all(record.cancelled for record in worker.inflight.values())
        self._touch(cls)

    def tick(self, now: float) -> None:
        """Return leases that were idle for long."""
        if self.next_due is None or now < self.next_due:
            return
        self.next_due = None
        for cls in self.by_id.values():
            idle = [w for w in cls.workers.values() if not w.inflight]
            due = [w for w in idle if now - w.idle_since >= LINGER and not cls.queue]
            if due:
                self._return(due)
            rest = [w.idle_since + LINGER for w in idle if w.lease_id in cls.workers]
            if rest and (self.next_due is None or min(rest) < self.next_due):
                self.next_due = min(rest)

    # -- demand -----------------------------------------------------------------------------------------------------

    @staticmethod
    def _is_working(of: SchedulingClass) -> bool:
        """Whether its workers have anything that is still wanted."""
        return any(not record.cancelled for w in of.workers.values() for record in w.inflight.values())

    @staticmethod
    def _held(of: SchedulingClass, raylet: bytes) -> int:
        return sum(1 for w in of.workers.values() if w.raylet == raylet)

    def _tell_demand(self, cls: SchedulingClass) -> None:
        workers, queue = cls.workers, cls.queue
        held = len(workers)
        asked = sum(cls.asked.values()) if cls.asked else 0
        waiting = len(queue)
        outstanding = waiting + sum([len(w.inflight) for w in workers.values()])
        if waiting or asked <= held:
            if asked >= MAX_WANT or asked >= outstanding:
                return
            if not waiting and sum([w.queued_time for w in workers.values()]) < held * USEFUL:
                return
        want = min(self._worth(cls), MAX_WANT)
        if want > asked:
            here = cls.asked.get(self.raylet)
            rounded = 1 << (want - 1).bit_length()
            cls.asked[self.raylet] = (here or 0) + rounded - asked
            spec = cls.spec if here is None else None
            name, cell = _first(cls)
            self.out.append(
                Send(self.raylet, SetDemand(cls.class_id, cls.asked[self.raylet], spec, 0, waiting, name, cell))
            )
        elif not waiting and want <= held < asked:
            for raylet, there in list(cls.asked.items()):
                mine = self._held(cls, raylet)
                if there > mine:
                    cls.asked[raylet] = mine
                    self.out.append(Send(raylet, SetDemand(cls.class_id, mine)))

    def _worth(self, cls: SchedulingClass) -> int:
        """How many workers the outstanding work would keep busy."""
        count, seconds = 0, 0.0
        busy = 0
        for worker in cls.workers.values():
            count += len(worker.inflight)
            seconds += worker.queued_time
            busy += worker.blocked
        for record in cls.queue:
            count += 1
            seconds += record.plan.estimate if record.plan.estimate >= 0 else TARGET
            if count >= MAX_WANT:
                break
        return min(count, max(1, int(seconds / USEFUL))) + busy if count else 0


def _first(cls: SchedulingClass) -> tuple[str, int]:
    """Name and cell of the task that waits first, for people; said when demand grows, so a task costs nothing."""
    if not cls.queue:
        return "", 0
    plan = cls.queue[0].plan
    cell = plan.template.cell
    return plan.name or plan.template.name, cell.execution if cell is not None else 0


def lease_key(spec: LeaseSpec) -> LeaseKey:
    """What makes two lease specifications one class."""
    return (
        tuple(sorted(spec.resources.items())),
        spec.strategy,
        spec.runtime_env,
        spec.job_id,
        tuple(sorted(spec.labels.items())),
    )
