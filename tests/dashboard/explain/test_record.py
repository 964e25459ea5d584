"""A record is the same whatever order batches come in, and says what is missing."""

from __future__ import annotations

import numpy as np

from himalia.cluster.protocol.common import Cell
from himalia.cluster.telemetry.phases import Phase
from himalia.dashboard.explain.record import collect
from tests.dashboard.explain.paper import BEGAN, CELL, DRIVER, JOB, batches

TASKS = [("f", 0, 0.0, 1.0), ("g", 1, 0.5, 2.0), ("f", 1, 2.0, 3.0)]


def test_batches_may_come_twice_and_in_any_order() -> None:
    sent = batches(TASKS)
    for given in (sent, sent[::-1], [*sent, *sent]):
        found = collect(given, [CELL], DRIVER, slots=2.0)
        assert found.runs.counters.tolist() == [1, 2, 3]
        assert [found.functions[number].name for number in found.runs.functions] == ["f", "g", "f"]
        assert (found.begin, found.end, found.wall) == (BEGAN, BEGAN + 3.0, 3.0)


def test_a_cell_has_its_tasks_under_all_generations_of_its_name() -> None:
    again = Cell(JOB, CELL.execution, CELL.message_id, 1)
    found = collect([*batches(TASKS), *batches(TASKS, again, first=10, sequence=2)], [CELL], DRIVER, slots=2.0)
    assert len(found.runs) == 6


def test_work_of_others_is_known_within_the_cell_only() -> None:
    other = batches([("h", 0, -1.0, 0.5), ("h", 1, 5.0, 6.0)], Cell(JOB, 4, "n"), first=50, sequence=2)
    found = collect([*batches(TASKS), *other], [CELL], DRIVER, slots=2.0)
    assert [function.name for function in found.functions] == ["f", "g"]
    assert found.others == [(BEGAN, BEGAN + 0.5)]


def test_the_cell_lasts_until_its_last_task() -> None:
    found = collect(batches(TASKS), [CELL], DRIVER, slots=2.0, begin=BEGAN - 1.0, end=BEGAN + 1.0)
    assert (found.begin, found.end) == (BEGAN - 1.0, BEGAN + 3.0)


def test_phases_are_added_up_and_none_where_nothing_was_measured() -> None:
    sent = batches(TASKS)
    assert collect(sent, [CELL], DRIVER, slots=2.0).phases is None
    for batch in sent:
        batch.phases = [(0, Phase.RESULT, 2, 0.5, 100)]
        batch.intervals = [(0, Phase.ROOM, BEGAN + 0.1, 0.2)]
    found = collect(sent, [CELL], DRIVER, slots=2.0)
    assert found.phases is not None
    assert {(found.functions[n].name, phase): one.seconds for (n, phase), one in found.phases.items()} == {
        ("f", Phase.RESULT): 0.5,
        ("g", Phase.RESULT): 0.5,
    }
    assert np.allclose([wait.end - wait.begin for wait in found.waits], 0.2)


def test_nothing_at_all_is_a_record_too() -> None:
    found = collect([], [CELL], DRIVER, slots=2.0)
    assert (len(found.runs), found.wall, found.functions) == (0, 0.0, [])
