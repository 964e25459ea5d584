"""How a task is stopped: the part of an executor that cancels.

Strategy: a task that waits in the queue is taken out; the one that runs gets SIGINT, which gets through blocking calls,
and becomes KeyboardInterrupt in the main thread. A signal can come at a moment at which nothing may be raised: while
the function is unpickled, or between two items of a stream, while the main thread drives the core. It is sent again
then, at the next tick. Once raised it is not repeated: what follows is the task's own cleaning up. A method of an actor
is only told (`is_canceled`), unless it is a coroutine or runs in a thread of its own: what state would an interrupt
leave?

What a cancelled cell has here ends likewise, and what comes of it later is refused (`core/cells.py`).
"""

from __future__ import annotations

import signal
from collections import deque
from typing import TYPE_CHECKING, Any

from ..protocol.core_messages import R_CANCELLED, CancelTasks, Result
from .outgoing import Outgoing
from .peers import Job

if TYPE_CHECKING:
    from ..core.runtime import Core
    from .output import Output

__all__ = ["Interrupts"]


class Interrupts:
    """Cancelling what this worker has."""

    core: Core
    queue: deque[Job]
    outgoing: Outgoing
    output: Output | None
    running: Job | None
    interruptible: bool  # the main thread is in the task's own code
    interrupt_target: Job | None  # the task that is to get a KeyboardInterrupt, until it got it
    missed: list[tuple[bytes, CancelTasks]]  # of tasks that were neither queued nor running
    actor: Any
    main: int
    first_child: int

    # -- in the leader ----------------------------------------------------------------------------------------------

    def on_cancel(self, peer_id: bytes, message: CancelTasks) -> None:
        """An owner cancels tasks: those waiting end now, the running one is interrupted."""
        missed = self._cancel(peer_id, message)
        if missed:
            self.missed.append((peer_id, CancelTasks(missed, message.recursive)))

    def _cancel(self, peer_id: bytes, message: CancelTasks) -> list[int]:
        """Returns which were not found: they have ended, or have left the queue this moment and not begun."""
        wanted = set(message.counters)
        found: set[int] = set()
        for job in list(self.queue):
            if job.peer.worker_id == peer_id and job.task.counter in wanted and self._drop(job):
                found.add(job.task.counter)
        running = self.running
        if running is not None and running.peer.worker_id == peer_id and running.task.counter in wanted:
            found.add(running.task.counter)
            running.cancelled = True
            if message.recursive:
                self.core.cancel_since(self.first_child)
            if self.actor is None:
                self.interrupt(running)
        if self.actor is not None:
            self.actor.cancel(lambda job: job.peer.worker_id == peer_id and job.task.counter in wanted)
            return []  # it knows what it has begun
        return [counter for counter in message.counters if counter not in found]

    def end_cells(self) -> None:
        """End what runs and waits here of cells that are over."""
        is_over = self.core.cells.ended.is_over
        for job in list(self.queue):
            if is_over(job.loaded.cell):
                self._drop(job)
        running = self.running
        if running is not None and not running.cancelled and is_over(running.loaded.cell):
            running.cancelled = True
            if self.actor is None:
                self.interrupt(running)
        if self.actor is not None:
            self.actor.cancel(lambda job: not job.cancelled and is_over(job.loaded.cell))

    def refuse_over(self, jobs: list[Job]) -> list[Job]:
        """Of tasks that came, those that are to run: not those of cells that are over."""
        is_over = self.core.cells.ended.is_over
        kept = [job for job in jobs if not is_over(job.loaded.cell)]
        if len(kept) < len(jobs):
            for job in jobs:
                if is_over(job.loaded.cell):
                    self.answer_cancelled(job)
        return kept

    def _drop(self, job: Job) -> bool:
        """Take a task out of the queue; False if it begins this moment."""
        try:
            self.queue.remove(job)
        except ValueError:
            return False
        self.answer_cancelled(job)
        return True

    def answer_cancelled(self, job: Job) -> None:
        """Tell the owner of a task that never began."""
        self.outgoing.add(job.peer.worker_id, Result(job.task.counter, R_CANCELLED), -1.0)

    def insist(self, now: float) -> None:
        """Some time passed: interrupt again who was not, and who had left the queue and not begun when others were."""
        target = self.interrupt_target
        if target is not None:
            if target is self.running:
                self.interrupt(target)
            else:
                self.interrupt_target = None
        missed, self.missed = self.missed, []
        for peer_id, message in missed:
            self._cancel(peer_id, message)
        if self.core.cells.ended.latest:
            self.end_cells()

    def interrupt(self, job: Job) -> None:
        """Raise KeyboardInterrupt in the main thread, if it still runs this task."""
        self.interrupt_target = job
        signal.pthread_kill(self.main, signal.SIGINT)

    # -- on the main thread -----------------------------------------------------------------------------------------

    def on_sigint(self, signum: int, frame: Any) -> None:
        """SIGINT is how a cancel gets through blocking calls; it counts only for the task it was meant for."""
        job = self.running
        if job is None or self.interrupt_target is not job or not self.interruptible:
            return
        if self.core.reactor.main_inside:
            self.interrupt_target = None
            self.core.reactor.interrupt()  # it waits in `get`: raised when it has left the machines alone
            return
        if self.output is not None and self.output.busy_in_main():
            return  # it prints: comes again when it has done so
        self.interrupt_target = None
        raise KeyboardInterrupt
