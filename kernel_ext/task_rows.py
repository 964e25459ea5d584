"""The rows of ``%tasks``: what the cluster has recorded, with what this process knows better, filtered and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..cluster.protocol.ids import task_counter
from ..cluster.telemetry.events import TaskState
from ..cluster.telemetry.records import TaskRecord
from .tables import Table
from .task_history import cell_of, job_of

if TYPE_CHECKING:
    from .own_tasks import PendingTask

__all__ = ["STATES", "TaskRow", "by_name", "counted", "label", "listed", "merge", "seconds"]

STATES: Final = ("pending", "running", "finished", "failed", "cancelled")


@dataclass
class TaskRow:
    """One attempt of one task. ``started`` is in seconds since the epoch, ``took`` in seconds; 0 where not known."""

    owner: bytes
    number: int
    attempt: int
    name: str
    state: str
    job: bytes
    cell: int
    pid: int
    started: float = 0.0
    took: float = 0.0
    error: str = ""


_ENDS: Final = {TaskState.FINISHED: "finished", TaskState.FAILED: "failed", TaskState.CANCELLED: "cancelled"}


def from_record(record: TaskRecord) -> TaskRow:
    """A row of what the cluster recorded."""
    waits = "running" if record.state is TaskState.RUNNING else "pending"
    return TaskRow(
        owner=record.owner,
        number=task_counter(record.task_id),
        attempt=record.attempt,
        name=record.name,
        state=_ENDS.get(record.state, waits),
        job=job_of(record),
        cell=cell_of(record),
        pid=record.pid,
        started=record.started,
        took=record.duration,
        error=record.error,
    )


def merge(records: Iterable[TaskRecord], pending: Iterable[PendingTask], owner: bytes, job: bytes) -> list[TaskRow]:
    """Rows of records, and the tasks of this process that these do not know yet; the newest first.

    A record that says more than its owner knows (it runs, it has ended) is believed: the worker saw it.
    """
    rows = [from_record(record) for record in records]
    known = {row.number: row for row in rows if row.owner == owner}  # the last attempt comes last
    for task in pending:
        row = known.get(task.number)
        if row is None:
            cell = task.cell.execution if task.cell is not None else 0
            rows.append(TaskRow(owner, task.number, 0, task.name, task.state, job, cell, task.pid))
        elif row.state == "pending":
            row.state, row.pid = task.state, task.pid
    rows.sort(key=lambda row: (row.owner == owner, row.number, row.attempt), reverse=True)
    return rows


def label(owner: bytes, number: int, own: bytes) -> str:
    """What ``%cancel`` and tables call a task or an actor: the n of its ``ObjectRef n``, for those of this process."""
    return str(number) if owner == own else f"{owner.hex()}:{number}"


def counted(rows: Iterable[TaskRow], noun: str = "task") -> str:
    """``12 tasks: 3 running, 9 finished``."""
    counts = Counter(row.state for row in rows)
    total = counts.total()
    parts = [f"{counts[state]} {state}" for state in STATES if counts[state]]
    return f"{total} {noun}{'' if total == 1 else 's'}" + (f": {', '.join(parts)}" if parts else "")


def by_name(rows: Iterable[TaskRow], limit: int) -> Table:
    """How many of each function are in each state, and how long one takes; most first."""
    groups: dict[str, list[TaskRow]] = {}
    for row in rows:
        groups.setdefault(row.name, []).append(row)
    table = Table(("function", *STATES, "mean time"), numbers=frozenset({*STATES, "mean time"}))
    for name, members in sorted(groups.items(), key=lambda item: -len(item[1]))[:limit]:
        counts = Counter(row.state for row in members)
        times = [row.took for row in members if row.took]
        mean = seconds(sum(times) / len(times)) if times else ""
        table.rows.append([name, *(str(counts[state] or "") for state in STATES), mean])
    return table


def listed(rows: Iterable[TaskRow], owner: bytes, now: float) -> Table:
    """One line for each task."""
    table = Table(
        ("task", "function", "state", "cell", "time", "worker", "error"), numbers=frozenset({"cell", "time", "worker"})
    )
    for row in rows:
        name = f"{row.name} (try {row.attempt + 1})" if row.attempt else row.name
        runs = max(0.0, now - row.started) if row.state == "running" and row.started else row.took
        took = seconds(runs) if runs else ""
        table.rows.append(
            [
                label(row.owner, row.number, owner),
                name,
                row.state,
                str(row.cell or ""),
                took,
                str(row.pid or ""),
                row.error.partition("\n")[0],
            ]
        )
    return table


def seconds(value: float) -> str:
    """A duration as people read it."""
    if value < 0.0009995:
        return f"{value * 1e6:.3g} µs"
    if value < 0.0995:
        return f"{value * 1000:.3g} ms"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
