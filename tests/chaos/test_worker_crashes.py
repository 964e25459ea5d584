"""A task whose worker dies is tried again if its options say so, or fails with the way its process ended."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from himalia.exceptions import TaskCancelledError, WorkerCrashedError
from tests.support.clusters import eventually, slay, took_less_than


def test_a_task_that_calls_os_exit_fails_with_its_exit_code(hv: ModuleType) -> None:
    @hv.remote(max_retries=0)
    def leave() -> None:
        os._exit(7)

    with took_less_than(5), pytest.raises(WorkerCrashedError, match=r"leave[\s\S]*exit code 7") as caught:
        hv.get(leave.remote())
    assert caught.value.exit_code == 7


def test_a_task_that_exits_with_zero_is_not_a_success(hv: ModuleType) -> None:
    @hv.remote(max_retries=0)
    def leave() -> None:
        os._exit(0)

    with took_less_than(5), pytest.raises(WorkerCrashedError, match="left by itself"):
        hv.get(leave.remote())


def test_a_task_that_segfaults_fails_with_the_signal(hv: ModuleType) -> None:
    @hv.remote(max_retries=0)
    def crash() -> None:
        ctypes.string_at(0)

    with took_less_than(5), pytest.raises(WorkerCrashedError, match="SIGSEGV") as caught:
        hv.get(crash.remote())
    assert caught.value.signal == signal.SIGSEGV


def test_a_task_that_always_crashes_fails_after_its_retries_and_says_how_often_it_ran(
    hv: ModuleType, tmp_path: Path
) -> None:
    @hv.remote(max_retries=2)
    def crash(folder: Path) -> None:
        (folder / str(os.getpid())).touch()
        os._exit(1)

    with took_less_than(10), pytest.raises(WorkerCrashedError) as caught:
        hv.get(crash.remote(tmp_path))
    assert caught.value.attempts == 3
    assert len(list(tmp_path.iterdir())) == 3


def test_a_hundred_tasks_survive_kills_of_the_worker_that_runs_them(hv: ModuleType, tmp_path: Path) -> None:
    @hv.remote(max_retries=5)
    def work(i: int, folder: Path) -> int:
        (folder / f"{os.getpid()}").touch()
        time.sleep(0.005)
        return i

    refs = [work.remote(i, tmp_path) for i in range(100)]
    killed: set[str] = set()
    for _ in range(3):
        victim = eventually(
            lambda: next((p.name for p in tmp_path.iterdir() if p.name not in killed), None), "a worker to run some"
        )
        slay(int(victim))
        killed.add(victim)
    with took_less_than(15):
        assert hv.get(refs) == list(range(100))
    assert len(killed) == 3


def test_tasks_queued_behind_a_crashing_one_are_neither_failed_nor_run_twice(hv: ModuleType, tmp_path: Path) -> None:
    @hv.remote(max_retries=0)
    def count(i: int, folder: Path) -> int:
        with (folder / str(i)).open("a") as file:
            file.write("x")
        return i

    @hv.remote(max_retries=0)
    def crash(folder: Path) -> None:
        time.sleep(0.05)  # long enough that tasks lie behind it at the worker
        os._exit(1)

    # Learnt to be short, so that many are sent to a worker together with the one that crashes.
    assert hv.get([count.remote(-1 - i, tmp_path) for i in range(50)]) == [-1 - i for i in range(50)]
    refs: list[Any] = []
    crashes: list[Any] = []
    for i in range(60):
        if i % 20 == 10:
            crashes.append(crash.remote(tmp_path))
        refs.append(count.remote(i, tmp_path))
    with took_less_than(15):
        assert hv.get(refs) == list(range(60))
        for ref in crashes:
            with pytest.raises(WorkerCrashedError):
                hv.get(ref)
    assert {path.name: path.read_text() for path in tmp_path.iterdir() if not path.name.startswith("-")} == {
        str(i): "x" for i in range(60)
    }


def test_a_worker_that_dies_in_its_first_moment_of_a_new_lease_costs_its_tasks_nothing(
    hv: ModuleType, tmp_path: Path
) -> None:
    """What an earlier owner's tasks left in the page must not pass for a task of this owner."""

    @hv.remote
    class Owner:
        def run(self, n: int) -> list[int]:
            @hv.remote(max_retries=0)
            def pid() -> int:
                return os.getpid()

            return list(hv.get([pid.remote() for _ in range(n)]))

    @hv.remote(max_retries=0)
    def pid() -> int:
        return os.getpid()

    owner = Owner.options(num_cpus=0).remote()
    for n in (1, 40, 3):
        workers = set(hv.get(owner.run.remote(n)))
        for worker in workers:
            slay(worker)
        with took_less_than(10):
            assert isinstance(hv.get(pid.remote()), int)


def test_force_ends_a_task_that_ignores_cancel_and_spares_those_behind_it(hv: ModuleType, tmp_path: Path) -> None:
    @hv.remote(max_retries=0)
    def quick(i: int, folder: Path) -> int:
        with (folder / str(i)).open("a") as file:
            file.write("x")
        return i

    @hv.remote(max_retries=0)
    def stubborn(folder: Path, name: str) -> None:
        (folder / name).touch()
        while True:
            try:
                time.sleep(10)
            except KeyboardInterrupt:
                continue

    assert hv.get([quick.remote(-1 - i, tmp_path) for i in range(50)])
    blockers = [stubborn.remote(tmp_path, name) for name in ("ready-a", "ready-b")]
    refs = [quick.remote(i, tmp_path) for i in range(20)]
    eventually(lambda: (tmp_path / "ready-a").exists() and (tmp_path / "ready-b").exists(), "both to run")
    hv.cancel(blockers[0])
    ready, _ = hv.wait([blockers[0]], timeout=0.3)
    assert not ready, "it was to ignore a cancel without force"
    for ref in blockers:
        hv.cancel(ref, force=True)
    with took_less_than(10):
        for ref in blockers:
            with pytest.raises(TaskCancelledError):
                hv.get(ref)
        assert hv.get(refs) == list(range(20))
    assert all((tmp_path / str(i)).read_text() == "x" for i in range(20))


def test_force_spares_the_task_that_runs_while_the_cancelled_one_still_waits_behind_it(
    hv: ModuleType, tmp_path: Path
) -> None:
    @hv.remote(max_retries=0)
    def nap(seconds: float, path: str = "") -> float:
        if path:
            Path(path).touch()
        time.sleep(seconds)
        return seconds

    assert hv.get([nap.remote(0.0) for _ in range(400)]) == [0.0] * 400  # learnt to be short: many go to a worker
    running = [nap.remote(1.0, str(tmp_path / str(i))) for i in range(2)]
    eventually(lambda: len(list(tmp_path.iterdir())) == 2, "both workers to be busy")
    waiting = [nap.remote(0.0) for _ in range(10)]
    assert not hv.wait(waiting, timeout=0.1)[0]
    for ref in waiting:
        hv.cancel(ref, force=True)
    for ref in waiting:
        with took_less_than(0.9), pytest.raises(TaskCancelledError):
            hv.get(ref)
    assert hv.get(running) == [1.0, 1.0]


def test_the_files_of_a_killed_worker_are_removed(hv: ModuleType) -> None:
    @hv.remote(max_retries=0)
    def who() -> tuple[int, str]:
        return os.getpid(), hv.get_runtime_context().get_worker_id()

    folder = Path(hv.init(ignore_reinit_error=True)["session_dir"])
    pid, worker_id = hv.get(who.remote())
    assert {path.name for path in folder.glob(f"{worker_id}*")} == {worker_id, f"{worker_id}.run"}
    slay(pid)
    eventually(lambda: not list(folder.glob(f"{worker_id}*")), "the files to go")


def test_get_with_a_timeout_returns_in_time_while_workers_are_killed(hv: ModuleType) -> None:
    from himalia.exceptions import GetTimeoutError

    @hv.remote(max_retries=-1)
    def crash() -> None:
        time.sleep(0.05)
        os._exit(1)

    ref = crash.remote()
    with took_less_than(3), pytest.raises(GetTimeoutError):
        hv.get(ref, timeout=1)
    hv.cancel(ref, force=True)
    with took_less_than(5), pytest.raises((TaskCancelledError, WorkerCrashedError)):
        hv.get(ref)
