"""The tasks that the cluster remembers, as records; read in pieces, and again only for what is new.

The state API makes a row with all of Ray's fields for each task, which takes ten times as long as reading them: too
long for a notebook that has run a hundred thousand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from ..cluster.protocol.gcs_messages import EventsRead, ReadTaskEvents
from ..cluster.telemetry.records import TaskRecord, TaskTable

if TYPE_CHECKING:
    from ..cluster.core.runtime import Core

__all__ = ["TaskHistory", "cell_of", "job_of"]

_READ_BYTES: Final = 4 << 20  # of one answer: one of all tasks at once would hold up the GCS


class TaskHistory:
    """Records of all tasks of the cluster, as of the last `update`.

    Attributes
    ----------
    lost
        How many events are missing, since they came too fast or were too many to be kept.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._table = TaskTable()
        self._place = 0
        self.lost = 0

    def update(self) -> list[TaskRecord]:
        """Read what is new; all records, in the order of their first event."""
        more = True
        while more:
            asked = ReadTaskEvents(self._place, _READ_BYTES)
            answer = msgspec.convert(self._core.gcs_call(asked), EventsRead)
            if not self._place:
                self.lost = answer.begin
            self._table.add_answer({"blobs": answer.blobs, "dropped": answer.unsent, "dead": answer.dead})
            self._place, more = answer.next, answer.more
        return list(self._table)


def cell_of(record: TaskRecord) -> int:
    """The n of the cell that submitted a task; 0 for none."""
    return record.cell.execution if record.cell is not None else 0


def job_of(record: TaskRecord) -> bytes:
    """The job of a task. A worker that was started before its job came does not know it; the cell does."""
    return record.job_id or (record.cell.job_id if record.cell is not None else b"")
