"""What pages call cells, tasks and workers."""

from __future__ import annotations

from ...cluster.protocol.common import Cell
from ...cluster.telemetry.events import TaskState

__all__ = ["cell_name", "milliseconds", "state_name", "took"]

_NAMES = {
    TaskState.PENDING_ARGS: "waiting",
    TaskState.PENDING_NODE: "waiting",
    TaskState.SUBMITTED_TO_WORKER: "waiting",
    TaskState.RUNNING: "running",
    TaskState.FINISHED: "finished",
    TaskState.FAILED: "failed",
    TaskState.CANCELLED: "cancelled",
}


def state_name(state: TaskState) -> str:
    """A task's state as people are told: waiting, running, finished, failed or cancelled."""
    return _NAMES[state]


def cell_name(cell: Cell | None) -> str:
    """``In [3]``; empty for what no cell submitted."""
    return f"In [{cell.execution}]" if cell is not None and cell.execution else ""


def milliseconds(seconds: float) -> float:
    """A time for plots, to a hundredth of a millisecond: more digits are more bytes."""
    return round(seconds * 1000, 2)


def took(seconds: float) -> str:
    """A duration with its unit."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 120:
        return f"{seconds:.2f} s"
    return f"{seconds / 60:.1f} min"
