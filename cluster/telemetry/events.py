"""The format of task events, and the buffer that a process writes them to.

Strategy: a finished task is one row, a tuple appended to a list by the thread that ran it; everything else happens
once a flush. What many tasks share (name, owner, cell, job, actor) is a `Source`, which the row refers to by
identity. A flush turns rows into columns, which msgspec writes without a Python call a task, so a task costs well
under half a microsecond in all, and about 25 bytes on the wire. The GCS keeps the bytes as they are; `records.py`
decodes them where somebody looks.

Two kinds of processes write rows. A worker writes one for each task it ran (and one for a task that still runs at a
flush). An owner writes rows only for tasks that had not ended at a flush, and for those that failed without a worker
to say so: so the state of what waits is known within a second, and what is done within that second costs its owner
nothing.

Rejected: an event for each change of state (three to six times the cost for what the next event repeats), and a ring
of fixed records in shared memory (names and errors do not fit, and the raylet would have to decode).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

import msgspec

from ..protocol.common import Cell
from ..protocol.gcs_messages import TaskEvents

__all__ = [
    "FLUSH_AT",
    "Batch",
    "Children",
    "Row",
    "Source",
    "TaskEventBuffer",
    "TaskKind",
    "TaskState",
    "decode_batch",
    "describe_error",
]

FLUSH_AT: Final = 8_192
"""Rows after which a worker flushes without waiting for its next second: two megabytes of tuples at most."""

RATE_LIMIT: Final = 25_000
"""Rows a second from one process; what is more is dropped and counted. Four processes fill in a second all that the GCS
keeps, and who runs tasks of some ten microseconds would pay more than a twentieth of them for being told of each."""

ERROR_TEXT: Final = 500
"""Characters of an error's text in an event. The whole is where the error is raised."""

FORMAT: Final = 1


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


Children = tuple[bytes, int, int]
"""A task, and the counters that its process gave while it ran: of its first child, and after its last."""


class Batch(msgspec.Struct, array_like=True):
    """Rows as columns. ``is_owner``: written by the owner of the tasks, else by the worker that ran them."""

    format: int
    is_owner: bool
    worker_id: bytes
    node_id: bytes
    pid: int
    sources: list[Source]
    counters: list[int]
    attempts: list[int]
    source_of: list[int]
    states: list[int]
    begins: list[float]
    ends: list[float]
    extras: dict[int, str]  # by row
    children: list[Children] = []


class TaskEventBuffer:
    """A process's rows on their way to the GCS.

    The hot path calls ``rows.append(row)`` on the same list for ever (it may keep the bound method), from any one
    thread, while another one flushes. After each batch of tasks the worker asks ``len(rows) >= FLUSH_AT``.

    Attributes
    ----------
    dropped
        Rows lost since the last message, as they came faster than `RATE_LIMIT`.
    is_full
        Rows would be lost until the limit is lifted again: better not made at all, only counted in ``dropped``.
    """

    def __init__(
        self, worker_id: bytes, node_id: bytes, pid: int, *, is_owner: bool = False, rate_limit: int = RATE_LIMIT
    ) -> None:
        self.rows: list[Row] = []
        self.children: list[Children] = []
        self.dropped = 0
        self.is_full = False
        self._worker_id = worker_id
        self._node_id = node_id
        self._pid = pid
        self._is_owner = is_owner
        self._rate_limit = rate_limit
        self._left = rate_limit
        self._refill_at = float("-inf")
        self._encode = msgspec.msgpack.Encoder().encode

    def flush(self, now: float, extra: Iterable[Row] = ()) -> TaskEvents | None:
        """Take what there is as one message for the GCS; None if there is nothing.

        Parameters
        ----------
        now
            Monotonic seconds, for the rate limit.
        extra
            Rows that hold at this moment only: a worker's running task, an owner's unfinished ones.
        """
        rows = self.rows
        taken = rows[:]
        del rows[: len(taken)]  # what another thread appended meanwhile stays
        taken.extend(extra)
        if now >= self._refill_at:
            self._refill_at = now + 1.0
            self._left = self._rate_limit
        if len(taken) > self._left:
            self.dropped += len(taken) - self._left
            del taken[self._left :]
        self._left -= len(taken)
        self.is_full = self._left == 0
        if not taken and not self.dropped and not self.children:
            return None
        dropped, self.dropped = self.dropped, 0
        children, self.children = self.children, []
        return TaskEvents(self._encode(self._batch(taken, children)), len(taken), dropped)

    def _batch(self, rows: list[Row], children: list[Children]) -> Batch:
        counters, attempts, sources, states, begins, ends, extras = zip(*rows, strict=True) if rows else ((),) * 7
        number = {source: index for index, source in enumerate(dict.fromkeys(sources))}
        return Batch(
            FORMAT,
            self._is_owner,
            self._worker_id,
            self._node_id,
            self._pid,
            list(number),
            counters,  # type: ignore[arg-type]  # a tuple is written as a list is, and need not be copied
            attempts,  # type: ignore[arg-type]
            list(map(number.__getitem__, sources)),
            states,  # type: ignore[arg-type]
            begins,  # type: ignore[arg-type]
            ends,  # type: ignore[arg-type]
            {index: extra for index, extra in enumerate(extras) if extra} if any(extras) else {},
            children,
        )


def describe_error(error: BaseException) -> str:
    """The extra of a row that failed: ``ValueError: text``, the text cut where it grows long."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 the exception is the user's, and so is its __str__
        text = "(its text cannot be shown)"
    return f"{type(error).__name__}: {text[:ERROR_TEXT]}"


_decoder: Final = msgspec.msgpack.Decoder(Batch)


def decode_batch(blob: bytes) -> Batch:
    """Decode a batch.

    Raises
    ------
    msgspec.DecodeError
        If it is none, or its columns have different lengths or name sources that are not there.
    """
    batch = _decoder.decode(blob)
    if batch.format != FORMAT:
        raise msgspec.ValidationError(f"task events have format {batch.format}, not {FORMAT}")
    count = len(batch.counters)
    columns = (batch.attempts, batch.source_of, batch.states, batch.begins, batch.ends)
    if any(len(column) != count for column in columns):
        raise msgspec.ValidationError("the columns of task events have different lengths")
    if batch.source_of and not 0 <= min(batch.source_of) <= max(batch.source_of) < len(batch.sources):
        raise msgspec.ValidationError("task events name a source that is not there")
    return batch
