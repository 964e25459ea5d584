"""How many CPUs a node should have at this moment, between two limits: a policy without side effects.

Strategy: up at once, to what is held and what waits, since whoever waits would rather run; down only when less was
enough for a while, and then to the most that was needed in that while, so that a short pause between two bursts costs
nothing. Rejected: steps of a fixed size (too slow for a burst, too coarse for the rest), and an average of the load
(it answers a burst when it is over).
"""

from __future__ import annotations

from ..protocol.common import RESOURCE_UNIT

__all__ = ["Adaptive"]


class Adaptive:
    """The policy of one node. All CPUs are in units, times in seconds.

    Parameters
    ----------
    least, most
        The limits.
    idle
        How long less must have been enough.
    """

    def __init__(self, least: int, most: int, idle: float) -> None:
        self.least = least
        self.most = most
        self.idle = idle
        self._since: float | None = None  # since when less is enough
        self._peak = 0  # the most that was needed since then

    def decide(self, total: int, held: int, wanted: int, now: float) -> int:
        """The CPUs to have now, given those there are, those held, and those that waiting work asks for."""
        whole = -(-(held + wanted) // RESOURCE_UNIT) * RESOURCE_UNIT
        need = min(self.most, max(self.least, whole))
        if need >= total:
            self._since = None
            return need
        if total > self.most:
            return self.most  # the limit was lowered
        if self._since is None:
            self._since, self._peak = now, need
        self._peak = max(self._peak, need)
        if now < self._since + self.idle:
            return total
        self._since = None
        return self._peak

    def next_deadline(self) -> float | None:
        """When `decide` may answer otherwise, though nothing has happened."""
        return None if self._since is None else self._since + self.idle
