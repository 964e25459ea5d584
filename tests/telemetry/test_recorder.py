"""What workers and owners record, seen on stand-ins for their cores."""

from __future__ import annotations

import time
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest

from himalia.cluster.core.records import Plan, Record
from himalia.cluster.core.refs import PENDING, ObjectRef
from himalia.cluster.protocol.common import Death, DeathKind
from himalia.cluster.protocol.core_messages import (
    ARG_INLINE,
    R_CANCELLED,
    R_ERROR,
    R_INLINE,
    R_RETURNED,
    Dep,
    Task,
    Template,
)
from himalia.cluster.protocol.failure_messages import FailureGroup, ReportFailures
from himalia.cluster.protocol.gcs_messages import TaskEvents
from himalia.cluster.protocol.lease_messages import LeaseRefused
from himalia.cluster.telemetry.buffer import FLUSH_AT
from himalia.cluster.telemetry.events import Count, TaskKind, TaskState, decode_batch
from himalia.cluster.telemetry.recorder import SWITCH, OwnerRecorder, WorkerRecorder
from himalia.cluster.telemetry.records import TaskRecord, TaskTable, task_records
from himalia.cluster.worker.peers import Job, Loaded, Peer

OWNER, WORKER, NODE = b"\x01owner__", b"\x01worker_", b"\x01node___"


class Core(SimpleNamespace):
    """What recorders use of a core."""

    def __init__(self) -> None:
        super().__init__(
            worker_id=WORKER,
            node_id=NODE,
            pid=7,
            job_id=b"\0\0\0\1",
            counter=0,
            sent=[],
            tick_hooks=[],
            before_flush=None,
        )
        self.completion = SimpleNamespace(parked=deque())
        errors: dict[str, Any] = {name: lambda *_: b"error" for name in ("death_error", "refuse_error", "cancel_error")}
        errors["should_retry"] = lambda record, data: data == b"again"
        self.submission = SimpleNamespace(by_id={}, workers={}, **errors)
        errors["unavailable_error"] = errors["death_error"]
        self.actor_calls = SimpleNamespace(clients={}, **errors)

    def next_counter(self) -> int:
        self.counter += 1
        return int(self.counter)

    def gcs_send(self, message: Any) -> None:
        self.sent.append(message)

    def post(self, action: Any) -> None:
        action()

    def records(self) -> list[TaskRecord]:
        blobs = [message.blob for message in self.sent if isinstance(message, TaskEvents)]
        return task_records({"blobs": blobs, "dropped": 0})

    def failures(self) -> list[FailureGroup]:
        return [group for message in self.sent if isinstance(message, ReportFailures) for group in message.groups]


@pytest.fixture
def core() -> Core:
    return Core()


@pytest.fixture
def executor(core: Core) -> SimpleNamespace:
    return SimpleNamespace(events=None, record=None, running=None, actor=None, first_child=core.next_counter())


@pytest.fixture
def worker(core: Core, executor: SimpleNamespace) -> WorkerRecorder:
    return WorkerRecorder.install(core, executor)  # type: ignore[arg-type]


def job(counter: int, *, actor_id: bytes = b"", error: str = "", **options: object) -> Job:
    loaded = Loaded(Template(1, "f", b"", actor_id=actor_id, options=options), "f", owner=OWNER)
    return Job(Peer(OWNER), Task(counter, 1), loaded, error=error, started=time.perf_counter())


def executed(executor: SimpleNamespace, one: Job, kind: int, seconds: float) -> None:
    """As `Executor.finish` does it."""
    task = one.task
    executor.record(
        (one.loaded, task.counter, task.attempt, kind, one.started, seconds, one.error, executor.first_child)
    )


# -- workers ----------------------------------------------------------------------------------------------------------


def test_each_task_is_recorded_with_its_time_and_end(
    core: Core, executor: SimpleNamespace, worker: WorkerRecorder
) -> None:
    now = time.time()
    executed(executor, job(1), R_INLINE, 0.5)
    executed(executor, job(2, error="ValueError: no"), R_ERROR, 0.0)
    executed(executor, job(3), R_CANCELLED, 0.0)
    worker.flush()
    done, failed, cancelled = core.records()
    assert done.duration == pytest.approx(0.5, abs=1e-3)
    assert done.started == pytest.approx(now, abs=5)
    assert (done.state, failed.state, cancelled.state) == (TaskState.FINISHED, TaskState.FAILED, TaskState.CANCELLED)
    assert failed.error == "ValueError: no"
    assert done.task_id[:8] == OWNER


def test_a_task_that_was_given_back_is_none_of_this_worker(
    core: Core, executor: SimpleNamespace, worker: WorkerRecorder
) -> None:
    executed(executor, job(1), R_RETURNED, 0.0)
    worker.flush()
    assert core.sent == []


def test_a_full_buffer_is_sent_with_the_results_it_comes_with(core: Core, executor: SimpleNamespace) -> None:
    collected: list[int] = []
    core.before_flush = lambda: collected.append(1)
    WorkerRecorder.install(core, executor)  # type: ignore[arg-type]
    one = job(1)
    for _ in range(FLUSH_AT - 1):
        executed(executor, one, R_INLINE, 0.0)
    core.before_flush()
    assert (collected, core.sent) == ([1], [])
    executed(executor, one, R_INLINE, 0.0)
    core.before_flush()
    assert (collected, [message.count for message in core.sent]) == ([1, 1], [FLUSH_AT])


def test_templates_that_differ_in_options_alone_are_one_source(
    core: Core, executor: SimpleNamespace, worker: WorkerRecorder
) -> None:
    executed(executor, job(1), R_INLINE, 0.0)
    executed(executor, job(2, max_calls=5), R_INLINE, 0.0)
    worker.flush()
    batch = decode_batch(core.sent[0].blob)
    assert len(batch.sources) == 1
    assert batch.totals[0][:3] == (0, Count.FINISHED, 2)


def test_a_task_that_runs_is_shown_at_once_and_again_only_after_a_while(
    core: Core, executor: SimpleNamespace, worker: WorkerRecorder
) -> None:
    executor.running = job(1)
    for now in (100.0, 100.25, 103.0):
        worker.tick(now)
    assert [message.count for message in core.sent] == [1, 1]
    record = core.records()[0]
    assert record.state is TaskState.RUNNING
    assert record.started == pytest.approx(time.time(), abs=5)


def test_all_calls_that_run_in_an_actor_are_shown_and_none_that_wait(
    core: Core, executor: SimpleNamespace, worker: WorkerRecorder
) -> None:
    calls = [job(n, actor_id=b"a" * 16) for n in (1, 2, 3)]
    calls[2].started = 0.0
    executor.actor = SimpleNamespace(spec=SimpleNamespace(class_name="A"), running=lambda: calls, one_at_a_time=False)
    worker.tick(100.0)
    assert [record.task_id[-1] for record in core.records()] == [1, 2]


def test_a_parent_names_its_children(core: Core, executor: SimpleNamespace, worker: WorkerRecorder) -> None:
    executor.first_child = core.next_counter()
    child = core.next_counter()
    executed(executor, job(1), R_INLINE, 0.0)
    worker.flush()
    table = TaskTable()
    table.add_answer({"blobs": [message.blob for message in core.sent], "dropped": 0})
    (parent,) = table
    stranger = TaskRecord(WORKER + child.to_bytes(8, "big"), 0, type(parent.source)("child", WORKER))
    assert table.parent_of(stranger) == parent.task_id


@pytest.mark.parametrize("alone", [True, False])
def test_a_call_of_an_actor_names_its_children_unless_others_run_beside_it(
    alone: bool, core: Core, executor: SimpleNamespace, worker: WorkerRecorder
) -> None:
    executor.actor = SimpleNamespace(spec=SimpleNamespace(class_name="A"), one_at_a_time=alone)
    executor.first_child = core.next_counter()
    child = core.next_counter()
    executed(executor, job(1, actor_id=b"a" * 16), R_INLINE, 0.0)
    worker.flush()
    batch = decode_batch(core.sent[0].blob)
    assert [(first, after) for _, _, first, after in batch.children] == ([(child - 1, child + 1)] if alone else [])


def test_a_task_that_runs_names_its_children_so_far(
    core: Core, executor: SimpleNamespace, worker: WorkerRecorder
) -> None:
    executor.running = job(1)
    child = core.next_counter()
    worker.tick(100.0)
    batch = decode_batch(core.sent[0].blob)
    assert [(first, after) for _, _, first, after in batch.children] == [(executor.first_child, child + 1)]


def test_calls_of_actors_have_the_name_they_were_given(
    core: Core, executor: SimpleNamespace, worker: WorkerRecorder
) -> None:
    executor.actor = SimpleNamespace(spec=SimpleNamespace(class_name="A"), one_at_a_time=True)
    executed(executor, job(1, actor_id=b"a" * 16), R_INLINE, 0.0)
    executed(executor, job(2, actor_id=b"a" * 16, name="mine"), R_INLINE, 0.0)
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
def owner(core: Core, monkeypatch: pytest.MonkeyPatch) -> OwnerRecorder:
    monkeypatch.setattr("himalia.cluster.telemetry.recorder._REST", 0.0)  # however long a look takes on a busy machine
    return OwnerRecorder.install(core)  # type: ignore[arg-type]


def record(counter: int, **more: Any) -> Record:
    return Record(Task(counter, 1), Plan(Template(1, "f", b""), "f", None), **more)


def test_only_what_was_there_at_the_tick_before_is_shown(core: Core, owner: OwnerRecorder) -> None:
    queue = deque([record(core.next_counter())])
    core.submission.by_id[1] = SimpleNamespace(queue=queue)
    owner.tick(0.0)
    assert core.records() == []
    queue.append(record(core.next_counter()))
    owner.tick(0.5)
    assert core.records() == [], "it looks once a second"
    owner.tick(1.0)
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
    owner.tick(1.0)
    states = {int.from_bytes(seen.task_id[8:], "big"): seen.state for seen in core.records()}
    assert states == {
        waits.task.counter: TaskState.PENDING_ARGS,
        queued.task.counter: TaskState.PENDING_NODE,
        sent.task.counter: TaskState.SUBMITTED_TO_WORKER,
        called.task.counter: TaskState.SUBMITTED_TO_WORKER,
    }


def test_without_telemetry_nothing_is_kept_for_it(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "0")
    OwnerRecorder.install(core)  # type: ignore[arg-type]
    core.completion.parked.append(object())  # type: ignore[arg-type]  # any task, with the arguments that it holds
    assert not core.completion.parked


def test_a_task_that_got_its_arguments_is_not_parked_any_more(core: Core, owner: OwnerRecorder) -> None:
    core.completion.parked.append(record(1))
    owner.tick(0.0)
    assert not core.completion.parked


def test_it_counts_how_many_wait_of_each_function_and_estimates_where_there_are_many(
    core: Core, owner: OwnerRecorder
) -> None:
    one, many = record(1), record(2)
    many.plan = Plan(Template(2, "g", b""), "g", None)
    core.submission.by_id[1] = SimpleNamespace(queue=deque([one] * 3))
    core.submission.by_id[2] = SimpleNamespace(queue=deque([many] * 120_000))
    owner.tick(0.0)
    batch = decode_batch(core.sent[0].blob)
    counts = {batch.sources[source].name: count for source, state, count in batch.waiting or []}
    assert counts == {"f": 3, "g": 120_000}


def test_which_functions_work_on_whose_results_is_seen_in_what_waits(core: Core, owner: OwnerRecorder) -> None:
    maker, user = record(1), record(2, waiting=1)
    maker.plan = Plan(Template(2, "make", b""), "make", None)
    user.task.deps, user.holds = [Dep(0, b"", ARG_INLINE)], [ObjectRef(WORKER, 1, 1, PENDING, maker)]
    core.completion.parked.append(user)
    owner.tick(0.0)
    batch = decode_batch(core.sent[0].blob)
    assert [(batch.sources[made].name, batch.sources[used].name) for made, used in batch.links] == [("make", "f")]


def test_a_failure_that_is_tried_again_is_counted(core: Core, owner: OwnerRecorder) -> None:
    assert core.submission.should_retry(record(1), b"again")
    assert not core.actor_calls.should_retry(record(2), b"not again")
    owner.tick(0.0)
    batch = decode_batch(core.sent[0].blob)
    assert [total[1:3] for total in batch.totals] == [(Count.RETRIED, 1)]


def test_ends_without_a_workers_word_are_recorded_where_their_error_is_made(core: Core, owner: OwnerRecorder) -> None:
    death = Death(DeathKind.CRASHED, "gone")
    client = SimpleNamespace(death=death)
    assert core.submission.death_error(record(1), death, None) == b"error"
    core.submission.refuse_error(record(2), LeaseRefused(1, "no node", fatal=True))
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

    assert executor.events is executor.record is None
    assert core.tick_hooks == []
    assert core.submission.death_error is before


# -- failures by kind -------------------------------------------------------------------------------------------------


def caught(text: str) -> ValueError:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


def test_the_first_failure_of_a_kind_is_told_at_once_and_others_at_the_tick(core: Core, worker: WorkerRecorder) -> None:
    for number in range(3):
        worker.failed(job(number), caught(str(number)))
    assert [(group.function, group.count) for group in core.failures()] == [("f", 1)]
    worker.tick(0.0)
    assert [group.count for group in core.failures()] == [1, 2]
    assert core.failures()[-1].message == "2"


def test_failures_of_tasks_that_are_not_to_be_recorded_are_not_told(core: Core, worker: WorkerRecorder) -> None:
    worker.failed(job(1, task_events=False), caught("no"))
    worker.tick(0.0)
    assert core.failures() == []


def test_a_constructor_that_raised_is_told_by_its_class(
    core: Core, executor: SimpleNamespace, worker: WorkerRecorder
) -> None:
    made = job(1, actor_id=b"a" * 16)
    made.loaded.name, made.loaded.method = "A.__init__", "__init__"
    executor.actor = SimpleNamespace(spec=SimpleNamespace(events=True))
    worker.failed(made, caught("no"))
    (group,) = core.failures()
    assert (group.function, group.task_id[:8]) == ("A.__init__", OWNER)
    executor.actor.spec.events = False
    worker.failed(made, caught("on another line"))
    worker.flush()
    assert len(core.failures()) == 1


def test_owners_tell_of_failures_that_no_worker_saw(core: Core, owner: OwnerRecorder) -> None:
    core.submission.death_error(record(1), Death(DeathKind.CRASHED, "gone"), None)
    core.submission.cancel_error(record(2))
    owner.tick(0.0)
    (group,) = core.failures()
    assert (group.error, group.message, group.count) == ("WorkerCrashedError", "gone", 1)
