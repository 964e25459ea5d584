"""Cells that are over: a raylet passes the word on to its workers and to the other nodes.

Strategy: every worker of the job is told, and those without a job yet, which may serve it in the next moment; workers
that start later hear it with their welcome, nodes that join later from the raylet that heard it of the driver. What a
worker does then is told in `core/cells.py`. A raylet itself ends nothing: leases go back as their tasks end.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from ..protocol.cluster_events import ClusterEvent, EventKind, Severity
from ..protocol.common import CancelCell, Cell
from .events import Context, TellNode
from .policy import ClusterView
from .workers_machine import Worker, WorkerPool

__all__ = ["NodeCells"]

KEPT: Final = 64
"""Cells that newcomers are told of. Only tasks that are under way at this moment could be of one of them."""


class NodeCells:
    """The cells that were cancelled lately."""

    def __init__(self, context: Context, pool: WorkerPool, view: ClusterView) -> None:
        self._context = context
        self._pool = pool
        self._view = view
        self._ended: deque[Cell] = deque(maxlen=KEPT)
        self._first_hand: deque[Cell] = deque(maxlen=KEPT)  # heard of the driver itself

    def cancel(self, peer: bytes, message: CancelCell) -> None:
        """A driver, or another raylet (``forwarded``), says that a cell is over."""
        cell = message.cell
        self._ended.append(cell)
        for worker in self._pool.workers.values():
            if worker.address is not None and worker.worker_id != peer and worker.job_id in (b"", cell.job_id):
                self._context.reply(worker.worker_id, CancelCell(cell))
        if not message.forwarded:
            self._first_hand.append(cell)
            self._context.event(_cancelled(peer, cell))
            for node_id in self._view.others():
                self._context.add(TellNode(node_id, CancelCell(cell, True)))

    def welcome(self, worker: Worker) -> None:
        """A worker has joined the node."""
        for cell in self._ended:
            if worker.job_id in (b"", cell.job_id):
                self._context.reply(worker.worker_id, CancelCell(cell))

    def node_joined(self, node_id: bytes) -> None:
        """Another node has joined the cluster."""
        for cell in self._first_hand:
            self._context.add(TellNode(node_id, CancelCell(cell, True)))


def _cancelled(driver: bytes, cell: Cell) -> ClusterEvent:
    name = f"Cell {cell.execution}" if cell.execution else "What a driver ran"
    return ClusterEvent(
        kind=EventKind.CELL_CANCELLED,
        severity=Severity.INFO,
        source="RAYLET",
        message=f"{name} of job {cell.job_id.hex()} was interrupted: all its tasks end.",
        worker_id=driver,
        job_id=cell.job_id,
        cell=cell.execution,
    )
