"""One virtual clock, one seeded source of chance, and what is to happen when.

Strategy: everything in a simulation is an action at a time. Of equal times the one planned first comes first, and all
randomness is drawn from one generator in that order: so a seed is a history. Time stands still while an action runs.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Final

__all__ = ["START", "Kernel", "Timer", "VirtualTime"]

START: Final = 1_000.0
"""Not 0: a machine that takes the beginning of time for "never" would be found out elsewhere, but not here."""


class Timer:
    """One planned action."""

    __slots__ = ("action", "at")

    def __init__(self, at: float, action: Callable[[], None]) -> None:
        self.at = at
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        self.action = None


class Kernel:
    """The clock and the plan."""

    def __init__(self, seed: int) -> None:
        self.now = START
        self.random = random.Random(seed)
        self.steps = 0
        self._plan: list[tuple[float, int, Timer]] = []
        self._number = 0

    def at(self, when: float, action: Callable[[], None]) -> Timer:
        """Plan an action."""
        timer = Timer(max(when, self.now), action)
        self._number += 1
        heapq.heappush(self._plan, (timer.at, self._number, timer))
        return timer

    def after(self, delay: float, action: Callable[[], None]) -> Timer:
        """Plan an action `delay` seconds from now."""
        return self.at(self.now + delay, action)

    def step(self, until: float) -> bool:
        """Let the next action happen; False if there is none up to that time, which it is then."""
        while self._plan:
            at, _, timer = self._plan[0]
            if timer.action is None:
                heapq.heappop(self._plan)
                continue
            if at > until:
                break
            heapq.heappop(self._plan)
            self.now = at
            self.steps += 1
            timer.action()
            return True
        self.now = max(self.now, until)
        return False


class VirtualTime:
    """What stands in for the module `time` where cores and workers look at the clock."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def monotonic(self) -> float:
        return self._kernel.now

    perf_counter = monotonic
    time = monotonic
