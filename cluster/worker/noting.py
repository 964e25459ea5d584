"""Keeps the notes of this worker up to date: what it runs, and how much memory functions take.

At each tick of the core, four a second. A worker that does nothing compares two values; one that runs something reads a
line of `/proc` and asks the kernel for its peak: some ten microseconds, and none for a task.
"""

from __future__ import annotations

import os
import resource
import time
from typing import TYPE_CHECKING, Any, Final

from ..telemetry.buffer import WIDTH
from ..telemetry.run_notes import NAME_CUT, FunctionMemory, Notes, Running, encode_notes, write_notes
from .peers import Job, Loaded

if TYPE_CHECKING:
    from ..core.runtime import Core
    from .executor import Executor

__all__ = ["Noting"]

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_KEPT: Final = 256  # functions of this worker, so that one that many functions ran in does not grow by it


class Noting:
    """The notes of one worker; `tick` runs in the thread that leads the core."""

    def __init__(self, executor: Executor, page: memoryview) -> None:
        self._executor = executor
        self._page = page
        self._last: tuple[bytes, int, int] | None = None  # owner, counter and count of what was noted as running
        self._memory: dict[str, FunctionMemory] = {}
        self._resident = 0
        self._peak = 0

    @classmethod
    def install(cls, core: Core, executor: Executor) -> Noting:
        """Note what this worker runs from now on."""
        noting = cls(executor, executor.page.cast("B"))
        noting._resident, noting._peak = _memory()
        core.tick_hooks.append(noting.tick)
        return noting

    def tick(self, now: float) -> None:
        """Some time passed."""
        jobs = self._jobs()
        first = min(jobs, key=lambda job: job.started, default=None)
        key = None if first is None else (first.loaded.owner, first.task.counter, len(jobs))
        ran = self._ran_longest() if first is None else first.loaded
        if ran is None and key == self._last:
            return  # it did nothing since the last tick
        self._last = key
        if ran is not None:
            self._sample(self._name(ran))
        running = None if first is None else self._running(first, len(jobs))
        write_notes(self._page, encode_notes(Notes(running, list(self._memory.values()))))

    def _jobs(self) -> list[Job]:
        executor = self._executor
        jobs = executor.actor.running() if executor.actor is not None else [executor.running]
        return [job for job in jobs if job is not None and job.started]

    def _ran_longest(self) -> Loaded | None:
        """Of the tasks that ended since the last tick, as far as telemetry has them."""
        events = self._executor.events
        if events is None or not events.buffer.rows:
            return None
        rows = events.buffer.rows[-_KEPT * WIDTH :]
        seconds: dict[Any, float] = {}
        for key, span in zip(rows[0::WIDTH], rows[5::WIDTH], strict=False):
            if isinstance(key, Loaded):
                seconds[key] = seconds.get(key, 0.0) + span
        return max(seconds, key=lambda key: seconds[key], default=None)

    def _sample(self, name: str) -> None:
        resident, peak = _memory()
        known = self._memory.get(name)
        if known is None:
            if len(self._memory) >= _KEPT:
                del self._memory[min(self._memory, key=lambda other: self._memory[other].peak)]
            known = self._memory[name] = FunctionMemory(name)
        # A peak of the process that is not new may be that of any function before.
        known.peak = max(known.peak, resident, peak if peak > self._peak else 0)
        known.grown += resident - self._resident
        known.samples += 1
        self._resident, self._peak = resident, peak

    def _running(self, job: Job, count: int) -> Running:
        loaded = job.loaded
        since = time.time() - (time.perf_counter() - job.started)
        cell = loaded.cell.execution if loaded.cell is not None else 0
        job_id = self._executor.core.job_id
        return Running(loaded.owner, job.task.counter, self._name(loaded), cell, job_id, since, count)

    def _name(self, loaded: Loaded) -> str:
        actor = self._executor.actor
        own = loaded.template.name
        if loaded.method and loaded.method != "__init__" and actor is not None:  # a constructor's name has its class
            own = f"{actor.spec.class_name}.{own}"
        name = loaded.template.options.get("name") or own
        return str(name)[:NAME_CUT]


def _memory() -> tuple[int, int]:
    """Bytes that this process has in memory now, and at most so far."""
    with open("/proc/self/statm", "rb") as file:
        resident = int(file.read().split()[1]) * _PAGE
    return resident, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
