"""Spans out of batches of events: once each, with the right parent, whatever comes first."""

from __future__ import annotations

import itertools

import pytest

from himalia.cluster.protocol.common import Cell
from himalia.cluster.telemetry.buffer import TaskEventBuffer
from himalia.cluster.telemetry.events import Batch, Children, Row, Source, TaskState, decode_batch
from himalia.cluster.telemetry.spans import SETTLED, Span, SpanFeed

OWNER, WORKER, NODE = b"\x01owner__", b"\x01worker_", b"\x01node___"
CELL = Cell(b"\0\0\0\1", 5, "message")
F = Source("parent", OWNER, CELL.job_id, cell=CELL)
CHILD = Source("child", WORKER, CELL.job_id, cell=CELL)
ALL = float("inf")


def batch(*rows: Row, children: list[Children] | None = None) -> Batch:
    events = TaskEventBuffer(WORKER, NODE, 7)
    for row in rows:
        events.add(row)
    events.children += children or []
    message = events.flush(0.0)
    assert message is not None
    return decode_batch(message.blob)


PARENT = batch((1, 0, F, TaskState.FINISHED, 3.0, 9.0, None), children=[(F, 1, 10, 12)])
CHILDREN = batch(
    (10, 0, CHILD, TaskState.FINISHED, 4.0, 5.0, None), (11, 0, CHILD, TaskState.FAILED, 5.0, 6.0, "ValueError: no")
)


def spans_of(*batches: Batch) -> dict[str, Span]:
    feed = SpanFeed("cluster")
    feed.take(batches, 0.0)
    return {f"{span.name} {span.start:g}": span for span in feed.due(ALL)}


@pytest.mark.parametrize("order", [*itertools.permutations([PARENT, CHILDREN])])
def test_children_are_beneath_their_parent_in_the_trace_of_the_cell(order: tuple[Batch, ...]) -> None:
    spans = spans_of(*order)
    parent, good, bad = spans["parent 3"], spans["child 4"], spans["child 5"]
    assert parent.parent == b""
    assert good.parent == bad.parent == parent.span_id
    assert {len(span.trace_id) for span in spans.values()} == {16}
    assert len({span.trace_id for span in spans.values()}) == 1
    assert len({span.span_id for span in spans.values()}) == 3
    assert (good.start, good.end, good.error) == (4.0, 5.0, "")
    assert bad.error == "ValueError: no"
    assert parent.attributes["himalia.cell"] == 5
    assert parent.attributes["process.pid"] == 7


def test_cells_jobs_and_clusters_have_traces_of_their_own() -> None:
    def trace(source: Source, cluster: str = "cluster") -> bytes:
        feed = SpanFeed(cluster)
        feed.take([batch((1, 0, source, TaskState.FINISHED, 1.0, 2.0, None))], 0.0)
        (span,) = feed.due(ALL)
        return span.trace_id

    other_cell = Source("f", OWNER, CELL.job_id, cell=Cell(CELL.job_id, 6, "other"))
    script = Source("f", OWNER, CELL.job_id)
    other_job = Source("f", OWNER, b"\0\0\0\2")
    traces = [trace(F), trace(other_cell), trace(script), trace(other_job), trace(F, "another")]
    assert len(set(traces)) == len(traces)
    assert trace(F) == traces[0], "whoever exports it again tells the same"


def test_a_span_is_told_once_and_not_before_the_word_of_others_has_come() -> None:
    feed = SpanFeed("cluster")
    feed.take([CHILDREN], 10.0)
    assert feed.due(10.0 + SETTLED / 2) == []
    feed.take([PARENT], 10.0 + SETTLED / 2)
    assert [span.name for span in feed.due(10.0 + SETTLED)] == ["child", "child"]
    feed.take([CHILDREN, PARENT], 11.0 + SETTLED)
    assert [span.name for span in feed.due(ALL)] == ["parent"]
    assert feed.due(ALL) == []


def test_what_runs_or_never_ran_has_no_span() -> None:
    runs = batch((1, 0, F, TaskState.RUNNING, 3.0, 0.0, None))
    assert spans_of(runs) == {}


def test_attempts_are_spans_beside_one_another() -> None:
    first = batch((1, 0, F, TaskState.FAILED, 3.0, 4.0, "OSError: once"))
    second = batch((1, 1, F, TaskState.FINISHED, 5.0, 6.0, None))
    spans = spans_of(first, second)
    assert [span.attributes["himalia.attempt"] for span in spans.values()] == [0, 1]
    assert len({span.span_id for span in spans.values()}) == 2
