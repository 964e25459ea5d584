"""What a driver measures of itself while a cell is explained, and that nothing of it stays."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

import himalia
from himalia.cluster.core.current import get_core
from himalia.cluster.core.timing import DriverTiming
from himalia.cluster.telemetry.phases import Phase
from tests.support.leaks import LeakGuard


@pytest.fixture(scope="module", autouse=True)
def cluster(leak_guard: LeakGuard) -> Iterator[None]:
    with leak_guard.shared("the cluster of this module"):
        himalia.init(num_cpus=2, log_to_driver=False)
        yield
        himalia.shutdown()


@pytest.fixture
def timing() -> Iterator[DriverTiming]:
    made = DriverTiming(get_core(), __file__)
    made.install()
    yield made
    if get_core().timing is made:
        made.remove()


def compute(seconds: float) -> float:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    return seconds


def test_phases_of_the_driver_are_told_apart(timing: DriverTiming) -> None:
    def wait(x: object) -> float:
        time.sleep(0.2)
        return float(np.sum(x))  # type: ignore[arg-type]

    large = np.ones(2_000_000)
    ref = himalia.put(large)
    assert himalia.get(himalia.remote(wait).remote(large)) == 2_000_000
    assert himalia.get(ref).sum() == 2_000_000
    timing.remove()
    sums, intervals = timing.log.take()
    by_phase = {phase: one for (_, phase), one in sums.items()}
    assert by_phase[Phase.PUT].count == 2
    assert by_phase[Phase.STORE].nbytes >= 2 * large.nbytes
    assert by_phase[Phase.BLOCKED].seconds >= 0.2
    assert by_phase[Phase.READ].nbytes >= large.nbytes
    assert by_phase[Phase.SUBMIT].count == 1
    assert any(phase is Phase.BLOCKED and seconds >= 0.2 for _, phase, _, seconds in intervals)


def test_tasks_that_wait_for_results_are_known_with_those_that_make_them(timing: DriverTiming) -> None:
    first = himalia.remote(compute).remote(0.1)
    second = himalia.remote(compute).remote(first)
    himalia.get(second)
    assert timing.edges == {second._n: (first._n,)}


def test_functions_are_known_with_what_they_need_and_the_line_that_called_them(timing: DriverTiming) -> None:
    class Counter:
        def add(self, n: int) -> int:
            return n

    task = himalia.remote(num_cpus=2)(compute)
    himalia.get(task.remote(0.01))
    counter = himalia.remote(Counter).remote()
    himalia.get(counter.add.remote(1))
    plan, call = timing.plans["compute"], timing.plans["Counter.add"]
    assert (plan.cpus, plan.gpus, plan.is_actor) == (2.0, 0.0, False)
    assert plan.site is not None
    assert plan.site.filename == __file__
    assert plan.site.function.startswith("test_functions_are_known")
    assert call.is_actor
    himalia.kill(counter)


def test_when_tasks_were_submitted_is_known(timing: DriverTiming) -> None:
    before = time.perf_counter()
    refs = [himalia.remote(compute).remote(0.0) for _ in range(50)]
    submitted = time.perf_counter()
    himalia.get(refs)
    deadline = time.monotonic() + 5
    while timing.marks[-1][1] < refs[-1]._n and time.monotonic() < deadline:
        compute(0.01)
    counters = [counter for _, counter in timing.marks]
    assert counters == sorted(counters)
    assert counters[-1] >= refs[-1]._n
    first = next(at for at, counter in timing.marks if counter >= refs[-1]._n)
    assert first >= before
    assert first <= submitted + 1.0


def test_the_line_that_the_main_thread_is_in_is_seen(timing: DriverTiming) -> None:
    deadline = time.monotonic() + 5
    while len(timing.looks) < 5 and time.monotonic() < deadline:
        compute(0.01)
    lines = [look.line for look in timing.looks]
    assert len(lines) >= 5
    code = compute.__code__
    assert any(code.co_firstlineno <= line <= code.co_firstlineno + 4 for line in lines)
    assert not any(look.waits for look in timing.looks[:1])


def test_nothing_of_it_stays(timing: DriverTiming) -> None:
    core = get_core()
    himalia.get(himalia.remote(compute).remote(0.0))
    timing.remove()
    replaced = {"submit_function", "call_method", "get", "put", "_put_large", "_read", "write_object", "_ask_raylet"}
    assert not replaced & set(vars(core))
    assert core.timing is None
    assert "await_dependencies" not in vars(core.completion)
    count = timing.log.sums
    himalia.get(himalia.remote(compute).remote(0.0))
    assert timing.log.sums == count
