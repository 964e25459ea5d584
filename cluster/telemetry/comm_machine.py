"""When the changes of widgets go on their way: at most some times a second each, the latest state of each.

Of what changes in place only the latest matters, so a change that comes too soon waits and is merged with those that
follow it: nothing is lost but states in between. Messages of a widget's own kind can not be merged: they pass as long
as there is room, and are counted beyond that. Opening a widget takes room, too. Used twice, as for text: in each
worker, and in the driver for all workers of a cell together.
"""

from __future__ import annotations

from typing import Any, Final

from .allowance_machine import Allowance

__all__ = ["EVERY", "CommFlow"]

EVERY: Final = 0.1
"""Seconds between two states of one widget: what moves looks as if it did."""
_BURST: Final = 20e6  # bytes of states and messages at once
_RATE: Final = 500e3  # and each second: a picture of 50 KB ten times a second


class CommFlow:
    """The widgets of one cell.

    Attributes
    ----------
    omitted
        Messages that did not pass, by comm.
    """

    def __init__(self, burst: float = _BURST, rate: float = _RATE, most: int = 1_000) -> None:
        self._allowance = Allowance(burst, rate, burst)
        self._most = most
        self._pending: dict[str, dict[str, Any]] = {}
        self._sent: dict[str, float] = {}
        self.omitted: dict[str, int] = {}

    def open(self, comm_id: str, size: int, now: float) -> bool:
        """A widget is made; whether it can be one of those that are live."""
        if len(self._sent) >= self._most or not self._allowance.take(size, now):
            return False
        self._sent[comm_id] = now - EVERY
        return True

    def has_room(self, count: int) -> bool:
        """Whether so many more widgets may be live."""
        return len(self._sent) + count <= self._most

    def knows(self, comm_id: str) -> bool:
        """Whether a widget was opened, and not closed."""
        return comm_id in self._sent

    def update(self, comm_id: str, state: dict[str, Any]) -> None:
        """A part of a widget's state changed."""
        if comm_id in self._sent:
            self._pending.setdefault(comm_id, {}).update(state)

    def due(self, now: float) -> list[str]:
        """Widgets whose state may go now."""
        if not self._pending or self._allowance.room(now) <= 0:
            return []
        return [comm_id for comm_id in self._pending if now - self._sent[comm_id] >= EVERY]

    @property
    def restless(self) -> bool:
        """Whether anything waits."""
        return bool(self._pending)

    def waiting(self) -> list[str]:
        """Widgets whose state has changed since it went last."""
        return list(self._pending)

    def take(self, comm_id: str, now: float) -> dict[str, Any]:
        """What has changed of a widget, which goes now; tell `spent` how large it was."""
        self._sent[comm_id] = now
        return self._pending.pop(comm_id, {})

    def spent(self, size: int, now: float) -> None:
        """A state went. It may overdraw, as it is one; the next waits the longer."""
        self._allowance.take_end(size, now)

    def say(self, comm_id: str, size: int, now: float) -> bool:
        """A widget says something that can not be merged; whether it passes."""
        if comm_id not in self._sent:
            return False
        if self._allowance.take(size, now):
            return True
        self.omitted[comm_id] = self.omitted.get(comm_id, 0) + 1
        return False

    def close(self, comm_id: str) -> None:
        """A widget is no more."""
        self._pending.pop(comm_id, None)
        self._sent.pop(comm_id, None)
        self.omitted.pop(comm_id, None)
