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
from typing import Any, Final

from ..protocol.common import Address, CancelCell, Cell, Death
from ..protocol.core_messages import (
    R_CANCELLED,
    R_ERROR,
    R_EXITING,
    R_INLINE,
    R_MANY,
    R_RETURNED,
    R_STREAM_END,
    CancelTasks,
    Result,
    TaskResults,
)
from ..protocol.raylet_messages import (
    KillWorker,
    WorkerDied,
)
from .commands import Send
from .completion import Completion
from .leases import TARGET
from .pushing import Pushing
from .records import LeasedWorker, Plan, Record, SchedulingClass

__all__ = ["GRACE", "Submission"]

GRACE: Final = 1.0
"""Seconds that a task of an interrupted cell has to end; then its worker is killed. Enough for cleaning up, and little
enough for a user who waits for the machine to be free."""


class Submission(Pushing):
    """Tasks of one owner. ``errors`` makes pickled errors for what ends without a worker's word."""

    def __init__(self, completion: Completion, out: list[Any], raylet: bytes, address: Address) -> None:
        super().__init__(completion, out, raylet, address)
        self.death_error: Callable[[Record, Death, LeasedWorker], bytes] = lambda record, death, worker: b""
        self.cancel_error: Callable[[Record], bytes] = lambda record: b""
        self.should_retry: Callable[[Record, bytes], bool] = lambda record, data: False
        self.retried: Callable[[Record, str], None] = lambda record, why: None
        self.forced: list[Record] = []  # cancelled by force while at a worker
        self.graces: deque[tuple[float, Record]] = deque()  # cancelled with their cell: until when they may go on

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
            assert record.plan.scheduling is not None
            record.plan.scheduling.has_arguments = True
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
                completion.unwanted(result.returns or (), worker.worker_id)
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
                self.completion.fail(record, self.death_error(record, message.death, worker))
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
        self.dead_raylets.add(raylet)
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
        why = f"{record.plan.name} was cancelled by force, or went on for {GRACE:g} s after its cell was interrupted"
        self.out.append(Send(worker.raylet, KillWorker(worker.worker_id, why, record.task.counter)))

    def insist(self, now: float) -> None:
        """Ask again for what was cancelled by force: a task may have begun just after its worker was spared."""
        if self.forced:
            self.forced = [record for record in self.forced if type(record.worker) is LeasedWorker]
            for record in self.forced:
                self._end_worker(record)

    # -- cells that are over ----------------------------------------------------------------------------------------

    def end_cell(self, cell: Cell, records: list[Record], now: float) -> None:
        """A cell is over. ``records``: all its tasks here that have not ended, marked as cancelled already."""
        for cls in self.by_id.values():
            # At once: taking them out of a long queue one by one would take time in the square of its length.
            kept = deque(record for record in cls.queue if not record.cancelled)
            if len(kept) < len(cls.queue):
                cls.queue = kept
                self._touch(cls)  # it wants fewer leases now
        told: dict[bytes, SchedulingClass] = {}
        for record in records:
            worker: LeasedWorker | None = record.worker
            if worker is None:
                self.completion.fail(record, self.cancel_error(record))
                continue
            if worker.worker_id not in told:
                told[worker.worker_id] = worker.scheduling
                self.out.append(Send(worker.worker_id, CancelCell(cell)))
            self.graces.append((now + GRACE, record))
        for cls in {cls.class_id: cls for cls in told.values()}.values():
            if not cls.queue:
                self._give_up(cls)
        self._plan_grace()

    def refuse(self, record: Record) -> None:
        """A task was submitted in a cell that is over."""
        if record.task.refs is not None:
            self.completion.hold_contained(record)
        record.cancelled = True
        self.completion.fail(record, self.cancel_error(record))

    def tick(self, now: float) -> None:
        """Return leases that were idle for long, and end tasks that go on although their cell is over."""
        super().tick(now)
        while self.graces and self.graces[0][0] <= now:
            record = self.graces.popleft()[1]
            if type(record.worker) is LeasedWorker:
                self.forced.append(record)
                self._end_worker(record)
        self._plan_grace()

    def _plan_grace(self) -> None:
        if self.graces and (self.next_due is None or self.graces[0][0] < self.next_due):
            self.next_due = self.graces[0][0]

    # -- pushing ----------------------------------------------------------------------------------------------------

    def pump(self, now: float) -> None:
        """Give workers what they have room for; say what is lacking. Called once after a batch of events."""
        completion = self.completion
        if completion.ready_records:
            calls: list[Record] = []  # of actors: not ours
            while ready := completion.ready_records:  # a task that fails for its argument makes others ready
                completion.ready_records = []
                for record in ready:
                    if record.cancelled:
                        continue  # that was its end
                    if record.create is not None:
                        record.create()
                    elif record.plan.scheduling is not None:
                        self.enqueue(record)
                    else:
                        calls.append(record)
            completion.ready_records = calls
        if self.dirty:
            classes, self.dirty = self.dirty, []
            for cls in classes:
                cls.dirty = False
                self._pump(cls, now)
