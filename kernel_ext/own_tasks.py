"""The tasks of this notebook that have not ended, as their owner, this process, knows them at this moment.

The cluster's records come in batches, up to a second late. What this process submitted it knows without asking.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..cluster.core.records import LeasedWorker, Record
from ..cluster.core.refs import PENDING
from ..cluster.protocol.common import Cell

if TYPE_CHECKING:
    from ..cluster.core.runtime import Core

__all__ = ["PendingTask", "in_leader", "pending_tasks"]

_PATIENCE: Final = 5.0  # seconds: the leader answers within milliseconds unless the cluster is in trouble


@dataclass(frozen=True)
class PendingTask:
    """One that this process submitted.

    Attributes
    ----------
    number
        The n of its ``ObjectRef n``.
    """

    number: int
    name: str
    state: str
    cell: Cell | None
    pid: int
    record: Record


def in_leader(core: Core, question: Callable[[], Any]) -> Any:
    """Have the thread that drives the core's machines answer a question about them.

    Raises
    ------
    TimeoutError
        It does not answer.
    """
    answer: list[Any] = []
    answered = threading.Event()

    def act() -> None:
        try:
            answer.append(question())
        finally:
            answered.set()

    core.post(act)
    if not answered.wait(_PATIENCE) or not answer:
        raise TimeoutError("the connection to the cluster does not answer")
    return answer[0]


def pending_tasks(core: Core) -> list[PendingTask]:
    """All that have not ended, calls of actors among them, in the order of their submission."""
    found: Iterable[PendingTask | None] = in_leader(core, lambda: [_describe(each) for each in core.cells.pending()])
    return sorted((task for task in found if task is not None), key=lambda task: task.number)


def _describe(record: Record) -> PendingTask | None:
    ref = record.ref if record.ref is not None else next(iter(record.refs or ()), None)
    if ref is None or ref._state != PENDING:
        return None
    plan, worker = record.plan, record.worker
    state, pid = "pending", 0
    if type(worker) is LeasedWorker:
        pid = worker.pid
        if next(iter(worker.inflight), None) == record.task.counter:
            state = "running"
    return PendingTask(record.task.counter, plan.name, state, plan.cell, pid, record)
