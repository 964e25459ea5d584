"""The recorded run: a model as it was at any moment.

Strategy: what the feed reads is kept as it came, 27 bytes a task, in segments; each begins with a copy of the model as
it was then (its rows are shared with the live one, so a copy is some hundred small objects). The model of a moment is
the copy before it, and what came until then played once more, for its counts: what a batch's rows became (columns and
bars, which take most of the time) is shared too, and of the graph what had been found by then. So a million tasks are
never gone through, and every page that draws from a model shows the past without knowing of it.

A batch's time is that of its newest row, and never before that of the batch before it: batches come in the order in
which they reached the GCS. So the past is seen as it was seen when it was the present, with a quarter of a second
between two flushes of a process. Rates are of this time too, also those of a dashboard that opens late and reads
everything at once.

Rejected: sorting a million rows by time (it knows who ran when, not who waited), and a snapshot a second (a notebook of
three days has 260,000).
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from ..cluster.telemetry.events import Batch, decode_batch
from .stream import Made

if TYPE_CHECKING:
    from .model import Model

__all__ = ["Entry", "Player", "Recording"]

_TICK: Final = 1.0  # seconds between rates, as in feed.py
_SEGMENT: Final = 5_000  # rows: some milliseconds to play
_SEGMENT_ENTRIES: Final = 1_000  # batches may be nearly empty
_ROWS_A_GROUP: Final = 20  # a copy costs what there are groups: a segment is not shorter than that is worth
_ROWS: Final = 1_000_000  # as many as the GCS remembers …
_BYTES: Final = 64 << 20  # … in the same bounds
_LOOKED_AT: Final = 64  # rows at the end of a batch, for its time: they are in the order of their ends


class Player:
    """Has a model take in batches in their own time.

    Attributes
    ----------
    at
        Seconds since the epoch, of the newest that the model knows.
    """

    def __init__(self, model: Model, at: float = 0.0) -> None:
        self.model = model
        self.at = at
        self._ticked = at

    def play(self, batch: Batch, latest: float) -> Made | None:
        """Take in a batch; what it became. ``latest``: the present; a batch that claims to be of later is of now."""
        self._go(max(self.at, min(_time_of(batch), latest)))
        return self.model.add(batch, self.at)

    def replay(self, entry: Entry) -> None:
        """Take in once more what was played when it came, into a copy of the model as it was before."""
        self._go(entry.at)
        self.model.version = max(self.model.version, entry.version - 1)  # what the graph had found goes by it
        self.model.add(decode_batch(entry.blob), entry.at, entry.made, is_replay=True)

    def _go(self, at: float) -> None:
        if self.at and at - self._ticked >= _TICK:
            self.tick(at)
        self.at = at

    def end_process(self, worker_id: bytes) -> None:
        """A process is no more."""
        self.model.process_ended(worker_id)

    def tick(self, at: float) -> None:
        """It is so late now."""
        self.at = self._ticked = max(self.at, at)
        self.model.tick(self.at)


def _time_of(batch: Batch) -> float:
    """When the newest of what a batch tells happened; 0 if it has no rows."""
    rows = zip(batch.begins[-_LOOKED_AT:], batch.spans[-_LOOKED_AT:], strict=True)
    return max((begin + span if span > 0 else begin for begin, span in rows), default=0.0)


class Entry(msgspec.Struct, gc=False):
    """A batch as it was encoded, or the id of a process that ended; and what became of it.

    ``at``: seconds since the epoch; ``version``: of the model that had taken it in.
    """

    at: float
    blob: bytes
    is_end: bool
    version: int
    made: Made | None


class _Segment:
    """What came from a moment on. ``base``: the model as it was then."""

    def __init__(self, base: Model, at: float) -> None:
        self.base = base
        self.at = at
        self.entries: list[Entry] = []
        self.rows = 0
        self.bytes = 0


class Recording:
    """See the top of the file.

    Parameters
    ----------
    model
        The live one, of which copies are taken.
    segment
        Rows between two copies.
    """

    def __init__(self, model: Model, segment: int = _SEGMENT, rows: int = _ROWS) -> None:
        self._live = model
        self._segment = segment
        self._rows_kept = rows
        self._segments: deque[_Segment] = deque([_Segment(model.copy(), 0.0)])
        self.rows = 0
        self.bytes = 0
        self.begin = 0.0  # of the first entry that is kept, seconds since the epoch; 0: nothing is
        self.end = 0.0

    def add(self, player: Player, blob: bytes, rows: int, made: Made | None) -> None:
        """Keep a batch that a player has just played, and what it became."""
        self._append(player, Entry(player.at, blob, False, player.model.version, made), rows)

    def add_end(self, player: Player, worker_id: bytes) -> None:
        """Keep that a process ended."""
        self._append(player, Entry(player.at, worker_id, True, player.model.version, None), 0)

    def _append(self, player: Player, entry: Entry, rows: int) -> None:
        newest = self._segments[-1]
        newest.entries.append(entry)
        newest.rows += rows
        newest.bytes += len(entry.blob)
        self.rows += rows
        self.bytes += len(entry.blob)
        self.begin = self.begin or entry.at
        self.end = entry.at
        enough = max(self._segment, _ROWS_A_GROUP * len(player.model.groups.all))
        if newest.rows >= enough or len(newest.entries) >= _SEGMENT_ENTRIES:
            self._segments.append(_Segment(player.model.copy(), entry.at))
        while (self.rows > self._rows_kept or self.bytes > _BYTES) and len(self._segments) > 1:
            oldest = self._segments.popleft()
            self.rows -= oldest.rows
            self.bytes -= oldest.bytes
            self.begin = self._segments[0].at

    def at(self, moment: float) -> Model:
        """The model as it was, in seconds since the epoch: before the beginning as at the beginning."""
        moment = max(moment, self.begin)
        index = bisect.bisect_right(self._segments, moment, key=lambda segment: segment.at) - 1
        segment = self._segments[max(index, 0)]
        player = Player(segment.base.copy(), segment.at)
        place = bisect.bisect_right(segment.entries, moment, key=lambda entry: entry.at)
        for entry in islice(segment.entries, place):
            if entry.is_end:
                player.end_process(entry.blob)
            else:
                player.replay(entry)
        player.tick(max(moment, segment.at))
        player.model.graph = self._live.graph.until(player.model.version)
        return player.model

    def entries(self) -> Iterator[Entry]:
        """All that is kept, oldest first."""
        for segment in self._segments:
            yield from segment.entries

    def start(self) -> Model:
        """A model as it was before the first entry."""
        model = self._segments[0].base.copy()
        model.graph = self._live.graph.until(model.version)
        return model
