"""Processes are killed at random while a workload runs: everything comes to its end, with the right values."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.support.clusters import Script, eventually, node_processes, session_folders, slay, took_less_than

CLUSTER = {"num_cpus": 3}


@contextlib.contextmanager
def killing(session_dir: str, seed: int, every: float) -> Iterator[list[int]]:
    """Kill a worker of the node now and then, while the body runs; the list grows by each."""
    over = threading.Event()
    killed: list[int] = []
    choose = random.Random(seed)

    def kill() -> None:
        while not over.wait(every):
            workers = node_processes(session_dir).get("worker", [])
            if workers:
                victim = choose.choice(workers)
                with contextlib.suppress(ProcessLookupError):
                    slay(victim)
                    killed.append(victim)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def session_of(hv: ModuleType) -> str:
    return str(hv.init(ignore_reinit_error=True)["session_dir"])


@pytest.mark.parametrize("seed", [1, 2])
def test_chains_of_tasks_end_with_the_right_values_while_workers_die(hv: ModuleType, seed: int) -> None:
    @hv.remote(max_retries=-1)
    def make(i: int) -> Any:
        time.sleep(0.01)
        return np.full(40_000 if i % 2 else 4, i)  # every other one lies in the object store

    @hv.remote(max_retries=-1)
    def add(x: Any, y: Any) -> Any:
        time.sleep(0.005)
        return x[:4] + y[:4]

    @hv.remote(max_retries=-1)
    def nested(i: int) -> int:
        return int(hv.get(add.remote(make.remote(i), make.remote(i)))[0])

    with took_less_than(25), killing(session_of(hv), seed, 0.15) as killed:
        made = [make.remote(i) for i in range(60)]
        sums = [add.remote(made[i], made[i + 1]) for i in range(59)]
        totals = [add.remote(sums[i], sums[i + 1]) for i in range(58)]
        inner = [nested.remote(i) for i in range(10)]
        assert [int(x[-1]) for x in hv.get(totals)] == [(2 * i + 1) + (2 * i + 3) for i in range(58)]
        assert hv.get(inner) == [2 * i for i in range(10)]
        eventually(lambda: len(killed) >= 3, "some to die")
    eventually(lambda: hv.available_resources().get("CPU") == 3, "all CPUs to be free")


def test_an_actor_that_may_restart_answers_every_call_while_workers_die(hv: ModuleType) -> None:
    class Echo:
        def echo(self, i: int) -> int:
            time.sleep(0.002)
            return i

    actor = hv.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Echo).remote()
    with took_less_than(25), killing(session_of(hv), 3, 0.2) as killed:
        assert hv.get([actor.echo.remote(i) for i in range(400)]) == list(range(400))
        eventually(lambda: len(killed) >= 3, "some to die")


def test_tasks_that_may_not_be_repeated_never_are_while_workers_die(hv: ModuleType, tmp_path: Path) -> None:
    from himalia.exceptions import WorkerCrashedError

    @hv.remote(max_retries=0)
    def once(i: int, folder: Path) -> int:
        with (folder / str(i)).open("a") as file:
            file.write("x")
        time.sleep(0.003)
        return i

    with took_less_than(25), killing(session_of(hv), 4, 0.1) as killed:
        refs = [once.remote(i, tmp_path) for i in range(600)]
        failed = 0
        for i, ref in enumerate(refs):
            try:
                assert hv.get(ref) == i
            except WorkerCrashedError:
                failed += 1
        eventually(lambda: len(killed) >= 3, "some to die")
    # Empty: it was killed between opening its file and writing to it.
    assert {path.read_text() for path in tmp_path.iterdir()} <= {"x", ""}
    # One that ran, and those whose results had not left yet.
    assert failed <= 8 * len(killed), f"{failed} tasks failed by {len(killed)} kills"


@pytest.mark.parametrize("delay", [0.15, 0.3, 0.45, 0.7])
def test_a_driver_that_is_killed_while_its_cluster_starts_leaves_nothing(
    delay: float, script: Callable[..., Script]
) -> None:
    before = session_folders()
    driver = script('import himalia\nprint("go")\nhimalia.init("local", num_cpus=2)\nhimalia.put(1)\ninput()')
    driver.line()
    with contextlib.suppress(Exception):
        driver.process.wait(delay)
    driver.process.kill()
    driver.process.wait()
    eventually(lambda: session_folders() <= before, "its session folder to go")


def test_what_a_node_that_was_killed_as_a_whole_leaves_is_removed_by_the_next_one(
    script: Callable[..., Script],
) -> None:
    text = 'import himalia\nprint(himalia.init("local", num_cpus=1)["session_dir"])\ninput()'
    first = script(text)
    session_dir = first.line()
    pids = [pid for group in node_processes(session_dir).values() for pid in group]
    for pid in [first.pid, *pids]:
        os.kill(pid, signal.SIGSTOP)
    for pid in [first.pid, *pids]:
        slay(pid)
    assert Path(session_dir).exists()
    second = script(text)
    second.line()
    assert not Path(session_dir).exists()
    second.process.communicate("\n", timeout=10)
