"""Measuring what a worker does around the functions of its tasks, while their cell is explained.

A template with the option says that its tasks are measured; from then on the worker's own methods are timed ones. They
are what they were again when a template of a later cell comes without the option: the cell is over then.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..core.tasks import TIMED, task_var
from ..core.timing import CoreTiming
from ..telemetry.phases import Interval, Phase, PhaseLog, Sum

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..protocol.common import Cell
    from ..protocol.core_messages import Template
    from .executor import Executor
    from .peers import Job

__all__ = ["ProcessorTime", "WorkerTiming", "note_template"]

_SCHEDULER: Final = Path("/proc/self/schedstat")
"""Of the main thread: nanoseconds that it ran, and that it waited for a processor."""


class WorkerTiming(CoreTiming):
    """The phases of one worker's tasks."""

    def __init__(self, executor: Executor) -> None:
        super().__init__(executor.core, PhaseLog(_running))
        self.executor = executor
        self._processors = ProcessorTime()
        self.cell: Cell | None = None

    def install(self) -> None:
        super().install()
        executor, log, results = self.executor, self.log, self.executor.results
        self.replace(executor, "load", log.timed(Phase.LOAD, executor.load))
        self.tap(executor, "arguments", Phase.ARGUMENTS)
        self.replace(executor, "stored", log.timed(Phase.ARGUMENTS, executor.stored))
        self.tap(results, "of_value", Phase.RESULT)
        self.replace(results, "returned", log.timed(Phase.RESULT, results.returned, _size_returned))
        self.replace(self.core, "before_flush", self._before_flush(self.core.before_flush))
        self.turn_on()
        if executor.events is not None:
            self.replace(executor.events.buffer, "phases", self._take)

    def _take(self) -> tuple[dict[tuple[Any, Phase], Sum], list[Interval]]:
        """What was measured since the last flush. How long the process had processors is counted for one function: that
        which runs, or one that ran."""
        sums, intervals = self.log.take()
        running = self.executor.running
        whose = running.loaded if running is not None else next((one for one, _ in sums if one is not None), None)
        used = self._processors.since_last()
        if whose is not None and used is not None:
            for phase, seconds in zip((Phase.ON_CPU, Phase.HELD_UP), used, strict=True):
                sums[whose, phase] = Sum(1, seconds)
        return sums, intervals

    def _before_flush(self, flush: Callable[[], None] | None) -> Callable[[], None]:
        """Between short tasks this comes every two milliseconds, after a long one at once."""

        def flushed() -> None:
            if flush is not None:
                flush()
            self.turn_on()

        return flushed


class ProcessorTime:
    """How long this process had processors, and how long its main thread waited for one."""

    def __init__(self) -> None:
        self._last = self._read()

    def since_last(self) -> tuple[float, float] | None:
        """Seconds of both since this was asked last; None where the system does not tell."""
        before, self._last = self._last, self._read()
        if before is None or self._last is None:
            return None
        return self._last[0] - before[0], self._last[1] - before[1]

    @staticmethod
    def _read() -> tuple[float, float] | None:
        with suppress(OSError, ValueError, IndexError):
            ran, waited, *_ = (int(field) for field in _SCHEDULER.read_text().split())
            if ran:  # else the kernel does not count
                return time.process_time(), waited / 1e9
        return None


def note_template(executor: Executor, template: Template) -> None:
    """A template came, to a worker that measures or with the option: begin, or end."""
    timing = executor.timing
    if TIMED in template.options:
        if timing is None:
            timing = executor.timing = WorkerTiming(executor)
            timing.install()
        timing.cell = template.cell
    elif timing is not None and _is_later(template.cell, timing.cell):
        if executor.events is not None:
            executor.events.flush()
        timing.remove()
        executor.timing = None


def _is_later(cell: Cell | None, than: Cell | None) -> bool:
    return cell is not None and than is not None and cell.job_id == than.job_id and cell.execution > than.execution


def _running() -> Any:
    job: Job | None = task_var.get()
    return job.loaded if job is not None else None


def _size_returned(made: Any, *arguments: Any) -> int:
    size: int = max(made.size, len(made.data))
    return size
