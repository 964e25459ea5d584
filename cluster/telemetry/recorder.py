"""Who writes task events: the worker for what it ran, the owner for what has not ended.

Strategy: both hang on to a core from outside (`install`), so that the paths they watch know one attribute or nothing.
For each task a worker extends a list, and this file only looks at what came together. The owner's part looks around
once a second, at a bounded number of tasks that were there the time before: a burst that is over by then is never
looked at, and a million queued tasks cost the same as two thousand. How many wait, of which function, is counted at the
same time, and of a long queue estimated. How an attempt ended without a worker's word is taken where its error is made.

Rejected: counting tasks by function as they are submitted. It would be exact, for a fiftieth of what a task costs its
owner.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from ..core.records import Record
from ..protocol.common import Death, DeathKind
from ..protocol.ids import make_task_id
from ..protocol.lease_messages import LeaseRefused
from .buffer import FLUSH_AT, WIDTH, TaskEventBuffer
from .events import Count, Row, Source, TaskKind, TaskState, Waiting
from .failure_groups import FailureGroups

if TYPE_CHECKING:
    from ..core.records import Plan
    from ..core.runtime import Core
    from ..protocol.failure_messages import ReportFailures
    from ..protocol.gcs_messages import TaskEvents
    from ..worker.executor import Executor
    from ..worker.peers import Job, Loaded

__all__ = ["OwnerRecorder", "WorkerRecorder"]

_SOURCES_KEPT: Final = 10_000  # templates of owners that are long gone
_SAMPLED: Final = 2_000  # unfinished tasks shown at a time, for each kind of queue: a millisecond's work

_AGAIN: Final = 2.0
"""Seconds after which a worker shows again what it runs: who began to read meanwhile, or lost a batch, knows soon. What
began since the last tick is always shown."""

_LOOK: Final = 0.9  # seconds between looks at what waits …
_REST: Final = 200  # … or so many times what the last look took: never more than half a percent of the time
_COUNTED: Final = 50_000  # tasks of a queue that are counted one by one: some milliseconds

_plan_of: Final = attrgetter("plan")

SWITCH: Final = "HIMALIA_TELEMETRY"
"""Environment variable, read as a process starts: "0" leaves its tasks unrecorded, to measure what recording costs."""


class WorkerRecorder:
    """Rows of the tasks that a worker runs. ``send`` gives a message to the GCS, from any thread."""

    def __init__(
        self,
        core: Core,
        executor: Executor,
        send: Callable[[TaskEvents | ReportFailures], None],
        buffer: TaskEventBuffer | None = None,
    ) -> None:
        self.buffer = buffer or TaskEventBuffer(core.worker_id, core.node_id, core.pid)
        self.buffer.source_of = self._source
        self.buffer.next_child = self._next_child
        self.failures = FailureGroups(core.worker_id, core.node_id, time.time)
        self._core = core
        self._executor = executor
        self._send = send
        self._sources: dict[Loaded, Source | None] = {}
        self._known: dict[tuple[Any, ...], Source] = {}
        self._shown = 0.0  # what began until then was shown as running
        self._shown_all = float("-inf")
        self._looked = (0, 0, 0)  # first child of the task that runs, how often it was looked at, its children so far

    @classmethod
    def install(cls, core: Core, executor: Executor) -> WorkerRecorder:
        """Record what this worker runs from now on."""
        recorder = cls(core, executor, core.gcs_send)
        if _is_on():
            executor.events = recorder
            executor.record = recorder.buffer.record
            core.tick_hooks.append(recorder.tick)
            collect, rows = core.before_flush, recorder.buffer.rows

            def before_flush() -> None:
                if collect is not None:
                    collect()
                if len(rows) >= FLUSH_AT * WIDTH:
                    recorder.flush()

            core.before_flush = before_flush
        return recorder

    def created(self, job: Job, class_name: str, error: str) -> None:
        """An actor's constructor returned, or raised ``error`` (`describe_error`), now."""
        source = Source(
            f"{class_name}.__init__",
            job.peer.worker_id,
            self._core.job_id,
            TaskKind.ACTOR_CREATION,
            job.loaded.template.actor_id,
            job.loaded.cell,
            class_name,
        )
        state = TaskState.FAILED if error else TaskState.FINISHED
        offset = self._set_clock()
        self.buffer.add(
            (job.task.counter, job.task.attempt, source, state, job.started + offset, time.time(), error or None)
        )
        if error:
            self._core.post(self.flush)  # its worker ends as soon as that is known; and only the leader may flush

    def failed(self, job: Job, error: BaseException) -> None:
        """A task raised this, whose traceback is still there."""
        loaded = job.loaded
        # A constructor has no source of its own: how it ended is told by `created`.
        is_creation = loaded.method == "__init__"
        source = None if is_creation else self._source(loaded)
        is_told = self._executor.actor.spec.events if is_creation else source is not None
        if is_told:
            name = loaded.name if source is None else source.name
            task_id = make_task_id(job.peer.worker_id, job.task.counter)
            if self.failures.raised(self._core.job_id, name, loaded.cell, task_id, error):
                self._core.post(lambda: _tell(self.failures, self._send))  # should the process not live until its tick

    def _set_clock(self) -> float:
        self.buffer.clock = time.time() - time.perf_counter()
        return self.buffer.clock

    def _next_child(self, first: int) -> int:
        """What this process has counted to since it gave ``first``, to the newest task that has ended."""
        if not self._one_at_a_time():
            return first  # whose children these are is not known
        running = self._executor.first_child
        return running if running > first else self._core.next_counter()

    def _one_at_a_time(self) -> bool:
        actor = self._executor.actor
        return actor is None or actor.one_at_a_time

    def _source(self, loaded: Loaded) -> Source | None:
        """None: the user does not want such tasks recorded."""
        if loaded in self._sources:
            return self._sources[loaded]
        if len(self._sources) >= _SOURCES_KEPT:
            self._sources.clear()
            self._known.clear()
        template = loaded.template
        if template.options.get("task_events") is False:
            self._sources[loaded] = None
            return None
        actor = self._executor.actor
        if template.actor_id:
            own = f"{actor.spec.class_name}.{template.name}" if actor is not None else template.name
            kind = TaskKind.ACTOR_METHOD
        else:
            own = getattr(loaded.function, "__qualname__", "") or template.name
            kind = TaskKind.NORMAL
        name = str(template.options.get("name", own if kind is TaskKind.ACTOR_METHOD else template.name))
        # Templates that differ in their options alone are one source: its count is one.
        key = (name, loaded.owner, self._core.job_id, kind, template.actor_id, loaded.cell, own)
        source = self._sources[loaded] = self._known.setdefault(key, Source(*key))
        return source

    def tick(self, now: float) -> None:
        """Some time passed: send what there is, and what runs."""
        self.flush(self._running(now), now)

    def _running(self, now: float) -> list[Row]:
        """Tasks that run; those shown before only now and then."""
        executor, offset = self._executor, self._set_clock()
        if executor.actor is not None:
            jobs = [job for job in executor.actor.running() if job.started]
        else:
            jobs = [job for job in (executor.running,) if job is not None and job.started]
        since, self._shown = self._shown, time.perf_counter()
        if now - self._shown_all >= _AGAIN:
            since, self._shown_all = 0.0, now
        rows: list[Row] = []
        for job in jobs[:_SAMPLED]:
            source = self._source(job.loaded)
            if source is None:
                continue
            if job.started >= since:
                rows.append(
                    (job.task.counter, job.task.attempt, source, TaskState.RUNNING, job.started + offset, 0.0, None)
                )
            if source.kind is not TaskKind.ACTOR_CREATION and self._one_at_a_time():
                self._children_so_far(source, job.task.counter, executor.first_child)
        return rows

    def _children_so_far(self, source: Source, counter: int, first: int) -> None:
        """A task that runs: what it has submitted since the last look. (Each look takes a counter, too.)"""
        if self._looked[0] != first:
            self._looked = (first, 0, 0)
        _, looks, known = self._looked
        after = self._core.next_counter()
        children = after - first - 1 - looks
        if children > known:
            self.buffer.has_children(source, counter, first, after)
        self._looked = (first, looks + 1, children)

    def flush(self, extra: Iterable[Row] = (), now: float | None = None) -> None:
        """Send what there is."""
        self._set_clock()
        message = self.buffer.flush(time.monotonic() if now is None else now, extra)
        if message is not None:
            self._send(message)
        _tell(self.failures, self._send)


class OwnerRecorder:
    """Rows of the tasks that a process submitted. Its methods run in the thread that leads the core."""

    def __init__(self, core: Core, send: Callable[[TaskEvents | ReportFailures], None]) -> None:
        self.buffer = TaskEventBuffer(core.worker_id, core.node_id, core.pid, is_owner=True)
        self.failures = FailureGroups(core.worker_id, core.node_id, time.time)
        self._core = core
        self._send = send
        # By number and name of the template. Not by Plan: that of a method keeps its actor alive.
        self._sources: dict[tuple[int, str], Source] = {}
        self._interned: dict[tuple[Any, ...], Source] = {}
        self._known = 0  # tasks up to this counter were there at the last look
        self._next_look = float("-inf")
        self._parked: list[Record] = []

    @classmethod
    def install(cls, core: Core) -> OwnerRecorder:
        """Record what this process submits from now on."""
        recorder = cls(core, core.gcs_send)
        if not _is_on():
            core.completion.parked = deque(maxlen=0)  # nobody takes out what is put there
            return recorder
        submission, calls = core.submission, core.actor_calls
        submission.death_error = _before(
            submission.death_error,
            lambda record, death, worker: recorder.ended(
                record, TaskState.FAILED, f"{_of_death(death)}: {death.detail}"
            ),
        )
        submission.refuse_error = _before(
            submission.refuse_error,
            lambda record, refusal: recorder.ended(record, TaskState.FAILED, f"{_of_refusal(refusal)}: {refusal.text}"),
        )
        submission.cancel_error = _before(
            submission.cancel_error, lambda record: recorder.ended(record, TaskState.CANCELLED, None)
        )
        for machine in (submission, calls):
            machine.should_retry = recorder.counting_retries(machine.should_retry)
        calls.cancel_error = _before(
            calls.cancel_error, lambda record: recorder.ended(record, TaskState.CANCELLED, None)
        )
        calls.death_error = _before(
            calls.death_error,
            lambda client, record: recorder.ended(record, TaskState.FAILED, _actor_text("ActorDiedError", client)),
        )
        calls.unavailable_error = _before(
            calls.unavailable_error,
            lambda client, record: recorder.ended(
                record, TaskState.FAILED, _actor_text("ActorUnavailableError", client)
            ),
        )
        core.tick_hooks.append(recorder.tick)
        return recorder

    def counting_retries(self, decide: Callable[[Record, bytes], bool]) -> Callable[[Record, bytes], bool]:
        """Whether a task that failed is tried again; if so, that was no end."""

        def decided(record: Record, data: bytes) -> bool:
            again = decide(record, data)
            if again and (source := self._source(record)) is not None:
                self.buffer.count(source, Count.RETRIED, 1)
            return again

        return decided

    def ended(self, record: Record, state: TaskState, error: str | None) -> None:
        """An attempt ended, and no worker says so."""
        now = time.time()
        task, source = record.task, self._source(record)
        if source is None:
            return
        self.buffer.add((task.counter, task.attempt, source, state, record.submitted or now, now, error))
        self.buffer.count(source, Count(state), 1)
        if state is TaskState.FAILED and error:
            task_id = make_task_id(source.owner, task.counter)
            self.failures.ended(source.job_id, source.name, source.cell, task_id, error)

    def tick(self, now: float) -> None:
        """Some time passed: send what ended and, once a second, where older tasks are."""
        unfinished: list[Row] = []
        if now >= self._next_look:
            began = time.perf_counter()
            unfinished = list(self._unfinished(time.time()))
            self.buffer.waiting = self._waiting()
            self._note_links()
            self._known = self._core.next_counter()
            self._next_look = now + max(_LOOK, (time.perf_counter() - began) * _REST)
        message = self.buffer.flush(now, unfinished)
        if message is not None:
            self._send(message)
        _tell(self.failures, self._send)

    def _waiting(self) -> list[Waiting]:
        """How many tasks of each source are where."""
        submission, calls = self._core.submission, self._core.actor_calls
        clients = calls.clients.values()
        counts: Counter[tuple[Source, TaskState]] = Counter()
        for state, collections in (
            (TaskState.PENDING_ARGS, [self._parked]),
            (TaskState.PENDING_NODE, [*(cls.queue for cls in submission.by_id.values()), *(c.queue for c in clients)]),
            (
                TaskState.SUBMITTED_TO_WORKER,
                [*(w.inflight.values() for w in submission.workers.values()), *(c.inflight.values() for c in clients)],
            ),
        ):
            for records in collections:
                step = len(records) // _COUNTED + 1  # of a long queue every so many: one plan's tasks lie together
                for plan, count in Counter(map(_plan_of, islice(records, 0, None, step))).items():
                    if (source := self._source_of(plan)) is not None:
                        counts[source, state] += count * step
        return [(source, state, count) for (source, state), count in counts.items()]

    def _note_links(self) -> None:
        """Which functions work on whose results: seen in tasks that wait for them."""
        for record in self._parked[:_SAMPLED]:
            used = self._source(record)
            for ref in (record.holds or ())[: len(record.task.deps or ())]:
                maker = ref._data
                if type(maker) is Record and used is not None and (made := self._source(maker)) is not None:
                    self.buffer.link(made, used)

    def _unfinished(self, wall: float) -> Iterator[Row]:
        submission, calls = self._core.submission, self._core.actor_calls
        parked = self._core.completion.parked
        waiting = [record for record in parked if record.waiting > 0]
        parked.clear()
        parked.extend(waiting)
        self._parked = waiting
        yield from self._rows(waiting, TaskState.PENDING_ARGS, None, wall)
        for scheduling in submission.by_id.values():
            yield from self._rows(scheduling.queue, TaskState.PENDING_NODE, None, wall)
        for worker in submission.workers.values():
            name = worker.worker_id.hex()
            yield from self._rows(worker.inflight.values(), TaskState.SUBMITTED_TO_WORKER, name, wall)
        for client in calls.clients.values():
            yield from self._rows(client.queue, TaskState.PENDING_NODE, None, wall)
            to = client.address.worker_id.hex() if client.address is not None else None
            yield from self._rows(client.inflight.values(), TaskState.SUBMITTED_TO_WORKER, to, wall)

    def _rows(self, records: Iterable[Record], state: TaskState, extra: str | None, wall: float) -> Iterator[Row]:
        for record in islice(records, _SAMPLED):
            task = record.task
            if task.counter > self._known:
                continue
            if not record.submitted:
                record.submitted = wall
            if (source := self._source(record)) is not None:
                yield task.counter, task.attempt, source, state, record.submitted, wall, extra

    def _source(self, record: Record) -> Source | None:
        return self._source_of(record.plan)

    def _source_of(self, plan: Plan) -> Source | None:
        """None: the user does not want such tasks recorded."""
        template = plan.template
        if template.options.get("task_events") is False:
            return None
        key = (template.index, plan.name)
        source = self._sources.get(key)
        if source is None:
            if len(self._sources) >= _SOURCES_KEPT:
                self._sources.clear()
                self._interned.clear()
            kind = TaskKind.ACTOR_METHOD if template.actor_id else TaskKind.NORMAL
            name, core = plan.name or template.name, self._core
            fields = (name, core.worker_id, core.job_id, kind, template.actor_id, template.cell, "")
            source = self._sources[key] = self._interned.setdefault(fields, Source(*fields))
        return source


def _tell(failures: FailureGroups, send: Callable[[TaskEvents | ReportFailures], None]) -> None:
    report = failures.take()
    if report is not None:
        send(report)


def _is_on() -> bool:
    return os.environ.get(SWITCH, "1") != "0"


def _of_death(death: Death) -> str:
    return "TaskPlacementGroupRemoved" if death.kind is DeathKind.GROUP_REMOVED else "WorkerCrashedError"


def _of_refusal(refusal: LeaseRefused) -> str:
    return "TaskPlacementGroupRemoved" if refusal.group_removed else "TaskUnschedulableError"


def _actor_text(error: str, client: Any) -> str:
    return f"{error}: {client.death.detail if client.death is not None else 'the actor cannot be reached'}"


def _before(make: Callable[..., bytes], note: Callable[..., None]) -> Callable[..., bytes]:
    """The function that makes an error, with a look at its arguments first."""

    def noted(*arguments: Any) -> bytes:
        note(*arguments)
        return make(*arguments)

    return noted
