"""Several quantities over time, of things that come and go: nodes, GPUs. One source, whoever is there.

A glyph for each thing would have to be in the plot before the thing is known. So each two samples that follow each
other are a line segment with the colour of its thing, and each sample of a stack is a box.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..sources import Series
from ..themes import FUNCTION_COLOURS
from .words import milliseconds

__all__ = ["Stack", "Tracks"]

_GAP = 10.0  # seconds without a sample, after which a line begins anew


class _Colours:
    """Each thing has its own, in the order in which they came."""

    def __init__(self) -> None:
        self._of: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        return self._of.setdefault(name, FUNCTION_COLOURS[len(self._of) % len(FUNCTION_COLOURS)])


class Tracks:
    """A source for `plots.times:tracks`: a line for each thing.

    Parameters
    ----------
    name
        Of the source.
    kept
        Segments, of all things together.
    """

    COLUMNS = ("begin", "end", "before", "value", "name", "colour")

    def __init__(self, name: str, kept: int = 2_400) -> None:
        self.series = Series(name, self.COLUMNS, kept)
        self._last: dict[str, tuple[float, float]] = {}
        self._colours = _Colours()

    def add(self, at: float, values: Mapping[str, float]) -> None:
        """A sample of things by name, at a time in seconds since the epoch."""
        data: dict[str, list[object]] = {column: [] for column in self.COLUMNS}
        for name, value in values.items():
            begin, before = self._last.get(name, (at, value))
            if at - begin > _GAP:
                begin, before = at, value
            self._last[name] = at, value
            row = (milliseconds(begin), milliseconds(at), before, value, name, self._colours[name])
            for column, one in zip(data.values(), row, strict=True):
                column.append(one)
        self.series.append(data)


class Stack:
    """A source for `plots.times:stacked`: the things' quantities one above the other."""

    COLUMNS = ("begin", "end", "low", "high", "value", "name", "colour")

    def __init__(self, name: str, kept: int = 2_400) -> None:
        self.series = Series(name, self.COLUMNS, kept)
        self._last = float("-inf")
        self._colours = _Colours()

    def add(self, at: float, values: Mapping[str, float]) -> None:
        """A sample: what things by name had since the last one."""
        begin = self._last if 0 < at - self._last <= _GAP else at - 1.0
        self._last = at
        data: dict[str, list[object]] = {column: [] for column in self.COLUMNS}
        low = 0.0
        for name, value in values.items():
            row = (milliseconds(begin), milliseconds(at), low, low + value, value, name, self._colours[name])
            low += value
            for column, one in zip(data.values(), row, strict=True):
                column.append(one)
        self.series.append(data)
