"""How much output may go on its way: so much at once, then so much a second.

A token bucket in characters. Its ``reserve`` is for ends only: what a program printed last says most, so an end may
overdraw the bucket, which then fills up from below zero. So the sum that was let through until a moment is never more
than ``burst + reserve + rate × seconds``. A fixed total was rejected: it would silence a task that prints a line a
second after an hour; so was a plain rate, which drops from the middle of what a notebook could easily hold.
"""

from __future__ import annotations

__all__ = ["Allowance"]


class Allowance:
    """Characters that may pass.

    Parameters
    ----------
    burst
        At once.
    rate
        A second, after that.
    reserve
        By which ends may overdraw.
    """

    __slots__ = ("_at", "_left", "burst", "rate", "reserve")

    def __init__(self, burst: float, rate: float, reserve: float) -> None:
        self.burst = burst
        self.rate = rate
        self.reserve = reserve
        self._left = burst
        self._at: float | None = None

    def take(self, cost: float, now: float) -> bool:
        """Let ``cost`` characters pass, if there is room for all of them."""
        self._fill(now)
        if self._left < cost:
            return False
        self._left -= cost
        return True

    def take_end(self, cost: float, now: float) -> bool:
        """The same for an end, which may overdraw."""
        self._fill(now)
        if self._left + self.reserve < cost:
            return False
        self._left -= cost
        return True

    def room(self, now: float) -> float:
        """How much could pass now."""
        self._fill(now)
        return max(0.0, self._left)

    def _fill(self, now: float) -> None:
        if self._at is not None and now > self._at:
            self._left = min(self.burst, self._left + (now - self._at) * self.rate)
        self._at = now
