"""When tasks were submitted, ready and late, and what the driver was at, as far as the record tells. Pure."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from ...cluster.telemetry.phases import LONG, Phase
from .record import CellRecord, Floats

__all__ = ["driver_intervals", "is_straggler", "late_parts", "ready_times"]

_LATE: Final = 2.5  # times the median of its function, and …
_LATER: Final = 1.5  # … times the time that three quarters are under: a straggler
_FEW: Final = 4  # tasks of a function, from which on one can be called late


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


def late_parts(record: CellRecord) -> tuple[Floats, Floats]:
    """Of each straggler the time after which it should have been over (twice the median of its function) to its end."""
    runs, late = record.runs, is_straggler(record)
    medians = np.zeros(len(record.functions) or 1)
    for number in np.unique(runs.functions[late]):
        medians[number] = np.median(runs.spans[runs.functions == number])
    begins = runs.begins[late] + 2 * medians[runs.functions[late]]
    return np.minimum(begins, runs.ends[late]), runs.ends[late]


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


def driver_intervals(record: CellRecord) -> list[tuple[int, float, float]]:
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
