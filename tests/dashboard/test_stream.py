"""Bars that are fewer and fill the same time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from himalia.cluster.telemetry.events import TaskState
from himalia.dashboard.stream import Bars, coarser

BAR = st.tuples(
    st.integers(0, 3),  # worker
    st.integers(0, 2),  # group
    st.floats(0, 1),  # begin
    st.floats(0, 0.2),  # span
    st.sampled_from([int(TaskState.FINISHED), int(TaskState.FAILED)]),
    st.integers(1, 50),
)


Row = tuple[int, int, float, float, int, int]


def bars_of(rows: list[Row]) -> Bars:
    bars = Bars.none()
    for number, (worker, group, begin, span, state, count) in enumerate(rows):
        bars.extend(Bars([worker], [group], [begin], [begin + span], [state], [count], [span], [f"task{number}"]))
    return bars


def summed(of: Bars, column: str, chosen: tuple[int, int, int]) -> float:
    picked = zip(of.workers, of.groups, of.states, getattr(of, column), strict=True)
    return sum(value for *one, value in picked if tuple(one) == chosen)


@given(st.lists(BAR, max_size=40), st.sampled_from([0.01, 0.1, 1.0]))
def test_tasks_and_the_time_that_they_ran_stay(
    rows: list[tuple[int, int, float, float, int, int]], width: float
) -> None:
    bars = bars_of(rows)
    fewer = coarser(bars, width)
    assert len(fewer) <= len(bars)
    for worker in range(4):
        for group in range(3):
            for state in (TaskState.FINISHED, TaskState.FAILED):
                chosen = worker, group, state
                assert summed(fewer, "counts", chosen) == summed(bars, "counts", chosen)
                assert summed(fewer, "busy", chosen) == pytest.approx(summed(bars, "busy", chosen))


def test_bars_of_a_span_lie_behind_each_other_and_leave_room_for_idle_time() -> None:
    finished = int(TaskState.FINISHED)
    rows = [(0, group, 0.01 * step, 0.004, finished, 1) for step in range(10) for group in (0,)]
    rows += [(0, 1, 0.01 * step + 0.005, 0.002, finished, 1) for step in range(10)]
    fewer = coarser(bars_of(rows), 0.1)
    assert fewer.begins == pytest.approx([0.0, 0.04])
    assert fewer.ends == pytest.approx([0.04, 0.06])
    assert fewer.counts == [10, 10]
    assert fewer.task_ids == ["", ""]


def test_long_bars_stay() -> None:
    bars = bars_of([(0, 0, 0.0, 0.5, int(TaskState.FINISHED), 1), (0, 0, 0.5, 0.001, int(TaskState.FINISHED), 1)])
    fewer = coarser(bars, 0.1)
    assert fewer.task_ids == ["task0", "task1"]
