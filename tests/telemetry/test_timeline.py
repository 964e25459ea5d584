"""Records as a Chrome trace."""

from __future__ import annotations

import json

from himalia.cluster.protocol.common import Cell
from himalia.cluster.telemetry.events import Source, TaskState
from himalia.cluster.telemetry.records import TaskRecord
from himalia.cluster.telemetry.timeline import chrome_trace

F = Source("named", b"\x01owner__", b"\0\0\0\1", cell=Cell(b"\0\0\0\1", 3), function="module.f")


def record(number: int, **more: object) -> TaskRecord:
    task_id = F.owner + number.to_bytes(8, "big")
    return TaskRecord(task_id, 0, F, node_id=b"\x01n", worker_id=b"\x01w", pid=7, **more)  # type: ignore[arg-type]


def test_a_task_is_a_span_on_the_row_of_its_worker() -> None:
    events = chrome_trace([record(1, state=TaskState.FINISHED, started=10.0, ended=10.5)], now=20.0)
    (span,) = [event for event in events if event["ph"] == "X"]
    assert (span["ts"], span["dur"]) == (10_000_000, 500_000)
    assert (span["name"], span["cat"]) == ("named", "task::module.f")
    assert (span["pid"], span["tid"]) == ("node:016e", "worker:0177")
    assert span["args"]["cell"] == 3
    assert span["args"]["state"] == "FINISHED"


def test_rows_are_named_once() -> None:
    events = chrome_trace([record(n, started=1.0, ended=2.0) for n in range(3)], now=20.0)
    assert [event["name"] for event in events if event["ph"] == "M"] == ["process_name", "thread_name"]


def test_what_runs_ends_now() -> None:
    events = chrome_trace([record(1, state=TaskState.RUNNING, started=10.0)], now=12.0)
    assert [event["dur"] for event in events if event["ph"] == "X"] == [2_000_000]


def test_what_never_ran_is_left_out() -> None:
    assert chrome_trace([record(1, state=TaskState.PENDING_NODE, submitted=1.0)], now=2.0) == []


def test_an_arrow_leads_from_the_submission() -> None:
    events = chrome_trace([record(1, submitted=1.0, started=2.0, ended=3.0)], now=4.0)
    start, finish = (event for event in events if event["ph"] in "sf")
    assert (start["ts"], finish["ts"]) == (1_000_000, 2_000_000)
    assert start["id"] == finish["id"]
    assert start["tid"] == "worker:016f776e65725f5f"


def test_a_trace_is_json() -> None:
    assert json.loads(json.dumps(chrome_trace([record(1, started=1.0)])))
