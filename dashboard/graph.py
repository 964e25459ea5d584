"""Which functions' tasks submitted which, and which work on whose results: edges between groups.

A process tells which of the counters it gave belong to which task that it ran. A task's own counter therefore names the
task that submitted it. Both are heard in any order, so what cannot be said yet is tried again when its process speaks
next. Of each batch only some tasks are looked at: an edge that a thousand tasks have is seen in any sixteen of them.
"""

from __future__ import annotations

import bisect
from collections import deque
from typing import Final, NamedTuple

from ..cluster.telemetry.events import Batch

__all__ = ["Graph"]

_LOOKED_AT: Final = 16  # tasks of a source in a batch
_SPANS_KEPT: Final = 10_000  # of a process: parents that it ran
_COUNTER: Final = 8  # bytes of a task's id
_OPEN_KEPT: Final = 10_000  # tasks whose parent is not known yet


class _Span(NamedTuple):
    """The task that a process ran while it gave these counters: its first child's, and the one after its last."""

    first: int
    after: int
    group: int
    owner: bytes
    counter: int  # the task's own


class Graph:
    """``edges``: (parent, child) by number of group, in the order they were found, with the version of each.

    ``links``: the same, of a group whose results are arguments of the other's tasks. Owners see these in tasks that
    wait for their arguments when they look, once a second: not those of a graph that is over by then.
    """

    def __init__(self) -> None:
        self.links: dict[tuple[int, int], int] = {}
        self.edges: dict[tuple[int, int], int] = {}
        self._spans: dict[bytes, list[_Span]] = {}  # by process
        self._open: dict[bytes, deque[tuple[int, int]]] = {}  # by process: counter, group

    def until(self, version: int) -> Graph:
        """Another one, with what was found up to a version of the model. To be read, not to be changed.

        Whose child a task is does not change with time, so that is shared.
        """
        other = Graph()
        other.links, other.edges = (
            {edge: since for edge, since in found.items() if since <= version} for found in (self.links, self.edges)
        )
        other._spans = self._spans
        return other

    def add(self, batch: Batch, numbers: list[int], version: int) -> None:
        """Take in a batch."""
        for made, used in batch.links:
            self.links.setdefault((numbers[made], numbers[used]), version)
        for source_of, counter, first, after in batch.children:
            owner = batch.sources[source_of].owner
            self._add_span(batch.worker_id, _Span(first, after, numbers[source_of], owner, counter))
        for source_of, counter in self._some(batch):
            owner = batch.sources[source_of].owner
            if not self._join(owner, counter, numbers[source_of], version):
                self._open.setdefault(owner, deque(maxlen=_OPEN_KEPT)).append((counter, numbers[source_of]))
        if batch.children and (waiting := self._open.pop(batch.worker_id, None)):
            left = [one for one in waiting if not self._join(batch.worker_id, *one, version)]
            if left:
                self._open[batch.worker_id] = deque(left, _OPEN_KEPT)

    @staticmethod
    def _some(batch: Batch) -> list[tuple[int, int]]:
        """Tasks to look at: some of each source that is not its own process's root."""
        if isinstance(batch.source_of, int):
            step = len(batch.counters) // _LOOKED_AT + 1
            return [(batch.source_of, counter) for counter in batch.counters[::step]]
        counts: dict[int, int] = {}
        chosen: list[tuple[int, int]] = []
        for source_of, counter in zip(batch.source_of, batch.counters, strict=True):
            if counts.get(source_of, 0) < _LOOKED_AT:
                counts[source_of] = counts.get(source_of, 0) + 1
                chosen.append((source_of, counter))
        return chosen

    def _add_span(self, process: bytes, span: _Span) -> None:
        spans = self._spans.setdefault(process, [])
        index = bisect.bisect_left(spans, span.first, key=_first)
        if index < len(spans) and spans[index].first == span.first:
            spans[index] = span if span.after > spans[index].after else spans[index]
        else:
            spans.insert(index, span)
            if len(spans) > _SPANS_KEPT:
                del spans[0]

    def _join(self, owner: bytes, counter: int, child: int, version: int) -> bool:
        span = self._span(owner, counter)
        if span is None:
            return False
        self.edges.setdefault((span.group, child), version)
        return True

    def _span(self, owner: bytes, counter: int) -> _Span | None:
        """Of the task that gave a counter."""
        spans = self._spans.get(owner, [])
        index = bisect.bisect_right(spans, counter, key=_first) - 1
        return spans[index] if index >= 0 and counter < spans[index].after else None

    def parent_task(self, task_id: bytes) -> bytes:
        """The task that submitted a task; empty if that was none, or is not known."""
        owner, counter = task_id[:-_COUNTER], int.from_bytes(task_id[-_COUNTER:], "big")
        span = self._span(owner, counter)
        return b"" if span is None else span.owner + span.counter.to_bytes(_COUNTER, "big")

    def children_of(self, task_id: bytes) -> list[tuple[bytes, int, int]]:
        """Where a task submitted others: processes, with the counters that it gave there, from and before."""
        owner, counter = task_id[:-_COUNTER], int.from_bytes(task_id[-_COUNTER:], "big")
        return [
            (process, span.first, span.after)
            for process, spans in self._spans.items()
            for span in spans
            if span.counter == counter and span.owner == owner
        ]


def _first(span: _Span) -> int:
    return span.first
