"""From a tool (the dashboard) to a process that owns work: end some of it, or all of it."""

from __future__ import annotations

import msgspec

__all__ = ["CancelOwned", "ControlDone", "EndJob"]


class CancelOwned(msgspec.Struct, array_like=True, tag=90):
    """Cancel these tasks, which the receiver submitted, by their counters. Answered with `ControlDone`."""

    counters: list[int]
    force: bool = False
    recursive: bool = True
    request: int = 0


class EndJob(msgspec.Struct, array_like=True, tag=91):
    """To a driver: its job is over, for this reason, though the process goes on. Answered with `ControlDone`."""

    reason: str
    request: int = 0


class ControlDone(msgspec.Struct, array_like=True, tag=92):
    """``count``: tasks that were cancelled, or 1 for a job that ended; 0: there was nothing left to do."""

    request: int
    count: int
