"""``breakpoint()`` in a task: pdb, whose other end is the driver's notebook.

Strategy: the thread that runs the task runs pdb itself, with all it can do. What pdb prints goes to the driver as a
message, what it reads comes as one; while it waits for a line the task lends its CPU as in `get`, and a cancel of the
task ends the wait. Rejected: a socket of its own for each breakpoint (a port to open and to guard), and an interactive
prompt in the kernel (it would keep the kernel from everything else).
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..core.tasks import task_var
from ..protocol.debug_messages import BreakpointLine, BreakpointText
from .peers import Job

if TYPE_CHECKING:
    from .executor import Executor
    from .pdb_session import PdbSession

__all__ = ["Breakpoints"]


class Breakpoints:
    """The breakpoints of one worker."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._core = executor.core
        self._sessions: dict[int, PdbSession] = {}
        self._last = 0
        self.active = False  # a task is being debugged
        self._core.handlers[BreakpointLine] = self._on_line

    def install(self) -> None:
        """Make `breakpoint` come here while a task runs."""
        original = sys.breakpointhook

        def hook(*args: Any, **kwargs: Any) -> Any:
            job = task_var.get()
            if job is None or args or kwargs:
                return original(*args, **kwargs)
            return self.stop(job, sys._getframe(1))

        sys.breakpointhook = hook

    def stop(self, job: Job, frame: FrameType) -> None:
        """Stop at a frame."""
        session = next((known for known in self._sessions.values() if known.job is job), None)
        if session is None:
            from .pdb_session import PdbSession  # pdb and what it imports: only where there is a breakpoint

            self._last += 1
            session = self._sessions[self._last] = PdbSession(self, self._last, job)
            self.active = True
        session.set_trace(frame)

    def wait_for_line(self, session: PdbSession, text: str) -> None:
        """Say something, and block until the driver answers."""
        self._say(session, text, waits=True)
        with self._core.blocking():
            self._core.wait_until(lambda: session.lines, None)

    def end(self, session: PdbSession) -> None:
        """The task goes on, or is over: nobody needs to look any more."""
        if self._sessions.pop(session.number, None) is not None:
            self.active = bool(self._sessions)
            self._say(session, session.take_text(), ended=True)

    def task_ended(self, job: Job) -> None:
        """A task has ended, perhaps with breakpoints left."""
        for session in [known for known in self._sessions.values() if known.job is job]:
            sys.settrace(None)
            self.end(session)

    def _say(self, session: PdbSession, text: str, *, waits: bool = False, ended: bool = False) -> None:
        core, job = self._core, session.job
        message = BreakpointText(
            session.number, text, waits, ended, core.address, job.loaded.name, job.loaded.cell, core.pid
        )
        core.post(lambda: self._executor.outgoing.tell(job.peer.worker_id, job.driver(), message))

    def _on_line(self, peer: bytes, message: BreakpointLine) -> None:
        session = self._sessions.get(message.number)
        if session is not None:
            session.lines.append(message.line)
