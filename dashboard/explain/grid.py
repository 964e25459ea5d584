"""Pieces of time between moments at which something changed, and what holds in each. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .record import Floats

__all__ = ["Grid"]


class Grid:
    """Pieces of time, and step functions on them.

    Attributes
    ----------
    times
        Where pieces begin, and where the last one ends.
    lengths
        Of the pieces, in seconds.
    """

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

    def integral(self, values: Floats) -> float:
        """Of a step function, over all pieces."""
        return float((values * self.lengths).sum())
