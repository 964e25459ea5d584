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

from collections.abc import Sequence
from typing import Final

import numpy as np

from ...cluster.telemetry.phases import LONG, Phase
from .cause import CHEAP, Accounting, Cause, causes_of
from .grid import Grid
from .idle import Idle
from .moments import driver_intervals, late_parts, ready_times
from .record import CellRecord, Floats, Wait

__all__ = ["account", "phase_seconds"]

_WAITS: Final = (Phase.FETCH, Phase.RESTORE, Phase.ROOM, Phase.BLOCKED)
"""Phases in which a task leaves its processor to others."""

_TAPPED: Final = (Phase.ARGUMENTS, Phase.RESULT)
"""Phases that each task comes through once, and that are not timed for each of those that are short."""


def account(record: CellRecord) -> Accounting:
    """Where the cell's slots were."""
    if record.wall <= 0:
        return Accounting(record.wall, record.slots[0][1])
    runs = record.runs
    times, late, painted = ready_times(record), late_parts(record), driver_intervals(record)
    waits = [wait for wait in record.waits if wait.phase in _WAITS]
    moments = [runs.begins, runs.ends, *times, *late]
    moments += [_column(waits, 0), _column(waits, 1), np.array([at for at, _ in record.slots])]
    moments += [np.array([moment for interval in record.others for moment in interval], dtype=np.float64)]
    moments += [np.array([moment for _, *interval in painted for moment in interval], dtype=np.float64)]
    grid = Grid(record.begin, record.end, moments)

    slots = _slots(record, grid)
    result = Accounting(record.wall, grid.integral(slots) / record.wall)
    weights = np.array([function.cpus or 1.0 for function in record.functions] or [1.0])
    held = grid.level(*_held(record, weights))
    waiting = {phase: _waiting(grid, [wait for wait in waits if wait.phase is phase], weights) for phase in _WAITS}
    at_work = np.maximum(held - sum(waiting.values()), 0.0)
    some = float(grid.lengths[at_work > 0].sum())
    result.concurrency = grid.integral(at_work) / some if some else 0.0
    used = np.minimum(at_work, slots)
    _account_tasks(record, result, grid.integral(used), grid.integral(at_work), waits)
    left = _take(result, grid, Cause.OTHER_WORK, slots - used, _others(record, grid))
    causes = causes_of(record.spilled)
    for phase in (Phase.FETCH, Phase.RESTORE, Phase.ROOM):
        left = _take(result, grid, causes[phase], left, waiting[phase])
    Idle(record, grid, times, painted, late, waiting[Phase.BLOCKED]).sort_out(result, left)
    return result


def _column(waits: Sequence[Wait], which: int) -> Floats:
    return np.array([(wait.begin, wait.end)[which] for wait in waits], dtype=np.float64)


def _slots(record: CellRecord, grid: Grid) -> Floats:
    """How many there were in each piece."""
    moments, counts = (np.array(column, dtype=np.float64) for column in zip(*record.slots, strict=True))
    places = np.searchsorted(moments, grid.times[:-1], side="right") - 1
    found: Floats = counts[np.maximum(places, 0)]
    return found


def _waiting(grid: Grid, waits: list[Wait], weights: Floats) -> Floats:
    held = weights[[wait.function for wait in waits]] if waits else 1.0
    return grid.level(_column(waits, 0), _column(waits, 1), held)


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


def _take(result: Accounting, grid: Grid, cause: Cause, left: Floats, wanted: Floats) -> Floats:
    taken = np.minimum(left, wanted)
    result.add(cause, grid.integral(taken))
    return left - taken


def _others(record: CellRecord, grid: Grid) -> Floats:
    if not record.others:
        return np.zeros(len(grid.lengths))
    begins, ends = (np.array(column) for column in zip(*record.others, strict=True))
    return grid.level(begins, ends)


def _account_tasks(record: CellRecord, result: Accounting, held: float, total: float, waits: list[Wait]) -> None:
    """The ``held`` seconds of slots that tasks had, of ``total`` that they ran: by function, and of it what was not its
    own code."""
    if not total:
        return
    scale = held / total  # below 1 where more tasks ran than there are slots
    runs = record.runs
    spans = np.minimum(runs.ends, record.end) - np.maximum(runs.begins, record.begin)
    weights = np.array([function.cpus or 1.0 for function in record.functions])
    by_function = np.bincount(runs.functions, np.maximum(spans, 0.0), len(record.functions)) * weights
    for wait in waits:
        by_function[wait.function] -= (wait.end - wait.begin) * weights[wait.function]
    by_function = np.maximum(by_function, 0.0)
    by_function *= held / max(float(by_function.sum()), 1e-12)
    for number, left in enumerate(by_function.tolist()):
        for cause, part in _within(record, number, waits).items():
            part = min(part * float(weights[number]) * scale, left)
            result.add(cause, part)
            left -= part
        result.add(Cause.COMPUTE, left)
    computed = result.seconds.get(Cause.COMPUTE, 0.0)
    on_cpu, held_up = (phase_seconds(record, phase) for phase in (Phase.ON_CPU, Phase.HELD_UP))
    if on_cpu:  # what tasks neither ran nor could have run, they waited for something of their own
        waited = max(0.0, computed - (on_cpu + held_up) * scale)
        result.seconds[Cause.COMPUTE] = computed - waited
        result.add(Cause.WAITING, waited)


def phase_seconds(record: CellRecord, phase: Phase) -> float:
    """Of all functions."""
    return sum(one.seconds for (_, of), one in (record.phases or {}).items() if of is phase)


def _within(record: CellRecord, function: int, waits: list[Wait]) -> dict[Cause, float]:
    """Seconds of a function's tasks that were not its own code; what stands in ``waits`` is left out."""
    parts: dict[Cause, float] = {}
    causes = causes_of(record.spilled)
    for (number, phase), one in (record.phases or {}).items():
        if number != function or not one.count or phase not in causes:
            continue
        long = sum(wait.end - wait.begin for wait in waits if wait.function == number and wait.phase == phase)
        seconds = max(0.0, one.seconds - long)
        cause = causes[phase]
        if phase in _TAPPED and one.seconds / one.count < CHEAP:  # not all were timed
            seconds *= max(1.0, float((record.runs.functions == number).sum()) / one.count)
        if phase is Phase.SUBMIT and one.seconds / one.count > LONG:
            cause = Cause.SERIALIZATION  # of a function with what it captures
        elif cause is Cause.SERIALIZATION and one.seconds / one.count < CHEAP:
            cause = Cause.OVERHEAD
        parts[cause] = parts.get(cause, 0.0) + seconds
    return parts
