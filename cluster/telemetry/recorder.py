"""Who writes task events: the worker for what it ran, the owner for what has not ended.

Strategy: both hang on to a core from outside (`install`), so that the paths they watch know one attribute or nothing.
The worker's part is called once for each task. The owner's part looks around at each tick of its core, at a bounded
number of tasks that were there at the tick before: a burst that is over within half a second is never looked at twice,
and a million queued tasks cost the same as two thousand. How an attempt ended without a worker's word is taken where
its error is made.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from ..protocol.core_messages import R_CANCELLED, R_ERROR, R_INLINE, R_MANY, R_STREAM_END, Result
from .events import FLUSH_AT, Row, Source, TaskEventBuffer, TaskKind, TaskState

if TYPE_CHECKING:
    from ..core.records import Record
    from ..core.runtime import Core
    from ..protocol.gcs_messages import TaskEvents
    from ..worker.executor import Executor
    from ..worker.peers import Job, Loaded

__all__ = ["OwnerRecorder", "WorkerRecorder"]

_SOURCES_KEPT: Final = 10_000  # templates of owners that are long gone
_SAMPLED: Final = 2_000  # unfinished tasks shown at a time, for each kind of queue: a millisecond's work

SWITCH: Final = "HIMALIA_TELEMETRY"
"""Environment variable, read as a process starts: "0" leaves its tasks unrecorded, to measure what recording costs."""

_BY_KIND: Final = {
    R_INLINE: TaskState.FINISHED,
    R_MANY: TaskState.FINISHED,
    R_STREAM_END: TaskState.FINISHED,
    R_ERROR: TaskState.FAILED,
    R_CANCELLED: TaskState.CANCELLED,
}
_STATES: Final = [int(_BY_KIND[kind]) if kind in _BY_KIND else None for kind in range(max(_BY_KIND) + 2)]
"""By kind of result. A task that was returned unstarted is none of this worker's: None. Plain numbers, since the
garbage collector would look at members of an enumeration, and therefore at each row, again and again."""


class WorkerRecorder:
    """Rows of the tasks that a worker runs. ``send`` gives a message to the GCS, from any thread."""

    def __init__(
        self,
        core: Core,
        executor: Executor,
        send: Callable[[TaskEvents], None],
        buffer: TaskEventBuffer | None = None,
    ) -> None:
        self.buffer = buffer or TaskEventBuffer(core.worker_id, core.node_id, core.pid)
        self._core = core
        self._executor = executor
        self._send = send
        self._sources: dict[Loaded, Source] = {}
        self._last: tuple[Loaded | None, Source, bool] = (None, Source("", b""), False)
        self._seen: tuple[Job | None, float] = (None, 0.0)  # the task that ran at the last tick, and since when
        self._rows = self.buffer.rows
        self._append = self._rows.append
        self._next_counter = core.next_counter

    @classmethod
    def install(cls, core: Core, executor: Executor) -> WorkerRecorder:
        """Record what this worker runs from now on."""
        recorder = cls(core, executor, core.gcs_send)
        if _is_on():
            executor.events = recorder
            core.tick_hooks.append(recorder.tick)
        return recorder

    def executed(self, job: Job, result: Result, seconds: float) -> None:
        """A task was run to its end, now. Called for each: what is looked up below, is looked up once."""
        state = _STATES[result.kind]
        if state is None:
            return
        if self.buffer.is_full:
            self.buffer.dropped += 1
            return
        loaded, source, is_parent = self._last
        if job.loaded is not loaded:
            loaded, source, is_parent = self._switch(job)
        task, end = job.task, time.time()
        self._append((task.counter, task.attempt, source, state, end - seconds, end, job.error))
        if is_parent:
            after = self._next_counter()
            if after > self._executor.first_child + 1:
                self._has_children(source, task.counter, after)
        if len(self._rows) >= FLUSH_AT:
            self.flush()

    def _switch(self, job: Job) -> tuple[Loaded, Source, bool]:
        """Another function than before: its source, and whether what it submits are its children."""
        source = self._sources.get(job.loaded) or self._source(job)
        self._last = (job.loaded, source, source.kind is TaskKind.NORMAL)
        return self._last

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
        self._append((job.task.counter, job.task.attempt, source, state, job.started, time.time(), error or None))

    def _has_children(self, source: Source, counter: int, after: int) -> None:
        task_id = source.owner + counter.to_bytes(8, "big")
        self.buffer.children.append((task_id, self._executor.first_child, after))

    def _source(self, job: Job) -> Source:
        if len(self._sources) >= _SOURCES_KEPT:
            self._sources.clear()
        loaded = job.loaded
        template = loaded.template
        actor = self._executor.actor
        if template.actor_id:
            own = f"{actor.spec.class_name}.{template.name}" if actor is not None else template.name
            kind = TaskKind.ACTOR_METHOD
        else:
            own = getattr(loaded.function, "__qualname__", "") or template.name
            kind = TaskKind.NORMAL
        name = str(template.options.get("name", own if kind is TaskKind.ACTOR_METHOD else template.name))
        source = Source(name, job.peer.worker_id, self._core.job_id, kind, template.actor_id, loaded.cell, own)
        self._sources[loaded] = source
        return source

    def tick(self, now: float) -> None:
        """Some time passed: send what there is, and what runs."""
        job = self._executor.running
        running: list[Row] = []
        seen, since = self._seen
        if job is None or job is not seen:
            self._seen = (job, time.time())
        else:
            source = self._sources.get(job.loaded) or self._source(job)
            running = [(job.task.counter, job.task.attempt, source, TaskState.RUNNING, since, 0.0, None)]
            if source.kind is TaskKind.NORMAL:
                self._has_children(source, job.task.counter, self._core.next_counter())
        self.flush(running, now)

    def flush(self, extra: Iterable[Row] = (), now: float | None = None) -> None:
        """Send what there is."""
        message = self.buffer.flush(time.monotonic() if now is None else now, extra)
        if message is not None:
            self._send(message)


class OwnerRecorder:
    """Rows of the tasks that a process submitted. Its methods run in the thread that leads the core."""

    def __init__(self, core: Core, send: Callable[[TaskEvents], None]) -> None:
        self.buffer = TaskEventBuffer(core.worker_id, core.node_id, core.pid, is_owner=True)
        self._core = core
        self._send = send
        # By number and name of the template. Not by Plan: that of a method keeps its actor alive.
        self._sources: dict[tuple[int, str], Source] = {}
        self._known = 0  # tasks up to this counter were there at the last tick

    @classmethod
    def install(cls, core: Core) -> OwnerRecorder:
        """Record what this process submits from now on."""
        recorder = cls(core, core.gcs_send)
        if not _is_on():
            return recorder
        submission, calls = core.submission, core.actor_calls
        submission.death_error = _before(
            submission.death_error,
            lambda record, death: recorder.ended(record, TaskState.FAILED, f"WorkerCrashedError: {death.detail}"),
        )
        submission.refuse_error = _before(
            submission.refuse_error,
            lambda record, text: recorder.ended(record, TaskState.FAILED, f"TaskUnschedulableError: {text}"),
        )
        submission.cancel_error = _before(
            submission.cancel_error, lambda record: recorder.ended(record, TaskState.CANCELLED, None)
        )
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

    def ended(self, record: Record, state: TaskState, error: str | None) -> None:
        """An attempt ended, and no worker says so."""
        now = time.time()
        task = record.task
        row = (task.counter, task.attempt, self._source(record), state, record.submitted or now, now, error)
        self.buffer.rows.append(row)

    def tick(self, now: float) -> None:
        """Some time passed: send what ended, and where older tasks are."""
        unfinished = list(self._unfinished(time.time()))
        self._known = self._core.next_counter()
        message = self.buffer.flush(now, unfinished)
        if message is not None:
            self._send(message)

    def _unfinished(self, wall: float) -> Iterator[Row]:
        submission, calls = self._core.submission, self._core.actor_calls
        parked = self._core.completion.parked
        waiting = [record for record in parked if record.waiting > 0]
        parked.clear()
        parked.extend(waiting)
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
            yield task.counter, task.attempt, self._source(record), state, record.submitted, wall, extra

    def _source(self, record: Record) -> Source:
        plan = record.plan
        template = plan.template
        key = (template.index, plan.name)
        source = self._sources.get(key)
        if source is None:
            if len(self._sources) >= _SOURCES_KEPT:
                self._sources.clear()
            kind = TaskKind.ACTOR_METHOD if template.actor_id else TaskKind.NORMAL
            core = self._core
            source = Source(
                plan.name or template.name, core.worker_id, core.job_id, kind, template.actor_id, template.cell, ""
            )
            self._sources[key] = source
        return source


def _is_on() -> bool:
    return os.environ.get(SWITCH, "1") != "0"


def _actor_text(error: str, client: Any) -> str:
    return f"{error}: {client.death.detail if client.death is not None else 'the actor cannot be reached'}"


def _before(make: Callable[..., bytes], note: Callable[..., None]) -> Callable[..., bytes]:
    """The function that makes an error, with a look at its arguments first."""

    def noted(*arguments: Any) -> bytes:
        note(*arguments)
        return make(*arguments)

    return noted
