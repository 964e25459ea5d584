"""Giving tasks to the workers an owner holds: how many, behind which, and taking them back. Pure: no IO, no clock.

The strategy is told in submission.py, which decides what may run; this decides where.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from ..protocol.core_messages import ARG_ERROR, ARG_LOCAL, PushTasks, StealTasks, Task, Template
from .commands import Send
from .leases import LINGER, TARGET, USEFUL, Leases
from .records import LeasedWorker, Plan, Record, SchedulingClass

__all__ = ["Pushing"]

MAX_DEPTH: Final = 1_000  # tasks in flight at a worker: enough to hide a round trip at a million tasks a second


class Pushing(Leases):
    """Tasks on their way to workers."""

    def _pump(self, cls: SchedulingClass, now: float) -> None:
        queue = cls.queue
        if queue and cls.workers:
            usable = [w for w in cls.workers.values() if not w.reclaim and not w.blocked]
            usable.sort(key=_load)
            while queue and (usable := [w for w in usable if not w.inflight or self._room(w)]):
                # Each is to have as many as the others in all, not of what is new: else half of what was stolen for an
                # idle worker would go back to the one it was stolen from. Who has least gets some in each round.
                outstanding = len(queue) + sum([len(w.inflight) for w in usable])
                each = -(-outstanding // len(usable))
                for worker in usable:
                    share = each - len(worker.inflight)
                    if queue and share > 0:
                        self._push(cls, worker, share)
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
        has_arguments = cls.has_arguments
        room = MAX_DEPTH - len(inflight)
        while queue and share > 0 and room > 0:
            record = queue.popleft()
            if record.cancelled:
                continue
            plan, task = record.plan, record.task
            if has_arguments and task.deps is not None:
                self.completion.place(record)
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

    # -- behind tasks in flight -------------------------------------------------------------------------------------

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
        self.completion.place(record)
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
                self.completion.resolve(dep, ref)
                if dep.kind == ARG_ERROR:
                    return True
        return False

    # -- idle workers -----------------------------------------------------------------------------------------------

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
            if self.next_due is None or due < self.next_due:
                self.next_due = due

    def _steal(self, cls: SchedulingClass, idle: int) -> None:
        victim = max(cls.workers.values(), key=_depth)
        depth = len(victim.inflight)
        if depth < 2 or victim.stealing or victim.blocked or victim.queued_time < USEFUL:
            return
        if not any(_can_run_elsewhere(record) for record in islice(victim.inflight.values(), 1, None)):
            return
        victim.stealing = True
        self.out.append(Send(victim.worker_id, StealTasks((depth - 1) * idle // (idle + 1) or 1)))


def _load(worker: LeasedWorker) -> float:
    return worker.queued_time


def _depth(worker: LeasedWorker) -> int:
    return len(worker.inflight)


def _can_run_elsewhere(record: Record) -> bool:
    """Whether a task in flight could begin at another worker now: what follows others has to wait for them anywhere."""
    deps, holds = record.task.deps, record.holds
    return deps is None or holds is None or all(ref._state for ref in islice(holds, len(deps)))


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
