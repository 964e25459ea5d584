"""The critical path of a cell: what had to end before what, from its last moment back to its first. Pure.

Strategy: a task begins when the last of these has come: its arguments, a free slot, its submission. Going back from the
task that ended last, whichever came last leads on: to the task that made the argument, to the one that held the slot,
or to the driver, and from there to the end of what the driver waited for before it submitted. So the steps follow each
other without a gap, and add up to the wall time: to shorten the cell one must shorten one of them.
"""

from __future__ import annotations

import bisect
from enum import StrEnum
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from ...cluster.telemetry.phases import Phase
from .moments import ready_times
from .record import CellRecord

__all__ = ["Kind", "Step", "coarse", "critical_path"]

_SOON: Final = 0.003
"""Seconds between two things of which the second still counts as having waited for the first alone."""

_SMALL: Final = 0.02  # of the wall time: a wait that is shorter is not shown by itself
_MOST: Final = 100_000  # tasks followed


class Kind(StrEnum):
    """What a step of the path is."""

    TASK = "task"
    DRIVER = "driver"
    WAIT = "wait"  # for a slot, a message, a worker


class Step(msgspec.Struct):
    """A part of the path. Times are seconds since the cell's begin; ``tasks`` of one function follow each other."""

    kind: Kind
    begin: float
    end: float
    name: str = ""
    tasks: int = 0

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end - self.begin


class _Walk:
    def __init__(self, record: CellRecord) -> None:
        self.record = record
        self.runs = record.runs
        self.submitted, self.ready = ready_times(record)
        self.by_end = np.argsort(self.runs.ends, kind="stable")
        self.ends = self.runs.ends[self.by_end]
        self.steps: list[Step] = []  # the last one first
        self.now = record.end  # where the path has come to
        driver = record.driver
        self.blocked = sorted(end for phase, _, end in (driver.intervals if driver else ()) if phase is Phase.BLOCKED)
        own = np.flatnonzero(self.runs.owners == record.own)
        self.row_of = dict(zip(self.runs.counters[own].tolist(), own.tolist(), strict=True))
        self.edges = driver.edges if driver is not None else {}
        self.on_worker: dict[int, npt.NDArray[np.int64]] = {}

    def back_to(self, moment: float, kind: Kind, name: str = "", tasks: int = 0) -> None:
        """What was from a moment on, until where the path has come."""
        start, moment = self.record.begin, max(moment, self.record.begin)
        if moment >= self.now:
            return
        self.steps.append(Step(kind, moment - start, self.now - start, name, tasks))
        self.now = moment

    def last_before(self, moment: float) -> int:
        """The task that ended last until then; -1: none."""
        place = int(np.searchsorted(self.ends, moment, side="right")) - 1
        return int(self.by_end[place]) if place >= 0 else -1

    def before_on_worker(self, row: int) -> int:
        """The task that its worker ran before it; -1: none."""
        worker = int(self.runs.workers[row])
        rows = self.on_worker.get(worker)
        if rows is None:
            rows = self.on_worker[worker] = np.flatnonzero(self.runs.workers == worker)
        place = int(np.searchsorted(rows, row)) - 1
        return int(rows[place]) if place >= 0 else -1

    def maker_of(self, row: int) -> int:
        """The task that made the argument that came last; -1: none."""
        used = self.edges.get(int(self.runs.counters[row]), ()) if self.runs.owners[row] == self.record.own else ()
        rows = [self.row_of[counter] for counter in used if counter in self.row_of]
        return max(rows, key=lambda one: float(self.runs.ends[one]), default=-1)


def critical_path(record: CellRecord) -> list[Step]:
    """The steps from the cell's begin to its end."""
    walk = _Walk(record)
    runs = record.runs
    if not len(runs) or record.wall <= 0:
        return []
    row = walk.last_before(record.end)
    seen: set[int] = set()
    while row >= 0 and row not in seen and len(seen) < _MOST:
        seen.add(row)
        walk.back_to(float(runs.ends[row]), Kind.DRIVER)
        walk.back_to(float(runs.begins[row]), Kind.TASK, record.functions[int(runs.functions[row])].name, 1)
        row = _released(walk, row)
    walk.back_to(record.begin, Kind.DRIVER)
    return _joined(walk.steps[::-1], record.wall * _SMALL)


def _released(walk: _Walk, row: int) -> int:
    """What a task waited for last; the task that the path goes on with, -1 if it ends here."""
    runs, begin, ready = walk.runs, float(walk.runs.begins[row]), float(walk.ready[row])
    if begin - ready > _SOON:
        for holder in (walk.before_on_worker(row), walk.last_before(begin)):  # its slot may have been another worker's
            if holder >= 0 and float(runs.ends[holder]) > ready:
                walk.back_to(float(runs.ends[holder]), Kind.WAIT)
                return holder
    walk.back_to(ready, Kind.WAIT)
    submitted, maker = float(walk.submitted[row]), walk.maker_of(row)
    if maker >= 0 and float(runs.ends[maker]) >= submitted:
        walk.back_to(float(runs.ends[maker]), Kind.WAIT)
        return maker
    if walk.record.driver is None or runs.owners[row] != walk.record.own:
        return walk.last_before(walk.now)  # who submitted it, and when, is not known
    place = bisect.bisect_right(walk.blocked, submitted) - 1
    if place < 0:
        return -1
    woken = walk.blocked[place]
    walk.back_to(woken, Kind.DRIVER)
    return walk.last_before(woken)


def coarse(steps: list[Step], most: int) -> list[Step]:
    """At most so many steps, none too short to be seen: the shortest become part of the longer of their neighbours."""
    left = [msgspec.structs.replace(step) for step in steps]
    wall = sum(step.seconds for step in left)
    small = wall * _SMALL / 4
    while len(left) > most or any(step.seconds < small for step in left[1:]):
        kept: list[Step] = []
        for step in left:
            last = kept[-1] if kept else None
            if last is not None and (
                (step.kind, step.name) == (last.kind, last.name) or min(step.seconds, last.seconds) < small
            ):
                longer = max(last, step, key=lambda one: one.seconds)
                tasks = last.tasks + step.tasks if last.name == step.name else longer.tasks
                kept[-1] = Step(longer.kind, last.begin, step.end, longer.name, tasks)
            else:
                kept.append(step)
        left = kept
        if len(left) > most:
            small *= 1.5
    return left


def _joined(steps: list[Step], small: float) -> list[Step]:
    """Neighbours of one function as one step; what is in between and too short to matter belongs to the step before."""
    joined: list[Step] = []
    for step in steps:
        last = joined[-1] if joined else None
        if last is not None and len(joined) == 1 and last.kind is not Kind.TASK and last.seconds < small:
            step.begin, last = last.begin, None
            joined.clear()
        if last is not None and step.kind is not Kind.TASK and step.seconds < small:
            last.end = step.end
        elif last is not None and (step.kind, step.name) == (last.kind, last.name):
            last.end, last.tasks = step.end, last.tasks + step.tasks
        else:
            joined.append(step)
    return joined
