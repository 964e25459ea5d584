"""A process's rows on their way to the GCS: what the hot path writes, and the batches made of it.

Strategy: a finished task is one `list.extend` of a tuple that dies at once, done by the thread that ran it; everything
else happens once a flush. Slices of that flat list are the columns, which msgspec writes without a Python call a task.
What tasks share is a `Source`, found at the flush from what the row names. A task costs about two thousand
instructions in all, a thirtieth of what it costs anyway.

Rejected: a tuple kept for each task (three times what the flat list costs, most of it in allocation and in the garbage
collector).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from ..protocol.core_messages import R_CANCELLED, R_ERROR, R_INLINE, R_MANY, R_STREAM_END
from ..protocol.gcs_messages import TaskEvents
from .events import FORMAT, Batch, Children, Count, Row, Source, TaskKind, TaskState, Waiting
from .phases import Interval, Phase, Sum

__all__ = ["FLUSH_AT", "RETELL", "WIDTH", "TaskEventBuffer"]

FLUSH_AT: Final = 8_192
"""Rows after which a worker flushes without waiting for its next tick: about a millisecond's work."""

RATE_LIMIT: Final = 250_000
"""Rows a second from one process; what is more is dropped, and only counted. Above what a worker of ours can run: it
holds for programs that make rows in other ways, since four such would fill in a second all that the GCS keeps."""

RETELL: Final = 10.0
"""Seconds after which a process that still has news tells its totals once more: for who lost a batch, or came late."""

_RETOLD: Final = 1_000  # totals at a time: those of the sources that changed last

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

_LINKS_KEPT: Final = 10_000


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
    phases
        Of a worker whose cell is explained: tells what it measured since the last flush. None: nothing is measured.
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
        self.phases: Callable[[], tuple[dict[tuple[Any, Phase], Sum], list[Interval]]] | None = None
        self.dropped = 0
        self._worker_id = worker_id
        self._node_id = node_id
        self._pid = pid
        self._is_owner = is_owner
        self._sequence = 0
        self._retell_at = float("-inf")
        self._links: dict[tuple[Source, Source], None] = {}
        self._told_links = 0
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
        known, before = self._totals.pop((source, what), (0, 0.0))  # what changed last comes last
        self._totals[source, what] = known + more, before + seconds
        self._changed[source, what] = None

    def link(self, made: Source, used: Source) -> None:
        """A result of the one is an argument of the other. Told once, and not of more than a program has functions."""
        if len(self._links) < _LINKS_KEPT:
            self._links[made, used] = None

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
        if now >= self._retell_at and self._changed:
            self._retell_at = now + RETELL
            self._changed.update(dict.fromkeys(list(self._totals)[-_RETOLD:]))
        news = len(self._links) > self._told_links or (
            self.waiting is not None and (self.waiting or self._told_waiting)
        )
        sums, intervals = self.phases() if self.phases is not None else ({}, [])
        if not count and not self.dropped and not self.children and not self._changed and not news and not sums:
            return None
        dropped, self.dropped = self.dropped, 0
        batch = self._batch(columns)
        if sums:
            self._add_phases(batch, columns.number, sums, intervals)
        batch.sources = list(columns.number)  # complete only now
        return TaskEvents(self._encode(batch), count, dropped)

    def _add_phases(
        self,
        batch: Batch,
        number: dict[Source, int],
        sums: dict[tuple[Any, Phase], Sum],
        intervals: list[Interval],
    ) -> None:
        """What was measured beside the functions, of tasks that are recorded."""
        for (whose, phase), one in sums.items():
            if whose is not None and (source := self._source(whose)) is not None:
                index = number.setdefault(source, len(number))
                batch.phases.append((index, phase, one.count, one.seconds, one.nbytes))
        for whose, phase, begin, seconds in intervals:
            if whose is not None and (source := self._source(whose)) is not None:
                batch.intervals.append((number.setdefault(source, len(number)), phase, begin, seconds))

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
            if following > first + 1 and (source := columns.source(row)).kind is not TaskKind.ACTOR_CREATION:
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
        links, self._told_links = list(self._links)[self._told_links :], len(self._links)
        number, attempts, extras = columns.number, columns.attempts, columns.extras
        totals = [
            (number.setdefault(source, len(number)), what, *self._totals[source, what])
            for source, what in changed
            if (source, what) in self._totals
        ]
        return Batch(
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
            [(number.setdefault(one, len(number)), number.setdefault(other, len(number))) for one, other in links],
            [],
            [],
        )


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
