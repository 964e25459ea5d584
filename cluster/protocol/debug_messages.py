"""Between a task that waits at a breakpoint and the driver at whose root it runs: text there, lines back."""

from __future__ import annotations

import msgspec

from .common import Address, Cell

__all__ = ["BreakpointLine", "BreakpointText"]


class BreakpointText(msgspec.Struct, array_like=True, tag=20):
    """Worker to driver: what the debugger said. ``waits``: for a line; ``ended``: the task goes on without it.

    ``number`` tells breakpoints of one worker apart.
    """

    number: int
    text: str
    waits: bool
    ended: bool
    worker: Address
    task: str
    cell: Cell | None = None
    pid: int = 0


class BreakpointLine(msgspec.Struct, array_like=True, tag=21):
    """Driver to worker: a line for the debugger."""

    number: int
    line: str
