"""Batches from owners and workers, in any order, become one record an attempt."""

from __future__ import annotations

import itertools

import pytest

from himalia.cluster.telemetry.buffer import TaskEventBuffer
from himalia.cluster.telemetry.events import Children, Row, Source, TaskState, decode_batch
from himalia.cluster.telemetry.records import TaskTable, count_by_name, task_records

OWNER, WORKER, NODE = b"\x01owner__", b"\x01worker_", b"\x01node___"
F = Source("f", OWNER, b"\0\0\0\1")


def blob(*rows: Row, is_owner: bool = False, worker: bytes = WORKER, children: list[Children] | None = None) -> bytes:
    events = TaskEventBuffer(OWNER if is_owner else worker, NODE, 7, is_owner=is_owner)
    for row in rows:
        events.add(row)
    events.children += children or []
    message = events.flush(0.0)
    assert message is not None
    return message.blob


WAITS = blob((1, 0, F, TaskState.PENDING_NODE, 1.0, 1.5, None), is_owner=True)
SENT = blob((1, 0, F, TaskState.SUBMITTED_TO_WORKER, 1.0, 2.0, WORKER.hex()), is_owner=True)
RUNS = blob((1, 0, F, TaskState.RUNNING, 3.0, 0.0, None))
DONE = blob((1, 0, F, TaskState.FINISHED, 3.0, 4.0, None))


def table(*blobs: bytes) -> TaskTable:
    made = TaskTable()
    for one in blobs:
        made.add(decode_batch(one))
    return made


@pytest.mark.parametrize("order", [*itertools.permutations([WAITS, SENT, RUNS, DONE])])
def test_the_order_in_which_batches_come_does_not_matter(order: tuple[bytes, ...]) -> None:
    (record,) = table(*order)
    assert record.state is TaskState.FINISHED
    assert (record.submitted, record.started, record.ended) == (1.0, 3.0, 4.0)
    assert (record.worker_id, record.node_id, record.pid) == (WORKER, NODE, 7)
    assert record.duration == 1.0
    assert record.times == {
        TaskState.PENDING_ARGS: 1.0,
        TaskState.PENDING_NODE: 1.5,
        TaskState.SUBMITTED_TO_WORKER: 2.0,
        TaskState.RUNNING: 3.0,
        TaskState.FINISHED: 4.0,
    }


def test_a_task_that_runs_has_no_end() -> None:
    (record,) = table(WAITS, RUNS)
    assert record.state is TaskState.RUNNING
    assert not record.is_over
    assert record.duration == 0.0


def test_an_owner_that_looked_late_does_not_turn_time_around() -> None:
    late = blob((1, 0, F, TaskState.SUBMITTED_TO_WORKER, 3.5, 3.5, None), is_owner=True)
    for order in ((RUNS, late), (late, RUNS)):
        (record,) = table(*order)
        assert record.submitted == 3.0
        assert max(record.times.values()) == 3.0


def test_a_worker_that_died_is_reported_by_the_owner() -> None:
    died = blob((1, 0, F, TaskState.FAILED, 1.0, 5.0, "WorkerCrashedError: gone"), is_owner=True)
    (record,) = table(RUNS, died)
    assert record.state is TaskState.FAILED
    assert record.error == "WorkerCrashedError: gone"
    assert not record.by_worker
    assert record.ended == 5.0


def test_what_a_task_raised_is_told_apart_from_what_befell_it() -> None:
    (record,) = table(blob((1, 0, F, TaskState.FAILED, 3.0, 4.0, "ValueError: no")))
    assert record.by_worker


def test_each_attempt_has_its_record() -> None:
    made = table(
        blob((1, 0, F, TaskState.FAILED, 1.0, 2.0, "E: x")), blob((1, 1, F, TaskState.FINISHED, 3.0, 4.0, None))
    )
    first, second = made.of(OWNER + (1).to_bytes(8, "big"))
    assert (first.state, second.state) == (TaskState.FAILED, TaskState.FINISHED)


def test_children_know_their_parent_whichever_is_heard_first() -> None:
    child_source = Source("child", WORKER)
    child = blob((6, 0, child_source, TaskState.FINISHED, 1.0, 2.0, None), worker=b"\x01other__")
    stranger = blob((9, 0, child_source, TaskState.FINISHED, 1.0, 2.0, None), worker=b"\x01other__")
    parent_id = OWNER + (1).to_bytes(8, "big")
    parent = blob((1, 0, F, TaskState.FINISHED, 3.0, 4.0, None), children=[(F, 1, 5, 8)])
    for order in ((child, stranger, parent), (parent, stranger, child)):
        made = table(*order)
        parents = {record.name + str(record.task_id[-1]): made.parent_of(record) for record in made}
        assert parents == {"child6": parent_id, "child9": b"", "f1": b""}


def test_a_task_that_runs_has_more_and_more_children() -> None:
    parent_id = OWNER + (1).to_bytes(8, "big")
    spans = [blob(children=[(F, 1, 5, after)]) for after in (8, 12, 9)]
    child = blob((10, 0, Source("child", WORKER), TaskState.RUNNING, 1.0, 0.0, None), worker=b"\x01other__")
    made = table(*spans, child)
    (record,) = made
    assert made.parent_of(record) == parent_id


def test_equal_sources_of_many_batches_are_one_object() -> None:
    made = table(*(blob((n, 0, F, TaskState.FINISHED, 1.0, 2.0, None)) for n in range(5)))
    assert len({id(record.source) for record in made}) == 1


def test_the_name_of_a_function_that_only_its_worker_knows_is_kept_whoever_speaks_first() -> None:
    known = Source("f", OWNER, b"\0\0\0\1", function="outer.f")
    done = blob((2, 0, known, TaskState.FINISHED, 3.0, 4.0, None))
    for order in ((WAITS, done), (done, WAITS)):
        assert {record.source.function for record in table(*order)} == {"outer.f"}


def test_the_oldest_records_go_beyond_the_limit() -> None:
    made = TaskTable(limit=2)
    for number in range(5):
        made.add(decode_batch(blob((number, 0, F, TaskState.FINISHED, 1.0, 2.0, None))))
    assert [record.task_id[-1] for record in made] == [3, 4]


def test_a_damaged_batch_does_not_hide_the_others() -> None:
    made = TaskTable()
    changed = made.add_answer({"blobs": [b"damaged", DONE], "dropped": 3})
    assert len(changed) == len(made) == 1
    assert (made.refused, made.dropped) == (1, 3)
    assert len(task_records({"blobs": [DONE, RUNS], "dropped": 0})) == 1


def test_what_a_dead_process_submitted_is_over() -> None:
    for answers in ([([RUNS], [OWNER])], [([RUNS], []), ([], [OWNER])], [([], [OWNER]), ([RUNS], [])]):
        made = TaskTable()
        for blobs, dead in answers:
            changed = made.add_answer({"blobs": blobs, "dropped": 0, "next": 1, "dead": dead})
        (record,) = made
        assert record in changed
        assert (record.state, record.ended) == (TaskState.FAILED, 3.0)
        assert record.error == "OwnerDiedError: the process that submitted it died"


def test_what_had_ended_before_its_owner_died_stays_as_it_was() -> None:
    made = TaskTable()
    made.add_answer({"blobs": [DONE], "dropped": 0, "next": 1, "dead": [OWNER, WORKER]})
    assert [record.state for record in made] == [TaskState.FINISHED]


def test_tasks_are_counted_by_name_and_state() -> None:
    made = table(DONE, blob((2, 0, F, TaskState.RUNNING, 1.0, 0.0, None)))
    assert count_by_name(made) == {"f": {"FINISHED": 1, "RUNNING": 1}}
