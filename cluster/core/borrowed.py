"""The references of this process to objects of others, by id, for as long as they live.

Strategy: the table holds weak references, and it is their callback that leaves the note for the core (`refs.drops`). A
destructor was rejected: it runs while a weak reference still finds the object. Whoever led looked into the table
meanwhile, took the reference for alive, and did not tell its owner; or it handed out one that was about to go. A weak
reference is cleared first, and says so then.

Any thread reads and adds, since any thread unpickles; a callback may run anywhere, at any time, so it only appends.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator

from . import refs
from .refs import Extra, ObjectRef

__all__ = ["Borrowed"]


class _Watch(weakref.ref[ObjectRef]):
    """On one reference; knows what is to be said when that is gone."""

    __slots__ = ("extra",)

    extra: Extra


def _gone(watch: _Watch) -> None:
    refs.leave_note(watch.extra)


class Borrowed:
    """A table of living references. One that comes again after its end is another one, with an `Extra` of its own."""

    def __init__(self) -> None:
        self._watches: dict[bytes, _Watch] = {}
        self._lock = threading.Lock()  # for what looks and then changes

    def get(self, object_id: bytes) -> ObjectRef | None:
        """The reference to an object, if there is one."""
        watch = self._watches.get(object_id)
        return watch() if watch is not None else None

    def add(self, ref: ObjectRef) -> ObjectRef:
        """Take in a reference; returns the one to use, which another thread may have added first."""
        object_id, extra = ref.binary(), ref._x
        assert extra is not None
        watch = _Watch(ref, _gone)
        watch.extra = extra
        with self._lock:
            there = self.get(object_id)
            if there is None:
                self._watches[object_id] = watch
                return ref
        return there

    def forget(self, extra: Extra) -> None:
        """A reference is gone; its place may be another one's by now."""
        object_id = extra.object_id()
        with self._lock:
            watch = self._watches.get(object_id)
            if watch is not None and watch.extra is extra:
                del self._watches[object_id]

    def values(self) -> list[ObjectRef]:
        """All that are alive."""
        return [ref for watch in list(self._watches.values()) if (ref := watch()) is not None]

    def clear(self) -> None:
        """Of what dies from now on nothing is said."""
        self._watches.clear()

    def __contains__(self, object_id: bytes) -> bool:
        return self.get(object_id) is not None

    def __iter__(self) -> Iterator[bytes]:
        return iter([ref.binary() for ref in self.values()])

    def __len__(self) -> int:
        return len(self.values())
