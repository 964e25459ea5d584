"""An owner that is asked about one of its tasks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import himalia
from himalia.dashboard.questions import answer
from himalia.util.state._source import open_source
from tests.support.leaks import LeakGuard


@pytest.fixture(scope="module")
def cluster(leak_guard: LeakGuard) -> Iterator[None]:
    with leak_guard.shared("the cluster of this module"):
        himalia.init(num_cpus=2)
        yield
        himalia.shutdown()


def told(ref: Any) -> dict[str, list[dict[str, Any]]]:
    """What its owner tells of the task of a reference, by kind."""
    with open_source(None, 10) as source:
        found: dict[str, list[dict[str, Any]]] = {}
        for row in answer(source, f"task_told:{ref.task_id().hex()}"):
            found.setdefault(row["kind"], []).append(row)
        return found


@pytest.mark.usefixtures("cluster")
def test_the_owner_tells_arguments_results_and_what_is_missing() -> None:
    @himalia.remote
    def wait(signal: Any) -> int:
        return himalia.get(signal[0])

    @himalia.remote
    class Signal:
        async def open(self) -> int:
            import asyncio

            await asyncio.get_running_loop().create_future()
            return 0

    @himalia.remote(num_cpus=2)
    def add(first: int, second: int, *, name: str) -> int:
        return first + second

    signal = Signal.remote()
    first = wait.remote([signal.open.remote()])
    ref = add.remote(first, 2, name="x")
    answers = told(ref)
    (facts,) = answers["facts"]
    assert facts["pending"]
    assert facts["missing"] == 1
    assert facts["resources"] == {"CPU": 2.0}
    assert "test_task_answers.py" in facts["site"]
    shown = {row["slot"]: (row["text"], row["maker"]) for row in answers["argument"]}
    assert shown["1"] == ("2", "")
    assert shown["name"] == ("'x'", "")
    assert shown["0"] == ("a reference", "wait")
    assert [row["status"] for row in answers["result"]] == ["PENDING"]
    himalia.kill(signal)
    with pytest.raises(himalia.exceptions.RayError):
        himalia.get(ref, timeout=30)


@pytest.mark.usefixtures("cluster")
def test_the_owner_tells_the_traceback_of_an_error_that_somebody_holds() -> None:
    @himalia.remote
    def fail() -> None:
        raise ValueError("no such colour")

    ref = fail.remote()
    himalia.wait([ref])
    (traceback,) = told(ref)["traceback"]
    assert "in fail" in traceback["text"]
    assert "ValueError: no such colour" in traceback["text"]


@pytest.mark.usefixtures("cluster")
def test_of_a_task_that_nobody_needs_any_more_the_owner_knows_nothing() -> None:
    @himalia.remote
    def one() -> int:
        return 1

    ref = one.remote()
    himalia.get(ref)
    task = ref.task_id().hex()
    del ref
    with open_source(None, 10) as source:
        assert [row["kind"] for row in answer(source, f"task_told:{task}")] == ["note"]
        assert answer(source, "task_told:xyz")[0]["text"] == "'xyz' is no task's id"
        assert answer(source, f"task_log:{task}") == []
