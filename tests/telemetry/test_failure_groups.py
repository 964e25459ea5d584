"""Failures of a process become kinds with a count, one traceback, and bounds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from himalia.cluster.protocol.common import Cell
from himalia.cluster.protocol.failure_messages import FailureGroup
from himalia.cluster.telemetry.failure_groups import CELLS, TRACEBACK, FailureGroups

JOB, TASK = b"job1", b"t" * 16


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def groups(clock: Clock) -> FailureGroups:
    return FailureGroups(b"\x01worker_", b"\x01node___", clock)


def decode(text: str) -> Any:
    return json.loads(text)


def divide(by: int) -> float:
    return 1 / by


def fail(groups: FailureGroups, call: Any, function: str = "f", cell: int = 0, job: bytes = JOB) -> None:
    try:
        call()
    except Exception as error:
        groups.raised(job, function, Cell(job, cell) if cell else None, TASK, error)


def taken(groups: FailureGroups) -> list[FailureGroup]:
    report = groups.take()
    return report.groups if report is not None else []


def test_nothing_is_told_where_nothing_failed(groups: FailureGroups) -> None:
    assert groups.take() is None


def test_failures_that_are_alike_are_one_kind(groups: FailureGroups, clock: Clock) -> None:
    for cell in (3, 4, 3):
        fail(groups, lambda: divide(0), cell=cell)
        clock.now += 1.0
    (group,) = taken(groups)
    assert (group.error, group.function, group.count) == ("ZeroDivisionError", "f", 3)
    assert (group.first, group.last, group.cells) == (1000.0, 1002.0, [3, 4])
    assert (group.message, group.task_id, group.job_id) == ("division by zero", TASK, JOB)
    assert "return 1 / by" in group.traceback
    assert groups.take() is None


def test_the_place_is_that_of_the_users_code_and_not_of_the_library_that_raised(groups: FailureGroups) -> None:
    fail(groups, lambda: decode("{"))
    (group,) = taken(groups)
    assert (group.file, group.frame) == (__file__, "decode")
    assert group.line == decode.__code__.co_firstlineno + 1
    assert "json" in group.traceback  # the whole of it


@pytest.mark.parametrize(
    "other",
    [
        {"call": lambda: decode("{")},
        {"function": "g"},
        {"job": b"job2"},
    ],
)
def test_what_differs_is_another_kind(groups: FailureGroups, other: dict[str, Any]) -> None:
    fail(groups, lambda: divide(0))
    fail(groups, **{"call": lambda: divide(0), **other})
    assert len(taken(groups)) == 2


def test_a_traceback_is_sent_once_a_minute(groups: FailureGroups, clock: Clock) -> None:
    told = []
    for seconds in (0.0, 1.0, 30.0, 31.0):
        clock.now += seconds
        fail(groups, lambda: divide(0))
        told.append(bool(taken(groups)[0].traceback))
    assert told == [True, False, False, True]


def test_a_long_traceback_keeps_its_beginning_and_its_end(groups: FailureGroups) -> None:
    def recurse(depth: int) -> None:
        if depth:
            exec(f"recurse({depth - 1})", {"recurse": recurse})
        raise ValueError("x" * 9_000)

    fail(groups, lambda: recurse(60))
    (group,) = taken(groups)
    assert len(group.traceback) < TRACEBACK + 100
    assert group.traceback.startswith("Traceback")
    assert "characters are left out" in group.traceback
    assert len(group.message) <= 500


def test_an_error_that_can_not_be_shown_is_counted_all_the_same(groups: FailureGroups) -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def call() -> None:
        raise Broken

    fail(groups, call)
    (group,) = taken(groups)
    assert group.message == "(its text cannot be shown)"


def test_a_worker_that_died_is_a_kind_without_a_place(groups: FailureGroups) -> None:
    for pid in (1, 2):
        groups.ended(JOB, "f", None, TASK, f"WorkerCrashedError: pid {pid}: it is gone")
    (group,) = taken(groups)
    assert (group.error, group.count, group.file, group.line) == ("WorkerCrashedError", 2, "", 0)
    assert group.message == "pid 2: it is gone"
    assert group.traceback == "WorkerCrashedError: pid 1: it is gone"


def test_of_too_many_kinds_the_rest_is_a_number(groups: FailureGroups) -> None:
    for number in range(150):
        fail(groups, lambda: divide(0), function=f"f{number}")
    report = groups.take()
    assert report is not None
    assert (len(report.groups), report.others) == (100, 50)


def test_a_flood_is_counted_without_being_looked_at(groups: FailureGroups) -> None:
    for _ in range(10_050):
        fail(groups, lambda: divide(0))
    report = groups.take()
    assert report is not None
    assert (report.groups[0].count, report.others) == (10_000, 50)


def test_of_many_cells_the_first_are_named(groups: FailureGroups) -> None:
    for cell in range(1, 100):
        fail(groups, lambda: divide(0), cell=cell)
    (group,) = taken(groups)
    assert group.cells == list(range(1, CELLS + 1))
