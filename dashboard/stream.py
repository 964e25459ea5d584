"""What each worker did when: columns of tasks as they came, and bars to draw of them.

Strategy: a batch becomes one `Block` of numpy columns (27 bytes a task) and is never taken apart. Bars are what a
browser gets: neighbours of one function that finished within a millisecond each are one bar with a count, so ten
thousand tasks a second are some hundred bars and no time is lost or drawn twice. A single task is found by searching
the blocks, newest first, when somebody asks for it.

Rejected: an object for each task (a million take 500 MB and ten seconds to make); sampling tasks (a picture with holes
that did not exist).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from ..cluster.telemetry.events import Batch, TaskState

__all__ = ["Bars", "Block", "Ended", "Made", "Stream", "TaskSeen", "coarser"]

_SHORT: Final = 0.001  # seconds: tasks as short, and as close to each other, become one bar …
_BAR: Final = 0.010  # … of this length at most
_THINNEST: Final = 1e-5  # seconds: a bar that can be pointed at
_ID_SIZE: Final = 8


class Bars(msgspec.Struct, gc=False):
    """Columns. ``task_ids`` is empty where a bar is more than one task; ``busy`` are the seconds that tasks ran."""

    workers: list[int]
    groups: list[int]
    begins: list[float]
    ends: list[float]
    states: list[int]
    counts: list[int]
    busy: list[float]
    task_ids: list[str]

    @classmethod
    def none(cls) -> Bars:
        """No bars."""
        return cls([], [], [], [], [], [], [], [])

    def extend(self, other: Bars) -> None:
        """Take over the bars of another."""
        for name in self.__struct_fields__:
            getattr(self, name).extend(getattr(other, name))

    def of_groups(self, groups: set[int]) -> Bars:
        """Only the bars of these groups."""
        if groups.issuperset(self.groups):
            return self
        places = [place for place, group in enumerate(self.groups) if group in groups]
        return Bars(*([getattr(self, name)[place] for place in places] for name in self.__struct_fields__))

    def one(self, place: int) -> Bars:
        """One bar."""
        return Bars(*([getattr(self, name)[place]] for name in self.__struct_fields__))

    def __len__(self) -> int:
        return len(self.begins)


class TaskSeen(msgspec.Struct):
    """One attempt of a task as its worker, or its owner, reported it. Times are seconds since the epoch.

    Of a worker's report ``begin`` is when it began to run, of an owner's when it was submitted.
    """

    task_id: bytes
    attempt: int
    group: int
    worker: int
    is_owner: bool
    state: TaskState
    begin: float
    end: float
    error: str


class Block(msgspec.Struct, eq=False, gc=False):
    """The rows of one batch."""

    number: int  # the model's version that it came with
    worker: int
    is_owner: bool
    owners: list[bytes]  # by source
    groups: npt.NDArray[np.int64]  # by source
    counters: npt.NDArray[np.uint64]
    attempts: npt.NDArray[np.uint8]
    source_of: npt.NDArray[np.uint16]
    states: npt.NDArray[np.uint8]
    begins: npt.NDArray[np.float64]
    spans: npt.NDArray[np.float64]
    extras: dict[int, str]
    lowest: int
    highest: int
    members: tuple[int, ...]  # groups, each once: to be asked of a hundred thousand blocks

    def __len__(self) -> int:
        return len(self.counters)

    def task(self, row: int) -> TaskSeen:
        """One row."""
        source, span = int(self.source_of[row]), float(self.spans[row])
        begin = float(self.begins[row])
        return TaskSeen(
            self.owners[source] + int(self.counters[row]).to_bytes(_ID_SIZE, "big"),
            int(self.attempts[row]),
            int(self.groups[source]),
            self.worker,
            self.is_owner,
            TaskState(int(self.states[row])),
            begin,
            begin + span if span >= 0 else 0.0,
            self.extras.get(row, ""),
        )


class Made(NamedTuple):
    """What a batch became. It does not change."""

    block: Block
    bars: Bars


class Ended:
    """Tasks of a group that are over, by the time of their end: columns, and each task where it is asked for."""

    def __init__(self, blocks: list[Block], group: int) -> None:
        self._blocks: list[Block] = []
        parts: list[tuple[npt.NDArray[Any], ...]] = []
        for block in blocks:
            if group not in block.members:
                continue
            wanted = (block.groups[block.source_of] == group) & (block.states >= TaskState.FINISHED)
            rows = np.flatnonzero(wanted)
            if len(rows):
                begins = block.begins[rows]
                ends = begins + np.maximum(block.spans[rows], 0.0)
                parts.append((rows, np.full(len(rows), len(self._blocks)), begins, ends, block.states[rows]))
                self._blocks.append(block)
        empty: npt.NDArray[Any] = np.zeros(0)
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)] if parts else [empty] * 5
        order = np.argsort(columns[3], kind="stable")
        self._rows, self._block_of, self.begins, self.ends, self.states = (column[order] for column in columns)

    def __len__(self) -> int:
        return len(self.ends)

    def task(self, place: int) -> TaskSeen:
        """One of them."""
        return self._blocks[int(self._block_of[place])].task(int(self._rows[place]))


class Stream:
    """The newest tasks and bars, each bounded.

    Attributes
    ----------
    tasks
        How many rows there are.
    forgotten
        How many rows went when there were too many.
    """

    def __init__(self, tasks_kept: int, bars_kept: int) -> None:
        self.tasks = 0
        self.forgotten = 0
        self._tasks_kept = tasks_kept
        self._bars_kept = bars_kept
        self._blocks: deque[Block] = deque()
        self._drawn: deque[tuple[int, Bars]] = deque()  # with the model's version that they came with
        self._bars = 0

    def add(self, batch: Batch, numbers: list[int], worker: int, version: int, made: Made | None = None) -> Made | None:
        """Keep the rows of a batch, if it has any.

        Parameters
        ----------
        made
            What this made of the same batch before, in another stream: it is shared.
        """
        if not batch.counters:
            return None
        if made is None:
            block = make_block(batch, numbers, worker, version)
            made = Made(block, Bars.none() if batch.is_owner else bars_of(block))
        block, bars = made
        if bars:
            self._drawn.append((version, bars))
            self._bars += len(bars)
        self._blocks.append(block)
        self.tasks += len(block)
        while self.tasks > self._tasks_kept and len(self._blocks) > 1:
            oldest = self._blocks.popleft()
            self.tasks -= len(oldest)
            self.forgotten += len(oldest)
        while self._bars > self._bars_kept and len(self._drawn) > 1:
            self._bars -= len(self._drawn.popleft()[1])
        return made

    def copy(self) -> Stream:
        """Another stream of the same rows, which goes on by itself. Blocks are shared: they do not change."""
        other = Stream(self._tasks_kept, self._bars_kept)
        other.tasks, other.forgotten, other._bars = self.tasks, self.forgotten, self._bars
        other._blocks, other._drawn = self._blocks.copy(), self._drawn.copy()
        return other

    def bars_since(self, version: int, limit: int, groups: set[int] | None = None) -> Bars:
        """Bars of what came after a version: the newest ones, whole blocks, ``limit`` at least if there are.

        Parameters
        ----------
        groups
            Whose bars are wanted, by number; None: all.
        """
        chosen: list[Bars] = []
        count = 0
        for number, part in reversed(self._drawn):
            if number <= version or count >= limit:
                break
            wanted = part if groups is None else part.of_groups(groups)
            chosen.append(wanted)
            count += len(wanted)
        bars = Bars.none()
        for part in reversed(chosen):
            bars.extend(part)
        return bars

    def find(self, task_id: bytes) -> list[TaskSeen]:
        """What was reported of a task, newest first."""
        owner, counter = task_id[:-_ID_SIZE], int.from_bytes(task_id[-_ID_SIZE:], "big")
        found: list[TaskSeen] = []
        for block in reversed(self._blocks):
            if block.lowest <= counter <= block.highest and owner in block.owners:
                rows = np.flatnonzero(block.counters == counter).tolist()
                found.extend(block.task(row) for row in rows if block.owners[int(block.source_of[row])] == owner)
        return found

    def newest(self, group: int | None, states: frozenset[int] | None) -> Iterator[TaskSeen]:
        """Reports of workers and owners, newest first."""
        for block in reversed(self._blocks):
            wanted = np.ones(len(block), dtype=bool)
            if group is not None:
                wanted &= block.groups[block.source_of] == group
            if states is not None:
                wanted &= np.isin(block.states, list(states))
            for row in np.flatnonzero(wanted)[::-1].tolist():
                yield block.task(row)

    def ended(self, group: int) -> Ended:
        """What is known of a group's tasks that are over."""
        return Ended(list(self._blocks), group)

    def waiting(self, group: int, limit: int) -> list[TaskSeen]:
        """Tasks of a group that lay at their owners when these looked last: some of them."""
        looked: set[bytes] = set()
        found: list[TaskSeen] = []
        for block in reversed(self._blocks):
            if not block.is_owner or block.owners[0] in looked:
                continue
            rows = np.flatnonzero(block.states < TaskState.RUNNING)
            if not len(rows):
                continue
            looked.add(block.owners[0])  # an owner's sources are all its own
            wanted = rows[block.groups[block.source_of[rows]] == group]
            found.extend(block.task(row) for row in wanted[: limit - len(found)].tolist())
            if len(found) >= limit:
                break
        return found

    def submitted(self, owner: bytes, first: int, after: int, limit: int) -> list[TaskSeen]:
        """Tasks that a process submitted and gave these counters, by counter, each once: its newest state."""
        best: dict[int, TaskSeen] = {}
        for block in reversed(self._blocks):
            if block.highest < first or block.lowest >= after or owner not in block.owners:
                continue
            rows = np.flatnonzero((block.counters >= first) & (block.counters < after)).tolist()
            for row in rows:
                counter = int(block.counters[row])
                if block.owners[int(block.source_of[row])] != owner:
                    continue
                known = best.get(counter)
                seen = block.task(row)
                if known is None or (seen.attempt, seen.state) > (known.attempt, known.state):
                    best[counter] = seen
            if len(best) > limit:
                break
        return [best[counter] for counter in sorted(best)[:limit]]


def make_block(batch: Batch, numbers: list[int], worker: int, version: int) -> Block:
    """A batch's rows as columns of numpy."""
    counters = np.array(batch.counters, dtype=np.uint64)
    return Block(
        version,
        worker,
        batch.is_owner,
        [source.owner for source in batch.sources],
        np.array(numbers, dtype=np.int64),
        counters,
        np.minimum(np.array(batch.written_out(batch.attempts), dtype=np.int64), 255).astype(np.uint8),
        np.array(batch.written_out(batch.source_of), dtype=np.uint16),
        np.frombuffer(batch.states, dtype=np.uint8),
        np.array(batch.begins, dtype=np.float64),
        np.array(batch.spans, dtype=np.float64),
        batch.extras,
        int(counters.min()),
        int(counters.max()),
        tuple(set(numbers)),
    )


def bars_of(block: Block) -> Bars:
    """Ended tasks as bars, by begin; see the top of the file for which become one."""
    rows = np.flatnonzero(block.states >= TaskState.FINISHED)
    if not len(rows):
        return Bars.none()
    rows = rows[np.argsort(block.begins[rows], kind="stable")]
    begins, spans = block.begins[rows], np.maximum(block.spans[rows], 0.0)
    groups, states = block.groups[block.source_of[rows]], block.states[rows]
    ends = begins + spans
    alone = (spans > _SHORT) | (states != TaskState.FINISHED)
    starts: npt.NDArray[Any] = np.ones(len(rows), dtype=bool)
    starts[1:] = (
        alone[1:]
        | alone[:-1]
        | (groups[1:] != groups[:-1])
        | (begins[1:] - ends[:-1] > _SHORT)
        | (np.floor(begins[1:] / _BAR) != np.floor(begins[:-1] / _BAR))
    )
    first = np.flatnonzero(starts)
    counts = np.diff(first, append=len(rows))
    ids = [
        (block.owners[source] + counter.to_bytes(_ID_SIZE, "big")).hex() if count == 1 else ""
        for source, counter, count in zip(
            block.source_of[rows[first]].tolist(),
            block.counters[rows[first]].tolist(),
            counts.tolist(),
            strict=True,
        )
    ]
    return Bars(
        [block.worker] * len(first),
        groups[first].tolist(),
        begins[first].tolist(),
        np.maximum.reduceat(ends, first).tolist(),
        states[first].tolist(),
        counts.tolist(),
        np.add.reduceat(spans, first).tolist(),
        ids,
    )


def coarser(bars: Bars, width: float) -> Bars:
    """Fewer bars that fill the same time: of what one worker began within a span of time, one bar a function and state.

    They lie one behind the other, each as long as its tasks ran, so that what is idle stays so. Bars that are longer
    than the span stay as they are.

    Parameters
    ----------
    width
        Of a span, in seconds.
    """
    begins, ends = np.array(bars.begins), np.array(bars.ends)
    short = np.flatnonzero(ends - begins < width)
    if len(short) < 2:
        return bars
    workers, groups = np.array(bars.workers)[short], np.array(bars.groups)[short]
    states, slots = np.array(bars.states)[short], np.floor(begins[short] / width).astype(np.int64)
    order = np.lexsort((groups, states, slots, workers))
    short, workers, groups, states, slots = (one[order] for one in (short, workers, groups, states, slots))
    is_slot = np.ones(len(short), dtype=bool)
    is_slot[1:] = (workers[1:] != workers[:-1]) | (slots[1:] != slots[:-1])
    is_bar = is_slot.copy()
    is_bar[1:] |= (groups[1:] != groups[:-1]) | (states[1:] != states[:-1])
    first, slot_first = np.flatnonzero(is_bar), np.flatnonzero(is_slot)
    counts = np.add.reduceat(np.array(bars.counts)[short], first)
    busy = np.add.reduceat(np.array(bars.busy)[short], first)
    slot_of = np.cumsum(is_slot)[first] - 1
    behind = np.cumsum(busy) - busy
    at_slot = behind[np.searchsorted(first, slot_first)]
    fresh = np.minimum.reduceat(begins[short], slot_first)[slot_of] + behind - at_slot[slot_of]
    kept = Bars.none()
    for place in np.flatnonzero(ends - begins >= width).tolist():
        kept.extend(bars.one(place))
    alone = np.diff(first, append=len(short)) == 1
    ids = [
        bars.task_ids[place] if one else "" for place, one in zip(short[first].tolist(), alone.tolist(), strict=True)
    ]
    kept.extend(
        Bars(
            workers[first].tolist(),
            groups[first].tolist(),
            fresh.tolist(),
            (fresh + np.maximum(busy, _THINNEST)).tolist(),
            states[first].tolist(),
            counts.tolist(),
            busy.tolist(),
            ids,
        )
    )
    return kept
