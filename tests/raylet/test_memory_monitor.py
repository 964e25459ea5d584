"""Memory is measured where it is limited, and the worker that is ended is the one that helps most."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from himalia.cluster.raylet.events import Candidate
from himalia.cluster.raylet.memory_monitor import (
    MemoryMonitor,
    choose_victim,
    explain_kill,
    kernel_kills,
    pick_victim,
)
from himalia.cluster.raylet.resources import CgroupFiles

GIB = 1 << 30


def candidate(name: int, memory: float, *, is_actor: bool = False, since: float = 0.0) -> Candidate:
    return Candidate(bytes([name]), name, is_actor, since, round(memory * GIB))


def machine(root: Path, total: float, available: float) -> None:
    (root / "proc").mkdir(exist_ok=True)
    text = f"MemTotal: {round(total * 2**20)} kB\nMemFree: 1 kB\nMemAvailable: {round(available * 2**20)} kB\n"
    (root / "proc/meminfo").write_text(text)


def group(root: Path, limit: float, used: float, cache: float = 0.0, *, version: int = 2) -> CgroupFiles:
    """This process is in the control group `/job` of the given version."""
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    if version == 2:
        folder, files = root / "cg/job", ("memory.max", "memory.current", "inactive_file")
        (root / "proc/self/cgroup").write_text("0::/job\n")
    else:
        folder = root / "cg/memory/job"
        files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        (root / "proc/self/cgroup").write_text("7:memory:/job\n3:cpu,cpuacct:/job\n")
    folder.mkdir(parents=True)
    (folder / files[0]).write_text(f"{round(limit * GIB)}\n")
    (folder / files[1]).write_text(f"{round(used * GIB)}\n")
    (folder / "memory.stat").write_text(f"anon 1\n{files[2]} {round(cache * GIB)}\nother 2\n")
    return CgroupFiles(str(root / "cg"), str(root / "proc"))


def test_the_machine_is_measured_by_what_is_available(tmp_path: Path) -> None:
    machine(tmp_path, 10, 4)
    monitor = MemoryMonitor(0.9, CgroupFiles(str(tmp_path / "none"), str(tmp_path / "proc")))
    assert str(monitor.state) == "6.00 of 10.00 GiB of the machine (60%)"
    assert not monitor.sample()
    machine(tmp_path, 10, 0.5)
    assert monitor.sample()


@pytest.mark.parametrize("version", [1, 2])
def test_the_tightest_limit_counts_without_the_cache(version: int, tmp_path: Path) -> None:
    machine(tmp_path, 100, 90)
    monitor = MemoryMonitor(0.9, group(tmp_path, 4, 3.5, cache=1.5, version=version))
    assert str(monitor.state) == "2.00 of 4.00 GiB of the control group (50%)"


def test_a_group_without_a_limit_is_not_looked_at(tmp_path: Path) -> None:
    machine(tmp_path, 10, 9)
    groups = group(tmp_path, 1, 1)
    (tmp_path / "cg/job/memory.max").write_text("max\n")
    assert MemoryMonitor(0.9, groups).state.name == "machine"


def test_it_is_looked_at_more_often_the_less_is_left(tmp_path: Path) -> None:
    delays = []
    for available in (90, 10, 6, 5.1, 1):
        machine(tmp_path, 100, available)
        delays.append(MemoryMonitor(0.95, CgroupFiles(str(tmp_path), str(tmp_path / "proc"))).delay())
    assert delays == sorted(delays, reverse=True)
    assert delays[0] == 1.0
    assert delays[-1] == 0.05


def test_the_largest_goes() -> None:
    assert choose_victim([candidate(1, 1), candidate(2, 3), candidate(3, 2)]) == candidate(2, 3)
    assert choose_victim([]) is None


def test_of_equals_the_younger_goes() -> None:
    young = candidate(2, 1, since=9)
    assert choose_victim([candidate(1, 1, since=1), young, candidate(3, 1, since=5)]) == young


def test_an_actor_goes_only_if_it_is_twice_as_large_as_any_task() -> None:
    task, actor = candidate(1, 1), candidate(2, 1.9, is_actor=True)
    assert choose_victim([task, actor]) == task
    actor = candidate(2, 2, is_actor=True)
    assert choose_victim([task, actor]) == actor
    assert choose_victim([actor]) == actor


def test_candidates_are_measured_by_memory_of_their_own() -> None:
    me = Candidate(b"me", os.getpid(), False, 0.0)
    gone = Candidate(b"gone", 2**22 + 1, False, 0.0)
    victim, measured = pick_victim([gone, me])
    assert victim is not None
    assert victim.worker_id == b"me"
    assert victim.memory > 1 << 20
    assert [c.memory for c in measured if c.worker_id == b"gone"] == [0]


def test_the_reason_has_the_numbers_and_what_to_do(tmp_path: Path) -> None:
    machine(tmp_path, 10, 0.25)
    monitor = MemoryMonitor(0.95, CgroupFiles(str(tmp_path), str(tmp_path / "proc")))
    victim = candidate(7, 6)
    text = explain_kill(monitor, victim, [victim, candidate(8, 2)])
    assert "9.75 of 10.00 GiB" in text
    assert "pid 7) held 6.00 GiB" in text
    assert "pid 8: 2.00 GiB" in text
    assert "`memory=`" in text


def test_the_kernel_counts_what_it_killed(tmp_path: Path) -> None:
    assert kernel_kills() >= 0
    (tmp_path / "vmstat").write_text("nr_free_pages 1\noom_kill 3\n")
    assert kernel_kills(CgroupFiles(str(tmp_path), str(tmp_path))) == 3
    assert kernel_kills(CgroupFiles(str(tmp_path), str(tmp_path / "none"))) == 0
