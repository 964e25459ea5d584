"""Rows become columns and come back."""

from __future__ import annotations

import threading
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from himalia.cluster.protocol.common import Cell
from himalia.cluster.telemetry.events import (
    ERROR_TEXT,
    Batch,
    Row,
    Source,
    TaskEventBuffer,
    TaskKind,
    TaskState,
    decode_batch,
    describe_error,
)

OWNER, WORKER, NODE = b"\x01owner__", b"\x01worker_", b"\x01node___"
F = Source("f", OWNER, b"\0\0\0\1", cell=Cell(b"\0\0\0\1", 3, "m"))
G = Source("A.g", OWNER, b"\0\0\0\1", TaskKind.ACTOR_METHOD, b"actor" * 3 + b"_")


def buffer(**more: int) -> TaskEventBuffer:
    return TaskEventBuffer(WORKER, NODE, 7, **more)  # type: ignore[arg-type]


def test_rows_come_back_as_columns_with_shared_sources_once() -> None:
    events = buffer()
    events.rows += [
        (1, 0, F, TaskState.FINISHED, 1.0, 2.0, None),
        (2, 0, G, TaskState.FAILED, 2.0, 3.0, "ValueError: no"),
        (3, 1, F, TaskState.FINISHED, 3.0, 4.0, None),
    ]
    message = events.flush(0.0)
    assert message is not None
    assert message.count == 3
    batch = decode_batch(message.blob)
    assert [source.name for source in batch.sources] == ["f", "A.g"]
    assert batch.sources[0].cell == F.cell
    assert batch.source_of == [0, 1, 0]
    assert batch.counters == [1, 2, 3]
    assert batch.extras == {1: "ValueError: no"}
    assert (batch.worker_id, batch.node_id, batch.pid, batch.is_owner) == (WORKER, NODE, 7, False)


def test_nothing_to_tell_is_no_message() -> None:
    assert buffer().flush(0.0) is None


def test_a_flush_empties_the_buffer_and_keeps_the_list() -> None:
    events = buffer()
    append = events.rows.append
    append((1, 0, F, 4, 1.0, 2.0, None))
    events.flush(0.0)
    append((2, 0, F, 4, 1.0, 2.0, None))
    message = events.flush(0.0)
    assert message is not None
    assert decode_batch(message.blob).counters == [2]


def test_what_comes_too_fast_is_dropped_and_counted_until_the_next_second() -> None:
    events = buffer(rate_limit=5)
    rows: list[Row] = [(n, 0, F, 4, 1.0, 2.0, None) for n in range(4)]
    events.rows += rows
    assert events.flush(10.0).dropped == 0  # type: ignore[union-attr]
    events.rows += rows
    message = events.flush(10.5)
    assert message is not None
    assert (message.count, message.dropped) == (1, 3)
    events.rows += rows
    assert events.flush(11.0).count == 4  # type: ignore[union-attr]


def test_rows_of_the_moment_go_with_the_others() -> None:
    message = buffer().flush(0.0, [(9, 0, F, TaskState.RUNNING, 1.0, 0.0, None)])
    assert message is not None
    assert decode_batch(message.blob).states == [TaskState.RUNNING]


def test_no_row_is_lost_between_threads() -> None:
    total = 50_000
    events = buffer(rate_limit=2 * total)  # what the limit drops is another test's subject

    def work() -> None:
        append = events.rows.append
        for number in range(total):
            append((number, 0, F, 4, 1.0, 2.0, None))

    thread = threading.Thread(target=work)
    thread.start()
    counters: list[int] = []
    while thread.is_alive() or events.rows:
        message = events.flush(0.0)
        if message is not None:
            counters += decode_batch(message.blob).counters
            events._left = total
    assert counters == list(range(total))


def test_an_error_is_described_in_one_bounded_line_of_text() -> None:
    assert describe_error(ValueError("no")) == "ValueError: no"
    assert len(describe_error(ValueError("x" * 10_000))) == len("ValueError: ") + ERROR_TEXT


def test_an_error_whose_text_fails_is_still_described() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert describe_error(Broken()) == "Broken: (its text cannot be shown)"


def test_another_format_is_refused() -> None:
    batch = Batch(99, False, WORKER, NODE, 7, [], [], [], [], [], [], [], {})
    with pytest.raises(msgspec.DecodeError, match="format 99"):
        decode_batch(msgspec.msgpack.encode(batch))


@pytest.mark.parametrize(
    ("counters", "source_of", "sources"), [([1], [], [F]), ([1], [1], [F]), ([1], [-1], [F]), ([1], [0], [])]
)
def test_columns_that_do_not_fit_together_are_refused(
    counters: list[int], source_of: list[int], sources: list[Source]
) -> None:
    batch = Batch(1, False, WORKER, NODE, 7, sources, counters, [0], source_of, [4], [1.0], [2.0], {})
    with pytest.raises(msgspec.DecodeError):
        decode_batch(msgspec.msgpack.encode(batch))


@given(st.binary(max_size=200))
def test_rubbish_is_refused(blob: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_batch(blob)


def test_a_task_costs_well_under_a_microsecond() -> None:
    best = float("inf")
    count = 8_192
    for _ in range(10):
        events = buffer()
        append = events.rows.append
        began = time.perf_counter()
        for number in range(count):
            append((number, 0, F, 4, 1.0, 2.0, None))
        events.flush(0.0)
        best = min(best, (time.perf_counter() - began) / count)
    assert best < 1e-6  # about 0.26 on an idle machine
