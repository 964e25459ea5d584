"""What a second of a slot can have gone to, and the account in which that is counted. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from ...cluster.telemetry.phases import Phase

__all__ = ["CHEAP", "OF_PHASE", "TINY", "Accounting", "Cause", "causes_of"]


class Cause(StrEnum):
    """What a second of a slot went to. All but the first two are losses."""

    COMPUTE = "compute"
    OTHER_WORK = "other work"
    SERIALIZATION = "serialization"
    TRANSFER = "transfer"
    SPILL = "spill"
    OVERHEAD = "overhead"
    LOADING = "loading"
    STRAGGLER = "straggler"
    DEPENDENCIES = "dependencies"
    PARALLELISM = "parallelism"
    DRIVER = "driver"
    SCHEDULING = "scheduling"
    WAITING = "waiting"
    UNKNOWN = "unknown"


CHEAP: Final = 0.000_05
"""Seconds of one call of a phase below which it belongs to what each task costs, and is no matter of its data."""

TINY: Final = 0.005  # seconds on average below which tasks are too short to be worth sending

OF_PHASE: Final = {
    Phase.LOAD: Cause.LOADING,
    Phase.ARGUMENTS: Cause.SERIALIZATION,
    Phase.RESULT: Cause.SERIALIZATION,
    Phase.READ: Cause.SERIALIZATION,
    Phase.PUT: Cause.SERIALIZATION,
    Phase.STORE: Cause.TRANSFER,
    Phase.FETCH: Cause.TRANSFER,
    Phase.RESTORE: Cause.SPILL,
    Phase.ROOM: Cause.SPILL,
    Phase.SUBMIT: Cause.OVERHEAD,
    Phase.BLOCKED: Cause.DEPENDENCIES,
}
"""What a phase is lost to, of a task and of the driver while slots wait for it."""


def causes_of(spilled: int | None) -> dict[Phase, Cause]:
    """`OF_PHASE`, where so many bytes were spilled.

    Where it was nothing, who waited for room waited for memory that was got ready, not for a disk.
    """
    return {**OF_PHASE, Phase.ROOM: Cause.TRANSFER} if spilled == 0 else OF_PHASE


class Accounting(msgspec.Struct):
    """Slot-seconds by cause. ``slots`` is how many there were on average, ``concurrency`` how many tasks ran while any
    did."""

    wall: float
    slots: float
    seconds: dict[Cause, float] = {}
    concurrency: float = 0.0

    @property
    def capacity(self) -> float:
        """Wall × slots."""
        return self.wall * self.slots

    def share(self, cause: Cause) -> float:
        """Of the capacity."""
        return self.seconds.get(cause, 0.0) / self.capacity if self.capacity else 0.0

    def add(self, cause: Cause, seconds: float) -> None:
        """Count."""
        if seconds > 0:
            self.seconds[cause] = self.seconds.get(cause, 0.0) + seconds
