"""What widgets and the dashboard draw, out of task events and samples of the nodes. Pure: no IO, no clock.

Strategy: events go in as they come, in any order, twice or not at all; out come changes since a version, so that each
viewer is sent only what is new to it and keeps its own place. The parts: `groups.py` counts, `stream.py` keeps who
ran what when, `graph.py` finds who submitted whom. None of them does work for each task.

    model = Model()
    model.take(feed.read(), feed, now)
    model.tick(now)
    changes = model.changes_since(version)      # version = changes.version, the next time
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..cluster.protocol.common import Cell, from_units
from ..cluster.telemetry.events import Batch, TaskState
from .graph import Graph
from .groups import Group, Groups, Running
from .stream import Bars, Made, Stream, TaskSeen

if TYPE_CHECKING:
    from ..cluster.telemetry.feed import TaskFeed

__all__ = ["Changes", "Model", "NodeSample", "NodeView", "Progress", "WorkerView"]

_SEQUENCES_KEPT: Final = 1_000  # of a process: batches that may still come, out of order
_RUNNING_SHOWN: Final = 2_000


class WorkerView(msgspec.Struct):
    """A process that ran tasks: a row of the task stream. ``number`` is its place there.

    ``jobs``: whose tasks it ran; several jobs may call one actor.
    """

    number: int
    worker_id: bytes
    node_id: bytes
    pid: int
    jobs: frozenset[bytes] = frozenset()


class NodeSample(msgspec.Struct):
    """A node at one moment. Quantities of resources by name; bytes."""

    at: float
    used: dict[str, float]
    total: dict[str, float]
    store_used: int
    store_bytes: int
    pending: int


class NodeView(msgspec.Struct):
    """A node with its samples since the version asked for."""

    node_id: bytes
    host: str
    alive: bool
    samples: list[NodeSample]


class Progress(msgspec.Struct):
    """Of a cell, or of everything. ``left_s``: seconds, negative if unknown."""

    total: int = 0
    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    running: int = 0
    waiting: int = 0
    rate: float = 0.0
    left_s: float = -1.0


class Changes(msgspec.Struct):
    """What is new since a version.

    ``groups`` are those that changed, whole; ``bars``, ``edges`` (parent and child) and ``links`` (maker and
    user of results) only new ones; ``running`` is all that runs, or
    None if that is as it was. ``dropped``: rows that are missing in the bars, though not in the counts.
    """

    version: int
    groups: list[Group]
    edges: list[tuple[int, int]]
    links: list[tuple[int, int]]
    workers: list[WorkerView]
    bars: Bars
    running: list[Running] | None
    nodes: list[NodeView]
    dropped: int


class _Sequences:
    """Which batches of a process came."""

    __slots__ = ("missing", "newest")

    def __init__(self, first: int) -> None:
        self.newest = first - 1
        self.missing = set(range(max(1, first - _SEQUENCES_KEPT), first))

    def copy(self) -> _Sequences:
        other = _Sequences(1)
        other.newest, other.missing = self.newest, self.missing.copy()
        return other

    def is_new(self, sequence: int) -> bool:
        """Whether it comes for the first time. One that is long overdue counts as come."""
        if sequence > self.newest:
            self.missing.update(range(max(self.newest + 1, sequence - _SEQUENCES_KEPT), sequence))
            self.newest = sequence
            if len(self.missing) > _SEQUENCES_KEPT:
                oldest = sequence - _SEQUENCES_KEPT
                self.missing = {one for one in self.missing if one >= oldest}
            return True
        if sequence in self.missing:
            self.missing.discard(sequence)
            return True
        return False


def _since(found: dict[tuple[int, int], int], version: int, own: set[int] | None) -> list[tuple[int, int]]:
    edges: list[tuple[int, int]] = []
    for edge, since in reversed(found.items()):
        if since <= version:
            break
        if own is None or own.issuperset(edge):
            edges.append(edge)
    return edges[::-1]


class _Node:
    __slots__ = ("alive", "host", "samples", "version", "versions")

    def __init__(self, kept: int) -> None:
        self.host = ""
        self.alive = True
        self.version = 0
        self.samples: deque[NodeSample] = deque(maxlen=kept)
        self.versions: deque[int] = deque(maxlen=kept)


class Model:
    """See the top of the file.

    Parameters
    ----------
    tasks_kept
        Rows that can be looked up, 30 bytes each.
    bars_kept
        Bars of the task stream.
    samples_kept
        Samples of each node.
    """

    def __init__(self, tasks_kept: int = 200_000, bars_kept: int = 20_000, samples_kept: int = 1_200) -> None:
        self.version = 0
        self.groups = Groups()
        self.graph = Graph()
        self.stream = Stream(tasks_kept, bars_kept)
        self.workers: list[WorkerView] = []
        self.dropped = 0
        self._samples_kept = samples_kept
        self._nodes: dict[bytes, _Node] = {}
        self._numbers: dict[bytes, int] = {}
        self._worker_versions: list[int] = []
        self._sequences: dict[bytes, _Sequences] = {}
        self._group_versions: dict[int, int] = {}  # the one that changed last is the last
        self._running_version = 0
        self._running_keys: frozenset[tuple[bytes, int]] = frozenset()
        self._job: bytes | None = None  # whose view it is; None: the whole

    def of_job(self, job_id: bytes) -> Model:
        """The same with nothing in it but what one job did, of this moment: to be read, not to be changed."""
        other = copy.copy(self)
        other._job, other.groups = job_id, self.groups.of_job(job_id)
        return other

    def copy(self) -> Model:
        """The same state in another model, which goes on by itself; without samples of nodes and graph."""
        other = Model(samples_kept=self._samples_kept)
        other.version, other.dropped = self.version, self.dropped
        other.groups, other.stream = self.groups.copy(), self.stream.copy()
        other.workers, other._numbers = self.workers.copy(), self._numbers.copy()
        other._worker_versions = self._worker_versions.copy()
        other._sequences = {process: known.copy() for process, known in self._sequences.items()}
        other._group_versions = self._group_versions.copy()
        other._running_version, other._running_keys = self._running_version, self._running_keys
        return other

    def take_samples(self, other: Model, until: float) -> None:
        """Have the samples of the nodes that another model had at a time, in seconds since the epoch."""
        for node_id, known in other._nodes.items():
            samples = [sample for sample in known.samples if sample.at <= until]
            if samples:
                node = self._nodes[node_id] = _Node(self._samples_kept)
                node.host, node.version = known.host, self.version
                node.samples.extend(samples)
                node.versions.extend([self.version] * len(samples))

    # -- in -----------------------------------------------------------------------------------------------------------

    def add(self, batch: Batch, now: float, made: Made | None = None, *, is_replay: bool = False) -> Made | None:
        """Take in a batch of task events; what its rows became, if it has any that are new.

        Parameters
        ----------
        now
            Seconds on any clock that only goes forward, the same one for all methods.
        made, is_replay
            It was taken in before, by the model of which this is a copy, and became that: the graph knows of it.
        """
        sequences = self._sequences.get(batch.worker_id)
        if sequences is None:
            sequences = self._sequences[batch.worker_id] = _Sequences(batch.sequence)
        is_newest = batch.sequence > sequences.newest
        is_new = sequences.is_new(batch.sequence)
        self.version += 1
        numbers = [self.groups.of_source(source) for source in batch.sources]
        self.groups.add(batch, numbers, is_newest, now)
        if not is_replay:
            self.graph.add(batch, numbers, self.version)
        if is_new and batch.counters:
            worker = -1 if batch.is_owner else self._worker(batch, numbers)
            made = self.stream.add(batch, numbers, worker, self.version, made)
            if not batch.is_owner:
                self._note_times(batch, numbers)
        self._note_changed()
        return made

    def take(self, batches: Iterable[Batch], feed: TaskFeed, now: float) -> None:
        """Take in what a feed read, and what it knows besides: who ended, and what is missing."""
        for batch in batches:
            self.add(batch, now)
        for worker_id in feed.dead:
            self.process_ended(worker_id)
        self.lose(feed.missed + feed.unsent)

    def tick(self, now: float) -> None:
        """Some time passed, and everything there was has been added: take rates. To be called about each second."""
        self.version += 1
        self.groups.tick(now)
        self._note_changed()

    def lose(self, rows: int) -> None:
        """Rows that senders or the ring dropped, in all: `TaskFeed.missed` and `TaskFeed.unsent`."""
        if rows != self.dropped:
            self.version += 1
            self.dropped = rows

    def process_ended(self, worker_id: bytes) -> None:
        """A worker or driver is no more: nothing runs or waits there."""
        self.version += 1
        self.groups.process_ended(worker_id)
        self._note_changed()

    def sample(self, rows: Iterable[dict[str, Any]], at: float) -> None:
        """The nodes as they are now.

        Parameters
        ----------
        rows
            What the GCS answers to ``ListState("nodes")``.
        at
            Seconds since the epoch.
        """
        self.version += 1
        for row in rows:
            node = self._nodes.get(row["node_id"])
            if node is None:
                node = self._nodes[row["node_id"]] = _Node(self._samples_kept)
            elif not node.alive and not row["alive"]:
                continue
            node.host, node.alive, node.version = row["host"], row["alive"], self.version
            if not node.alive:
                continue
            total, free = from_units(row["total"]), from_units(row["available"])
            used = {name: max(0.0, quantity - free.get(name, 0.0)) for name, quantity in total.items()}
            pending = sum(count for _, count in row["pending"])
            node.samples.append(NodeSample(at, used, total, row["store_used"], row["object_store_bytes"], pending))
            node.versions.append(self.version)

    def _worker(self, batch: Batch, numbers: list[int]) -> int:
        number = self._numbers.get(batch.worker_id)
        if number is None:
            number = self._numbers[batch.worker_id] = len(self.workers)
            self.workers.append(WorkerView(number, batch.worker_id, batch.node_id, batch.pid))
            self._worker_versions.append(self.version)
        jobs = {cell.job_id for one in numbers if (cell := self.groups.all[one].cell) is not None}
        view = self.workers[number]
        if not view.jobs.issuperset(jobs):  # another view: copies of the model have this one
            self.workers[number] = msgspec.structs.replace(view, jobs=view.jobs | jobs)
            self._worker_versions[number] = self.version
        return number

    def _note_times(self, batch: Batch, numbers: list[int]) -> None:
        begin = min(batch.begins)
        end = max(begin + max(span, 0.0) for begin, span in zip(batch.begins, batch.spans, strict=True))
        if isinstance(batch.source_of, int):
            self.groups.seen(numbers[batch.source_of], begin, end)
        else:  # not each its own: a flush is a quarter of a second
            for source_of in set(batch.source_of):
                self.groups.seen(numbers[source_of], begin, end)

    def _note_changed(self) -> None:
        for number in self.groups.changed:
            self._group_versions.pop(number, None)
            self._group_versions[number] = self.version
        if self.groups.changed:
            self.groups.changed.clear()
            keys = frozenset(self.groups.running)
            if keys != self._running_keys:
                self._running_keys, self._running_version = keys, self.version

    # -- out ----------------------------------------------------------------------------------------------------------

    def changes_since(self, version: int = 0, bars: int = 2_000) -> Changes:
        """What is new since a version; 0: all there is. ``bars``: about how many of the newest ones at most."""
        own = None if self._job is None else {group.number for group in self.groups}
        groups: list[Group] = []
        for number, changed in reversed(self._group_versions.items()):
            if changed <= version:
                break
            if own is None or number in own:
                groups.append(msgspec.structs.replace(self.groups.all[number]))
        workers = [
            view
            for view, since in zip(self.workers, self._worker_versions, strict=True)
            if since > version and (self._job is None or self._job in view.jobs)
        ]
        running = None
        if self._running_version > version:
            running = list(self.groups.running.values())[-_RUNNING_SHOWN:]
        return Changes(
            self.version,
            groups[::-1],
            _since(self.graph.edges, version, own),
            _since(self.graph.links, version, own),
            workers,
            self.stream.bars_since(version, bars, own),
            running,
            self._nodes_since(version),
            self.dropped,
        )

    def _nodes_since(self, version: int) -> list[NodeView]:
        views: list[NodeView] = []
        for node_id, node in self._nodes.items():
            if node.version <= version:
                continue
            fresh = sum(1 for since in node.versions if since > version)
            views.append(NodeView(node_id, node.host, node.alive, list(node.samples)[len(node.samples) - fresh :]))
        return views

    def progress(self, cell: Cell | None = None, *, name: str | None = None) -> Progress:
        """How far a cell is, or everything (None), or only its functions of that name."""
        one = Progress()
        for group in self.groups:
            if (cell is not None and group.cell != cell) or (name is not None and group.name != name):
                continue
            one.total += group.total
            one.finished += group.finished
            one.failed += group.failed
            one.cancelled += group.cancelled
            one.running += group.running
            one.waiting += group.waiting
            one.rate += group.rate
        left = one.total - one.finished - one.failed - one.cancelled
        one.left_s = 0.0 if left <= 0 else left / one.rate if one.rate > 0 else -1.0
        return one

    def task(self, task_id: bytes) -> list[TaskSeen]:
        """What is known of a task: for each attempt the last state, the newest attempt first."""
        best: dict[int, TaskSeen] = {}
        for seen in self.stream.find(task_id):
            known = best.get(seen.attempt)
            if known is None or seen.state > known.state:
                best[seen.attempt] = seen
        return [best[attempt] for attempt in sorted(best, reverse=True)]

    def children(self, task_id: bytes, limit: int = 100) -> list[TaskSeen]:
        """Tasks that a task submitted, as far as both were recorded."""
        found: list[TaskSeen] = []
        for process, first, after in self.graph.children_of(task_id):
            found += self.stream.submitted(process, first, after, limit - len(found))
        return found

    def tasks(
        self, group: int | None = None, states: Iterable[TaskState] | None = None, limit: int = 100
    ) -> list[TaskSeen]:
        """The newest reports, of one group or all, in some states or any."""
        wanted = frozenset(int(state) for state in states) if states is not None else None
        found: list[TaskSeen] = []
        known: set[tuple[bytes, int]] = set()
        for seen in self.stream.newest(group, wanted):
            if (seen.task_id, seen.attempt) in known:
                continue
            known.add((seen.task_id, seen.attempt))
            found.append(seen)
            if len(found) >= limit:
                break
        return found
