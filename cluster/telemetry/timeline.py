"""Task records as a Chrome trace (the JSON that `chrome://tracing` and Perfetto read).

A node is a "process" of the trace and a worker a "thread", so a row of the picture is what one worker did. An arrow
leads from the submission to the execution where the submission was seen.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

from .events import TaskState
from .records import TaskRecord

__all__ = ["chrome_trace"]

_MICRO: Final = 1_000_000

_COLORS: Final = {
    TaskState.FINISHED: "good",
    TaskState.FAILED: "terrible",
    TaskState.CANCELLED: "grey",
    TaskState.RUNNING: "thread_state_running",
}
"""Names of Chrome's own palette."""


def chrome_trace(records: Iterable[TaskRecord], now: float | None = None) -> list[dict[str, Any]]:
    """The events of a trace.

    Parameters
    ----------
    records
        Those that never ran are left out.
    now
        Seconds since the epoch: the end of what still runs. None: the present.
    """
    now = time.time() if now is None else now
    events: list[dict[str, Any]] = []
    nodes: dict[bytes, str] = {}
    workers: dict[bytes, str] = {}
    for record in records:
        if not record.started:
            continue
        node = nodes.get(record.node_id)
        if node is None:
            node = nodes[record.node_id] = f"node:{record.node_id.hex()}"
            events.append({"name": "process_name", "ph": "M", "pid": node, "args": {"name": node}})
        worker = workers.get(record.worker_id)
        if worker is None:
            worker = workers[record.worker_id] = f"worker:{record.worker_id.hex()}"
            name = f"{worker} (pid {record.pid})"
            events.append({"name": "thread_name", "ph": "M", "pid": node, "tid": worker, "args": {"name": name}})
        events.append(_span(record, node, worker, now))
        if record.submitted:
            events += _arrow(record, node, worker)
    return events


def _span(record: TaskRecord, node: str, worker: str, now: float) -> dict[str, Any]:
    end = record.ended or now
    cell = record.cell
    return {
        "name": record.name,
        "cat": f"task::{record.source.function or record.name}",
        "ph": "X",
        "ts": record.started * _MICRO,
        "dur": max(0.0, end - record.started) * _MICRO,
        "pid": node,
        "tid": worker,
        "cname": _COLORS.get(record.state, "generic_work"),
        "args": {
            "task_id": record.task_id.hex(),
            "job_id": record.job_id.hex(),
            "actor_id": record.actor_id.hex(),
            "kind": record.kind.name,
            "attempt_number": record.attempt,
            "state": record.state.name,
            "error": record.error,
            "cell": cell.execution if cell is not None else 0,
            "submitted": record.submitted,
        },
    }


def _arrow(record: TaskRecord, node: str, worker: str) -> list[dict[str, Any]]:
    name = f"{record.task_id.hex()}:{record.attempt}"
    common = {"name": "submitted", "cat": "submission", "id": name}
    owner = f"worker:{record.owner.hex()}"
    return [
        {**common, "ph": "s", "pid": node, "tid": owner, "ts": record.submitted * _MICRO},
        {**common, "ph": "f", "bp": "e", "pid": node, "tid": worker, "ts": record.started * _MICRO},
    ]
