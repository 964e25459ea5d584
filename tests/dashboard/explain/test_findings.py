"""Each cause is found where it was planted, first of all, and nothing where nothing is wrong."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from himalia.cluster.protocol.common import Cell
from himalia.cluster.telemetry.phases import Phase, Sum
from himalia.dashboard.explain.accounting import Cause, account
from himalia.dashboard.explain.findings import Diagnosis, diagnose
from himalia.dashboard.explain.record import CellRecord, Function, GpuSample, Wait
from himalia.kernel_ext.explain_view import explain_bundle
from tests.dashboard.explain.paper import BEGAN, JOB, Task, batches, causes, record, waiting


def even(count: int, seconds: float, workers: int = 2, name: str = "f") -> list[Task]:
    """Tasks of one length, one behind the other on each worker."""
    return [(name, n % workers, n // workers * seconds, (n // workers + 1) * seconds) for n in range(count)]


def clean() -> CellRecord:
    return record(even(40, 0.1), 2.0, driver=waiting((0.001, 2.0)))


def straggler() -> CellRecord:
    tasks = [*even(20, 0.1), ("f", 0, 1.0, 3.0)]
    return record(tasks, 3.0, driver=waiting((0.001, 3.0)))


def tiny() -> CellRecord:
    tasks = [("f", n % 2, 0.000_1 * n, 0.000_1 * n + 0.000_01) for n in range(5_000)]
    return record(tasks, 0.5, submitted=[(0.0, 0), (0.49, 5_000)], driver=[(Phase.SUBMIT, 0.0, 0.49)])


def pickling() -> CellRecord:
    """The driver takes 0.3 s to pickle what a task of 0.1 s gets."""
    tasks = [("f", n % 2, 0.3 * (n + 1), 0.3 * (n + 1) + 0.1) for n in range(6)]
    marks = [(0.0, 0), *((0.3 * (n + 1), n + 1) for n in range(6))]
    return record(tasks, 1.9, submitted=marks, driver=[(Phase.PUT, 0.3 * n, 0.3 * (n + 1)) for n in range(6)])


def unpickling() -> CellRecord:
    return record(even(20, 0.1), 1.0, driver=waiting((0.001, 1.0)), phases={("f", Phase.ARGUMENTS): (20, 1.4)})


def chain() -> CellRecord:
    tasks = [("f", 0, 0.1 * n, 0.1 * (n + 1)) for n in range(10)]
    edges = {n: (n - 1,) for n in range(2, 11)}
    return record(tasks, 1.0, driver=waiting((0.001, 1.0)), edges=edges)


def one_by_one() -> CellRecord:
    tasks = [("f", 0, 0.1 * n, 0.1 * n + 0.099) for n in range(10)]
    marks = [(0.0, 0), *((0.1 * n, n + 1) for n in range(10))]
    return record(
        tasks, 1.0, submitted=marks, driver=waiting(*((0.1 * n + 0.000_5, 0.1 * n + 0.099) for n in range(10)))
    )


def few() -> CellRecord:
    return record([("f", 0, 0.0, 2.0)], 2.0, slots=4, driver=waiting((0.001, 2.0)))


def own_code() -> CellRecord:
    """The cell computes for two seconds before it submits."""
    tasks = [(name, worker, begin + 2.0, end + 2.0) for name, worker, begin, end in even(4, 0.1)]
    made = record(tasks, 2.2, submitted=[(2.0, 0), (2.000_1, 4)], driver=waiting((2.001, 2.2)))
    assert made.driver is not None
    made.driver.lines, made.driver.places = {5: 1.9, 6: 0.1}, {"line 5 of the cell": 1.9}
    return made


def no_room() -> CellRecord:
    made = record(even(4, 1.0), 2.0, driver=waiting((0.001, 2.0)))
    made.waits = [Wait(0, Phase.ROOM, BEGAN + at + 0.1, BEGAN + at + 0.9) for at in (0.0, 0.0, 1.0, 1.0)]
    made.phases = {}
    made.spilled = 10**9
    return made


def fresh_memory() -> CellRecord:
    """They wait for room, and nothing is spilled: the memory is touched for the first time."""
    made = no_room()
    made.spilled = 0
    made.phases = {(0, Phase.ROOM): Sum(4, 3.2)}
    return made


def fetching() -> CellRecord:
    made = record(even(4, 1.0), 2.0, driver=waiting((0.001, 2.0)))
    made.waits = [Wait(0, Phase.FETCH, BEGAN + at + 0.1, BEGAN + at + 0.9) for at in (0.0, 0.0, 1.0, 1.0)]
    made.phases = {(0, Phase.FETCH): Sum(4, 3.2, 10**9)}
    return made


def no_worker() -> CellRecord:
    """Tasks of two CPUs each, though two CPUs are free on one node only: they run one by one."""
    tasks = [("f", 0, 0.5 * n, 0.5 * (n + 1)) for n in range(6)]
    return record(tasks, 3.0, slots=4, driver=waiting((0.001, 3.0)), known={"f": Function("f", 2.0)})


def loading() -> CellRecord:
    return record(even(4, 0.5), 1.0, driver=waiting((0.001, 1.0)), phases={("f", Phase.LOAD): (2, 0.8)})


def sleeping() -> CellRecord:
    phases = {("f", Phase.ON_CPU): (8, 0.1), ("f", Phase.HELD_UP): (8, 0.1)}
    return record(even(20, 0.1), 1.0, driver=waiting((0.001, 1.0)), phases=phases)


PLANTED = [
    (straggler, Cause.STRAGGLER),
    (tiny, Cause.OVERHEAD),
    (pickling, Cause.SERIALIZATION),
    (unpickling, Cause.SERIALIZATION),
    (chain, Cause.DEPENDENCIES),
    (one_by_one, Cause.PARALLELISM),
    (few, Cause.PARALLELISM),
    (own_code, Cause.DRIVER),
    (no_room, Cause.SPILL),
    (fresh_memory, Cause.TRANSFER),
    (fetching, Cause.TRANSFER),
    (no_worker, Cause.SCHEDULING),
    (loading, Cause.LOADING),
    (sleeping, Cause.WAITING),
]


@pytest.mark.parametrize(("make", "cause"), PLANTED, ids=[make.__name__ for make, _ in PLANTED])
def test_the_planted_cause_comes_first(make: object, cause: Cause) -> None:
    made = make()  # type: ignore[operator]
    found = diagnose(made)
    assert causes(found)[:1] == [cause], found.seconds
    assert found.findings[0].evidence
    assert sum(found.seconds.values()) == pytest.approx(made.wall * found.slots)


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    found = diagnose(clean())
    assert not found.findings
    assert found.seconds["compute"] == pytest.approx(4.0)
    assert not found.gaps


def test_a_finding_says_what_to_do_with_its_numbers() -> None:
    (finding, *_) = diagnose(tiny()).findings
    assert finding.evidence[0].startswith("5,000 tasks of f take 10 µs each")
    assert "himalia.util.map(f, …, chunksize=" in finding.advice
    (finding, *_) = diagnose(one_by_one()).findings
    assert "the driver waited 10 times, for 10 tasks: once for each" in finding.evidence
    (finding, *_) = diagnose(straggler()).findings
    assert "the longest is task 21" in finding.evidence
    (finding, *_) = diagnose(own_code()).findings
    assert finding.lines == [5]
    (finding, *_) = diagnose(no_worker()).findings
    assert "tasks of f need 2 CPUs" in finding.evidence


def test_lines_are_those_that_first_called_the_functions() -> None:
    made = record([("f", 0, 0.0, 2.0)], 2.0, slots=4, driver=waiting((0.0, 2.0)), known={"f": Function("f", line=7)})
    assert diagnose(made).findings[0].lines == [7]


def test_what_other_cells_ran_is_no_loss() -> None:
    other = batches([("g", 1, 0.0, 1.0)], Cell(JOB, 9, "other"), first=100, sequence=2)
    made = record([("f", 0, 0.0, 1.0)], 1.0, driver=waiting((0.0, 1.0)), extra=other)
    found = diagnose(made)
    assert found.seconds["other work"] == pytest.approx(1.0)
    assert not found.findings


def test_calls_that_an_actor_runs_at_the_same_time_hold_one_slot() -> None:
    tasks = [("A.g", 0, 0.0, 1.0), ("A.g", 0, 0.2, 0.8), ("A.g", 0, 0.5, 1.5), ("A.g", 0, 1.8, 2.0)]
    known = {"A.g": Function("A.g", is_actor=True)}
    found = diagnose(record(tasks, 2.0, driver=waiting((0.001, 2.0)), known=known))
    assert found.seconds["compute"] == pytest.approx(1.7)
    assert found.findings[0].title == "One actor does the work"


def test_a_cluster_that_grows_has_more_slots_from_then_on() -> None:
    tasks = [*even(4, 0.5), *((name, worker + 2, begin + 1.0, end + 1.0) for name, worker, begin, end in even(4, 0.5))]
    made = record([*tasks, *(("f", n, 1.0, 2.0) for n in range(2))], 2.0, driver=waiting((0.001, 2.0)))
    made.slots = [(BEGAN, 2.0), (BEGAN + 1.0, 4.0)]
    found = diagnose(made)
    assert found.slots == pytest.approx(3.0)
    assert found.seconds["compute"] == pytest.approx(6.0)
    assert not found.findings


def test_tasks_that_wait_for_processors_are_told_and_are_no_finding() -> None:
    phases = {("f", Phase.ON_CPU): (8, 1.4), ("f", Phase.HELD_UP): (8, 0.6)}
    found = diagnose(record(even(20, 0.1), 1.0, driver=waiting((0.001, 1.0)), phases=phases))
    assert not found.findings
    assert found.seconds["compute"] == pytest.approx(2.0)
    assert any("Tasks waited 600 ms for processors" in gap for gap in found.gaps)


def test_tasks_that_are_not_recorded_are_not_taken_for_none() -> None:
    made = record([], 1.0, driver=[(Phase.SUBMIT, 0.0, 0.1)])
    assert "HIMALIA_TELEMETRY=0" in diagnose(made).gaps[0]


def test_of_a_cell_that_was_not_measured_is_said_what_is_not_known() -> None:
    made = one_by_one()
    made.driver = None
    found = diagnose(made)
    assert "ran without being measured" in found.gaps[0]
    assert sum(found.seconds.values()) == pytest.approx(2.0)


def test_lost_events_are_told() -> None:
    made = clean()
    made.lost = 1_234
    assert any("1,234 events" in gap for gap in diagnose(made).gaps)


def test_gpus_that_are_held_and_idle_are_found_and_busy_ones_are_not() -> None:
    made = clean()
    made.gpus = [GpuSample(BEGAN + at / 10, 1.0, (0.04,)) for at in range(20)]
    found = diagnose(made)
    assert causes(found) == ["gpu idle"]
    assert "these computed 4 % of it" in found.findings[0].evidence
    made.gpus = [GpuSample(BEGAN + at / 10, 1.0, (0.9,)) for at in range(20)]
    assert not diagnose(made).findings


def test_of_a_cell_that_is_over_at_once_is_said_that_it_tells_nothing() -> None:
    found = diagnose(record([("f", 0, n / 1000, n / 1000 + 1e-5) for n in range(90)], 0.09))
    assert not found.findings
    assert found.gaps[0].startswith("The cell took less than 100 ms")
    text = explain_bundle(found)["text/plain"]
    assert found.gaps[0] in text
    assert "Nothing stands out" not in text


def test_a_cell_without_tasks_has_no_findings() -> None:
    found = diagnose(record([], 1.0))
    assert (found.tasks, found.findings, found.path) == (0, [], [])
    assert found.seconds == {"driver": pytest.approx(2.0)}


def test_a_diagnosis_is_json_and_comes_back() -> None:
    found = diagnose(straggler())
    assert msgspec.json.decode(msgspec.json.encode(found), type=Diagnosis) == found


TIMES = st.floats(0, 5, allow_nan=False, width=32)
TASKS = st.lists(
    st.tuples(st.sampled_from("fgh"), st.integers(0, 3), TIMES, st.floats(0.0, 2.0, width=32)), max_size=30
)


@settings(max_examples=200, deadline=None)
@given(
    TASKS,
    st.lists(st.tuples(st.sampled_from(list(Phase)), TIMES, TIMES), max_size=8),
    st.dictionaries(st.integers(1, 30), st.tuples(st.integers(1, 30)), max_size=10),
    st.sampled_from([0.5, 1.0, 2.0, 8.0]),
)
def test_all_seconds_add_up_to_wall_times_slots_whatever_was_recorded(
    tasks: list[tuple[str, int, float, float]],
    driver: list[tuple[Phase, float, float]],
    edges: dict[int, tuple[int, ...]],
    slots: float,
) -> None:
    written = [(name, worker, begin, begin + span) for name, worker, begin, span in tasks]
    intervals = [(phase, min(a, b), max(a, b)) for phase, a, b in driver]
    made = record(
        written, 3.0, slots, driver=intervals, edges=edges, phases={(w[0], Phase.RESULT): (1, 9.0) for w in written}
    )
    found = account(made)
    assert sum(found.seconds.values()) == pytest.approx(made.wall * slots, rel=1e-6)
    assert all(seconds >= 0 for seconds in found.seconds.values())
    total = sum(step.seconds for step in diagnose(made).path)
    assert not written or total == pytest.approx(made.wall, rel=1e-6)
