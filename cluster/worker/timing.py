"""Measuring what a worker does around the functions of its tasks, while their cell is explained.

A template with the option says that its tasks are measured; from then on the worker's own methods are timed ones. They
are what they were again when a template of a later cell comes without the option: the cell is over then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..core.tasks import TIMED, task_var
from ..core.timing import CoreTiming
from ..telemetry.phases import Phase, PhaseLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..protocol.common import Cell
    from ..protocol.core_messages import Template
    from .executor import Executor
    from .peers import Job

__all__ = ["WorkerTiming", "note_template"]


class WorkerTiming(CoreTiming):
    """The phases of one worker's tasks."""

    def __init__(self, executor: Executor) -> None:
        super().__init__(executor.core, PhaseLog(_running))
        self.executor = executor
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
            self.replace(executor.events.buffer, "phases", log.take)

    def _before_flush(self, flush: Callable[[], None] | None) -> Callable[[], None]:
        """Between short tasks this comes every two milliseconds, after a long one at once."""

        def flushed() -> None:
            if flush is not None:
                flush()
            self.turn_on()

        return flushed


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
