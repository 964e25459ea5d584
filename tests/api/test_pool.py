"""`util.multiprocessing.Pool`: the standard library's interface over a cluster; and the joblib backend."""

from __future__ import annotations

import itertools
import os
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def mp(ray: ModuleType, engine: Any) -> ModuleType:
    return engine.submodule("util.multiprocessing")


@pytest.fixture
def pool(mp: ModuleType) -> Any:
    pool = mp.Pool(processes=2)
    yield pool
    pool.terminate()
    pool.join()


def double(x: int) -> int:
    return 2 * x


def add(a: int, b: int = 0) -> int:
    return a + b


def fail_on_three(x: int) -> int:
    if x == 3:
        raise ValueError("three")
    return x


def test_map_keeps_the_order(pool: Any) -> None:
    assert pool.map(double, range(10)) == [2 * i for i in range(10)]
    assert pool.map(double, range(10), chunksize=3) == [2 * i for i in range(10)]
    assert pool.map(double, []) == []


def test_map_takes_any_iterable_and_function(pool: Any) -> None:
    offset = 5
    assert pool.map(lambda x: x + offset, (i for i in range(3))) == [5, 6, 7]


def test_apply_passes_arguments(pool: Any) -> None:
    assert pool.apply(add, (1,)) == 1
    assert pool.apply(add, (1,), {"b": 2}) == 3
    assert pool.apply_async(add, (1, 2)).get() == 3


def test_starmap_unpacks(pool: Any) -> None:
    assert pool.starmap(add, [(1, 2), (3,)]) == [3, 3]
    assert pool.starmap_async(add, [(1, 2), (3, 4)]).get() == [3, 7]


def test_imap_yields_in_order(pool: Any) -> None:
    assert list(pool.imap(double, range(10))) == [2 * i for i in range(10)]
    assert list(pool.imap(double, range(10), chunksize=4)) == [2 * i for i in range(10)]


def test_imap_unordered_yields_everything(pool: Any) -> None:
    assert sorted(pool.imap_unordered(double, range(10), chunksize=3)) == [2 * i for i in range(10)]


def test_imap_reads_no_further_than_it_must(pool: Any) -> None:
    results = pool.imap(double, itertools.count())
    assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]


def test_errors_reach_the_caller(pool: Any) -> None:
    with pytest.raises(ValueError, match="three"):
        pool.map(fail_on_three, range(5))
    with pytest.raises(ValueError, match="three"):
        pool.apply(fail_on_three, (3,))
    assert pool.map(fail_on_three, range(3)) == [0, 1, 2]


@pytest.mark.only_engine("himalia", reason="Ray's imap yields the exception as a value")
def test_imap_raises_the_error_in_its_turn_and_goes_on(pool: Any) -> None:
    results = pool.imap(fail_on_three, range(5))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert next(results) == 4
    with pytest.raises(StopIteration):
        next(results)


def test_an_async_result_tells_its_state(ray: ModuleType, mp: ModuleType, pool: Any, signal: Any) -> None:
    gate = signal()

    def wait() -> str:
        ray.get(gate.wait.remote())
        return "done"

    result = pool.apply_async(wait)
    result.wait(timeout=0.1)
    assert not result.ready()
    with pytest.raises(mp.TimeoutError):
        result.get(timeout=0.1)
    with pytest.raises((ValueError, AssertionError)):
        result.successful()
    gate.send.remote()
    assert result.get() == "done"
    assert result.ready()
    assert result.successful()


def test_a_failed_async_result_was_not_successful(pool: Any) -> None:
    result = pool.map_async(fail_on_three, range(5))
    result.wait()
    assert not result.successful()
    with pytest.raises(ValueError):
        result.get()


def test_callbacks_get_the_result_or_the_error(pool: Any, eventually: Any) -> None:
    results: list[Any] = []
    errors: list[BaseException] = []
    pool.apply_async(add, (1, 2), callback=results.append, error_callback=errors.append)
    pool.map_async(double, [1, 2], callback=results.append)
    pool.apply_async(fail_on_three, (3,), callback=results.append, error_callback=errors.append)
    eventually(lambda: len(results) == 2 and len(errors) == 1)
    assert 3 in results
    results.remove(3)
    assert sorted(results[0]) == [2, 4]  # Ray gives them in the order of completion
    assert "three" in str(errors[0])


def test_an_imap_iterator_can_time_out(ray: ModuleType, mp: ModuleType, pool: Any, signal: Any) -> None:
    gate = signal()

    def wait(x: int) -> int:
        ray.get(gate.wait.remote())
        return x

    results = pool.imap(wait, [1])
    with pytest.raises(mp.TimeoutError):
        results.next(timeout=0.1)
    gate.send.remote()
    assert results.next() == 1


def test_the_initializer_runs_in_each_process(mp: ModuleType) -> None:
    def initialize(value: str) -> None:
        os.environ["POOL_TEST"] = value

    def look(_: int) -> tuple[int, str | None]:
        return os.getpid(), os.environ.get("POOL_TEST")

    with mp.Pool(2, initializer=initialize, initargs=("set",)) as pool:
        found = pool.map(look, range(20), chunksize=1)
    assert {value for _, value in found} == {"set"}


def test_processes_are_replaced_after_maxtasksperchild(mp: ModuleType) -> None:
    with mp.Pool(1, maxtasksperchild=2) as pool:
        pids = [pool.apply(os.getpid) for _ in range(6)]
    assert len(set(pids)) >= 3


def test_a_closed_pool_finishes_its_work_and_takes_no_more(mp: ModuleType) -> None:
    pool = mp.Pool(2)
    result = pool.map_async(double, range(4))
    pool.close()
    with pytest.raises(ValueError):
        pool.map(double, [1])
    pool.join()
    assert result.get() == [0, 2, 4, 6]


def test_a_pool_must_be_closed_before_join(pool: Any) -> None:
    with pytest.raises(ValueError):
        pool.join()


def test_the_end_of_the_context_ends_the_pool(mp: ModuleType) -> None:
    with mp.Pool(1) as pool:
        assert pool.map(double, [1]) == [2]
    with pytest.raises(ValueError):
        pool.map(double, [1])


def test_more_processes_than_cpus_are_refused(mp: ModuleType) -> None:
    with pytest.raises(ValueError):
        mp.Pool(1000)
    with pytest.raises(ValueError):
        mp.Pool(0)


def test_joblib_runs_on_the_cluster(ray: ModuleType, engine: Any) -> None:
    joblib = pytest.importorskip("joblib")
    engine.submodule("util.joblib").register_ray()
    driver = os.getpid()
    with joblib.parallel_config(backend="ray", n_jobs=2):
        results = joblib.Parallel()(joblib.delayed(double)(i) for i in range(20))
        pids = joblib.Parallel()(joblib.delayed(os.getpid)() for _ in range(4))
    assert results == [2 * i for i in range(20)]
    assert driver not in pids


def test_errors_of_joblib_reach_the_caller(ray: ModuleType, engine: Any) -> None:
    joblib = pytest.importorskip("joblib")
    engine.submodule("util.joblib").register_ray()
    with joblib.parallel_config(backend="ray", n_jobs=2), pytest.raises(ValueError, match="three"):
        joblib.Parallel()(joblib.delayed(fail_on_three)(i) for i in range(5))
