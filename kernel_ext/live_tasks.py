"""Tasks that wait at a ``breakpoint()``, as the notebook sees them.

What a task's pdb says comes from whichever thread leads the core, and is kept until somebody asks; that a task has
begun to wait is said at once, under the cell that submitted it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..cluster.core.commands import Connect, Send
from ..cluster.protocol.common import Address, Cell
from ..cluster.protocol.debug_messages import BreakpointLine, BreakpointText

if TYPE_CHECKING:
    from ..cluster.core.runtime import Core

__all__ = ["LiveTask", "LiveTasks"]

PATIENCE: Final = 10.0
"""Seconds that a command waits for the task to stop again; it goes on meanwhile, and can be looked at later."""


class LiveTask:
    """One task at a breakpoint.

    Attributes
    ----------
    name, pid, cell
        The task, its worker process, and who submitted it.
    """

    def __init__(self, message: BreakpointText) -> None:
        self.name = message.task
        self.pid = message.pid
        self.cell = message.cell
        self.worker: Address = message.worker
        self.number = message.number
        self._waits = False
        self._ended = False
        self._text: list[str] = []

    def hear(self, message: BreakpointText) -> None:
        """It said something."""
        self._text.append(message.text)
        self._waits, self._ended = message.waits, message.ended

    def lose(self) -> None:
        """Its process is no more."""
        self._text.append("its worker died")
        self._waits, self._ended = False, True

    def asked(self) -> None:
        """It was given a command."""
        self._waits = False

    def waits(self) -> bool:
        """Whether it waits for a command."""
        return self._waits

    def has_ended(self) -> bool:
        """Whether it went on for good, or is over."""
        return self._ended

    def take_text(self) -> str:
        """What it said since the last time."""
        text, self._text = "".join(self._text), []
        return text.rstrip("\n")


class LiveTasks:
    """A core's ``breakpoint_sink``.

    Parameters
    ----------
    core
        Of this kernel.
    announce
        ``announce(cell, text)`` shows a line under a cell.
    """

    def __init__(self, core: Core, announce: Callable[[Cell | None, str], None]) -> None:
        self.core = core
        self.tasks: dict[tuple[bytes, int], LiveTask] = {}
        self._announce = announce
        core.breakpoint_sink = self
        core.death_hooks.append(self._process_died)

    def close(self) -> None:
        """Let all go on, and hear of no more."""
        self.core.breakpoint_sink = None
        self.core.death_hooks.remove(self._process_died)
        for task in self.waiting():
            self._send(task, "clear")
            self._send(task, "y")
            self._send(task, "continue")

    def __call__(self, message: BreakpointText) -> None:
        """A task said something. In the leader."""
        key = message.worker.worker_id, message.number
        task = self.tasks.get(key)
        if task is None:
            task = self.tasks[key] = LiveTask(message)
            text = f"task `{task.name}` (pid {task.pid}) waits at a breakpoint: %rdebug attach"
            self._announce(task.cell, text)
        task.hear(message)
        if task.has_ended():
            del self.tasks[key]

    def _process_died(self, worker_id: bytes) -> None:
        """What waited there does not any more, and has not said so. In the leader."""
        for key in [key for key in self.tasks if key[0] == worker_id]:
            self.tasks.pop(key).lose()

    def waiting(self) -> list[LiveTask]:
        """Those that wait for a command, in the order in which they came."""
        return [task for task in list(self.tasks.values()) if task.waits()]

    def run(self, task: LiveTask, line: str) -> str:
        """Give a task's pdb a command; what it says until it waits again, ends, or `PATIENCE` is over.

        Raises
        ------
        ValueError
            It does not wait for a command.
        """
        if task.has_ended():
            raise ValueError(f"task `{task.name}` went on: it is not debugged any more")
        if not task.waits():
            raise ValueError(f"task `{task.name}` runs; it can be asked when it stops again")
        task.asked()
        self._send(task, line)
        self.core.wait_until(lambda: task.waits() or task.has_ended(), time.monotonic() + PATIENCE)
        text = task.take_text()
        if task.has_ended():
            return f"{text}\ntask `{task.name}` goes on".lstrip()
        return text if task.waits() else f"{text}\ntask `{task.name}` runs; %rdebug shows when it stops again".lstrip()

    def _send(self, task: LiveTask, line: str) -> None:
        def act() -> None:
            self.core.out += [Connect(task.worker), Send(task.worker.worker_id, BreakpointLine(task.number, line))]

        self.core.post(act)
