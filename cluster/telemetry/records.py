"""From batches of task events to one record for each task.

Strategy: batches come in any order and from two sides (owner and worker), so a record is merged, not replaced: within
an attempt the higher state wins, every time that is known is kept, and a later attempt supersedes an earlier one as
the task's current one while both stay listed. A table is bounded: the oldest tasks go first.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from ..protocol.common import Cell
from ..protocol.ids import task_counter
from .events import Batch, Source, TaskKind, TaskState, decode_batch

__all__ = ["TaskRecord", "TaskTable", "count_by_name", "task_records"]

_COUNTER_SIZE: Final = 8
_ENDED: Final = TaskState.FINISHED
_ORPHAN: Final = "OwnerDiedError: the process that submitted it died"


class TaskRecord(msgspec.Struct, eq=False):
    """One attempt of one task. Times are seconds since the epoch, 0 where not known.

    ``times`` has, by state, when the task was seen to enter it. ``error`` is ``Type: text``; ``by_worker`` says that
    the worker reported it, so that it is what the task raised.
    """

    task_id: bytes
    attempt: int
    source: Source
    state: TaskState = TaskState.PENDING_ARGS
    worker_id: bytes = b""
    node_id: bytes = b""
    pid: int = 0
    submitted: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    error: str = ""
    by_worker: bool = False
    times: dict[TaskState, float] = {}

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def kind(self) -> TaskKind:
        return self.source.kind

    @property
    def cell(self) -> Cell | None:
        return self.source.cell

    @property
    def job_id(self) -> bytes:
        return self.source.job_id

    @property
    def actor_id(self) -> bytes:
        return self.source.actor_id

    @property
    def owner(self) -> bytes:
        return self.source.owner

    @property
    def is_over(self) -> bool:
        return self.state >= _ENDED

    @property
    def duration(self) -> float:
        """Seconds it ran; 0 if it did not, or still does."""
        return self.ended - self.started if self.started and self.ended else 0.0


class TaskTable:
    """Records by task id and attempt.

    Attributes
    ----------
    dropped
        Events that are missing, as the GCS and the senders counted them.
    refused
        Batches that could not be decoded.
    """

    def __init__(self, limit: int = 200_000) -> None:
        self._limit = limit
        self._records: dict[tuple[bytes, int], TaskRecord] = {}
        self._sources: dict[tuple[Any, ...], Source] = {}
        self._dead: set[bytes] = set()  # processes
        self._parents: dict[bytes, list[tuple[int, int, bytes]]] = {}  # by process: first child, after the last, task
        self.dropped = 0
        self.refused = 0

    def add_answer(self, answer: dict[str, Any]) -> list[TaskRecord]:
        """Merge what the GCS answered to ``ListState("task_events")``; returns the records that changed."""
        changed: list[TaskRecord] = []
        for blob in answer["blobs"]:
            try:
                changed += self.add(decode_batch(blob))
            except msgspec.DecodeError:
                self.refused += 1
        self.dropped = answer["dropped"]
        return changed + self._end_orphans(answer.get("dead", ()), changed)

    def _end_orphans(self, dead: Iterable[bytes], changed: list[TaskRecord]) -> list[TaskRecord]:
        """Tasks of dead owners are over, which nobody else reports; returns those that were not."""
        news = set(dead) - self._dead
        self._dead |= news
        if not self._dead:
            return []
        ended: list[TaskRecord] = []
        for record in list(self._records.values()) if news else changed:
            if record.owner in self._dead and not record.is_over:
                record.state, record.error = TaskState.FAILED, _ORPHAN
                record.ended = max(record.times.values(), default=0.0)
                ended.append(record)
        return ended

    def add(self, batch: Batch) -> list[TaskRecord]:
        """Merge one batch; returns the records that changed."""
        for source_of, counter, first, after in batch.children:
            task_id = batch.sources[source_of].owner + counter.to_bytes(_COUNTER_SIZE, "big")
            self._add_span(self._parents.setdefault(batch.worker_id, []), (first, after, task_id))
        sources = [self._shared(source) for source in batch.sources]
        merge = self._merge_owner if batch.is_owner else self._merge_worker
        changed: list[TaskRecord] = []
        for row, (counter, attempt, source_of, state, begin, span) in enumerate(batch.rows()):
            source = sources[source_of]
            task_id = source.owner + counter.to_bytes(_COUNTER_SIZE, "big")
            record = self._records.get((task_id, attempt))
            if record is None:
                record = self._records[task_id, attempt] = TaskRecord(task_id, attempt, source)
            end = begin + span if span >= 0.0 else 0.0
            merge(record, batch, TaskState(state), begin, end, batch.extras.get(row, ""))
            changed.append(record)
        while len(self._records) > self._limit:
            del self._records[next(iter(self._records))]
        return changed

    @staticmethod
    def _add_span(spans: list[tuple[int, int, bytes]], span: tuple[int, int, bytes]) -> None:
        """Take in which counters belong to a task; said again, with more, while it runs."""
        index = bisect.bisect_left(spans, span[0], key=lambda known: known[0])
        if index < len(spans) and spans[index][0] == span[0]:
            spans[index] = max(spans[index], span)
        else:
            spans.insert(index, span)

    def parent_of(self, record: TaskRecord) -> bytes:
        """The task that submitted a task; empty if that was not in a task, or is not known (yet)."""
        spans = self._parents.get(record.owner, [])
        counter = task_counter(record.task_id)
        index = bisect.bisect_right(spans, counter, key=lambda span: span[0]) - 1
        if index < 0 or counter >= spans[index][1]:
            return b""
        return spans[index][2]

    def _shared(self, source: Source) -> Source:
        """The source equal to this one that is known already: a hundred batches of one function share it."""
        key = (source.name, source.owner, source.kind, source.actor_id, source.cell)
        known = self._sources.setdefault(key, source)
        if not known.function:
            known.function = source.function  # only workers know it
        return known

    @staticmethod
    def _merge_worker(record: TaskRecord, batch: Batch, state: TaskState, begin: float, end: float, extra: str) -> None:
        record.worker_id, record.node_id, record.pid = batch.worker_id, batch.node_id, batch.pid
        record.started = begin
        for earlier, at in record.times.items():  # an owner may have looked only later
            if earlier < TaskState.RUNNING and at > begin:
                record.times[earlier] = begin
        record.submitted = min(record.submitted, begin)
        record.times[TaskState.RUNNING] = begin
        record.state = max(state, record.state)
        if end:
            record.ended = end
            record.times[state] = end
        if extra:
            record.error, record.by_worker = extra, True

    @staticmethod
    def _merge_owner(record: TaskRecord, batch: Batch, state: TaskState, begin: float, end: float, extra: str) -> None:
        if record.started:
            begin, end = min(begin, record.started), end if state > TaskState.RUNNING else min(end, record.started)
        record.submitted = begin
        record.times[TaskState.PENDING_ARGS] = begin
        record.times[state] = end
        if state < record.state:
            return  # an observation from before what is known
        record.state = state
        if state in (TaskState.FAILED, TaskState.CANCELLED):
            record.ended = record.ended or end
            record.error = extra or record.error
        elif state == TaskState.SUBMITTED_TO_WORKER and extra and not record.worker_id:
            record.worker_id = bytes.fromhex(extra)

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[TaskRecord]:
        return iter(self._records.values())

    def of(self, task_id: bytes) -> list[TaskRecord]:
        """All attempts of a task, the first one first."""
        return sorted((r for r in self._records.values() if r.task_id == task_id), key=lambda r: r.attempt)


def task_records(answer: dict[str, Any]) -> list[TaskRecord]:
    """The records in what the GCS answered to ``ListState("task_events")``."""
    table = TaskTable()
    table.add_answer(answer)
    return list(table)


def count_by_name(records: Iterable[TaskRecord]) -> dict[str, dict[str, int]]:
    """How many tasks of each name are in each state: what `summarize_tasks` shows."""
    counts: dict[str, dict[str, int]] = {}
    for record in records:
        states = counts.setdefault(record.name, {})
        states[record.state.name] = states.get(record.state.name, 0) + 1
    return counts
