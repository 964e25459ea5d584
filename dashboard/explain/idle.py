"""Why slots stood still: for each piece of time one reason, out of what was known then. Pure.

A task that could run and does not keeps one slot waiting for itself, whatever the others wait for: for the engine, for
a worker, or for the driver that has yet to send it. The other slots have nothing to run: because all that is left are
stragglers, the driver has not submitted more, tasks wait for results of others, or there are no more tasks.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from ...cluster.telemetry.phases import LONG, Phase
from .cause import CHEAP, TINY, Accounting, Cause, causes_of
from .grid import Grid
from .record import CellRecord, Floats

__all__ = ["Idle"]

_GAP: Final = 0.005
"""Seconds between two tasks that are a step from one to the next. A slot that stands still for longer has a reason."""

_HELD_UP: Final = 0.05
"""Seconds that the notebook's own code can delay what its process sends, as it holds the interpreter's lock."""

_USER: Final = 100  # what the driver is at: the user's code, where no phase is known
_UNSEEN: Final = 101  # not known

Condition = tuple[npt.NDArray[np.bool_], Cause]


class Idle:
    """What was known in each piece of time.

    Parameters
    ----------
    submitted, ready
        Of each task.
    painted
        What the driver was at, each over those before.
    late
        Begins and ends of the late parts of stragglers.
    blocked
        How many tasks waited in `get`.
    """

    def __init__(
        self,
        record: CellRecord,
        grid: Grid,
        times: tuple[Floats, Floats],
        painted: list[tuple[int, float, float]],
        late: tuple[Floats, Floats],
        blocked: Floats,
    ) -> None:
        runs = record.runs
        self.grid, self.blocked = grid, blocked
        submitted, ready = times
        if len(runs):  # a call waits for its actor, not for a slot
            of_actor = np.array([function.is_actor for function in record.functions])[runs.functions]
            submitted, ready = np.where(of_actor, runs.begins, submitted), np.where(of_actor, runs.begins, ready)
        last = np.full(len(runs), record.end)
        known, could, begun = (grid.level(moments, last) for moments in (submitted, ready, runs.begins))
        self.queued, self.parked = np.maximum(could - begun, 0.0), known - could
        self.late, self.running = grid.level(*late), grid.level(runs.begins, runs.ends)
        between = _gaps(record, grid)
        self.is_step, self.is_held_up = between < _GAP, between < _HELD_UP
        self.has_begun = grid.times[:-1] >= (runs.begins.min() if len(runs) else record.end)
        self.is_tiny = self.has_begun & (len(runs) > 0 and float(runs.spans.mean()) < TINY)
        self.doing = np.full(len(grid.lengths), _UNSEEN if record.driver is None else _USER)
        for value, begin, end in painted:
            grid.paint(self.doing, value, begin, end)
        self.at_driver: list[Condition] = [
            ((self.doing == what) & (self.parked < 1), cause) for what, cause in _at_the_driver(record).items()
        ]

    def sort_out(self, result: Accounting, left: Floats) -> None:
        """Count the slots that stood still (in each piece) for their reasons."""
        waits = self.doing == Phase.BLOCKED
        for_queue = np.minimum(left, self.queued)
        self._count(
            result,
            for_queue,
            [
                (self.is_tiny, Cause.OVERHEAD),
                ((self.doing == _USER) & ~self.is_held_up, Cause.SCHEDULING),
                *self.at_driver,
                (self.is_step, Cause.OVERHEAD),
                (np.ones_like(waits), Cause.SCHEDULING),
            ],
        )
        self._count(
            result,
            left - for_queue,
            [
                ((self.late > 0) & (self.late >= self.running), Cause.STRAGGLER),
                *self.at_driver,
                ((self.parked >= 1) | (self.blocked > 0), Cause.DEPENDENCIES),
                (self.is_step & (self.doing != _USER), Cause.OVERHEAD),
                (self.running > 0, Cause.PARALLELISM),
                (waits & ~self.has_begun, Cause.SCHEDULING),
                (waits, Cause.OVERHEAD),
            ],
        )

    def _count(self, result: Accounting, slots: Floats, causes: list[Condition]) -> None:
        """Each piece for the first cause that holds there."""
        seconds = slots * self.grid.lengths
        unclaimed = np.ones(len(seconds), dtype=bool)
        for holds, cause in causes:
            result.add(cause, float(seconds[unclaimed & holds].sum()))
            unclaimed &= ~holds
        result.add(Cause.UNKNOWN, float(seconds[unclaimed].sum()))


def _at_the_driver(record: CellRecord) -> dict[int, Cause]:
    """For what slots wait while the driver is at something."""
    sums = record.driver.sums if record.driver is not None else {}
    causes: dict[int, Cause] = {
        int(phase): cause for phase, cause in causes_of(record.spilled).items() if phase is not Phase.BLOCKED
    }
    for phase in (Phase.READ, Phase.SUBMIT):
        one = sums.get(phase)
        mean = one.seconds / one.count if one is not None and one.count else 0.0
        causes[int(phase)] = Cause.SERIALIZATION if mean > (CHEAP if phase is Phase.READ else LONG) else Cause.OVERHEAD
    causes[_USER] = Cause.DRIVER
    return causes


def _gaps(record: CellRecord, grid: Grid) -> Floats:
    """In each piece, the time from the last end of a task before it to the next begin after it."""
    if not len(record.runs):
        return np.full(len(grid.lengths), np.inf)
    ends, begins = np.sort(record.runs.ends), record.runs.begins
    starts, stops = grid.times[:-1], grid.times[1:]
    before = np.searchsorted(ends, starts, side="right") - 1
    after = np.searchsorted(begins, stops, side="left")
    last = np.where(before >= 0, ends[np.maximum(before, 0)], -np.inf)
    following = np.where(after < len(begins), begins[np.minimum(after, len(begins) - 1)], np.inf)
    return following - last
