"""Counts of a group's tasks by state, as rows of plots and tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from ..groups import Group
from .words import took

__all__ = ["EDGES", "PARTS", "Counts", "counts_of", "edges"]

PARTS: Final = ("finished", "failed", "cancelled", "running", "waiting")
EDGES: Final = ("e0", "e1", "e2", "e3", "e4", "e5")
"""Columns of the edges between the parts of a stacked bar; see plots/boxes.py."""


class Counts(msgspec.Struct):
    """Of one group or several. ``waiting`` are all that have neither begun nor ended."""

    total: int = 0
    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    running: int = 0
    waiting: int = 0
    seconds: float = 0.0
    rate: float = 0.0

    @property
    def ended(self) -> int:
        """All that are over."""
        return self.finished + self.failed + self.cancelled

    @property
    def mean(self) -> float:
        """Seconds that a task ran."""
        ran = self.finished + self.failed
        return self.seconds / ran if ran else 0.0

    @property
    def left(self) -> float | None:
        """Seconds until all are done, at the present rate; None: not known, or nothing is left."""
        rest = self.total - self.ended
        return round(rest / self.rate, 1) if rest > 0 and self.rate > 0 else None

    @property
    def share(self) -> float:
        """Of 1, how much is over."""
        return round(self.ended / self.total, 3) if self.total else 0.0

    @property
    def mean_text(self) -> str:
        """The mean time with its unit."""
        return took(self.mean) if self.finished + self.failed else ""


def counts_of(groups: Iterable[Group]) -> Counts:
    """The counts of groups, in sum."""
    sums = Counts()
    for group in groups:
        total = max(group.total, group.ended + group.running)
        sums.total += total
        sums.finished += group.finished
        sums.failed += group.failed
        sums.cancelled += group.cancelled
        sums.running += group.running
        sums.waiting += total - group.ended - group.running
        sums.seconds += group.seconds
        sums.rate += group.rate
    return sums


def edges(counts: Counts, left: float, right: float) -> tuple[float, ...]:
    """Where the parts of a stacked bar between two places meet: six numbers."""
    at = float(left)
    places = [at]
    for part in PARTS:
        at += (right - left) * getattr(counts, part) / counts.total if counts.total else 0.0
        places.append(round(at, 4))
    return tuple(places)
