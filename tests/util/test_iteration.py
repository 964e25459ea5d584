"""`as_completed`, `map_unordered` and `map` beyond what they share with Ray."""

from __future__ import annotations

from pathlib import Path

import pytest

import himalia
from himalia.util import as_completed, map_unordered
from himalia.util import map as parallel_map

pytestmark = pytest.mark.usefixtures("cluster")


def square(x: int) -> int:
    return x * x


def test_results_that_are_ready_come_before_the_error_of_a_later_one() -> None:
    @himalia.remote
    def maybe(x: int) -> int:
        if x == 2:
            raise ValueError("two")
        return x

    refs = [maybe.remote(x) for x in range(3)]
    himalia.wait(refs, num_returns=3)
    results = as_completed(refs)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)


def test_sizes_are_refused_before_anything_is_submitted() -> None:
    with pytest.raises(ValueError, match="chunk_size"):
        as_completed([], chunk_size=0)
    with pytest.raises(ValueError, match="backpressure_size"):
        map_unordered(None, [], backpressure_size=0)


def test_map_applies_a_plain_function_in_parallel_and_in_order() -> None:
    assert parallel_map(square, range(10)) == [x * x for x in range(10)]
    assert parallel_map(pow, [2, 3, 4], [3, 2]) == [8, 9]
    assert parallel_map(square, []) == []


def test_map_groups_calls() -> None:
    assert parallel_map(square, range(10), chunksize=4) == [x * x for x in range(10)]
    with pytest.raises(ValueError, match="chunksize"):
        parallel_map(square, [1], chunksize=0)
    with pytest.raises(ValueError, match="plain functions"):
        parallel_map(himalia.remote(square), [1], chunksize=2)


def test_what_can_not_be_called_is_refused_at_the_call() -> None:
    for wrong in (5, None, "square", [square]):
        with pytest.raises(TypeError, match="can not be called"):
            parallel_map(wrong, [1, 2])
        with pytest.raises(TypeError, match="remote"):
            map_unordered(wrong, [1, 2])
    with pytest.raises(TypeError, match="at least one iterable"):
        parallel_map(square)
    with pytest.raises(TypeError, match="not iterable"):
        parallel_map(square, 5)  # type: ignore[arg-type]


def test_map_takes_remote_functions_and_actor_methods() -> None:
    @himalia.remote
    class Adder:
        def add(self, x: int) -> int:
            return x + 1

    adder = Adder.remote()
    assert parallel_map(himalia.remote(square), range(3), num_cpus=0.5) == [0, 1, 4]
    assert parallel_map(adder.add, range(3)) == [1, 2, 3]


def test_an_error_in_map_cancels_what_has_not_run(tmp_path: Path) -> None:
    def work(x: int) -> None:
        if x == 0:
            raise ValueError("the first")
        import time

        time.sleep(1000)

    with pytest.raises(ValueError, match="the first"):
        parallel_map(work, range(20))
    assert parallel_map(square, [3]) == [9]


def test_no_bar_is_shown_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    parallel_map(square, range(3))
    assert capsys.readouterr().err == ""
