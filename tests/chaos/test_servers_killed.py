"""A server that is killed takes its node with it, soon and without a trace, and every caller learns why."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from himalia.exceptions import RaySystemError
from tests.support.clusters import Script, eventually, is_running, node_processes, session_folders, slay, took_less_than

IN_STORES = [("stored", "!=", "")]  # small values lie in their owners


def busy(hv: ModuleType) -> list[Any]:
    """A bit of everything: a running task, waiting ones, an actor with calls, an object in the store."""

    @hv.remote(max_retries=-1)
    def sleep(*_: Any) -> None:
        time.sleep(60)

    class Sleeper:
        def sleep(self) -> None:
            time.sleep(60)

    first = sleep.remote(hv.put(np.zeros(1 << 20, np.uint8)))
    actor = hv.remote(num_cpus=0)(Sleeper).remote()
    return [
        first,
        sleep.remote(first),
        *(sleep.remote() for _ in range(20)),
        actor.sleep.remote(),
        actor.sleep.remote(),
    ]


@contextlib.contextmanager
def nothing_of(session_dir: str) -> Iterator[dict[str, list[int]]]:
    """Assert that after the body no process and no file of a node is left."""
    processes = node_processes(session_dir)
    yield processes
    pids = [pid for group in processes.values() for pid in group]
    eventually(lambda: not any(is_running(pid) for pid in pids), f"the end of {processes}")
    eventually(lambda: not Path(session_dir).exists(), f"the end of {session_dir}")


@pytest.mark.parametrize("role", ["raylet", "gcs", "host"])
def test_the_kill_of_a_server_is_an_error_of_all_that_is_pending_within_two_seconds(
    role: str, fresh: Callable[..., ModuleType]
) -> None:
    hv = fresh()
    session_dir = hv.init(ignore_reinit_error=True)["session_dir"]
    refs = busy(hv)
    assert not hv.wait(refs, timeout=0.2)[0]
    with nothing_of(session_dir) as processes:
        threading.Timer(0.1, slay, [processes[role][0]]).start()
        with took_less_than(2.1):
            with pytest.raises(RaySystemError, match=f"{role}|node of this process|cluster ended"):
                hv.get(refs)
            for ref in refs:
                with pytest.raises(RaySystemError):
                    hv.get(ref)


@pytest.mark.parametrize("role", ["raylet", "gcs", "host"])
def test_after_the_kill_of_a_server_every_call_says_so_and_a_new_session_can_begin(
    role: str, fresh: Callable[..., ModuleType]
) -> None:
    hv = fresh()

    @hv.remote
    def one() -> int:
        return 1

    assert hv.get(one.remote()) == 1
    session_dir = hv.init(ignore_reinit_error=True)["session_dir"]
    processes = node_processes(session_dir)
    slay(processes[role][0])

    def is_told() -> bool:
        try:
            hv.get(one.remote(), timeout=1)
        except RaySystemError:
            return True
        return False

    eventually(is_told, "the driver to know", 3)
    calls: list[Callable[[], Any]] = [
        one.remote,
        lambda: hv.put(1),
        hv.cluster_resources,
        hv.nodes,
        lambda: hv.get_actor("nobody"),
    ]
    for call in calls:
        with took_less_than(1), pytest.raises(RaySystemError, match="shutdown"):
            call()
    with took_less_than(3):
        hv.shutdown()
    assert not Path(session_dir).exists()
    hv = fresh()
    assert hv.get(one.remote()) == 1


def test_get_with_a_timeout_returns_in_time_when_the_raylet_is_frozen(fresh: Callable[..., ModuleType]) -> None:
    from himalia.exceptions import GetTimeoutError

    hv = fresh()
    processes = node_processes(hv.init(ignore_reinit_error=True)["session_dir"])
    os.kill(processes["raylet"][0], signal.SIGSTOP)
    try:

        @hv.remote
        def one() -> int:
            return 1

        with took_less_than(2), pytest.raises(GetTimeoutError):
            hv.get(one.remote(), timeout=1)
    finally:
        os.kill(processes["raylet"][0], signal.SIGCONT)
    assert hv.get(one.remote(), timeout=10) == 1


def test_a_frozen_raylet_does_not_keep_shutdown_from_ending_everything(fresh: Callable[..., ModuleType]) -> None:
    hv = fresh()
    session_dir = hv.init(ignore_reinit_error=True)["session_dir"]
    with nothing_of(session_dir) as processes:
        os.kill(processes["raylet"][0], signal.SIGSTOP)
        with took_less_than(6):
            hv.shutdown()


DRIVER = """
import sys, time
import numpy as np
import himalia
context = himalia.init({address}{options})

@himalia.remote(max_retries=-1)
def sleep(x):
    time.sleep(60)

class Sleeper:
    def ping(self):
        return 1

    def sleep(self):
        time.sleep(60)

array = himalia.put(np.zeros(1 << 20, np.uint8))
refs = [sleep.remote(array) for _ in range(10)]
actor = himalia.remote(num_cpus=0)(Sleeper).remote()
himalia.get(actor.ping.remote())
refs.append(actor.sleep.remote())
himalia.wait(refs, timeout=0.2)
print(context["session_dir"])
{then}
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_driver_leaves_no_process_no_socket_and_no_memory(
    number: signal.Signals, script: Callable[[str], Script]
) -> None:
    before = session_folders(), set(os.listdir("/dev/shm"))
    driver = script(
        DRIVER.format(address="'local'", options=", num_cpus=2, object_store_memory=64 << 20", then="time.sleep(60)")
    )
    session_dir = driver.line()
    with nothing_of(session_dir):
        driver.process.send_signal(number)
        driver.process.wait(5)
    assert (session_folders(), set(os.listdir("/dev/shm"))) == before


def test_a_driver_that_ends_with_an_error_ends_its_cluster(script: Callable[[str], Script]) -> None:
    driver = script(
        DRIVER.format(
            address="'local'",
            options=", num_cpus=2, object_store_memory=64 << 20",
            then="sys.stdin.readline(); raise SystemExit(3)",
        )
    )
    session_dir = driver.line()
    with nothing_of(session_dir):
        assert driver.process.stdin is not None
        driver.process.stdin.write("\n")
        driver.process.stdin.flush()
        assert driver.process.wait(5) == 3


def test_a_killed_driver_of_a_shared_cluster_takes_only_its_own_work_along(
    fresh: Callable[..., ModuleType], script: Callable[[str], Script]
) -> None:
    from himalia.util.state import list_actors, list_objects

    hv = fresh()
    session_dir = hv.init(ignore_reinit_error=True)["session_dir"]
    other = script(DRIVER.format(address=repr(session_dir), options="", then="time.sleep(60)"))
    other.line()
    eventually(lambda: hv.available_resources().get("CPU", 0) == 0, "the other driver to have the CPUs")
    assert len(list_objects(filters=IN_STORES)) == 1
    files = set(os.listdir(session_dir))
    slay(other.pid)
    with took_less_than(5):
        eventually(lambda: hv.available_resources().get("CPU", 0) == 2, "the CPUs to be free")
    eventually(lambda: all(actor.state == "DEAD" for actor in list_actors()), "its actor to end")
    eventually(lambda: not list_objects(filters=IN_STORES), "its object to go")
    eventually(lambda: len(set(os.listdir(session_dir))) < len(files), "its socket to go")

    @hv.remote(num_cpus=2)
    def one() -> int:
        return 1

    assert hv.get(one.remote(), timeout=10) == 1


def test_an_interrupt_during_get_leaves_the_session_usable(fresh: Callable[..., ModuleType]) -> None:
    hv = fresh()
    refs = busy(hv)
    threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
    with took_less_than(3), pytest.raises(KeyboardInterrupt):
        hv.get(refs)

    @hv.remote(num_cpus=0)
    def one() -> int:
        return 1

    assert hv.get(one.remote(), timeout=10) == 1
