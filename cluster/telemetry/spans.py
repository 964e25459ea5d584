"""Tasks that ended, as spans of traces. Pure.

Strategy: what a cell submitted, with all that came of it, is one trace; outside of a notebook, what a job submitted is.
Ids are hashes of ours, so whoever exports the same tasks twice, or from two places, tells the same traces. A span is
told when its task has been over for a moment: which task submitted it is known from another process than how it ended,
and both flush at times of their own.

Rejected: starting spans where tasks are submitted and run. It costs each task, also where nobody collects them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec

from .events import Batch, TaskState
from .records import TaskRecord, TaskTable

__all__ = ["SETTLED", "Span", "SpanFeed"]

SETTLED: Final = 1.5
"""Seconds after the last word of a task until its span is told: senders flush four times a second, owners once."""

_REMEMBERED: Final = 200_000  # tasks that were told


class Span(msgspec.Struct):
    """One attempt of a task. Times are seconds since the epoch; ``parent`` is empty for what no task submitted."""

    trace_id: bytes
    span_id: bytes
    parent: bytes
    name: str
    start: float
    end: float
    attributes: dict[str, str | int | float]
    error: str = ""


class SpanFeed:
    """Takes in batches of events, and gives the spans of what is over."""

    def __init__(self, cluster_id: str) -> None:
        self._cluster_id = cluster_id
        self._table = TaskTable()
        self._heard: dict[tuple[bytes, int], tuple[float, TaskRecord]] = {}  # ended, and not told yet
        self._told: dict[tuple[bytes, int], None] = {}

    def take(self, batches: Iterable[Batch], now: float) -> None:
        """Take in events; ``now`` is on any clock that goes forward."""
        for batch in batches:
            for record in self._table.add(batch):
                key = (record.task_id, record.attempt)
                if record.is_over and record.started and key not in self._told:
                    self._heard[key] = (now, record)

    def due(self, now: float) -> list[Span]:
        """Spans of what has been over for long enough, once; with `now` infinite, of all that is over."""
        keys = [key for key, (heard, _) in self._heard.items() if now - heard >= SETTLED]
        spans = [self._span(self._heard.pop(key)[1]) for key in keys]
        self._told |= dict.fromkeys(keys)
        while len(self._told) > _REMEMBERED:
            del self._told[next(iter(self._told))]
        return spans

    def _span(self, record: TaskRecord) -> Span:
        cell = record.cell
        parent = self._table.parent_of(record)
        attributes: dict[str, str | int | float] = {
            "himalia.cluster": self._cluster_id,
            "himalia.task": record.task_id.hex(),
            "himalia.job": record.job_id.hex(),
            "himalia.attempt": record.attempt,
            "himalia.state": record.state.name,
            "himalia.node": record.node_id.hex(),
            "himalia.worker": record.worker_id.hex(),
            "process.pid": record.pid,
            "code.function.name": record.source.function or record.name,
        }
        if cell is not None and cell.execution:
            attributes["himalia.cell"] = cell.execution
        if record.actor_id:
            attributes["himalia.actor"] = record.actor_id.hex()
        if record.submitted:
            attributes["himalia.waited_s"] = max(0.0, record.started - record.submitted)
        return Span(
            trace_id=self._trace_id(record),
            span_id=_span_id(record.task_id, record.attempt),
            parent=_span_id(parent, 0) if parent else b"",
            name=record.name,
            start=record.started,
            end=max(record.ended, record.started),
            attributes=attributes,
            error=record.error or ("it failed" if record.state is TaskState.FAILED else ""),
        )

    def _trace_id(self, record: TaskRecord) -> bytes:
        cell = record.cell
        of = f"{cell.execution}:{cell.message_id}" if cell is not None else ""
        job = record.job_id or record.owner
        return hashlib.blake2b(f"{self._cluster_id}:{job.hex()}:{of}".encode(), digest_size=16).digest()


def _span_id(task_id: bytes, attempt: int) -> bytes:
    return hashlib.blake2b(task_id + attempt.to_bytes(4, "big"), digest_size=8).digest()
