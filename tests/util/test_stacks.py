"""Stacks and profiles of a cluster's processes, asked for by whatever names them."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

import himalia
from himalia.__main__ import main
from himalia.util import state
from tests.support.clusters import eventually

BURNS = 30.0  # seconds at most: a test ends it earlier


@himalia.remote
def burn(gate: str) -> None:
    end = time.monotonic() + BURNS
    while time.monotonic() < end and not os.path.exists(gate):
        sum(range(1_000))


@himalia.remote
class Sleeper:
    def sleep(self, gate: str) -> None:
        while not os.path.exists(gate):
            time.sleep(0.01)

    def pid(self) -> int:
        return os.getpid()


@pytest.fixture
def gate(tmp_path: Path) -> str:
    return str(tmp_path / "gate")


def names_in(stacks: state.Stacks) -> set[str]:
    return {frame.name for thread in stacks.threads for frame in thread.frames}


@pytest.mark.usefixtures("cluster")
def test_a_process_is_found_by_whatever_names_it(gate: str) -> None:
    ref = burn.remote(gate)
    eventually(lambda: getattr(state.get_task(ref), "state", "") == "RUNNING", "it has begun")
    by_task = state.get_stack(ref)
    assert by_task.by == "py-spy"
    assert "burn" in names_in(by_task)
    (row,) = [one for one in state.list_workers(limit=1000) if one.pid == by_task.pid]
    for name in (row.worker_id, by_task.pid, str(by_task.pid), ref.hex(), ref.task_id().hex()):
        assert state.get_stack(name).pid == by_task.pid
    Path(gate).touch()
    himalia.get(ref)
    eventually(lambda: state.get_task(ref).state == "FINISHED", "the end is recorded")
    with pytest.raises(ValueError, match=f"task {ref.task_id().hex()} runs in no process: it is FINISHED"):
        state.get_stack(ref)


@pytest.mark.usefixtures("cluster")
def test_actors_servers_and_the_driver_are_found(gate: str) -> None:
    actor = Sleeper.remote()
    ref = actor.sleep.remote(gate)
    himalia.wait([ref], timeout=0.5)
    stacks = state.get_stack(actor)
    assert "Sleeper.sleep" in names_in(stacks)
    assert state.get_stack(actor._actor_id.hex()).pid == stacks.pid
    Path(gate).touch()
    himalia.get(ref)
    (node,) = state.list_nodes(detail=True)
    assert state.get_stack(node.node_id).pid == node.pid
    assert len({state.get_stack(name).pid for name in ("gcs", "host", node.node_id)}) == 3
    assert "test_actors_servers_and_the_driver_are_found" in names_in(state.get_stack(os.getpid()))


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("name", ["nonsense", "00" * 8, "00" * 16, 1, [1]])
def test_what_names_no_process_is_refused(name: object) -> None:
    with pytest.raises(ValueError, match=r"names no process|in no process"):
        state.get_stack(name)


@pytest.mark.usefixtures("cluster")
def test_the_profile_of_all_workers_finds_what_takes_their_time(gate: str) -> None:
    refs = [burn.remote(gate) for _ in range(2)]
    with state.Profiling(seconds=60) as running:
        himalia.wait(refs, timeout=1.5)
        found = running.stop()
    Path(gate).touch()
    himalia.get(refs)
    assert len(found.pids) >= 2
    assert 1 < found.seconds < 30
    # A thread that waits may be seen on its way into the system or out of it, more often the busier the machine is.
    working = [s for s in found.stacks if found.frames[s.frames[-1]].name.rpartition(".")[2] not in ("poll", "wait")]
    total = sum(stack.count for stack in working)
    burning = sum(s.count for s in found.stacks if any(found.frames[n].name == "burn" for n in s.frames))
    assert burning > 0.8 * total > 0


@pytest.mark.usefixtures("cluster")
def test_the_command_line_prints_stacks_and_writes_profiles(
    gate: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refs = [burn.remote(gate) for _ in range(2)]
    pid = state.get_stack(refs[0]).pid
    assert main(["stack", str(pid)]) == 0
    assert "burn (util/test_stacks.py:" in capsys.readouterr().out
    assert main(["stack"]) == 0
    assert capsys.readouterr().out.count("burn (util/test_stacks.py:") == 2
    for name, style in (("a.html", []), ("a.json", []), ("odd", ["--format", "folded"])):
        assert main(["profile", str(pid), "--seconds", "1", "--out", str(tmp_path / name), *style]) == 0
    assert "burn" in (tmp_path / "a.html").read_text()
    assert "burn" in {frame["name"] for frame in json.loads((tmp_path / "a.json").read_text())["shared"]["frames"]}
    assert ";burn (util/test_stacks.py:" in (tmp_path / "odd").read_text()
    capsys.readouterr()
    assert main(["profile", str(pid), "--seconds", "1"]) == 0
    assert "burn (util/test_stacks.py:" in capsys.readouterr().out
    assert main(["profile", str(pid), "--out", "x.png"]) == 1
    assert "names no format" in capsys.readouterr().err
    Path(gate).touch()
    himalia.get(refs)
