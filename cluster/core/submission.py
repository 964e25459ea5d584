"""An owner's tasks on leased workers: queues, leases, pushing, stealing back, retries. Pure: no IO, no clock.

Strategy
- A scheduling class (resources, strategy, runtime env) has one queue and the workers leased for it. A worker is given
  as much work as is estimated to last `TARGET` seconds, so short tasks travel by the hundred and long ones one by one.
  The estimate is learnt for each function from what workers report.
- Nothing waits behind a long task: when a worker is idle and the queue empty, unstarted tasks are stolen from the
  fullest.
- A task whose only missing arguments are results of tasks in flight at one worker is pushed right behind them: a chain
  runs in the worker without coming back for each link. If that cannot be after all, the worker returns it unstarted.
- Demand is told to the raylet as a number of leases, rounded up to powers of two so that a burst costs few messages.

Every task is in exactly one place: waiting for arguments (`waiting` > 0), in its class's queue, or in `inflight` of one
worker. It leaves when it ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any, Final

from ..protocol.common import Address, Death
from ..protocol.core_messages import (
    ARG_ERROR,
    ARG_LOCAL,
    R_CANCELLED,
    R_ERROR,
    R_EXITING,
    R_INLINE,
    R_MANY,
    R_RETURNED,
    R_STREAM_END,
    CancelTasks,
    PushTasks,
    Result,
    StealTasks,
    Task,
    TaskResults,
    Template,
)
from ..protocol.raylet_messages import (
    KillWorker,
    LeaseGranted,
    LeaseReclaim,
    LeaseRefused,
    LeaseSpec,
    LeaseSpill,
    ReturnLeases,
    SetDemand,
    WorkerDied,
)
from .commands import Connect, Send
from .completion import Completion, resolve
from .records import LeasedWorker, Plan, Record, SchedulingClass

__all__ = ["Submission"]

TARGET: Final = 0.010  # seconds of estimated work at a worker: several round trips, so that it never runs dry
MAX_DEPTH: Final = 1_000  # tasks in flight at a worker: enough to hide a round trip at a million tasks a second
MAX_WANT: Final = 4_096  # leases asked for at once; more nodes than that are added over time
USEFUL: Final = 0.001  # a further worker is worth a lease for this much estimated work
LINGER: Final = 0.25  # an idle lease is kept this long: the next burst or call needs no raylet


class Submission:
    """Tasks of one owner. ``errors`` makes pickled errors for what ends without a worker's word."""

    def __init__(self, completion: Completion, out: list[Any], raylet: bytes, address: Address) -> None:
        self.completion = completion
        self.out = out
        self.raylet = raylet
        self.address = address
        self.classes: dict[LeaseKey, SchedulingClass] = {}
        self.by_id: dict[int, SchedulingClass] = {}
        self.workers: dict[bytes, LeasedWorker] = {}  # by worker id
        self.leases: dict[int, LeasedWorker] = {}
        self.dirty: list[SchedulingClass] = []
        self.death_error: Callable[[Record, Death], bytes] = lambda record, death: b""
        self.cancel_error: Callable[[Record], bytes] = lambda record: b""
        self.refuse_error: Callable[[Record, str], bytes] = lambda record, text: b""
        self.should_retry: Callable[[Record, bytes], bool] = lambda record, data: False
        self.warn: Callable[[str], None] = lambda text: None
        self.retried: Callable[[Record, str], None] = lambda record, why: None
        self.forced: list[Record] = []  # cancelled by force while at a worker
        self.next_idle: float | None = None  # when the first idle lease is due to be returned

    # -- classes ----------------------------------------------------------------------------------------------------

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

    # -- events -----------------------------------------------------------------------------------------------------

    def submitted(self, record: Record) -> None:
        """The user called a function."""
        if record.task.refs is not None:
            self.completion.hold_contained(record)
        if record.task.deps is not None and not self.completion.await_dependencies(record):
            self._follow(record)
            return
        self.enqueue(record)

    def enqueue(self, record: Record) -> None:
        """All arguments are here: the task may run."""
        if record.task.deps is not None:
            error = self.completion.fill(record)
            if error is not None:
                self.completion.fail(record, error)
                return
        cls = record.plan.scheduling
        assert cls is not None
        cls.queue.append(record)
        if not cls.dirty:
            cls.dirty = True
            self.dirty.append(cls)

    def results(self, worker: LeasedWorker, message: TaskResults, now: float) -> None:
        """A worker reports ends."""
        inflight = worker.inflight
        completion = self.completion
        results = message.results
        done = 0
        record: Record | None = None
        for result in results:
            record = inflight.pop(result.counter, None)
            if record is None:
                continue
            kind = result.kind
            if kind == R_INLINE:
                record.worker = None
                done += 1
                completion.succeed(record, result, worker.worker_id)
            elif kind == R_RETURNED or kind == R_EXITING:
                record.worker = None
                if kind == R_EXITING:
                    worker.reclaim = True
                # At once: the next result may be what it waits for, and must find it waiting.
                self._take_back(record)
            else:
                record.worker = None
                done += 1
                self._ended(record, result, worker)
        if done and message.busy >= 0 and record is not None:
            self._learn(record.plan, message.busy / done)
        if done:
            worker.blocked = False
        if message.blocked:
            worker.blocked = True
        if message.stolen:
            worker.stealing = False
        if not inflight:
            worker.queued_time = 0.0
            worker.idle_since = now
        else:
            estimate = record.plan.estimate if record is not None and record.plan.estimate >= 0 else TARGET
            worker.queued_time = min(max(0.0, worker.queued_time - len(results) * estimate), len(inflight) * TARGET)
        self._touch(worker.scheduling)

    @staticmethod
    def _learn(plan: Plan, seconds: float) -> None:
        plan.estimate = seconds if plan.estimate < 0 else 0.5 * (plan.estimate + seconds)

    def _ended(self, record: Record, result: Result, worker: LeasedWorker) -> None:
        completion = self.completion
        if result.kind == R_MANY:
            completion.succeed(record, result, worker.worker_id)
        elif result.kind == R_STREAM_END:
            if result.borrows:
                for object_id in result.borrows:
                    completion.references.add_borrower(object_id, worker.worker_id)
            completion.end_stream(record)
        elif result.kind == R_CANCELLED:
            completion.fail(record, self.cancel_error(record))
        elif result.kind == R_ERROR:
            if record.retries and not record.cancelled and self.should_retry(record, result.data):
                self._retry(record, "it raised an exception that its options say to retry")
            else:
                if result.borrows:
                    for object_id in result.borrows:
                        completion.references.add_borrower(object_id, worker.worker_id)
                completion.fail(record, result.data)

    def _retry(self, record: Record, why: str) -> None:
        if record.retries > 0:
            record.retries -= 1
        record.task.attempt += 1
        self.retried(record, why)
        self._take_back(record)

    def _take_back(self, record: Record) -> None:
        """A task that did not run comes back: to the front of the queue, or to wait for its arguments."""
        if record.cancelled:
            self.completion.fail(record, self.cancel_error(record))
            return
        record.local, record.at = 0, None
        if record.task.deps is not None:
            if not self.completion.await_dependencies(record):
                return
            error = self.completion.fill(record)
            if error is not None:
                self.completion.fail(record, error)
                return
        cls = record.plan.scheduling
        assert cls is not None
        cls.queue.appendleft(record)
        self._touch(cls)

    # -- leases -----------------------------------------------------------------------------------------------------

    def lease_granted(self, raylet: bytes, message: LeaseGranted, now: float) -> None:
        """A raylet lends us a worker."""
        cls = self.by_id.get(message.class_id)
        if cls is None or (not cls.queue and not self._outstanding(cls)):
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
        fresh = there not in cls.asked
        cls.asked[there] = cls.asked.get(there, 0) + message.count
        self.out.append(Connect(message.raylet))
        spec = cls.spec if fresh else None
        self.out.append(Send(there, SetDemand(cls.class_id, cls.asked[there], spec, message.hops)))

    def lease_refused(self, raylet: bytes, message: LeaseRefused) -> None:
        """No node can meet this: warn once, or fail the tasks where it can never be."""
        cls = self.by_id.get(message.class_id)
        if cls is None:
            return
        if message.fatal:
            cls.asked[raylet] = self._held(cls, raylet)  # our demand there is over: later tasks ask anew
            queue, cls.queue = cls.queue, deque()
            for record in queue:
                self.completion.fail(record, self.refuse_error(record, message.text))
        elif cls.refused != message.text:
            self.warn(message.text)
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

    def worker_died(self, message: WorkerDied, now: float) -> LeasedWorker | None:
        """A leased worker is no more: what it may have started counts as tried, the rest only goes back."""
        worker = self.workers.pop(message.worker_id, None)
        if worker is None:
            return None
        cls = worker.scheduling
        del cls.workers[worker.lease_id]
        self.leases.pop(worker.lease_id, None)
        records, worker.inflight = list(worker.inflight.values()), {}
        started = self._started(records, message.last_started)
        for position in range(len(records) - 1, -1, -1):
            record = records[position]
            record.worker = None
            if position >= started:
                self._take_back(record)
            elif record.cancelled:
                self.completion.fail(record, self.cancel_error(record))
            elif record.retries:
                self._retry(record, message.death.detail)
            else:
                self.completion.fail(record, self.death_error(record, message.death))
        self._touch(cls)
        return worker

    @staticmethod
    def _started(records: list[Record], last_started: int) -> int:
        """How many of the tasks in flight, in order, may have begun. ``last_started`` -1: unknown, so all."""
        if last_started == 0:
            return 0
        for position, record in enumerate(records):
            if record.task.counter == last_started:
                return position + 1
        return len(records) if last_started < 0 else 0

    def raylet_died(self, raylet: bytes, death: Death, now: float) -> None:
        """A node is gone, with all its workers."""
        for worker in [w for w in self.workers.values() if w.raylet == raylet]:
            self.worker_died(WorkerDied(worker.worker_id, death, worker.lease_id), now)
        for cls in self.by_id.values():
            cls.asked.pop(raylet, None)
            self._touch(cls)

    # -- cancel -----------------------------------------------------------------------------------------------------

    def cancel(self, record: Record, force: bool, recursive: bool) -> None:
        """The user no longer wants this task."""
        record.cancelled = True
        worker = record.worker
        if worker is None:
            cls = record.plan.scheduling
            if cls is not None and record in cls.queue:
                cls.queue.remove(record)
                self._touch(cls)  # it wants fewer leases now
            self.completion.fail(record, self.cancel_error(record))
        else:
            self.out.append(Send(worker.worker_id, CancelTasks([record.task.counter], recursive)))
            if force:
                self.forced.append(record)
                self._end_worker(record)

    def _end_worker(self, record: Record) -> None:
        """Have the worker that runs a task ended. One that has yet to begin it is spared: it runs another one's."""
        worker: LeasedWorker = record.worker
        why = f"force cancel of {record.plan.name}"
        self.out.append(Send(worker.raylet, KillWorker(worker.worker_id, why, record.task.counter)))

    def insist(self, now: float) -> None:
        """Ask again for what was cancelled by force: a task may have begun just after its worker was spared."""
        if self.forced:
            self.forced = [record for record in self.forced if type(record.worker) is LeasedWorker]
            for record in self.forced:
                self._end_worker(record)

    # -- pushing ----------------------------------------------------------------------------------------------------

    def pump(self, now: float) -> None:
        """Give workers what they have room for; say what is lacking. Called once after a batch of events."""
        ready = self.completion.ready_records
        if ready:
            self.completion.ready_records = []
            for record in ready:
                if record.cancelled:
                    continue  # that was its end
                if record.create is not None:
                    record.create()
                elif record.plan.scheduling is not None:
                    self.enqueue(record)
                else:
                    self.completion.ready_records.append(record)  # an actor call: not ours
        if self.dirty:
            classes, self.dirty = self.dirty, []
            for cls in classes:
                cls.dirty = False
                self._pump(cls, now)

    def _pump(self, cls: SchedulingClass, now: float) -> None:
        queue = cls.queue
        if queue and cls.workers:
            usable = [w for w in cls.workers.values() if not w.reclaim and not w.blocked]
            usable.sort(key=_load)
            progress = True
            while queue and progress:
                progress = False
                share = -(-len(queue) // len(usable)) if usable else 0
                for worker in usable:
                    if queue and (not worker.inflight or self._room(worker)):
                        self._push(cls, worker, share)
                        progress = True
        if cls.workers:
            self._settle(cls, now)
        self._tell_demand(cls)

    @staticmethod
    def _room(worker: LeasedWorker) -> bool:
        return worker.queued_time < TARGET and len(worker.inflight) < MAX_DEPTH

    def _push(self, cls: SchedulingClass, worker: LeasedWorker, share: int) -> None:
        queue, inflight = cls.queue, worker.inflight
        tasks: list[Task] = []
        templates: list[Template] = []
        queued_time = worker.queued_time
        known = worker.templates
        room = MAX_DEPTH - len(inflight)
        while queue and share > 0 and room > 0:
            record = queue.popleft()
            if record.cancelled:
                continue
            plan, task = record.plan, record.task
            inflight[task.counter] = record
            record.worker = worker
            tasks.append(task)
            if plan.template.index not in known:
                templates.append(self._introduce(worker, plan))
            queued_time += plan.estimate if plan.estimate >= 0 else TARGET
            share -= 1  # of the queue; followers are in nobody else's
            room -= 1
            ref = record.ref
            if ref is not None and ref._wait is not None and room > 0:
                pushed, spent = self._push_followers(worker, record, tasks, templates, room, TARGET - queued_time)
                room -= pushed
                queued_time += spent
            if queued_time >= TARGET:
                break
        worker.queued_time = queued_time
        if not tasks:
            return
        message = PushTasks(tasks, templates)
        if not worker.greeted:
            worker.greeted = True
            message.lease_id, message.owner = worker.lease_id, self.address
            message.accelerators = worker.accelerators
        self.out.append(Send(worker.worker_id, message))

    def _introduce(self, worker: LeasedWorker, plan: Plan) -> Template:
        """The template as this worker needs it: with the function's payload the first time."""
        template = plan.template
        worker.templates.add(template.index)
        if template.function in worker.functions:
            return template
        worker.functions.add(template.function)
        return with_payload(template, plan.function)

    def _follow(self, record: Record) -> None:
        """A new task waits for results: if these are all in flight at one worker, push it behind them at once."""
        deps, holds = record.task.deps, record.holds
        if record.plan.scheduling is None or deps is None or holds is None:
            return
        worker: LeasedWorker | None = None
        for _, ref in zip(deps, holds, strict=False):
            if ref._state:
                continue
            maker = ref._data
            at = maker.worker if type(maker) is Record and maker.ref is ref else None
            if type(at) is not LeasedWorker or (worker is not None and at is not worker):
                return
            worker = at
        if worker is None or worker.scheduling is not record.plan.scheduling or worker.reclaim or worker.blocked:
            return
        if self._room(worker):
            tasks: list[Task] = []
            templates: list[Template] = []
            if self._push_follower(worker, record, tasks, templates):
                worker.queued_time += record.plan.estimate if record.plan.estimate >= 0 else TARGET
                self._send_along(worker, tasks, templates)

    def _send_along(self, worker: LeasedWorker, tasks: list[Task], templates: list[Template]) -> None:
        """Send tasks in the message that is about to leave for this worker, if that is the last one to leave."""
        last = self.out[-1] if self.out else None
        if type(last) is Send and last.peer == worker.worker_id and type(last.message) is PushTasks:
            last.message.tasks += tasks
            last.message.templates += templates
        else:
            self.out.append(Send(worker.worker_id, PushTasks(tasks, templates)))

    def _push_followers(
        self,
        worker: LeasedWorker,
        record: Record,
        tasks: list[Task],
        templates: list[Template],
        room: int,
        time_left: float,
    ) -> tuple[int, float]:
        """Push what waits only for results in flight at this worker; returns how many, and their estimated seconds."""
        pushed, spent = 0, 0.0
        stack = [record]
        while stack and pushed < room and spent < time_left:
            ref = stack.pop().ref
            if ref is None or ref._wait is None:
                continue
            for waiter in ref._wait:
                if type(waiter) is not Record or waiter.worker is not None or waiter.cancelled:
                    continue
                if waiter.plan.scheduling is not worker.scheduling:
                    continue
                if waiter.at is not worker:
                    waiter.at, waiter.local = worker, 0
                waiter.local += 1
                if waiter.local >= waiter.waiting and self._push_follower(worker, waiter, tasks, templates):
                    pushed += 1
                    spent += waiter.plan.estimate if waiter.plan.estimate >= 0 else TARGET
                    stack.append(waiter)
        return pushed, spent

    def _push_follower(
        self, worker: LeasedWorker, record: Record, tasks: list[Task], templates: list[Template]
    ) -> bool:
        deps, holds = record.task.deps, record.holds
        assert deps is not None and holds is not None
        for ref in holds[: len(deps)]:
            if ref._state:
                continue
            maker = ref._data
            if type(maker) is not Record or maker.worker is not worker or maker.ref is not ref:
                return False  # counted twice, or gone meanwhile
        for dep, ref in zip(deps, holds, strict=False):
            if not ref._state:
                dep.kind, dep.data = ARG_LOCAL, b""
        error = self._fill_ready(record)
        if error:
            return False
        worker.inflight[record.task.counter] = record
        record.worker = worker
        tasks.append(record.task)
        if record.plan.template.index not in worker.templates:
            templates.append(self._introduce(worker, record.plan))
        return True

    def _fill_ready(self, record: Record) -> bool:
        """Put in place those arguments of a follower that are ready; True if one of them failed."""
        deps, holds = record.task.deps, record.holds
        assert deps is not None and holds is not None
        for dep, ref in zip(deps, holds, strict=False):
            if ref._state and dep.offset < 0:
                resolve(dep, ref, self.completion.pack)
                if dep.kind == ARG_ERROR:
                    return True
        return False

    def _settle(self, cls: SchedulingClass, now: float) -> None:
        """After pushing: idle workers steal, or begin to be idle; leases that others want go back."""
        idle: list[LeasedWorker] = []
        give: list[LeasedWorker] = []
        for worker in cls.workers.values():
            if not worker.inflight:
                (give if worker.reclaim else idle).append(worker)
        if give:
            self._return(give)
        if idle and not cls.queue:
            if len(idle) < len(cls.workers):
                self._steal(cls, len(idle))
            due = min(worker.idle_since for worker in idle) + LINGER
            if self.next_idle is None or due < self.next_idle:
                self.next_idle = due

    def _steal(self, cls: SchedulingClass, idle: int) -> None:
        victim = max(cls.workers.values(), key=_depth)
        depth = len(victim.inflight)
        if depth < 2 or victim.stealing or victim.blocked or victim.queued_time < USEFUL:
            return
        if not any(_can_run_elsewhere(record) for record in islice(victim.inflight.values(), 1, None)):
            return
        victim.stealing = True
        self.out.append(Send(victim.worker_id, StealTasks((depth - 1) * idle // (idle + 1) or 1)))

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

    def tick(self, now: float) -> None:
        """Return leases that were idle for long."""
        if self.next_idle is None or now < self.next_idle:
            return
        self.next_idle = None
        for cls in self.by_id.values():
            idle = [w for w in cls.workers.values() if not w.inflight]
            due = [w for w in idle if now - w.idle_since >= LINGER and not cls.queue]
            if due:
                self._return(due)
            rest = [w.idle_since + LINGER for w in idle if w.lease_id in cls.workers]
            if rest and (self.next_idle is None or min(rest) < self.next_idle):
                self.next_idle = min(rest)

    # -- demand -----------------------------------------------------------------------------------------------------

    @staticmethod
    def _outstanding(of: SchedulingClass) -> int:
        return len(of.queue) + sum(len(w.inflight) for w in of.workers.values())

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
            self.out.append(Send(self.raylet, SetDemand(cls.class_id, cls.asked[self.raylet], spec, 0, waiting)))
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


def _load(worker: LeasedWorker) -> float:
    return worker.queued_time


def _depth(worker: LeasedWorker) -> int:
    return len(worker.inflight)


def _can_run_elsewhere(record: Record) -> bool:
    """Whether a task in flight could begin at another worker now: what follows others has to wait for them anywhere."""
    deps, holds = record.task.deps, record.holds
    return deps is None or holds is None or all(ref._state for ref in islice(holds, len(deps)))


LeaseKey = tuple[Any, ...]


def lease_key(spec: LeaseSpec) -> LeaseKey:
    """What makes two lease specifications one class."""
    return (
        tuple(sorted(spec.resources.items())),
        spec.strategy,
        spec.runtime_env,
        spec.job_id,
        tuple(sorted(spec.labels.items())),
    )


def with_payload(template: Template, function: Any) -> Template:
    """A copy of a template that brings its function along."""
    return Template(
        template.index,
        template.name,
        template.function,
        function,
        template.actor_id,
        template.num_returns,
        template.cell,
        template.resources,
        template.options,
    )
