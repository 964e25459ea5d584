"""The rows of ``%tasks``: what the cluster has recorded, with what this process knows better, filtered and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .tables import Table

if TYPE_CHECKING:
    from .own_tasks import PendingTask

__all__ = ["STATES", "TaskRow", "by_name", "counted", "label", "listed", "merge", "seconds"]

STATES: Final = ("pending", "running", "finished", "failed", "cancelled")


@dataclass
class TaskRow:
    """One attempt of one task. ``started`` is in seconds since the epoch, ``took`` in seconds; 0 where not known."""

    owner: str
    number: int
    attempt: int
    name: str
    state: str
    job: str
    cell: int
    pid: int
    started: float = 0.0
    took: float = 0.0
    error: str = ""


def from_state(row: Any) -> TaskRow:
    """A row of the state API."""
    if row.error_type == "TASK_CANCELLED":
        state = "cancelled"
    elif row.state in ("FINISHED", "FAILED"):
        state = row.state.lower()
    else:
        state = "running" if row.state.startswith("RUNNING") else "pending"
    return TaskRow(
        owner=row.task_id[:16],
        number=int(row.task_id[16:32], 16),
        attempt=row.attempt_number,
        name=row.name,
        state=state,
        job=row.job_id,
        cell=row.cell or 0,
        pid=row.worker_pid or 0,
        started=(row.start_time_ms or 0) / 1000,
        took=(row.duration_ms or 0.0) / 1000,
        error=row.error_message or "",
    )


def merge(recorded: Iterable[Any], pending: Iterable[PendingTask], owner: str, job: str) -> list[TaskRow]:
    """Rows of the state API, and the tasks of this process that these do not know yet; the newest first.

    A record that says more than its owner knows (it runs, it has ended) is believed: the worker saw it.
    """
    rows = [from_state(row) for row in recorded]
    known = {row.number: row for row in sorted(rows, key=lambda row: row.attempt) if row.owner == owner}
    for task in pending:
        row = known.get(task.number)
        if row is None:
            cell = task.cell.execution if task.cell is not None else 0
            rows.append(TaskRow(owner, task.number, 0, task.name, task.state, job, cell, task.pid))
        elif row.state == "pending":
            row.state, row.pid = task.state, task.pid
    rows.sort(key=lambda row: (row.owner == owner, row.number, row.attempt), reverse=True)
    return rows


def label(owner: str, number: int, own: str) -> str:
    """What ``%cancel`` and tables call a task or an actor: the n of its ``ObjectRef n``, for those of this process."""
    return str(number) if owner == own else f"{owner}:{number}"


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


def listed(rows: Iterable[TaskRow], owner: str, now: float) -> Table:
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
