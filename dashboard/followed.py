"""What pages ask of task events again and again: each event is decoded once, however often they ask.

Strategy: what somebody looks at has a place in the ring of the GCS (`telemetry/feed.py`), and keeps what it made of all
before it; so another look costs what came since. Each has a place of its own: it begins with the oldest event that is
remembered, and is forgotten when nobody has asked for it for a while.

Rejected: the newest hundred thousand events anew for each look, which cost the same whether anything had happened.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

from himalia.util.state._source import Source

from ..cluster.telemetry.feed import TaskFeed
from ..cluster.telemetry.records import TaskRecord, TaskTable
from ..cluster.telemetry.waiting import WaitingTasks

__all__ = ["ActorCalls", "Followed", "FollowingSource"]

_FORGOTTEN: Final = 60.0  # seconds without being asked for
_CALLS: Final = 10_000  # of an actor
_READ_BYTES: Final = 1 << 21  # of an answer: many are asked for at the first look


class _Taker(Protocol):
    def take(self, blobs: list[bytes], dead: list[bytes]) -> None:
        """Take in batches, as they were encoded, and processes that have ended since."""
        ...


class ActorCalls:
    """Calls of one actor's methods, as far as they are remembered."""

    def __init__(self, actor_id: bytes) -> None:
        self._actor_id = actor_id
        self._table = TaskTable(_CALLS)
        self.decoded = 0  # batches

    def take(self, blobs: list[bytes], dead: list[bytes]) -> None:
        """Take in batches, and which processes have ended since: their calls end with them."""
        own = [blob for blob in blobs if self._actor_id in blob]  # ids are in them as they are
        self.decoded += len(own)
        self._table.add_answer({"blobs": own, "dropped": 0, "dead": dead})

    def records(self) -> list[TaskRecord]:
        """What is known of them."""
        return [record for record in self._table if record.actor_id == self._actor_id]


T = TypeVar("T", bound=_Taker)


class _Place:
    def __init__(self, taker: Any, ask: Callable[[Any], Any]) -> None:
        self.taker = taker
        self.feed = TaskFeed(ask, limit=_READ_BYTES)
        self.asked = 0.0

    def catch_up(self) -> None:
        self.feed.is_behind = True
        while self.feed.is_behind:
            self.feed.look()
            self.taker.take(self.feed.blobs, self.feed.dead)


class Followed:
    """Everything that is followed. Used by one thread at a time.

    Parameters
    ----------
    ask
        Brings a message to the GCS and its answer back.
    clock
        Seconds, going forward only.
    """

    def __init__(self, ask: Callable[[Any], Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._places: dict[object, _Place] = {}

    def up_to_now(self, key: object, make: Callable[[], T]) -> T:
        """What was made of all events until now. ``make`` begins it, where nobody has asked of late."""
        now = self._clock()
        self._places = {one: place for one, place in self._places.items() if now - place.asked < _FORGOTTEN}
        place = self._places.setdefault(key, _Place(None, self._ask))
        if place.taker is None:
            place.taker = make()
        place.asked = now
        place.catch_up()
        found: T = place.taker
        return found


class FollowingSource(Source):
    """A source of rows whose events are followed."""

    def __init__(self, source: Source, followed: Followed) -> None:
        super().__init__(source._caller, source.where, source._timeout)
        self.followed = followed

    def waiting(self) -> WaitingTasks:
        """See `Source.waiting`."""
        return self.followed.up_to_now("waiting", WaitingTasks)

    def calls(self, actor_id: bytes) -> list[TaskRecord]:
        """Calls of an actor's methods."""
        return self.followed.up_to_now(actor_id, lambda: ActorCalls(actor_id)).records()
