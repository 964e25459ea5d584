"""How many CPUs a node should have at this moment, between two limits: a policy without side effects.

Strategy: up at once, to what is held and what waits, since whoever waits would rather run; down only when less was
enough for a while, and then to the most that was needed in that while, so that a short pause between two bursts costs
nothing. Rejected: steps of a fixed size (too slow for a burst, too coarse for the rest), and an average of the load
(it answers a burst when it is over).
"""

from __future__ import annotations

from ..protocol.cluster_events import ClusterEvent, EventKind, Severity
from ..protocol.common import RESOURCE_UNIT, SetCapacity

__all__ = ["Adaptive", "explain_setting"]


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

    def explain(self, before: int, after: int, held: int, wanted: int) -> ClusterEvent:
        """What was decided, and why."""
        numbers = {"from": before, "to": after, "held": held, "wanted": wanted, "least": self.least, "most": self.most}
        cpus = {name: units / RESOURCE_UNIT for name, units in numbers.items()}
        limits = f"the limits are {cpus['least']:g} and {cpus['most']:g}"
        if after > before:
            why = f"{cpus['held']:g} are in use and work that waits asks for {cpus['wanted']:g}"
            text = f"The node grows from {cpus['from']:g} to {cpus['to']:g} CPUs: {why}; {limits}."
        else:
            why = f"for {self.idle:g} s no more were needed" if before <= self.most else "the limit was lowered"
            text = f"The node shrinks from {cpus['from']:g} to {cpus['to']:g} CPUs: {why}; {limits}."
        return _changed("AUTOSCALER", text, {**cpus, "idle": self.idle})

    def next_deadline(self) -> float | None:
        """When `decide` may answer otherwise, though nothing has happened."""
        return None if self._since is None else self._since + self.idle


def explain_setting(before: int, message: SetCapacity) -> ClusterEvent:
    """A driver said how many CPUs the node is to have."""
    cpus, most = message.cpus / RESOURCE_UNIT, message.most / RESOURCE_UNIT
    if message.most > message.cpus:
        text = f"A driver lets the node have {cpus:g} to {most:g} CPUs, as work asks for them."
    else:
        text = f"A driver set the node's CPUs from {before / RESOURCE_UNIT:g} to {cpus:g}."
    return _changed("RAYLET", text, {"from": before / RESOURCE_UNIT, "to": cpus, "most": most})


def _changed(source: str, text: str, numbers: dict[str, float]) -> ClusterEvent:
    return ClusterEvent(
        kind=EventKind.CAPACITY_CHANGED, severity=Severity.INFO, source=source, message=text, numbers={**numbers}
    )
