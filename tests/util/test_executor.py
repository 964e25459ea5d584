"""`TaskExecutor` behaves as the executors of the standard library, over tasks."""

from __future__ import annotations

import concurrent.futures
import functools
import gc
import operator
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import himalia
from himalia.util import TaskExecutor

pytestmark = pytest.mark.usefixtures("cluster")


def wait_for(path: Path) -> str:
    while not path.exists():
        time.sleep(0.005)
    return path.read_text()


def test_a_submitted_call_runs_in_another_process() -> None:
    with TaskExecutor() as executor:
        future = executor.submit(os.getpid)
        assert isinstance(future, concurrent.futures.Future)
        assert future.result(timeout=20) != os.getpid()


def test_anything_callable_can_be_submitted() -> None:
    class Adder:
        def __call__(self, x: int) -> int:
            return x + 1

    with TaskExecutor() as executor:
        futures = [
            executor.submit(pow, 2, 3),
            executor.submit(functools.partial(operator.sub, 10), 1),
            executor.submit("abc".upper),
            executor.submit(Adder(), 1),
            executor.submit(lambda *, x: x, x=5),
            executor.submit(himalia.remote(lambda: "remote already")),
        ]
        assert [future.result(20) for future in futures] == [8, 9, "ABC", 2, 5, "remote already"]


def test_map_keeps_the_order_and_may_group_calls() -> None:
    with TaskExecutor() as executor:
        assert list(executor.map(pow, range(5), [2] * 5)) == [0, 1, 4, 9, 16]
        assert list(executor.map(pow, range(5), [2] * 5, chunksize=2)) == [0, 1, 4, 9, 16]
        with pytest.raises(ValueError, match="chunksize"):
            executor.map(pow, [1], [1], chunksize=0)


def test_map_times_out(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with TaskExecutor() as executor:
        results = executor.map(wait_for, [gate], timeout=0.1)
        with pytest.raises(TimeoutError):
            next(results)
        gate.write_text("open")


def test_an_exception_is_carried_by_the_future() -> None:
    with TaskExecutor() as executor:
        future = executor.submit(int, "no number")
        assert isinstance(future.exception(20), ValueError)
        with pytest.raises(ValueError, match="no number"):
            future.result()


def test_arguments_that_do_not_pickle_are_refused_at_the_call() -> None:
    with TaskExecutor() as executor, pytest.raises(TypeError, match="lock"):
        executor.submit(id, threading.Lock())


def test_at_most_max_workers_tasks_run(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with TaskExecutor(max_workers=1, num_cpus=0) as executor:
        first = executor.submit(wait_for, gate)
        second = executor.submit(os.getpid)
        done, _ = concurrent.futures.wait([second], timeout=0.3)
        assert not done
        gate.write_text("open")
        assert first.result(20) == "open"
        assert second.result(20)


def test_a_pending_future_can_be_cancelled(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with TaskExecutor(max_workers=1) as executor:
        first = executor.submit(wait_for, gate)
        second = executor.submit(os.getpid)
        assert second.cancel()
        assert second.cancelled()
        with pytest.raises(concurrent.futures.CancelledError):
            second.result()
        gate.write_text("open")
        assert first.result(20) == "open"


def test_a_running_future_can_be_cancelled(tmp_path: Path) -> None:
    started, ended = tmp_path / "started", tmp_path / "ended"

    def work() -> None:
        started.write_text("")
        try:
            while True:
                time.sleep(0.005)
        finally:
            ended.write_text("")

    with TaskExecutor() as executor:
        future = executor.submit(work)
        wait_for(started)
        assert future.cancel()
        with pytest.raises(concurrent.futures.CancelledError):
            future.result(20)
    wait_for(ended)


def test_a_finished_future_cannot_be_cancelled() -> None:
    with TaskExecutor() as executor:
        future = executor.submit(abs, -1)
        assert future.result(20) == 1
        assert not future.cancel()
        assert future.result() == 1


def test_callbacks_may_use_the_api() -> None:
    seen: list[Any] = []
    called = threading.Event()

    def callback(future: concurrent.futures.Future[int]) -> None:
        seen.append(himalia.get(himalia.put(future.result() + 1)))
        called.set()

    with TaskExecutor() as executor:
        executor.submit(abs, -1).add_done_callback(callback)
        assert called.wait(20)
    assert seen == [2]


def test_futures_work_with_the_functions_of_the_standard_library() -> None:
    with TaskExecutor() as executor:
        futures = [executor.submit(abs, -i) for i in range(5)]
        assert sorted(future.result() for future in concurrent.futures.as_completed(futures, timeout=20)) == [
            0,
            1,
            2,
            3,
            4,
        ]


def test_after_shutdown_nothing_is_taken() -> None:
    executor = TaskExecutor()
    future = executor.submit(abs, -1)
    executor.shutdown()
    assert future.done()
    with pytest.raises(RuntimeError, match="shut down"):
        executor.submit(abs, -1)
    executor.shutdown()


def test_shutdown_can_cancel_what_has_not_ended(tmp_path: Path) -> None:
    executor = TaskExecutor(max_workers=1)
    running = executor.submit(wait_for, tmp_path / "never")
    waiting = executor.submit(abs, -1)
    executor.shutdown(cancel_futures=True)
    assert running.cancelled()
    assert waiting.cancelled()


def test_a_dropped_executor_finishes_its_tasks_and_ends_its_thread() -> None:
    before = set(threading.enumerate())
    executor = TaskExecutor()
    future = executor.submit(abs, -1)
    del executor
    gc.collect()
    assert future.result(20) == 1
    for thread in set(threading.enumerate()) - before:
        thread.join(20)
        assert not thread.is_alive()


def test_wrong_options_are_refused_when_the_executor_is_made() -> None:
    with pytest.raises(ValueError, match="max_workers"):
        TaskExecutor(max_workers=0)
    with pytest.raises(ValueError, match="no_such_option"):
        TaskExecutor(no_such_option=1)
    with pytest.raises(ValueError, match="num_cpus"):
        TaskExecutor(num_cpus=-1)


def test_options_reach_the_tasks() -> None:
    def assigned() -> Any:
        return himalia.get_runtime_context().get_assigned_resources()

    with TaskExecutor(num_cpus=0.5) as executor:
        assert executor.submit(assigned).result(20) == {"CPU": 0.5}
