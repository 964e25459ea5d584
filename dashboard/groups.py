"""How far each function of each cell is: counts that come out right in whatever order batches arrive.

Strategy: nothing here looks at rows. Batches carry totals since their process began, so the larger of two is the newer,
and how many tasks wait at an owner, of which the one with the higher sequence is. What runs is a set of tasks with the
time of the last word of each: one that is not heard of again ends by itself.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from ..cluster.protocol.common import Cell
from ..cluster.telemetry.events import Batch, Count, Source, TaskKind, TaskState

__all__ = ["Group", "Groups", "Running"]

_SILENT: Final = 10.0
"""Seconds after which a task that was said to run, and is not any more, has ended without our hearing of it: workers
repeat what they run every two seconds."""

_WINDOW: Final = 10.0  # seconds over which a rate is taken
_TASK_ID_TAIL: Final = 8


class Group(msgspec.Struct, eq=False):
    """All tasks of one function that one cell submitted, with their children's children: a box of the graph.

    ``waiting`` lie at their owner (``waiting_args`` of them lack arguments), ``running`` are at work; ``seconds`` is
    the time that ended tasks ran, in sum. ``total`` is how many there are as far as is known: it grows while tasks are
    submitted. ``rate`` is ends per second of late, ``left_s`` the seconds to the end at this rate, negative if unknown.
    """

    number: int
    name: str
    cell: Cell | None
    kind: TaskKind
    function: str = ""
    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    waiting: int = 0
    waiting_args: int = 0
    running: int = 0
    total: int = 0
    seconds: float = 0.0
    rate: float = 0.0
    left_s: float = -1.0
    begin: float = 0.0  # of the first task seen, seconds since the epoch; 0: none
    end: float = 0.0  # of the last one that ended

    @property
    def ended(self) -> int:
        """Tasks that are over, whichever way."""
        return self.finished + self.failed + self.cancelled

    @property
    def is_over(self) -> bool:
        """Nothing is left to do, so far."""
        return self.ended >= self.total and not self.running and not self.waiting


class Running(msgspec.Struct, eq=False, gc=False):
    """A task at work. ``heard``: when a worker said so last, on the model's clock."""

    task_id: bytes
    attempt: int
    group: int
    worker: bytes
    begin: float
    heard: float


class _State(msgspec.Struct, eq=False):
    """What is needed to keep a group's numbers."""

    failed: int = 0  # attempts, of which some were tried again
    retried: int = 0
    at_workers: int = 0  # sent to a worker, and maybe running
    seen_left: int = 0  # to do, when an owner looked last
    seen_total: int = 0
    history: deque[tuple[float, int]] = msgspec.field(default_factory=deque)


class Groups:
    """Every group there is, by number.

    Attributes
    ----------
    changed
        Numbers of groups that changed since the caller emptied it.
    running
        Tasks at work, by id and attempt.

    To go through them, iterate: `all` has every number's group, also where only one job's are shown.
    """

    def __init__(self) -> None:
        self.all: list[Group] = []
        self._shown: list[Group] = self.all
        self.changed: set[int] = set()
        self.running: dict[tuple[bytes, int], Running] = {}
        self._by_worker: dict[bytes, dict[tuple[bytes, int], Running]] = {}
        self._states: list[_State] = []
        self._numbers: dict[tuple[Cell | None, str, TaskKind], int] = {}
        self._totals: dict[tuple[Any, ...], tuple[int, float]] = {}
        self._looks: dict[bytes, tuple[int, dict[tuple[int, int], int]]] = {}  # by owner: sequence, tasks by state
        self._active: set[int] = set()  # whose rate may be more than nothing

    def copy(self) -> Groups:
        """The same counts in another object, which goes on by itself."""
        other = Groups()
        other.all.extend(msgspec.structs.replace(group) for group in self.all)
        other.changed = self.changed.copy()
        for worker, mine in self._by_worker.items():
            copies = other._by_worker[worker] = {key: msgspec.structs.replace(one) for key, one in mine.items()}
            other.running.update(copies)
        other._states = [msgspec.structs.replace(one, history=one.history.copy()) for one in self._states]
        other._numbers, other._totals = self._numbers.copy(), self._totals.copy()
        other._looks, other._active = self._looks.copy(), self._active.copy()
        return other

    def of_job(self, job_id: bytes) -> Groups:
        """The same with nothing to go through but one job's: to be read, not to be changed."""
        other = copy.copy(self)
        other._shown = [group for group in self.all if group.cell is not None and group.cell.job_id == job_id]
        numbers = {group.number for group in other._shown}
        other.running = {key: one for key, one in self.running.items() if one.group in numbers}
        return other

    def __iter__(self) -> Iterator[Group]:
        return iter(self._shown)

    # -- batches ------------------------------------------------------------------------------------------------------

    def of_source(self, source: Source) -> int:
        """The number of a source's group."""
        cell = source.cell or (Cell(source.job_id) if source.job_id else None)
        key = (cell, source.name, source.kind)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.all)
            self.all.append(Group(number, source.name, cell, source.kind, source.function))
            self._states.append(_State())
            self.changed.add(number)
        elif source.function and not self.all[number].function:
            self.all[number].function = source.function
        return number

    def add(self, batch: Batch, numbers: list[int], is_newest: bool, now: float) -> None:
        """Take in a batch.

        Parameters
        ----------
        numbers
            Of the groups of the batch's sources.
        is_newest
            No batch of this process with a higher sequence was there before.
        now
            Seconds on the model's clock.
        """
        self._add_totals(batch, numbers)
        if batch.is_owner:
            self._end_by_owner(batch)
            if batch.waiting is not None:
                self._add_look(batch, numbers)
        else:
            self._end_by_worker(batch)
            if is_newest:
                self._begin(batch, numbers, now)

    def _add_totals(self, batch: Batch, numbers: list[int]) -> None:
        for source_of, what, count, seconds in batch.totals:
            source, number = batch.sources[source_of], numbers[source_of]
            key = (batch.worker_id, source.owner, source.actor_id, number, what)
            known, known_seconds = self._totals.get(key, (0, 0.0))
            if count <= known:
                continue
            self._totals[key] = (count, seconds)
            more = count - known
            group, state = self.all[number], self._states[number]
            if what == Count.FINISHED:
                group.finished += more
            elif what == Count.CANCELLED:
                group.cancelled += more
            elif what == Count.FAILED:
                state.failed += more
            else:
                state.retried += more
            group.failed = max(0, state.failed - state.retried)
            group.seconds += seconds - known_seconds
            self._touch(number)

    def _add_look(self, batch: Batch, numbers: list[int]) -> None:
        sequence, before = self._looks.get(batch.worker_id, (0, {}))
        if batch.sequence <= sequence:
            return
        look: dict[tuple[int, int], int] = {}
        for source_of, task_state, count in batch.waiting or ():
            key = (numbers[source_of], task_state)
            look[key] = look.get(key, 0) + count
        self._looks[batch.worker_id] = (batch.sequence, look)
        self._replace_look(before, look)

    def _replace_look(self, before: dict[tuple[int, int], int], look: dict[tuple[int, int], int]) -> None:
        for sign, counts in ((-1, before), (1, look)):
            for (number, task_state), count in counts.items():
                group, state = self.all[number], self._states[number]
                if task_state == TaskState.SUBMITTED_TO_WORKER:
                    state.at_workers += sign * count
                else:
                    group.waiting += sign * count
                if task_state == TaskState.PENDING_ARGS:
                    group.waiting_args += sign * count
        for number in {number for number, _ in (*before, *look)}:
            group, state = self.all[number], self._states[number]
            state.seen_left = group.waiting + state.at_workers
            state.seen_total = group.ended + state.seen_left if state.seen_left else 0
            self._touch(number)

    def _touch(self, number: int) -> None:
        group, state = self.all[number], self._states[number]
        # What an owner saw is up to a second old: what ended since was among what it saw to be left.
        group.total = max(group.ended + group.running, state.seen_total)
        self.changed.add(number)
        self._active.add(number)

    # -- what runs ----------------------------------------------------------------------------------------------------

    def _begin(self, batch: Batch, numbers: list[int], now: float) -> None:
        row = batch.states.find(TaskState.RUNNING)
        if row < 0:
            return
        attempts, source_of = batch.written_out(batch.attempts), batch.written_out(batch.source_of)
        mine = self._by_worker.setdefault(batch.worker_id, {})
        while row >= 0:
            source, number = batch.sources[source_of[row]], numbers[source_of[row]]
            task_id = source.owner + batch.counters[row].to_bytes(_TASK_ID_TAIL, "big")
            key = (task_id, attempts[row])
            known = self.running.get(key)
            if known is not None:
                known.heard = now
            else:
                one = Running(task_id, attempts[row], number, batch.worker_id, batch.begins[row], now)
                self.running[key] = mine[key] = one
                self.all[number].running += 1
                self._touch(number)
            row = batch.states.find(TaskState.RUNNING, row + 1)

    def _end_by_worker(self, batch: Batch) -> None:
        mine = self._by_worker.get(batch.worker_id)
        if not mine or not batch.counters:
            return
        counters = set(batch.counters)
        rows: dict[tuple[bytes, int], int] | None = None
        for key in [key for key in mine if int.from_bytes(key[0][-_TASK_ID_TAIL:], "big") in counters]:
            if rows is None:
                rows = {
                    (
                        batch.sources[source_of].owner + counter.to_bytes(_TASK_ID_TAIL, "big"),
                        attempt,
                    ): state
                    for counter, attempt, source_of, state, _, _ in batch.rows()
                }
            if rows.get(key, 0) >= TaskState.FINISHED:
                self._end(key)

    def _end_by_owner(self, batch: Batch) -> None:
        for state in (TaskState.FAILED, TaskState.CANCELLED):
            row = batch.states.find(state)
            while row >= 0:
                source = batch.sources[batch.written_out(batch.source_of)[row]]
                task_id = source.owner + batch.counters[row].to_bytes(_TASK_ID_TAIL, "big")
                self._end((task_id, batch.written_out(batch.attempts)[row]))
                row = batch.states.find(state, row + 1)

    def _end(self, key: tuple[bytes, int]) -> None:
        one = self.running.pop(key, None)
        if one is None:
            return
        self._by_worker.get(one.worker, {}).pop(key, None)
        self.all[one.group].running -= 1
        self._touch(one.group)

    def process_ended(self, worker_id: bytes) -> None:
        """A worker or driver is no more: nothing runs or waits there."""
        for key in list(self._by_worker.pop(worker_id, ())):
            self._end(key)
        sequence, look = self._looks.get(worker_id, (0, {}))
        if look:
            self._looks[worker_id] = (sequence, {})
            self._replace_look(look, {})

    # -- time ---------------------------------------------------------------------------------------------------------

    def seen(self, number: int, begin: float, end: float) -> None:
        """Tasks of a group ran between these times."""
        group = self.all[number]
        group.begin = min(group.begin or begin, begin)
        group.end = max(group.end, end)
        self.changed.add(number)

    def tick(self, now: float) -> None:
        """Some time passed: rates, and tasks that nobody speaks of any more."""
        for key in [key for key, one in self.running.items() if now - one.heard > _SILENT]:
            self._end(key)
        for number in list(self._active):
            group, history = self.all[number], self._states[number].history
            before = (group.rate, group.left_s)
            while len(history) > 1 and now - history[1][0] >= _WINDOW:
                history.popleft()
            if not history or group.ended != history[-1][1] or now - history[-1][0] >= 1.0:
                history.append((now, group.ended))
            since, count = history[0]
            group.rate = (group.ended - count) / (now - since) if now > since else 0.0
            left = group.total - group.ended
            group.left_s = left / group.rate if group.rate > 0 and left > 0 else 0.0 if not left else -1.0
            if (group.rate, group.left_s) != before:
                self.changed.add(number)
            elif not group.rate and now - since >= _WINDOW and not group.running:
                self._active.discard(number)
                history.clear()
