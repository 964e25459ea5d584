"""What a process writes down becomes batches, and nothing is lost in between."""

from __future__ import annotations

import threading
import time

from himalia.cluster.protocol.common import Cell
from himalia.cluster.protocol.core_messages import R_CANCELLED, R_ERROR, R_INLINE, R_RETURNED
from himalia.cluster.telemetry.buffer import RETELL, TaskEventBuffer
from himalia.cluster.telemetry.events import (
    Count,
    Source,
    TaskKind,
    TaskState,
    decode_batch,
)
from himalia.cluster.telemetry.phases import Phase, Sum

OWNER, WORKER, NODE = b"\x01owner__", b"\x01worker_", b"\x01node___"
F = Source("f", OWNER, b"\0\0\0\1", cell=Cell(b"\0\0\0\1", 3, "m"))
G = Source("A.g", OWNER, b"\0\0\0\1", TaskKind.ACTOR_METHOD, b"actor" * 3 + b"_")


def buffer(**more: int) -> TaskEventBuffer:
    return TaskEventBuffer(WORKER, NODE, 7, **more)  # type: ignore[arg-type]


def test_rows_come_back_as_columns_with_shared_sources_once() -> None:
    events = buffer()
    for row in (
        (1, 0, F, TaskState.FINISHED, 1.0, 2.0, None),
        (2, 0, G, TaskState.FAILED, 2.0, 3.0, "ValueError: no"),
        (3, 1, F, TaskState.FINISHED, 3.0, 4.5, None),
    ):
        events.add(row)
    message = events.flush(0.0)
    assert message is not None
    assert message.count == 3
    batch = decode_batch(message.blob)
    assert [source.name for source in batch.sources] == ["f", "A.g"]
    assert batch.sources[0].cell == F.cell
    assert batch.source_of == [0, 1, 0]
    assert batch.counters == [1, 2, 3]
    assert batch.attempts == [0, 0, 1]
    assert (batch.begins, batch.spans) == ([1.0, 2.0, 3.0], [1.0, 1.0, 1.5])
    assert batch.extras == {1: "ValueError: no"}
    assert (batch.worker_id, batch.node_id, batch.pid, batch.is_owner) == (WORKER, NODE, 7, False)


def test_what_the_hot_path_writes_is_made_a_row_at_the_flush() -> None:
    events = buffer()
    events.source_of = {"loaded f": F, "loaded g": G}.__getitem__
    events.clock = 100.0
    events.record(("loaded f", 1, 0, R_INLINE, 1.0, 0.25, "", 1))
    events.record(("loaded g", 2, 0, R_ERROR, 2.0, 0.5, "ValueError: no", 2))
    events.record(("loaded f", 3, 0, R_RETURNED, 2.0, 0.5, "", 3))
    batch = decode_batch(events.flush(0.0).blob)  # type: ignore[union-attr]
    assert batch.counters == [1, 2], "what was returned unstarted is none of this worker's"
    assert list(batch.states) == [TaskState.FINISHED, TaskState.FAILED]
    assert (batch.begins, batch.spans) == ([101.0, 102.0], [0.25, 0.5])
    assert [batch.sources[row[2]].name for row in batch.rows()] == ["f", "A.g"]
    assert batch.extras == {1: "ValueError: no"}


def test_rows_without_a_source_are_left_out_everywhere() -> None:
    events = buffer()
    events.source_of = {"silent": None, "loaded f": F}.__getitem__
    events.record(("silent", 1, 0, R_INLINE, 1.0, 0.25, "", 1))
    assert events.flush(0.0) is None
    events.record(("silent", 2, 0, R_INLINE, 1.0, 0.25, "", 2))
    events.record(("loaded f", 3, 0, R_INLINE, 1.0, 0.25, "", 3))
    batch = decode_batch(events.flush(0.0).blob)  # type: ignore[union-attr]
    assert (batch.counters, batch.totals) == ([3], [(0, Count.FINISHED, 1, 0.25)])


def test_what_the_process_counted_while_a_task_ran_are_its_children() -> None:
    events = buffer()
    events.next_child = lambda first: 30
    for counter, first in ((1, 10), (2, 11), (3, 15)):
        events.record((F, counter, 0, R_INLINE, 1.0, 0.25, "", first))
    batch = decode_batch(events.flush(0.0).blob)  # type: ignore[union-attr]
    assert batch.children == [(0, 2, 11, 15), (0, 3, 15, 30)]


def test_nothing_to_tell_is_no_message() -> None:
    assert buffer().flush(0.0) is None


def test_a_flush_empties_the_buffer_and_keeps_the_list() -> None:
    events = buffer()
    record = events.record
    record((F, 1, 0, R_INLINE, 1.0, 2.0, "", 0))
    events.flush(0.0)
    record((F, 2, 0, R_INLINE, 1.0, 2.0, "", 0))
    message = events.flush(0.0)
    assert message is not None
    assert decode_batch(message.blob).counters == [2]


def write(events: TaskEventBuffer, count: int) -> None:
    for number in range(count):
        events.record((F, number, 0, R_INLINE, 1.0, 2.0, "", 0))


def test_what_comes_too_fast_is_dropped_and_counted_until_the_next_second() -> None:
    events = buffer(rate_limit=5)
    write(events, 4)
    assert events.flush(10.0).dropped == 0  # type: ignore[union-attr]
    write(events, 4)
    message = events.flush(10.5)
    assert message is not None
    assert (message.count, message.dropped) == (1, 3)
    batch = decode_batch(message.blob)
    assert batch.totals == [(0, Count.FINISHED, 8, 16.0)], "in the totals is also what was dropped"
    write(events, 4)
    assert events.flush(11.0).count == 4  # type: ignore[union-attr]


def test_each_batch_has_the_totals_of_its_sources_since_the_process_began() -> None:
    events = buffer()
    write(events, 3)
    first = decode_batch(events.flush(0.0).blob)  # type: ignore[union-attr]
    assert first.totals == [(0, Count.FINISHED, 3, 6.0)]
    write(events, 2)
    events.record((G, 7, 0, R_ERROR, 1.0, 0.5, "E: x", 0))
    events.record((F, 8, 0, R_CANCELLED, 1.0, 0.5, "", 0))
    second = decode_batch(events.flush(0.0).blob)  # type: ignore[union-attr]
    assert second.totals == [(0, Count.FINISHED, 5, 10.0), (1, Count.FAILED, 1, 0.5)]
    assert second.sequence == first.sequence + 1


def test_totals_are_told_once_more_while_there_is_news() -> None:
    events = buffer()
    write(events, 3)
    events.flush(0.0)
    events.record((G, 7, 0, R_INLINE, 1.0, 0.5, "", 0))
    assert decode_batch(events.flush(5.0).blob).totals == [(0, Count.FINISHED, 1, 0.5)]  # type: ignore[union-attr]
    events.record((G, 8, 0, R_INLINE, 1.0, 0.5, "", 0))
    again = decode_batch(events.flush(RETELL).blob)  # type: ignore[union-attr]
    assert {(again.sources[of].name, count) for of, _, count, _ in again.totals} == {("f", 3), ("A.g", 2)}
    assert events.flush(3 * RETELL) is None, "without news nothing is told"


def test_links_are_told_once() -> None:
    events = buffer(is_owner=True)  # type: ignore[arg-type]
    events.link(F, G)
    events.link(F, G)
    batch = decode_batch(events.flush(0.0).blob)  # type: ignore[union-attr]
    assert [(batch.sources[made].name, batch.sources[used].name) for made, used in batch.links] == [("f", "A.g")]
    events.link(F, G)
    assert events.flush(0.0) is None


def test_a_source_without_a_row_is_still_named_for_its_total() -> None:
    events = buffer(is_owner=True)  # type: ignore[arg-type]
    events.count(G, Count.RETRIED, 2)
    batch = decode_batch(events.flush(0.0).blob)  # type: ignore[union-attr]
    assert [source.name for source in batch.sources] == ["A.g"]
    assert batch.totals == [(0, Count.RETRIED, 2, 0.0)]


def test_what_waits_is_told_until_it_is_nothing() -> None:
    events = buffer(is_owner=True)  # type: ignore[arg-type]
    events.waiting = [(F, TaskState.PENDING_NODE, 9)]
    batch = decode_batch(events.flush(0.0).blob)  # type: ignore[union-attr]
    assert batch.waiting == [(0, TaskState.PENDING_NODE, 9)]
    assert events.flush(0.0) is None, "did not look"
    events.waiting = []
    assert decode_batch(events.flush(0.0).blob).waiting == []  # type: ignore[union-attr]
    events.waiting = []
    assert events.flush(0.0) is None, "there is still nothing"


def test_rows_of_the_moment_go_with_the_others() -> None:
    events = buffer()
    write(events, 1)
    message = events.flush(0.0, [(9, 0, G, TaskState.RUNNING, 1.0, 0.0, None)])
    assert message is not None
    batch = decode_batch(message.blob)
    assert list(batch.states) == [TaskState.FINISHED, TaskState.RUNNING]
    assert batch.source_of == [0, 1]
    assert batch.spans[1] < 0


def test_no_row_is_lost_between_threads() -> None:
    total = 50_000
    events = buffer(rate_limit=2 * total)  # what the limit drops is another test's subject

    def work() -> None:
        record = events.record
        for number in range(total):
            record((F, number, 0, R_INLINE, 1.0, 2.0, "", 0))

    thread = threading.Thread(target=work)
    thread.start()
    counters: list[int] = []
    while thread.is_alive() or events.rows:
        message = events.flush(0.0)
        if message is not None:
            counters += decode_batch(message.blob).counters
            events._left = total
    assert counters == list(range(total))


def test_a_task_costs_well_under_a_microsecond() -> None:
    best = float("inf")
    count = 8_192
    for _ in range(10):
        events = buffer()
        record = events.record
        began = time.perf_counter()
        for number in range(count):
            record((F, number, 0, R_INLINE, 1.0, 2.0, "", 0))
        events.flush(0.0)
        best = min(best, (time.perf_counter() - began) / count)
    assert best < 1e-6  # about 0.2 on an idle machine


def test_what_was_measured_travels_with_the_rows_by_source() -> None:
    events = buffer()
    events.clock = 100.0
    events.phases = lambda: (
        {(G, Phase.RESULT): Sum(2, 0.5, 7), (F, Phase.LOAD): Sum(1, 0.25), (None, Phase.READ): Sum(1, 9.0)},
        [(F, Phase.LOAD, 3.0, 0.25), (None, Phase.READ, 3.0, 9.0)],
    )
    events.add((1, 0, F, TaskState.FINISHED, 101.0, 102.0, None))
    batch = decode_batch(events.flush(0.0).blob)  # type: ignore[union-attr]
    phases = {(batch.sources[of].name, Phase(phase)): (*rest,) for of, phase, *rest in batch.phases}
    assert phases == {("A.g", Phase.RESULT): (2, 0.5, 7), ("f", Phase.LOAD): (1, 0.25, 0)}
    assert [(batch.sources[of].name, phase, begin, span) for of, phase, begin, span in batch.intervals] == [
        ("f", Phase.LOAD, 103.0, 0.25)
    ]


def test_what_was_measured_is_news_also_without_rows() -> None:
    events = buffer()
    assert events.flush(0.0) is None
    events.phases = lambda: ({(F, Phase.RESULT): Sum(1, 0.5)}, [])
    assert events.flush(0.0) is not None
