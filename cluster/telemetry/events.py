"""The format of task events.

Strategy: columns of many tasks at a time. What they share (name, owner, cell, job, actor) is a `Source`, which rows
name by number. A task has about 27 bytes on the wire. The GCS keeps the bytes as they are; `records.py` and the
dashboard's model decode them where somebody looks. How a process makes them without slowing its tasks: `buffer.py`.

Two kinds of processes write rows. A worker writes one for each task it ran (and one for a task that still runs at a
flush). An owner writes rows only for tasks that had not ended at a flush, and for those that failed without a worker
to say so: so the state of what waits is known within a second, and what is done within that second costs its owner
nothing.

Rows may be lost (a sender above its rate, a ring that is full). Counts are not: with its rows each batch says how many
tasks of each source this process has seen end *since it began* (`Total`), so the newest batch that arrives makes good
for all that did not, and it does not matter if one arrives twice. Owners add how many wait (`Waiting`).

Rejected: an event for each change of state (three to six times the cost for what the next event repeats), and a ring
of fixed records in shared memory (names and errors do not fit, and the raylet would have to decode).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Final

import msgspec

from ..protocol.common import Cell

__all__ = [
    "FORMAT",
    "Batch",
    "Children",
    "Count",
    "Row",
    "Source",
    "TaskKind",
    "TaskState",
    "Total",
    "decode_batch",
    "describe_error",
]

ERROR_TEXT: Final = 500
"""Characters of an error's text in an event. The whole is where the error is raised."""

FORMAT: Final = 2


class TaskState(IntEnum):
    """Where a task is. The numbers are on the wire; within one attempt a later state has a higher one."""

    PENDING_ARGS = 0  # arguments are not ready
    PENDING_NODE = 1  # no worker is leased for it yet
    SUBMITTED_TO_WORKER = 2  # it lies in a worker's queue
    RUNNING = 3
    FINISHED = 4
    FAILED = 5
    CANCELLED = 6


class TaskKind(IntEnum):
    NORMAL = 0
    ACTOR_CREATION = 1
    ACTOR_METHOD = 2


class Count(IntEnum):
    """What a `Total` counts. Ends have the numbers of their `TaskState`.

    A worker counts attempts that finished or failed. An owner counts failures that no worker reports, all that it
    cancelled, and attempts that failed at a worker and are tried again (``RETRIED``), which were not the end of their
    tasks.
    """

    FINISHED = 4
    FAILED = 5
    CANCELLED = 6
    RETRIED = 7


class Source(msgspec.Struct, array_like=True, eq=False, gc=False):
    """What rows share: made once for each template and owner, and compared by identity.

    The garbage collector does not know of it, and so leaves alone the rows, which refer to nothing else that it does.

    ``owner`` is the worker id of the process that submitted; with a row's counter it makes the task id. ``function`` is
    the function's or class's own name, where ``name`` may be one that the user gave.
    """

    name: str
    owner: bytes
    job_id: bytes = b""
    kind: TaskKind = TaskKind.NORMAL
    actor_id: bytes = b""
    cell: Cell | None = None
    function: str = ""


Row = tuple[int, int, Source, int, float, float, str | None]
"""Counter at the owner, attempt, source, `TaskState`, begin, end, extra.

Of a worker: begin and end of the execution (end 0 while it runs), extra is the error (`describe_error`) or empty. Of
an owner: begin is when it was submitted, end when it came into this state, extra is the error, or the id of the worker
it went to in hexadecimal. Times are seconds since the epoch.
"""

Children = tuple[Source, int, int, int]
"""A task, by source and counter, and the counters that its process gave while it ran: of its first child, and after its
last."""

Total = tuple[int, int, int, float]
"""Number of a source in this batch, `Count`, how many since the process began, and the seconds they ran."""


Waiting = tuple[Source, TaskState, int]
"""How many tasks of a source were in a state before `TaskState.RUNNING`, as far as their owner knows."""


class Batch(msgspec.Struct, array_like=True):
    """Rows as columns. ``is_owner``: written by the owner of the tasks, else by the worker that ran them.

    A column of one number means that number in each row. `decode_batch` adds ``clock`` to ``begins``. ``spans`` are
    seconds, negative where the task has not ended.
    """

    format: int
    is_owner: bool
    worker_id: bytes
    node_id: bytes
    pid: int
    sequence: int  # of this process's batches: a batch that comes twice is known by it
    clock: float
    sources: list[Source]
    counters: list[int]
    attempts: int | list[int]
    source_of: int | list[int]
    states: bytes
    begins: list[float]
    spans: list[float]
    extras: dict[int, str]  # by row
    children: list[tuple[int, int, int, int]] = []  # as `Children`
    totals: list[Total] = []
    waiting: list[tuple[int, int, int]] | None = None  # as `Waiting`; all there is at the owner. None: not looked
    links: list[tuple[int, int]] = []  # sources whose tasks' results are arguments of tasks of the second one
    phases: list[tuple[int, int, int, float, int]] = []  # source, `Phase`, count, seconds, bytes; while explained
    intervals: list[tuple[int, int, float, float]] = []  # source, `Phase`, begin, seconds: the long ones of these

    def rows(self) -> Iterator[tuple[int, int, int, int, float, float]]:
        """Counter, attempt, number of the source, state, begin and span of each."""
        return zip(
            self.counters,
            self.written_out(self.attempts),
            self.written_out(self.source_of),
            self.states,
            self.begins,
            self.spans,
            strict=True,
        )

    def written_out(self, column: int | list[int]) -> list[int]:
        """A column with a number for each row."""
        return [column] * len(self.counters) if isinstance(column, int) else column


def describe_error(error: BaseException) -> str:
    """The extra of a row that failed: ``ValueError: text``, the text cut where it grows long."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 the exception is the user's, and so is its __str__
        text = "(its text cannot be shown)"
    return f"{type(error).__name__}: {text[:ERROR_TEXT]}"


_decoder: Final = msgspec.msgpack.Decoder(Batch)


def decode_batch(blob: bytes) -> Batch:
    """Decode a batch; its times are seconds since the epoch.

    Raises
    ------
    msgspec.DecodeError
        If it is none, or its columns have different lengths or name sources that are not there.
    """
    batch = _decoder.decode(blob)
    if batch.format != FORMAT:
        raise msgspec.ValidationError(f"task events have format {batch.format}, not {FORMAT}")
    count = len(batch.counters)
    columns = (batch.attempts, batch.source_of, batch.states, batch.begins, batch.spans)
    if any(len(column) != count for column in columns if not isinstance(column, int)):
        raise msgspec.ValidationError("the columns of task events have different lengths")
    counted = (batch.totals, batch.waiting or (), batch.children, batch.phases, batch.intervals)
    named = [one[0] for column in counted for one in column]
    named += [index for link in batch.links for index in link]
    if count:
        named += [batch.source_of] if isinstance(batch.source_of, int) else batch.source_of
    if named and not 0 <= min(named) <= max(named) < len(batch.sources):
        raise msgspec.ValidationError("task events name a source that is not there")
    if batch.states and max(batch.states) > max(TaskState):
        raise msgspec.ValidationError(f"task events have a state {max(batch.states)}, which there is not")
    clock, batch.clock = batch.clock, 0.0
    if clock:
        batch.begins = [begin + clock for begin in batch.begins]
        batch.intervals = [(source, phase, begin + clock, span) for source, phase, begin, span in batch.intervals]
    return batch
