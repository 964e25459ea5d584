"""What workers and owners record, seen on stand-ins for their cores."""

from __future__ import annotations

import time
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest

from himalia.cluster.core.records import Plan, Record
from himalia.cluster.protocol.common import Death, DeathKind
from himalia.cluster.protocol.core_messages import R_CANCELLED, R_ERROR, R_INLINE, R_RETURNED, Result, Task, Template
from himalia.cluster.telemetry.events import FLUSH_AT, TaskEventBuffer, TaskKind, TaskState
from himalia.cluster.telemetry.recorder import SWITCH, OwnerRecorder, WorkerRecorder
from himalia.cluster.telemetry.records import TaskRecord, TaskTable, task_records
from himalia.cluster.worker.peers import Job, Loaded, Peer

OWNER, WORKER, NODE = b"\x01owner__", b"\x01worker_", b"\x01node___"


class Core(SimpleNamespace):
    """What recorders use of a core."""

    def __init__(self) -> None:
        super().__init__(worker_id=WORKER, node_id=NODE, pid=7, job_id=b"\0\0\0\1", counter=0, sent=[], tick_hooks=[])
        self.completion = SimpleNamespace(parked=deque())
        errors = {name: lambda *_: b"error" for name in ("death_error", "refuse_error", "cancel_error")}
        self.submission = SimpleNamespace(by_id={}, workers={}, **errors)
        errors["unavailable_error"] = errors["death_error"]
        self.actor_calls = SimpleNamespace(clients={}, **errors)

    def next_counter(self) -> int:
        self.counter += 1
        return int(self.counter)

    def gcs_send(self, message: Any) -> None:
        self.sent.append(message)

    def records(self) -> list[TaskRecord]:
        return task_records({"blobs": [message.blob for message in self.sent], "dropped": 0, "next": 0})


@pytest.fixture
def core() -> Core:
    return Core()


@pytest.fixture
def executor(core: Core) -> SimpleNamespace:
    return SimpleNamespace(events=None, running=None, actor=None, first_child=core.next_counter())


@pytest.fixture
def worker(core: Core, executor: SimpleNamespace) -> WorkerRecorder:
    return WorkerRecorder.install(core, executor)  # type: ignore[arg-type]


def job(counter: int, *, actor_id: bytes = b"", error: str = "", **options: object) -> Job:
    loaded = Loaded(Template(1, "f", b"", actor_id=actor_id, options=options), "f")
    return Job(Peer(OWNER), Task(counter, 1), loaded, error=error)


# -- workers ----------------------------------------------------------------------------------------------------------


def test_each_task_is_recorded_with_its_time_and_end(
    core: Core, executor: SimpleNamespace, worker: WorkerRecorder
) -> None:
    now = time.time()
    executor.events.executed(job(1), Result(1, R_INLINE), 0.5)
    executor.events.executed(job(2, error="ValueError: no"), Result(2, R_ERROR), 0.0)
    executor.events.executed(job(3), Result(3, R_CANCELLED), 0.0)
    worker.flush()
    done, failed, cancelled = core.records()
    assert done.duration == pytest.approx(0.5, abs=1e-3)
    assert done.ended == pytest.approx(now, abs=5)
    assert (done.state, failed.state, cancelled.state) == (TaskState.FINISHED, TaskState.FAILED, TaskState.CANCELLED)
    assert failed.error == "ValueError: no"
    assert done.task_id[:8] == OWNER


def test_a_task_that_was_given_back_is_none_of_this_worker(core: Core, worker: WorkerRecorder) -> None:
    worker.executed(job(1), Result(1, R_RETURNED), 0.0)
    worker.flush()
    assert core.sent == []


def test_a_full_buffer_is_sent_without_waiting(core: Core, worker: WorkerRecorder) -> None:
    one = job(1)
    for _ in range(FLUSH_AT):
        worker.executed(one, Result(1, R_INLINE), 0.0)
    assert [message.count for message in core.sent] == [FLUSH_AT]


def test_what_comes_too_fast_is_only_counted_until_the_next_second(core: Core, executor: SimpleNamespace) -> None:
    buffer = TaskEventBuffer(core.worker_id, core.node_id, core.pid, rate_limit=2)
    worker = WorkerRecorder(core, executor, core.gcs_send, buffer)  # type: ignore[arg-type]
    for counter in (1, 2):
        worker.executed(job(counter), Result(counter, R_INLINE), 0.0)
    worker.flush(now=10.0)
    worker.executed(job(3), Result(3, R_INLINE), 0.0)
    worker.flush(now=11.0)
    worker.executed(job(4), Result(4, R_INLINE), 0.0)
    worker.flush(now=11.1)
    assert [(message.count, message.dropped) for message in core.sent] == [(2, 0), (0, 1), (1, 0)]


def test_a_task_that_runs_is_shown_from_the_second_tick_on(
    core: Core, executor: SimpleNamespace, worker: WorkerRecorder
) -> None:
    executor.running = job(1)
    worker.tick(0.0)
    assert core.sent == []
    worker.tick(0.5)
    (record,) = core.records()
    assert record.state is TaskState.RUNNING


def test_a_parent_names_its_children(core: Core, executor: SimpleNamespace, worker: WorkerRecorder) -> None:
    executor.first_child = core.next_counter()
    child = core.next_counter()
    worker.executed(job(1), Result(1, R_INLINE), 0.0)
    worker.flush()
    table = TaskTable()
    table.add_answer({"blobs": [message.blob for message in core.sent], "dropped": 0, "next": 0})
    (parent,) = table
    stranger = TaskRecord(WORKER + child.to_bytes(8, "big"), 0, type(parent.source)("child", WORKER))
    assert table.parent_of(stranger) == parent.task_id


def test_calls_of_actors_have_the_name_they_were_given(
    core: Core, executor: SimpleNamespace, worker: WorkerRecorder
) -> None:
    executor.actor = SimpleNamespace(spec=SimpleNamespace(class_name="A"))
    worker.executed(job(1, actor_id=b"a" * 16), Result(1, R_INLINE), 0.0)
    worker.executed(job(2, actor_id=b"a" * 16, name="mine"), Result(2, R_INLINE), 0.0)
    worker.flush()
    plain, named = core.records()
    assert (plain.name, named.name, named.source.function) == ("A.f", "mine", "A.f")
    assert plain.kind is TaskKind.ACTOR_METHOD


def test_a_constructor_is_a_task(core: Core, worker: WorkerRecorder) -> None:
    worker.created(job(1, actor_id=b"a" * 16), "A", "ValueError: no")
    worker.flush()
    (record,) = core.records()
    assert (record.name, record.state, record.error) == ("A.__init__", TaskState.FAILED, "ValueError: no")


# -- owners -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def owner(core: Core) -> OwnerRecorder:
    return OwnerRecorder.install(core)  # type: ignore[arg-type]


def record(counter: int, **more: Any) -> Record:
    return Record(Task(counter, 1), Plan(Template(1, "f", b""), "f", None), **more)


def test_only_what_was_there_at_the_tick_before_is_shown(core: Core, owner: OwnerRecorder) -> None:
    queue = deque([record(core.next_counter())])
    core.submission.by_id[1] = SimpleNamespace(queue=queue)
    owner.tick(0.0)
    assert core.sent == []
    queue.append(record(core.next_counter()))
    owner.tick(0.5)
    (seen,) = core.records()
    assert seen.state is TaskState.PENDING_NODE


def test_where_a_task_waits_is_its_state(core: Core, owner: OwnerRecorder) -> None:
    waits, queued, sent, called = (record(core.next_counter()) for _ in range(4))
    waits.waiting = 1
    core.completion.parked.append(waits)
    core.submission.by_id[1] = SimpleNamespace(queue=deque([queued]))
    core.submission.workers[WORKER] = SimpleNamespace(worker_id=WORKER, inflight={3: sent})
    core.actor_calls.clients[b"a"] = SimpleNamespace(queue=deque(), inflight={4: called}, address=None)
    owner.tick(0.0)
    owner.tick(0.5)
    states = {int.from_bytes(seen.task_id[8:], "big"): seen.state for seen in core.records()}
    assert states == {
        waits.task.counter: TaskState.PENDING_ARGS,
        queued.task.counter: TaskState.PENDING_NODE,
        sent.task.counter: TaskState.SUBMITTED_TO_WORKER,
        called.task.counter: TaskState.SUBMITTED_TO_WORKER,
    }


def test_a_task_that_got_its_arguments_is_not_parked_any_more(core: Core, owner: OwnerRecorder) -> None:
    core.completion.parked.append(record(1))
    owner.tick(0.0)
    assert not core.completion.parked


def test_ends_without_a_workers_word_are_recorded_where_their_error_is_made(core: Core, owner: OwnerRecorder) -> None:
    death = Death(DeathKind.CRASHED, "gone")
    client = SimpleNamespace(death=death)
    assert core.submission.death_error(record(1), death) == b"error"
    core.submission.refuse_error(record(2), "no node")
    core.submission.cancel_error(record(3))
    core.actor_calls.death_error(client, record(4))
    owner.tick(0.0)
    ends = {seen.task_id[-1]: (seen.state, seen.error) for seen in core.records()}
    assert ends == {
        1: (TaskState.FAILED, "WorkerCrashedError: gone"),
        2: (TaskState.FAILED, "TaskUnschedulableError: no node"),
        3: (TaskState.CANCELLED, ""),
        4: (TaskState.FAILED, "ActorDiedError: gone"),
    }


def test_nothing_is_hooked_in_where_it_is_switched_off(
    core: Core, executor: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, "0")
    before = core.submission.death_error

    WorkerRecorder.install(core, executor)  # type: ignore[arg-type]
    OwnerRecorder.install(core)  # type: ignore[arg-type]

    assert executor.events is None
    assert core.tick_hooks == []
    assert core.submission.death_error is before
