"""What each slot did in each second of a cell: computed, moved data, or stood still, and why. Pure.

A slot is a CPU of the cluster; a cell had wall time × slots. Strategy: time is cut at every moment when something
began or ended. In each piece, what ran takes its slots first, then what waited inside tasks, then other cells' work;
what is left stood still, for one reason, which is found from what was known at that moment: were there tasks that could
have run? was the driver busy, and with what? did tasks wait for others? So all pieces add up to wall × slots, whatever
is missing.

Within tasks, phases too short to have times of their own are taken from the tasks' time in sum.

Rejected: asking of each task why it began late. Slots stand still also when no task is late, and thousands of tasks
wait at the same time for the same slot.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from ...cluster.telemetry.phases import LONG, Phase
from .record import CellRecord, Floats

__all__ = ["TINY", "Accounting", "Cause", "account", "is_straggler", "ready_times"]


class Cause(StrEnum):
    """What a second of a slot went to. All but the first two are losses."""

    COMPUTE = "compute"
    OTHER_WORK = "other work"
    SERIALIZATION = "serialization"
    TRANSFER = "transfer"
    SPILL = "spill"
    OVERHEAD = "overhead"
    LOADING = "loading"
    STRAGGLER = "straggler"
    DEPENDENCIES = "dependencies"
    PARALLELISM = "parallelism"
    DRIVER = "driver"
    SCHEDULING = "scheduling"
    UNKNOWN = "unknown"


_CHEAP: Final = 0.000_05
"""Seconds of one call of a phase below which it belongs to what each task costs, and is no matter of its data."""

_GAP: Final = 0.005
"""Seconds between two tasks that are a step from one to the next. A slot that stands still for longer has a reason."""

_HELD_UP: Final = 0.05
"""Seconds that the notebook's own code can delay what its process sends, as it holds the interpreter's lock."""

TINY: Final = 0.005  # seconds on average below which tasks are too short to be worth sending

_LATE: Final = 2.5  # times the median of its function, and …
_LATER: Final = 1.5  # … times the time that three quarters are under: a straggler
_FEW: Final = 4  # tasks of a function, from which on one can be called late

_IN_TASKS: Final = {
    Phase.LOAD: Cause.LOADING,
    Phase.ARGUMENTS: Cause.SERIALIZATION,
    Phase.RESULT: Cause.SERIALIZATION,
    Phase.READ: Cause.SERIALIZATION,
    Phase.PUT: Cause.SERIALIZATION,
    Phase.STORE: Cause.TRANSFER,
    Phase.FETCH: Cause.TRANSFER,
    Phase.RESTORE: Cause.SPILL,
    Phase.ROOM: Cause.SPILL,
    Phase.SUBMIT: Cause.OVERHEAD,
    Phase.BLOCKED: Cause.DEPENDENCIES,
}

_WAITS: Final = (Phase.FETCH, Phase.RESTORE, Phase.ROOM, Phase.BLOCKED)
"""Phases in which a task leaves its processor to others."""

_TAPPED: Final = (Phase.ARGUMENTS, Phase.RESULT)
"""Phases that each task comes through once, and that are not timed for each of those that are short."""

_USER: Final = 100  # what the driver is at: the user's code, where no phase is known
_UNSEEN: Final = 101  # not known


class Accounting(msgspec.Struct):
    """Slot-seconds by cause, and for each cause by function (its number; -1: none).

    ``idle`` are those of slots that had nothing to do, of all causes. ``busiest`` is how many slots were in use at
    most; ``concurrency`` how many tasks ran while any did, on average.
    """

    wall: float
    slots: float
    seconds: dict[Cause, float]
    by_function: dict[Cause, dict[int, float]]
    idle: float = 0.0
    busiest: float = 0.0
    concurrency: float = 0.0

    @property
    def capacity(self) -> float:
        """Wall × slots."""
        return self.wall * self.slots

    def share(self, cause: Cause) -> float:
        """Of the capacity."""
        return self.seconds.get(cause, 0.0) / self.capacity if self.capacity else 0.0

    def add(self, cause: Cause, seconds: float, function: int = -1) -> None:
        """Count."""
        if seconds > 0:
            self.seconds[cause] = self.seconds.get(cause, 0.0) + seconds
            known = self.by_function.setdefault(cause, {})
            known[function] = known.get(function, 0.0) + seconds


def is_straggler(record: CellRecord) -> npt.NDArray[np.bool_]:
    """Which tasks took much longer than others of their function."""
    runs = record.runs
    late = np.zeros(len(runs), dtype=bool)
    for number in range(len(record.functions)):
        rows = np.flatnonzero(runs.functions == number)
        if len(rows) < _FEW:
            continue
        spans = runs.spans[rows]
        median, upper = np.percentile(spans, (50, 75))
        late[rows] = (spans > _LATE * median) & (spans > _LATER * upper) & (spans > median + LONG)
    return late


def ready_times(record: CellRecord) -> tuple[Floats, Floats]:
    """When each task was submitted, and when it could have begun, as far as the driver measured; else its begin."""
    runs, driver = record.runs, record.driver
    submitted = runs.begins.copy()
    if driver is None or not driver.marks or not len(runs):
        return submitted, submitted.copy()
    own = np.flatnonzero(runs.owners == record.own)
    times, counters = (np.array(column) for column in zip(*driver.marks, strict=True))
    submitted[own] = np.minimum(np.interp(runs.counters[own], counters, times), runs.begins[own])
    ready = submitted.copy()
    ends = dict(zip(runs.counters[own].tolist(), runs.ends[own].tolist(), strict=True))
    for row in own.tolist():
        used = driver.edges.get(int(runs.counters[row]))
        if used:
            last = max((ends.get(counter, 0.0) for counter in used), default=0.0)
            ready[row] = min(max(ready[row], last), runs.begins[row])
    return submitted, ready


class _Grid:
    """Pieces of time, and step functions on them."""

    def __init__(self, begin: float, end: float, cuts: list[Floats]) -> None:
        inner = np.concatenate([np.array([begin, end]), *cuts])
        self.times = np.unique(np.clip(inner, begin, end))
        self.lengths = np.diff(self.times)
        self.count = len(self.lengths)

    def level(self, begins: Floats, ends: Floats, weights: Floats | float = 1.0) -> Floats:
        """In each piece, the weights of the intervals that cover it."""
        steps = np.zeros(self.count + 1)
        spread = np.broadcast_to(np.asarray(weights, dtype=np.float64), begins.shape)
        np.add.at(steps, np.searchsorted(self.times, np.clip(begins, self.times[0], self.times[-1])), spread)
        np.add.at(steps, np.searchsorted(self.times, np.clip(ends, self.times[0], self.times[-1])), -spread)
        return np.cumsum(steps)[:-1].round(9)

    def paint(self, base: npt.NDArray[np.int64], value: int, begin: float, end: float) -> None:
        """Set the pieces from begin to end."""
        first, last = np.searchsorted(self.times, (begin, end))
        base[first:last] = value


def account(record: CellRecord) -> Accounting:
    """Where the cell's slots were."""
    result = Accounting(record.wall, record.slots, {}, {})
    if record.wall <= 0:
        return result
    runs = record.runs
    submitted, ready = ready_times(record)
    waits = [wait for wait in record.waits if wait.phase in _WAITS]
    painted = _driver_intervals(record)
    edges = [np.array([one.begin, one.end]) for one in waits] + [np.array([b, e]) for b, e in record.others]
    edges += [np.array([begin, end]) for _, begin, end in painted]
    late = _late_part(record, is_straggler(record))
    grid = _Grid(record.begin, record.end, [runs.begins, runs.ends, submitted, ready, *late, *edges])
    weights = np.array([function.cpus or 1.0 for function in record.functions] or [1.0])
    running = grid.level(*_held(record, weights))
    waiting = {phase: np.zeros(grid.count) for phase in _WAITS}
    for wait in waits:
        waiting[wait.phase] += grid.level(np.array([wait.begin]), np.array([wait.end]), weights[wait.function])
    at_work = np.maximum(running - sum(waiting.values()), 0.0)
    used = np.minimum(at_work, record.slots)
    left = record.slots - used
    result.busiest = float(used.max(initial=0.0))
    some = float(grid.lengths[running > 0].sum())
    result.concurrency = float((running * grid.lengths).sum()) / some if some else 0.0
    _account_tasks(record, result, used, at_work, grid, waits)
    left = _take(result, Cause.OTHER_WORK, left, _others(record, grid), grid)
    for phase in (Phase.FETCH, Phase.RESTORE, Phase.ROOM):
        left = _take(result, _IN_TASKS[phase], left, waiting[phase], grid)
    result.idle = float((left * grid.lengths).sum())
    _account_idle(record, result, left, running, waiting[Phase.BLOCKED], submitted, ready, painted, late, grid)
    return result


def _held(record: CellRecord, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """When slots were held, and how many. Calls that an actor runs at the same time hold one slot together."""
    runs = record.runs
    is_actor = np.array([function.is_actor for function in record.functions] or [False])
    alone = ~is_actor[runs.functions]
    begins, ends, held = [runs.begins[alone]], [runs.ends[alone]], [weights[runs.functions[alone]]]
    for worker in np.unique(runs.workers[~alone]):
        rows = np.flatnonzero(~alone & (runs.workers == worker))
        latest = np.maximum.accumulate(runs.ends[rows])
        first = np.flatnonzero(np.append(True, runs.begins[rows][1:] > latest[:-1]))
        begins.append(runs.begins[rows][first])
        ends.append(np.append(latest[first[1:] - 1], latest[-1]))
        held.append(np.ones(len(first)))
    return np.concatenate(begins), np.concatenate(ends), np.concatenate(held)


def _take(result: Accounting, cause: Cause, left: Floats, wanted: Floats, grid: _Grid) -> Floats:
    taken = np.minimum(left, wanted)
    result.add(cause, float((taken * grid.lengths).sum()))
    return left - taken


def _others(record: CellRecord, grid: _Grid) -> Floats:
    if not record.others:
        return np.zeros(grid.count)
    begins, ends = (np.array(column) for column in zip(*record.others, strict=True))
    return grid.level(begins, ends)


def _account_tasks(
    record: CellRecord, result: Accounting, used: Floats, at_work: Floats, grid: _Grid, waits: list[Any]
) -> None:
    """The seconds in which tasks held slots: by function, and what of it was not the function itself."""
    total = float((at_work * grid.lengths).sum())
    if not total:
        return
    held = float((used * grid.lengths).sum())
    scale = held / total  # below 1 where more tasks ran than there are slots
    runs = record.runs
    spans = np.minimum(runs.ends, record.end) - np.maximum(runs.begins, record.begin)
    weights = np.array([function.cpus or 1.0 for function in record.functions])
    by_function = np.bincount(runs.functions, np.maximum(spans, 0.0), len(record.functions)) * weights
    for wait in waits:
        by_function[wait.function] -= (wait.end - wait.begin) * weights[wait.function]
    by_function = np.maximum(by_function, 0.0)
    by_function *= held / max(float(by_function.sum()), 1e-12)
    for number, seconds in enumerate(by_function.tolist()):
        left = seconds
        for cause, part in _within(record, number, waits).items():
            part = min(part * float(weights[number]) * scale, left)
            result.add(cause, part, number)
            left -= part
        result.add(Cause.COMPUTE, left, number)


def _within(record: CellRecord, function: int, waits: list[Any]) -> dict[Cause, float]:
    """Seconds of a function's tasks that were not its own code; what stands in ``waits`` is left out."""
    parts: dict[Cause, float] = {}
    for (number, phase), one in (record.phases or {}).items():
        if number != function or not one.count:
            continue
        long = sum(wait.end - wait.begin for wait in waits if wait.function == number and wait.phase == phase)
        seconds = max(0.0, one.seconds - long)
        cause = _IN_TASKS[phase]
        if phase in _TAPPED and one.seconds / one.count < _CHEAP:  # not all were timed
            seconds *= max(1.0, float((record.runs.functions == number).sum()) / one.count)
        if phase is Phase.SUBMIT and one.seconds / one.count > LONG:
            cause = Cause.SERIALIZATION  # of a function with what it captures
        elif cause is Cause.SERIALIZATION and one.seconds / one.count < _CHEAP:
            cause = Cause.OVERHEAD
        parts[cause] = parts.get(cause, 0.0) + seconds
    return parts


# -- what stands still ------------------------------------------------------------------------------------------------


def _driver_intervals(record: CellRecord) -> list[tuple[int, float, float]]:
    """What the driver was at, in the order to be painted: a phase within another one comes later."""
    driver = record.driver
    if driver is None:
        return []
    painted: list[tuple[int, float, float]] = _submitting(record)
    painted += [(int(phase), begin, end) for phase, begin, end in driver.intervals]
    return sorted(painted, key=lambda one: (one[1], -one[2]))


def _submitting(record: CellRecord) -> list[tuple[int, float, float]]:
    """When the driver was submitting tasks one after the other, each too short to have times of its own."""
    driver = record.driver
    assert driver is not None
    spent = driver.sums.get(Phase.SUBMIT)
    if spent is None or not spent.count or len(driver.marks) < 2:
        return []
    long = sum(end - begin for phase, begin, end in driver.intervals if phase is Phase.SUBMIT)
    each = max(0.0, spent.seconds - long) / spent.count
    found: list[tuple[int, float, float]] = []
    for (begin, first), (end, last) in pairwise(driver.marks):
        if (last - first) * each >= (end - begin) / 2:
            if found and found[-1][2] == begin:
                found[-1] = (int(Phase.SUBMIT), found[-1][1], end)
            else:
                found.append((int(Phase.SUBMIT), begin, end))
    return found


def _account_idle(
    record: CellRecord,
    result: Accounting,
    left: Floats,
    running: Floats,
    blocked: Floats,
    submitted: Floats,
    ready: Floats,
    painted: list[tuple[int, float, float]],
    late: tuple[Floats, Floats],
    grid: _Grid,
) -> None:
    runs = record.runs
    if len(runs):  # a call waits for its actor, not for a slot
        of_actor = np.array([function.is_actor for function in record.functions])[runs.functions]
        submitted, ready = (np.where(of_actor, runs.begins, times) for times in (submitted, ready))
    begun = grid.level(runs.begins, np.full(len(runs), record.end))
    could = grid.level(ready, np.full(len(runs), record.end))
    known = grid.level(submitted, np.full(len(runs), record.end))
    queued, parked = could - begun, known - could
    stuck = grid.level(*late)
    count = grid.level(runs.begins, runs.ends)
    between = _gaps(record, grid)
    gaps, held_up = between < _GAP, between < _HELD_UP
    started = grid.times[:-1] >= (runs.begins.min() if len(runs) else record.end)
    tiny = np.full(grid.count, len(runs) and float(runs.spans.mean()) < TINY, dtype=bool)
    doing = np.full(grid.count, _UNSEEN if record.driver is None else _USER)
    for value, begin, end in painted:
        grid.paint(doing, value, begin, end)
    busy = (doing != Phase.BLOCKED) & (doing != _UNSEEN)
    at_driver = [(busy & (parked < 1) & (doing == what), cause) for what, cause in _at_the_driver(record).items()]
    # A task that could run keeps one slot waiting, whatever the others wait for.
    for_queue = np.minimum(left, np.maximum(queued, 0.0))
    _sort_out(
        result,
        for_queue * grid.lengths,
        [
            (tiny & started, Cause.OVERHEAD),
            ((doing == _USER) & ~held_up, Cause.SCHEDULING),
            *at_driver,
            (gaps, Cause.OVERHEAD),
            (np.ones(grid.count, dtype=bool), Cause.SCHEDULING),
        ],
    )
    _sort_out(
        result,
        (left - for_queue) * grid.lengths,
        [
            ((stuck > 0) & (stuck >= count), Cause.STRAGGLER),
            *at_driver,
            ((parked >= 1) | (blocked > 0), Cause.DEPENDENCIES),
            (gaps & (doing != _USER), Cause.OVERHEAD),
            (count > 0, Cause.PARALLELISM),
            ((doing == Phase.BLOCKED) & ~started, Cause.SCHEDULING),
            (doing == Phase.BLOCKED, Cause.OVERHEAD),
        ],
    )


def _sort_out(result: Accounting, seconds: Floats, causes: list[tuple[npt.NDArray[np.bool_], Cause]]) -> None:
    """Count each piece for the first cause that holds there."""
    unclaimed = np.ones(len(seconds), dtype=bool)
    for holds, cause in causes:
        result.add(cause, float(seconds[unclaimed & holds].sum()))
        unclaimed &= ~holds
    result.add(Cause.UNKNOWN, float(seconds[unclaimed].sum()))


def _at_the_driver(record: CellRecord) -> dict[int, Cause]:
    """For what slots wait while the driver is at something."""
    sums = record.driver.sums if record.driver is not None else {}
    causes: dict[int, Cause] = {int(phase): cause for phase, cause in _IN_TASKS.items() if phase is not Phase.BLOCKED}
    for phase in (Phase.READ, Phase.SUBMIT):
        one = sums.get(phase)
        mean = one.seconds / one.count if one is not None and one.count else 0.0
        causes[int(phase)] = Cause.SERIALIZATION if mean > (_CHEAP if phase is Phase.READ else LONG) else Cause.OVERHEAD
    causes[_USER] = Cause.DRIVER
    return causes


def _late_part(record: CellRecord, late: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Of each straggler the time after which it should have been over: twice the median of its function."""
    runs = record.runs
    begins = runs.begins[late].copy()
    for place, row in enumerate(np.flatnonzero(late).tolist()):
        same = runs.functions == runs.functions[row]
        begins[place] += 2 * float(np.median(runs.spans[same]))
    return np.minimum(begins, runs.ends[late]), runs.ends[late]


def _gaps(record: CellRecord, grid: _Grid) -> Floats:
    """In each piece, the time from the last end of a task before it to the next begin after it."""
    if not len(record.runs):
        return np.full(grid.count, np.inf)
    ends, begins = np.sort(record.runs.ends), record.runs.begins
    starts, stops = grid.times[:-1], grid.times[1:]
    before = np.searchsorted(ends, starts, side="right") - 1
    after = np.searchsorted(begins, stops, side="left")
    last = np.where(before >= 0, ends[np.maximum(before, 0)], -np.inf)
    following = np.where(after < len(begins), begins[np.minimum(after, len(begins) - 1)], np.inf)
    return following - last
