"""Rows of tasks: recorded, and known to their owner."""

from __future__ import annotations

from typing import Any

import pytest

from himalia.cluster.protocol.common import Cell
from himalia.cluster.protocol.ids import make_task_id
from himalia.cluster.telemetry.events import Source, TaskKind, TaskState
from himalia.cluster.telemetry.records import TaskRecord
from himalia.kernel_ext.own_tasks import PendingTask
from himalia.kernel_ext.task_rows import by_name, counted, label, listed, merge, seconds

OWNER = b"\xaa" * 8
OTHER = b"\xbb" * 8
JOB = b"job"


def _recorded(number: int, state: TaskState, owner: bytes = OWNER, name: str = "f", **more: Any) -> TaskRecord:
    source = Source(name, owner, TaskKind.NORMAL, JOB)
    return TaskRecord(make_task_id(owner, number), more.pop("attempt", 0), source, state, pid=7, **more)


def _pending(number: int, state: str) -> PendingTask:
    return PendingTask(number, "f", state, Cell(JOB, 3), 9, None)  # type: ignore[arg-type]


def test_what_the_owner_knows_better_and_what_the_worker_saw() -> None:
    recorded = [
        _recorded(1, TaskState.FINISHED, started=5.0, ended=5.002),
        _recorded(2, TaskState.PENDING_NODE),
        _recorded(3, TaskState.RUNNING),
        _recorded(1, TaskState.FINISHED, OTHER),
    ]
    rows = merge(recorded, [_pending(2, "running"), _pending(3, "pending"), _pending(4, "pending")], OWNER, JOB)
    assert [(row.number, row.state) for row in rows if row.owner == OWNER] == [
        (4, "pending"),
        (3, "running"),
        (2, "running"),
        (1, "finished"),
    ]
    assert rows[-1].owner == OTHER
    assert rows[0].cell == 3


def test_counts_and_times_by_name() -> None:
    recorded = [_recorded(i, TaskState.FINISHED, started=5.0, ended=5.0 + i / 1000) for i in (1, 3)]
    recorded += [_recorded(5, TaskState.CANCELLED), _recorded(6, TaskState.FAILED, name="g")]
    rows = merge(recorded, [], OWNER, JOB)
    assert counted(rows) == "4 tasks: 2 finished, 1 failed, 1 cancelled"
    assert counted([]) == "0 tasks"
    assert by_name(rows, 10).rows == [["f", "", "", "2", "", "1", "2 ms"], ["g", "", "", "", "1", "", ""]]


def test_a_row_shows_the_attempt_and_how_long_it_runs_already() -> None:
    rows = merge([_recorded(2, TaskState.RUNNING, attempt=1, started=1.0)], [], OWNER, JOB)
    assert listed(rows, OWNER, now=4.5).rows == [["2", "f (try 2)", "running", "", "3.5 s", "7", ""]]


def test_labels_name_the_owner_only_where_it_is_another() -> None:
    assert label(OWNER, 5, OWNER) == "5"
    assert label(OTHER, 5, OWNER) == f"{OTHER.hex()}:5"


@pytest.mark.parametrize(
    ("value", "text"),
    [(2e-6, "2 µs"), (0.0123, "12.3 ms"), (0.0999, "0.1 s"), (59.9, "59.9 s"), (61, "1 min 1 s"), (7260, "2 h 1 min")],
)
def test_durations(value: float, text: str) -> None:
    assert seconds(value) == text
