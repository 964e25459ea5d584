"""What owners say of tasks that wait, without a record of any task."""

from __future__ import annotations

from collections.abc import Iterable

from himalia.cluster.telemetry.buffer import TaskEventBuffer
from himalia.cluster.telemetry.events import Row, Source, TaskState
from himalia.cluster.telemetry.waiting import WaitingTasks

OWNER, WORKER, NODE = b"\x01owner__", b"\x01worker_", b"\x01node___"
F, G, H = Source("f", OWNER), Source("g", OWNER), Source("h", OWNER)

Waiting = list[tuple[Source, TaskState, int]]


def batch(
    *rows: Row, waiting: Waiting | None = None, links: list[tuple[Source, Source]] | None = None, worker: bool = False
) -> bytes:
    events = TaskEventBuffer(WORKER if worker else OWNER, NODE, 7, is_owner=not worker)
    for row in rows:
        events.add(row)
    for link in links or []:
        events.link(*link)
    events.waiting = waiting
    message = events.flush(0.0)
    assert message is not None
    return message.blob


def waiting_in(blobs: list[bytes], dead: Iterable[bytes] = ()) -> WaitingTasks:
    waiting = WaitingTasks()
    waiting.take(blobs, dead)
    return waiting


def test_what_is_taken_in_bit_by_bit_is_what_is_taken_in_at_once() -> None:
    blobs = [
        batch((1, 0, F, TaskState.PENDING_ARGS, 101.0, 101.5, None), waiting=[(F, TaskState.PENDING_ARGS, 1)]),
        batch(waiting=[(G, TaskState.PENDING_NODE, 5)], links=[(F, H)]),
        batch((9, 0, G, TaskState.PENDING_ARGS, 103.0, 103.5, None), waiting=[(G, TaskState.PENDING_ARGS, 1)]),
    ]
    slowly = WaitingTasks()
    for blob in blobs:
        slowly.take([blob])
    assert slowly.oldest == waiting_in(blobs).oldest == {(OWNER, "g"): 103.0}  # of f nothing waits any more
    assert slowly.makers == waiting_in(blobs).makers
    assert slowly.counts.keys() == {OWNER}
    slowly.take([], [OWNER])
    slowly.take([blobs[0]])  # it was under way when its owner died
    assert (slowly.counts, slowly.oldest) == ({}, {})


def test_the_newest_counts_of_an_owner_hold() -> None:
    blobs = [batch(waiting=[(F, TaskState.PENDING_NODE, 5)]), batch(waiting=[(F, TaskState.PENDING_ARGS, 2)])]
    ((source, state, count),) = waiting_in(blobs).counts[OWNER]
    assert (source.name, state, count) == ("f", TaskState.PENDING_ARGS, 2)


def test_a_batch_without_counts_changes_none() -> None:
    blobs = [batch(waiting=[(F, TaskState.PENDING_NODE, 5)]), batch((1, 0, F, TaskState.FAILED, 1.0, 2.0, "E: x"))]
    assert len(waiting_in(blobs).counts[OWNER]) == 1


def test_what_a_dead_owner_counted_waits_no_more() -> None:
    blobs = [batch(waiting=[(F, TaskState.PENDING_NODE, 5)])]
    assert waiting_in(blobs, [OWNER]).counts == {}


def test_the_oldest_task_without_arguments_is_known_by_function() -> None:
    rows: list[Row] = [(n, 0, F, TaskState.PENDING_ARGS, 100.0 + n, 200.0, None) for n in (3, 1, 2)]
    rows.append((9, 0, F, TaskState.PENDING_NODE, 5.0, 200.0, None))
    assert waiting_in([batch(*rows)]).oldest == {(OWNER, "f"): 101.0}


def test_functions_that_make_arguments_of_others_are_known_by_name() -> None:
    assert waiting_in([batch(links=[(F, H), (G, H)])]).makers == {"h": {"f", "g"}}


def test_states_of_a_function_are_summed() -> None:
    blobs = [batch(waiting=[(F, TaskState.PENDING_NODE, 5), (G, TaskState.PENDING_ARGS, 1)])]
    assert waiting_in(blobs).by_state("f") == {TaskState.PENDING_NODE: 5}


def test_batches_of_workers_and_damaged_ones_are_passed_over() -> None:
    ran = batch((1, 0, F, TaskState.FINISHED, 1.0, 2.0, None), worker=True)
    good = batch(waiting=[(F, TaskState.PENDING_NODE, 5)])
    found = waiting_in([ran, b"damaged", good[:-2], good])
    assert list(found.counts) == [OWNER]
