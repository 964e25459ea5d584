"""The critical path leads from the cell's end to its begin without a gap."""

from __future__ import annotations

from itertools import pairwise

import pytest

from himalia.cluster.telemetry.phases import Phase
from himalia.dashboard.explain.path import Kind, Step, coarse, critical_path
from tests.dashboard.explain.paper import record, waiting


def steps(*arguments: object, **named: object) -> list[tuple[str, str, int, float]]:
    path = critical_path(record(*arguments, **named))  # type: ignore[arg-type]
    assert all(step.begin == pytest.approx(before.end) for before, step in pairwise(path))
    return [(str(step.kind), step.name, step.tasks, round(step.seconds, 3)) for step in path]


def test_a_chain_is_its_path() -> None:
    tasks = [("f", 0, 0.0, 1.0), ("g", 1, 1.0, 2.0), ("h", 0, 2.0, 3.0), ("short", 1, 0.0, 0.5)]
    edges = {2: (1,), 3: (2, 4)}
    assert steps(tasks, 3.0, driver=waiting((0.001, 3.0)), edges=edges) == [
        (Kind.TASK, "f", 1, 1.0),
        (Kind.TASK, "g", 1, 1.0),
        (Kind.TASK, "h", 1, 1.0),
    ]


def test_tasks_that_waited_for_a_slot_follow_who_held_it() -> None:
    tasks = [("f", 0, 0.0, 1.0), ("f", 0, 1.0, 2.0), ("f", 0, 2.0, 3.0)]
    assert steps(tasks, 3.0, 1.0, driver=waiting((0.001, 3.0))) == [(Kind.TASK, "f", 3, 3.0)]


def test_a_slot_may_have_been_that_of_another_worker() -> None:
    tasks = [("f", 0, 0.0, 1.0), ("f", 1, 0.0, 1.2), ("f", 2, 1.0, 2.0)]
    assert steps(tasks, 2.0, 2.0, driver=waiting((0.001, 2.0))) == [(Kind.TASK, "f", 2, 2.0)]


def test_the_driver_is_on_the_path_where_it_did_not_wait() -> None:
    tasks = [("f", 0, 1.0, 2.0), ("f", 0, 3.0, 4.0)]
    marks = [(0.0, 0), (1.0, 1), (3.0, 2)]
    found = steps(tasks, 4.5, 1.0, submitted=marks, driver=waiting((1.001, 2.0), (3.001, 4.0)))
    assert found == [
        (Kind.DRIVER, "", 0, 1.0),
        (Kind.TASK, "f", 1, 1.0),
        (Kind.DRIVER, "", 0, 1.0),
        (Kind.TASK, "f", 1, 1.0),
        (Kind.DRIVER, "", 0, 0.5),
    ]


def test_waiting_for_a_worker_is_a_step() -> None:
    tasks = [("f", 0, 2.0, 3.0)]
    assert steps(tasks, 3.0, driver=[(Phase.BLOCKED, 0.001, 3.0)])[0][0] == Kind.WAIT


def test_of_a_cell_that_was_not_measured_the_path_leads_over_ends() -> None:
    made = record([("f", 0, 0.0, 1.0), ("g", 1, 1.2, 2.0)], 2.0)
    made.driver = None
    assert [step.name for step in critical_path(made) if step.kind is Kind.TASK] == ["f", "g"]


def test_a_path_is_made_coarse_without_losing_time() -> None:
    tasks = [("f" if n % 3 else "g", 0, 0.1 * n, 0.1 * n + 0.05 + 0.001 * n) for n in range(40)]
    marks = [(0.0, 0), *((0.1 * n, n + 1) for n in range(40))]
    waits = waiting(*((0.1 * n, 0.1 * n + 0.05 + 0.001 * n) for n in range(40)))
    fine = critical_path(record(tasks, 4.0, 1.0, submitted=marks, driver=waits))
    few = coarse(fine, 8)
    assert len(few) <= 8 < len(fine)
    assert (few[0].begin, few[-1].end) == (fine[0].begin, fine[-1].end)
    assert sum(step.seconds for step in few) == pytest.approx(4.0)
    assert coarse(few, 8) == few


def test_what_is_too_short_to_be_seen_parts_no_steps() -> None:
    path = [Step(Kind.DRIVER, 0.0, 1.0), Step(Kind.TASK, 1.0, 1.000_1, "f", 1), Step(Kind.DRIVER, 1.000_1, 1.5)]
    assert coarse(path, 8) == [Step(Kind.DRIVER, 0.0, 1.5)]
