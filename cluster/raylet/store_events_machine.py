"""What happens in the object store, as events of the cluster: the first of its kind at once, then one each ten seconds.

A store that is short of memory spills hundreds of objects a second. What the log is to say is that it does, since when,
how much, and that it is over when nothing follows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..protocol.cluster_events import ClusterEvent, EventKind, Severity

__all__ = ["EVERY", "StoreEvents"]

EVERY: Final = 10.0
"""Seconds between two events of one kind."""

_TEXTS: Final = {
    EventKind.STORE_SPILLING: "The object store is full of objects in use, and spills to disk",
    EventKind.STORE_FULL: "The object store is full, and nothing can be spilled: objects go to files, which is slow",
    EventKind.STORE_TROUBLE: "The object store has trouble",
}
_SEVERITIES: Final = {EventKind.STORE_SPILLING: Severity.INFO}
_GIB: Final = 1 << 30


class StoreEvents:
    """Of one store: counts what happens, and says what is worth an event."""

    def __init__(self) -> None:
        self._next: dict[EventKind, float] = {}
        self._counts: dict[EventKind, tuple[int, int]] = {}  # since the last event: how often, bytes

    def happened(
        self, kind: EventKind, now: float, use: Callable[[], tuple[int, int]], size: int = 0, detail: str = ""
    ) -> ClusterEvent | None:
        """An object of ``size`` bytes was spilled, or put into a file; or there was trouble (``detail``).

        ``use`` tells the bytes in use and the capacity; it is asked only for an event.
        """
        count, total = self._counts.get(kind, (0, 0))
        count, total = count + 1, total + size
        self._counts[kind] = count, total
        if now < self._next.get(kind, float("-inf")):
            return None
        self._next[kind] = now + EVERY
        self._counts[kind] = 0, 0
        used, capacity = use()
        what = (
            f": {detail}" if detail else f": {count} {_noun(count)} of {total / _GIB:.2f} GiB since the last such event"
        )
        return ClusterEvent(
            kind=kind,
            severity=_SEVERITIES.get(kind, Severity.WARNING),
            source="OBJECT_STORE",
            message=f"{_TEXTS[kind]}{what}; {used / _GIB:.2f} of {capacity / _GIB:.2f} GiB are in use.",
            numbers={"count": count, "bytes": total, "used": used, "capacity": capacity},
        )


def _noun(count: int) -> str:
    return "object" if count == 1 else "objects"
