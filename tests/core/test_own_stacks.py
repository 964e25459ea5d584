"""A process that looks at itself."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import himalia
from himalia.cluster.core.own_stacks import BY, own_stacks, take_profile
from himalia.util import state
from tests.support.clusters import eventually


def burn(stop: threading.Event) -> None:
    while not stop.is_set():
        sum(range(1000))


@pytest.fixture
def threads() -> Iterator[None]:
    """One thread that works, and one that waits."""
    stop = threading.Event()
    found = [
        threading.Thread(target=burn, args=(stop,), name="at work"),
        threading.Thread(target=stop.wait, name="waits"),
    ]
    for thread in found:
        thread.start()
    yield
    stop.set()
    for thread in found:
        thread.join()


@pytest.mark.usefixtures("threads")
def test_all_threads_are_seen_with_their_names_the_outermost_frame_first() -> None:
    stacks = own_stacks()
    by_name = {thread.name: thread for thread in stacks.threads}
    assert (stacks.pid, stacks.by) == (os.getpid(), BY)
    names = [frame.name for frame in by_name["at work"].frames]
    assert names.index("Thread.run") < names.index("burn")
    assert by_name["waits"].thread_id in map(int, os.listdir("/proc/self/task"))


@pytest.mark.usefixtures("threads")
def test_a_profile_counts_threads_at_work_alone_unless_asked_for_others() -> None:
    never = threading.Event()
    busy = take_profile(0.5, 100, False, never)
    assert {stack.thread for stack in busy.stacks} == {"at work"}
    assert any(busy.frames[number].name == "burn" for number in busy.stacks[0].frames)
    assert (busy.by, busy.rate, busy.seconds) == ([BY], 100, 0.5)
    everything = take_profile(0.2, 100, True, never)
    assert {"at work", "waits"} <= {stack.thread for stack in everything.stacks}
    assert threading.current_thread().name not in {stack.thread for stack in everything.stacks}


@pytest.mark.usefixtures("threads")
def test_a_profile_that_is_stopped_says_how_long_it_took() -> None:
    stop = threading.Event()
    stop.set()
    assert take_profile(100.0, 100, False, stop).seconds < 50


def names_of_threads(ref: himalia.ObjectRef) -> set[str]:
    return {thread.name for thread in state.get_stack(ref).threads}


def test_a_process_that_py_spy_may_not_look_at_tells_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "py-spy"
    program.write_text("#!/bin/sh\necho 'Error: Permission Denied: Try again with sudo' >&2\nexit 1\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("HIMALIA_PY_SPY", str(program))
    gate = tmp_path / "gate"

    @himalia.remote
    def work(gate: str) -> None:
        while not os.path.exists(gate):
            sum(range(1_000))

    himalia.init(num_cpus=1, log_to_driver=False, include_dashboard=False)
    try:
        ref = work.remote(str(gate))
        eventually(lambda: [task.state for task in state.list_tasks()] == ["RUNNING"], "the task to run")
        stacks = state.get_stack(ref)
        assert stacks.by == "the process itself"
        assert any(frame.name.endswith("work") for thread in stacks.threads for frame in thread.frames)
        assert stacks.note  # why it was not py-spy
        found = state.profile(ref, seconds=0.5)
        assert found.by == ["the process itself"]
        assert any(found.frames[n].name.endswith("work") for stack in found.stacks for n in stack.frames)
        with state.Profiling(ref, seconds=300.0) as running:  # it is asked at once, and not when it is too late
            eventually(lambda: "himalia-profile" in names_of_threads(ref), "the process profiles itself")
            assert running.stop().by == ["the process itself"]
        eventually(lambda: "himalia-profile" not in names_of_threads(ref), "the end of the profile")
        with pytest.raises(state.StackError, match="the gcs: "):
            state.get_stack("gcs")  # which can not be asked itself
        gate.touch()
        himalia.get(ref)
    finally:
        himalia.shutdown()
