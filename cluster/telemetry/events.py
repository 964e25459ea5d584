"""The format of task events, and the buffer that a process writes them to.

Strategy: a finished task is one `list.extend` of a tuple that dies at once, done by the thread that ran it; everything
else happens once a flush. Slices of that flat list are the columns, which msgspec writes without a Python call a task.
What many tasks share (name, owner, cell, job, actor) is a `Source`, found at the flush from what the row names. A task
costs about eight hundred instructions in all, and about 25 bytes on the wire. The GCS keeps the bytes as they are;
`records.py` decodes them where somebody looks.

Two kinds of processes write rows. A worker writes one for each task it ran (and one for a task that still runs at a
flush). An owner writes rows only for tasks that had not ended at a flush, and for those that failed without a worker
to say so: so the state of what waits is known within a second, and what is done within that second costs its owner
nothing.

Rows may be lost (a sender above its rate, a ring that is full). Counts are not: with its rows each batch says how many
tasks of each source this process has seen end *since it began* (`Total`), so the newest batch that arrives makes good
for all that did not, and it does not matter if one arrives twice. Owners add how many wait (`Waiting`).

Rejected: an event for each change of state (three to six times the cost for what the next event repeats); a ring
of fixed records in shared memory (names and errors do not fit, and the raylet would have to decode); a tuple kept for
each task (six times what the flat list costs, most of it in allocation and in the garbage collector).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from typing import Any, Final

import msgspec

from ..protocol.common import Cell
from ..protocol.core_messages import R_CANCELLED, R_ERROR, R_INLINE, R_MANY, R_STREAM_END
from ..protocol.gcs_messages import TaskEvents

__all__ = [
    "FLUSH_AT",
    "WIDTH",
    "Batch",
    "Children",
    "Count",
    "Row",
    "Source",
    "TaskEventBuffer",
    "TaskKind",
    "TaskState",
    "Total",
    "decode_batch",
    "describe_error",
]

FLUSH_AT: Final = 8_192
"""Rows after which a worker flushes without waiting for its next tick: about a millisecond's work."""

RATE_LIMIT: Final = 250_000
"""Rows a second from one process; what is more is dropped, and only counted. Above what a worker of ours can run: it
holds for programs that make rows in other ways, since four such would fill in a second all that the GCS keeps."""

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

WIDTH: Final = 8
"""Items of a row in `TaskEventBuffer.rows`: key, counter, attempt, code, begin, seconds, extra, first child.

``key`` is a `Source`, or what the buffer's ``source_of`` knows to make one of. ``code`` is the kind of a `Result`, or
`_STATE` and a `TaskState`. ``begin`` is on the clock of the buffer (``clock`` is what to add for dates), ``seconds``
negative of a task that has not ended. ``first child`` is the counter that the process gave as the task began.
"""

_STATE: Final = 16  # above all kinds of results
_NOT_RUN: Final = 255
_ENDS: Final = {
    R_INLINE: TaskState.FINISHED,
    R_MANY: TaskState.FINISHED,
    R_STREAM_END: TaskState.FINISHED,
    R_ERROR: TaskState.FAILED,
    R_CANCELLED: TaskState.CANCELLED,
}
_STATE_OF: Final = bytes(
    int(_ENDS[code]) if code in _ENDS else code - _STATE if _STATE <= code <= _STATE + max(TaskState) else _NOT_RUN
    for code in range(256)
)
"""By code. A task that was returned unstarted is none of this worker's: `_NOT_RUN`."""

_COUNTED: Final = (TaskState.FINISHED, TaskState.FAILED)  # by workers; who cancels counts that
_TOTALS_KEPT: Final = 20_000  # of sources that are long gone; a source that comes back then begins at nothing

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


class TaskEventBuffer:
    """A process's rows on their way to the GCS.

    The hot path calls ``record(row)`` (see `WIDTH`), from any thread, while another one flushes: both are one step of
    the interpreter.

    Attributes
    ----------
    clock
        What to add to the time of a row for seconds since the epoch.
    source_of
        Makes a `Source` of what a row has for one, or None if such rows are not to be recorded. None where rows have
        the source itself.
    next_child
        Given the first child of the newest row, what the process has counted to since. None: rows do not tell children.
    waiting
        Of an owner: what the next message is to say.
    dropped
        Rows lost since the last message, as they came faster than the rate limit.
    """

    def __init__(
        self,
        worker_id: bytes,
        node_id: bytes,
        pid: int,
        *,
        is_owner: bool = False,
        rate_limit: int = RATE_LIMIT,
    ) -> None:
        self.rows: list[Any] = []
        self.record = self.rows.extend
        self.children: list[Children] = []
        self.clock = 0.0
        self.source_of: Callable[[Any], Source | None] | None = None
        self.next_child: Callable[[int], int] | None = None
        self.waiting: list[Waiting] | None = None
        self.dropped = 0
        self._worker_id = worker_id
        self._node_id = node_id
        self._pid = pid
        self._is_owner = is_owner
        self._sequence = 0
        self._told_waiting = False
        self._totals: dict[tuple[Source, int], tuple[int, float]] = {}
        self._changed: dict[tuple[Source, int], None] = {}
        self._rate_limit = rate_limit
        self._left = rate_limit
        self._refill_at = float("-inf")
        self._encode = msgspec.msgpack.Encoder().encode

    def add(self, row: Row) -> None:
        """Write a row off the hot path."""
        counter, attempt, source, state, begin, end, extra = row
        span = end - begin if end else -1.0
        self.record((source, counter, attempt, _STATE + state, begin - self.clock, span, extra, 0))

    def count(self, source: Source, what: Count, more: int, seconds: float = 0.0) -> None:
        """Count ``more`` tasks of a source."""
        if len(self._totals) >= _TOTALS_KEPT and (source, what) not in self._totals:
            del self._totals[next(iter(self._totals))]
        known, before = self._totals.get((source, what), (0, 0.0))
        self._totals[source, what] = known + more, before + seconds
        self._changed[source, what] = None

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
        columns = self._columns(taken)
        self._note_children(columns)
        if not self._is_owner:
            self._count_ends(columns)
        self._limit(columns, now)
        for row in extra:
            columns.append(row, self.clock)
        count = len(columns.counters)
        news = self.waiting is not None and (self.waiting or self._told_waiting)
        if not count and not self.dropped and not self.children and not self._changed and not news:
            return None
        dropped, self.dropped = self.dropped, 0
        return TaskEvents(self._encode(self._batch(columns)), count, dropped)

    def _columns(self, taken: list[Any]) -> _Columns:
        keys, counters, attempts, codes, begins, spans, extras, firsts = (taken[n::WIDTH] for n in range(WIDTH))
        states = bytes(codes).translate(_STATE_OF)
        # One key, as nearly always, is found at a tenth of the cost.
        one = bool(keys) and keys.count(keys[0]) == len(keys)
        sources = {key: self._source(key) for key in (keys[:1] if one else dict.fromkeys(keys))}
        if _NOT_RUN in states or None in sources.values():
            kept = [row for row, state in enumerate(states) if state != _NOT_RUN and sources[keys[row]] is not None]
            return self._columns([item for row in kept for item in taken[row * WIDTH : (row + 1) * WIDTH]])
        number: dict[Source, int] = {}
        index = {key: number.setdefault(source, len(number)) for key, source in sources.items() if source is not None}
        source_of: int | list[int] = 0 if one else list(map(index.__getitem__, keys))
        return _Columns(number, counters, attempts, source_of, states, begins, spans, extras, firsts)

    def _source(self, key: Any) -> Source | None:
        return key if self.source_of is None or type(key) is Source else self.source_of(key)

    def _note_children(self, columns: _Columns) -> None:
        """A process gives each task a counter as it begins: what it gave in between are children of the one before."""
        firsts, next_child = columns.firsts, self.next_child
        if next_child is None or not firsts:
            return
        after = next_child(firsts[-1])
        if after - firsts[0] == len(firsts):
            return  # nobody submitted anything
        for row, (first, following) in enumerate(zip(firsts, [*firsts[1:], after], strict=True)):
            if following > first + 1 and (source := columns.source(row)).kind is TaskKind.NORMAL:
                self.has_children(source, columns.counters[row], first, following)

    def has_children(self, source: Source, counter: int, first: int, after: int) -> None:
        """What the process counted from ``first`` to ``after`` belongs to this task."""
        self.children.append((source, counter, first, after))

    def _count_ends(self, columns: _Columns) -> None:
        states, known = columns.states, list(columns.number)
        if not states:
            return
        if isinstance(columns.source_of, int) and states.count(states[0]) == len(states):
            if states[0] in _COUNTED:
                self.count(known[0], Count(states[0]), len(states), sum(columns.spans))
            return
        # By numpy, which workers have imported anyway: a loop would be most of what a row costs.
        import numpy as np

        groups = np.zeros(len(states), np.int64)
        groups += columns.source_of
        groups = groups * 8 + np.frombuffer(states, np.uint8)
        counts, seconds = np.bincount(groups), np.bincount(groups, columns.spans)
        for group in counts.nonzero()[0].tolist():
            if group % 8 in _COUNTED:
                self.count(known[group // 8], Count(group % 8), int(counts[group]), float(seconds[group]))

    def _limit(self, columns: _Columns, now: float) -> None:
        if now >= self._refill_at:
            self._refill_at = now + 1.0
            self._left = self._rate_limit
        count = len(columns.counters)
        if count > self._left:
            self.dropped += count - self._left
            columns.cut(self._left)
            count = self._left
        self._left -= count

    def _batch(self, columns: _Columns) -> Batch:
        self._sequence += 1
        changed, self._changed = self._changed, {}
        children, self.children = self.children, []
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            self._told_waiting = bool(waiting)
        number, attempts, extras = columns.number, columns.attempts, columns.extras
        totals = [
            (number.setdefault(source, len(number)), what, *self._totals[source, what])
            for source, what in changed
            if (source, what) in self._totals
        ]
        batch = Batch(
            FORMAT,
            self._is_owner,
            self._worker_id,
            self._node_id,
            self._pid,
            self._sequence,
            self.clock,
            [],
            columns.counters,
            attempts if any(attempts) else 0,
            columns.source_of,
            columns.states,
            columns.begins,
            columns.spans,
            {index: extra for index, extra in enumerate(extras) if extra} if any(extras) else {},
            [(number.setdefault(source, len(number)), of, first, after) for source, of, first, after in children],
            totals,
            None
            if waiting is None
            else [(number.setdefault(source, len(number)), state, count) for source, state, count in waiting],
        )
        batch.sources = list(number)  # complete only now
        return batch


class _Columns:
    """The rows of one flush. ``number``: of each source; ``source_of``: these numbers by row, or one for all."""

    def __init__(
        self,
        number: dict[Source, int],
        counters: list[int],
        attempts: list[int],
        source_of: int | list[int],
        states: bytes,
        begins: list[float],
        spans: list[float],
        extras: list[str | None],
        firsts: list[int],
    ) -> None:
        self.number = number
        self.counters = counters
        self.attempts = attempts
        self.source_of = source_of
        self.states = states
        self.begins = begins
        self.spans = spans
        self.extras = extras
        self.firsts = firsts

    def source(self, row: int) -> Source:
        """The source of a row."""
        index = self.source_of if isinstance(self.source_of, int) else self.source_of[row]
        return list(self.number)[index]

    def cut(self, count: int) -> None:
        """Leave only so many rows."""
        del self.counters[count:], self.attempts[count:], self.begins[count:], self.spans[count:], self.extras[count:]
        self.states = self.states[:count]
        if not isinstance(self.source_of, int):
            del self.source_of[count:]

    def append(self, row: Row, clock: float) -> None:
        """One more."""
        counter, attempt, source, state, begin, end, extra = row
        index = self.number.setdefault(source, len(self.number))
        if isinstance(self.source_of, int) and index:
            self.source_of = [self.source_of] * len(self.counters)
        if not isinstance(self.source_of, int):
            self.source_of.append(index)
        self.counters.append(counter)
        self.attempts.append(attempt)
        self.states += bytes((state,))
        self.begins.append(begin - clock)
        self.spans.append(end - begin if end else -1.0)
        self.extras.append(extra)


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
    named = [one[0] for column in (batch.totals, batch.waiting or (), batch.children) for one in column]
    if count:
        named += [batch.source_of] if isinstance(batch.source_of, int) else batch.source_of
    if named and not 0 <= min(named) <= max(named) < len(batch.sources):
        raise msgspec.ValidationError("task events name a source that is not there")
    if batch.states and max(batch.states) > max(TaskState):
        raise msgspec.ValidationError(f"task events have a state {max(batch.states)}, which there is not")
    clock, batch.clock = batch.clock, 0.0
    if clock:
        batch.begins = [begin + clock for begin in batch.begins]
    return batch
