"""Cells that are over: what a process owns of them ends, and what is still to come of them is refused. Pure.

Strategy: a cancelled cell is over for good in every process of its job. The driver tells its raylet, raylets tell one
another and all their workers, later ones as they start; an owner also tells the workers that have such tasks. From the
moment a process knows, it

- ends what it has submitted in the cell: queued and waiting tasks at once, those in flight by telling their worker,
- interrupts what it runs of the cell, and gives up what it has yet to begin (`worker/interrupts.py`),
- refuses what comes of it later, whether its own code submits that or another process pushes it.

So no task of the cell can be left: each is known to its owner and to the worker that has it, and once both know that
the cell is over it is over too; that holds in whatever order they learn of it, whether or not the task that submitted
it has returned (its owner is still there, or its death ends it). No rule relies on one message overtaking another.

A name that is over for good must not be used again. What a thread of the cell submits after the interrupt, and a lost
value of the cell that is made again for somebody who holds it, go by the cell's next generation (`successor`).

Rejected: following each task to its children. Whose parent has returned is then found by nobody, and a child that is
submitted while the cancel is on its way escapes. Asking round by round until nobody finds anything: as many rounds as
the tasks are deep, and a task that is on its way between two processes is seen by neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..protocol.common import Cell
from .records import Record

if TYPE_CHECKING:
    from .actor_calls import ActorCalls
    from .submission import Submission

__all__ = ["Cells", "EndedCells"]

CellKey = tuple[bytes, int, str]


class EndedCells:
    """Which cells are over, by name and generation.

    Attributes
    ----------
    latest
        For each, the last generation that is over. Empty as long as nobody was interrupted, which is all that most
        processes ever look at.
    """

    def __init__(self) -> None:
        self.latest: dict[CellKey, int] = {}
        self._alive: Cell | None = None  # the last that was found not to be over: mostly it is asked for again

    def add(self, cell: Cell) -> bool:
        """It is over; False if that was known."""
        key = (cell.job_id, cell.execution, cell.message_id)
        if self.latest.get(key, -1) >= cell.generation:
            return False
        self.latest[key] = cell.generation
        self._alive = None
        return True

    def is_over(self, cell: Cell | None) -> bool:
        """Whether nothing of it is to run any more."""
        if cell is None or cell is self._alive:
            return False
        if self.latest.get((cell.job_id, cell.execution, cell.message_id), -1) >= cell.generation:
            return True
        self._alive = cell
        return False

    def successor(self, cell: Cell) -> Cell:
        """The name by which a cell that is over goes on."""
        latest = self.latest.get((cell.job_id, cell.execution, cell.message_id), -1)
        return Cell(cell.job_id, cell.execution, cell.message_id, max(cell.generation, latest + 1))


class Cells:
    """The cells of one process's tasks and calls."""

    def __init__(self, submission: Submission, calls: ActorCalls) -> None:
        self.submission = submission
        self.calls = calls
        self.ended = EndedCells()

    def end(self, cell: Cell, now: float) -> bool:
        """End what this process has submitted in a cell, and nothing else; False if that was done before."""
        if not self.ended.add(cell):
            return False
        is_over = self.ended.is_over
        chosen = [record for record in self.pending() if not record.cancelled and is_over(record.plan.cell)]
        chosen = [record for record in chosen if record.create is None]  # an actor outlives the cell that made it
        for record in chosen:
            record.cancelled = True  # all before the first ends: none makes another one ready
        self.submission.end_cell(cell, [record for record in chosen if record.plan.actor is None], now)
        self.calls.end_cell(cell, [record for record in chosen if record.plan.actor is not None])
        return True

    def take_task(self, record: Record) -> None:
        """A task was submitted, in a process that knows of cells that are over."""
        if self.ended.is_over(record.plan.cell):
            self.submission.refuse(record)
        else:
            self.submission.submitted(record)

    def take_call(self, record: Record) -> None:
        """A method was called, in such a process."""
        if self.ended.is_over(record.plan.cell):
            self.calls.refuse(record)
        else:
            self.calls.submitted(record)

    def pending(self) -> list[Record]:
        """Every task and call of this process that has not ended.

        Those that wait for arguments are in no queue: they are found from what they wait for, which is made by a task
        that is in one, or belongs to another process.
        """
        submission, calls = self.submission, self.calls
        known: list[Record] = []
        for cls in submission.by_id.values():
            known += cls.queue
            for worker in cls.workers.values():
                known += worker.inflight.values()
        known += submission.completion.ready_records
        for client in calls.clients.values():
            known += [*client.queue, *client.inflight.values()]
        for ref in submission.completion.references.borrowed.values():
            known += _waiting_for(ref)
        found: dict[int, Record] = {}
        for record in known:  # it grows while it is read
            if id(record) in found:
                continue
            found[id(record)] = record
            for made in record.refs if record.refs is not None else (record.ref,):
                if made is not None:
                    known += _waiting_for(made)
        return list(found.values())


def _waiting_for(ref: Any) -> list[Record]:
    return [waiter for waiter in ref._wait or () if type(waiter) is Record]
