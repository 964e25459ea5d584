"""Ends one worker before the kernel ends whatever it likes.

Strategy: memory is measured where it is limited: the control groups this process is in (without page cache that can be
dropped), and the machine. It is looked at more often the less is left, as a process can touch no more than some GB in a
second: an idle node costs one small read a second.

Policy: of the workers that run something, the one with the most memory of its own goes, as it is most probably the
cause and its end helps most. An actor goes only if it holds twice as much as any task's worker, since a task can be run
again and the state of an actor is lost. Of equals the younger goes, as it has less to lose. Then nobody else goes until
that one is gone. Rejected: the last started first, as Ray has it, which ends many small tasks around one large one.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Final

import msgspec

from .events import Candidate
from .resources import CgroupFiles

__all__ = [
    "MemoryMonitor",
    "MemoryState",
    "choose_victim",
    "explain_kill",
    "kernel_kills",
    "pick_victim",
]

_FASTEST_GROWTH: Final = 4 << 30  # bytes in a second: page faults of several processes at once
_SHORTEST: Final = 0.05
_LONGEST: Final = 1.0
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_GIB: Final = 1 << 30


@dataclasses.dataclass(slots=True, frozen=True)
class MemoryState:
    """Use of the tightest limit, in bytes."""

    used: int
    limit: int
    name: str

    @property
    def share(self) -> float:
        return self.used / self.limit

    def __str__(self) -> str:
        return f"{self.used / _GIB:.2f} of {self.limit / _GIB:.2f} GiB of the {self.name} ({self.share:.0%})"


def choose_victim(candidates: list[Candidate]) -> Candidate | None:
    """The one to end; see the policy above."""

    def weight(candidate: Candidate) -> tuple[int, float]:
        return candidate.memory, candidate.since

    tasks = max((c for c in candidates if not c.is_actor), key=weight, default=None)
    actors = max((c for c in candidates if c.is_actor), key=weight, default=None)
    if tasks is None or (actors is not None and actors.memory >= 2 * tasks.memory):
        return actors
    return tasks


def pick_victim(candidates: list[Candidate]) -> tuple[Candidate | None, list[Candidate]]:
    """Measure them all, and choose; returns the choice and the measured candidates."""
    measured = [msgspec.structs.replace(candidate, memory=own_memory(candidate.pid)) for candidate in candidates]
    return choose_victim(measured), measured


def own_memory(pid: int) -> int:
    """Memory that only this process uses (without what it shares: the arena, pages from before its fork); 0 if gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            _, resident, shared, *_ = map(int, file.read().split())
    except OSError:
        return 0
    return (resident - shared) * _PAGE


class MemoryMonitor:
    """Measures on demand; the caller decides when, by `delay`."""

    def __init__(self, threshold: float, groups: CgroupFiles | None = None) -> None:
        self.threshold = threshold
        groups = groups or CgroupFiles()
        self._meminfo = groups.proc / "meminfo"
        self._limits = list(_limited_groups(groups))
        self.state = self._measure()

    def sample(self) -> bool:
        """Measure; whether a worker has to go."""
        self.state = self._measure()
        return self.state.share >= self.threshold

    def delay(self) -> float:
        """Seconds until the next sample."""
        left = self.threshold * self.state.limit - self.state.used
        return min(_LONGEST, max(_SHORTEST, left / _FASTEST_GROWTH))

    def _measure(self) -> MemoryState:
        states = [self._machine()]
        for folder, limit, is_v2 in self._limits:
            used = _group_use(folder, is_v2)
            if used is not None:
                states.append(MemoryState(used, limit, "control group"))
        return max(states, key=lambda state: state.share)

    def _machine(self) -> MemoryState:
        total = available = 0
        with open(self._meminfo, "rb") as file:
            for line in file:
                if line.startswith(b"MemTotal:"):
                    total = int(line.split()[1]) * 1024
                elif line.startswith(b"MemAvailable:"):
                    available = int(line.split()[1]) * 1024
                    break
        return MemoryState(total - available, total, "machine")


def explain_kill(monitor: MemoryMonitor, victim: Candidate, candidates: list[Candidate]) -> str:
    """Why this one, with the numbers, and what to do."""
    largest = sorted(candidates, key=lambda candidate: -candidate.memory)[:3]
    others = ", ".join(f"pid {c.pid}: {c.memory / _GIB:.2f} GiB" for c in largest)
    return (
        f"The node was about to run out of memory: {monitor.state} were in use, and the limit is "
        f"{monitor.threshold:.0%}. This worker (pid {victim.pid}) held {victim.memory / _GIB:.2f} GiB, so it was "
        f"ended. Largest workers: {others}. Use less memory in a task, run fewer at a time (`memory=` or `num_cpus=` "
        "in options), or raise `memory_usage_threshold`."
    )


def _limited_groups(groups: CgroupFiles) -> list[tuple[Path, int, bool]]:
    """Our control group and those above it that have a limit: folder, limit, whether of version 2."""
    found = []
    for folder in groups.folders("memory"):
        for name, is_v2 in (("memory.max", True), ("memory.limit_in_bytes", False)):
            try:
                text = (folder / name).read_text().strip()
            except OSError:
                continue
            if text != "max" and int(text) < 1 << 60:
                found.append((folder, int(text), is_v2))
    return found


def _group_use(folder: Path, is_v2: bool) -> int | None:
    """Bytes that a control group uses and cannot simply drop."""
    current, cache = ("memory.current", "inactive_file") if is_v2 else ("memory.usage_in_bytes", "total_inactive_file")
    try:
        used = int((folder / current).read_text())
        for line in (folder / "memory.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == cache:
                return used - int(value)
    except OSError:
        return None
    return used


def kernel_kills(groups: CgroupFiles | None = None) -> int:
    """How many processes the kernel has killed for want of memory, here; a number to compare with an earlier one."""
    proc = (groups or CgroupFiles()).proc
    try:
        with open(proc / "vmstat", "rb") as file:
            for line in file:
                if line.startswith(b"oom_kill "):
                    return int(line.split()[1])
    except OSError:
        return 0
    return 0
