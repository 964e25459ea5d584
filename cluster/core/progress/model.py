"""What a progress bar says at a time: counts become rates, estimates and sentences. Pure: the time is told.

A rate is that of the last while, which is ten seconds or a third of the time so far: long enough to be calm where
tasks X
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from .tally import OTHERS, Counts

__all__ = ["GONE", "INTERRUPTED", "STOPPED", "TIMEOUT", "Frame", "Model", "Row", "duration"]

INTERRUPTED: Final = "interrupted after {}"
TIMEOUT: Final = "time was up after {}"
STOPPED: Final = "waited {}"
GONE: Final = "the cluster was gone after {}"

_SHORTEST_WHILE: Final = 10.0  # seconds that a rate looks back, at least
_FIRST_ESTIMATE: Final = 0.5  # seconds before a rate is believed


@dataclass(frozen=True)
class Row:
    """One function: its tasks, how many end a second (None: not known yet), and for how many seconds there is work."""

    name: str
    counts: Counts
    rate: float | None = None
    left: float | None = None

    @property
    def label(self) -> str:
        return self.name if self.name != OTHERS else "other tasks"

    @property
    def open(self) -> bool:
        """Whether something is still to be done."""
        return self.counts.running + self.counts.waiting > 0

    def notes(self) -> list[str]:
        """What there is to say beside the count, in short."""
        counts = self.counts
        words = [f"{counts.running} running"] if counts.running else []
        words += [f"{counts.failed} failed"] if counts.failed else []
        words += [f"{counts.cancelled} cancelled"] if counts.cancelled else []
        if self.rate is not None and self.open:
            words.append(_rate(self.rate))
        return words


@dataclass(frozen=True)
class Frame:
    """All that is shown at a time. ``end`` is empty as long as somebody waits; else how that ended."""

    rows: tuple[Row, ...]
    elapsed: float
    left: float | None = None
    end: str = ""
    title: str = ""

    @property
    def counts(self) -> Counts:
        """All functions together."""
        total = Counts()
        for row in self.rows:
            total = total.plus(row.counts)
        return total

    def line(self) -> str:
        """One sentence about the end: "400 tasks of `f` done in 12.3 s, 2 failed"."""
        counts, spent = self.counts, duration(self.elapsed)
        tail = f", {counts.failed} failed" if counts.failed else ""
        tail += f", {counts.cancelled} cancelled" if counts.cancelled else ""
        if counts.ended == counts.total:
            return f"{self._what(counts.total)} done in {spent}{tail}{self._parts()}"
        head = (self.end or STOPPED).format(spent)
        return f"{head}: {counts.ended} of {self._what(counts.total)} done{tail}{self._parts()}"

    def _what(self, number: int) -> str:
        tasks = "task" if number == 1 else "tasks"
        if self.title:
            return f"{number} {tasks} of {self.title}"
        return f"{number} {tasks}" + (f" of `{self.rows[0].name}`" if self._single() else "")

    def _single(self) -> bool:
        return len(self.rows) == 1 and self.rows[0].name != OTHERS

    def _parts(self) -> str:
        if len(self.rows) < 2:
            return ""
        parts = [
            f"{row.counts.total} of `{row.name}`" if row.name != OTHERS else f"{row.counts.total} others"
            for row in self.rows
        ]
        return f" ({', '.join(parts)})"


@dataclass
class _Pace:
    """How fast tasks of one function end: ends and seconds of the last while, older ones weighing less."""

    ended: int
    at: float
    ends: float = 0.0
    seconds: float = 0.0

    def step(self, ended: int, running: int, now: float, back: float) -> None:
        passed = now - self.at
        if passed <= 0:
            return
        if not self.ends and ended == self.ended and not running:  # it has not begun: that time says nothing
            self.at = now
            return
        fades = math.exp(-passed / back)
        self.ends = self.ends * fades + max(0, ended - self.ended)
        self.seconds = self.seconds * fades + passed
        self.ended, self.at = ended, now

    @property
    def rate(self) -> float | None:
        return self.ends / self.seconds if self.ends > 0 and self.seconds >= _FIRST_ESTIMATE else None


@dataclass
class Model:
    """Follows the counts of one wait (or of several that count as one) from ``began`` on.

    Parameters
    ----------
    began
        When the wait began, in seconds of any clock.
    open_ended
        More tasks may come than are counted: nothing is estimated.
    title
        Stands in for the names of functions, if there is one.
    """

    began: float
    open_ended: bool = False
    title: str = ""
    _paces: dict[str, _Pace] = field(default_factory=dict)

    def frame(self, now: float, counts: Mapping[str, Counts], end: str = "") -> Frame:
        """What to show now."""
        back = max(_SHORTEST_WHILE, (now - self.began) / 3)
        rows = tuple(self._row(name, each, now, back) for name, each in counts.items() if each.total)
        open_rows = [row for row in rows if row.open]
        left = None
        if open_rows and all(row.left is not None for row in open_rows):
            left = max(row.left for row in open_rows if row.left is not None)
        return Frame(rows, now - self.began, left, end, self.title)

    def _row(self, name: str, counts: Counts, now: float, back: float) -> Row:
        pace = self._paces.get(name)
        if pace is None:  # what had ended before we looked says nothing about the rate
            pace = self._paces[name] = _Pace(counts.ended, now)
        pace.step(counts.ended, counts.running, now, back)
        rate = pace.rate
        left = None if rate is None or self.open_ended else (counts.running + counts.waiting) / rate
        return Row(name, counts, rate, left)


def duration(seconds: float) -> str:
    """Seconds as people read them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def _rate(rate: float) -> str:
    if rate >= 10:
        return f"{rate:,.0f}/s"
    if rate >= 0.1:
        return f"{rate:.1f}/s"
    return f"{rate * 60:.1f}/min"
