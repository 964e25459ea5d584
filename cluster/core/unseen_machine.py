"""Failures of tasks that nobody asked for, told once and in few words. Pure: no IO, no clock.

Strategy: a failure is watched from the moment it happens. Whoever gets the error (`get`, a future, another process that
asks for the value) takes it off the list; tasks that fail because an argument did carry the same error and count with
it. It is told when nobody can get it any more, since its references are gone, or when the cell that submitted the task
is over. The first failure of a kind (task, exception, line) is told in full, the others as a number, at longer and
longer distances; none of a kind that the user got in this cell, whose others are alike.

Rejected: telling as soon as a task fails (most errors are raised by a `get` a moment later), and telling only when the
references are gone (a notebook's variables keep them for hours).
"""

from __future__ import annotations

import re
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec

from ..protocol.common import Cell
from .refs import ObjectRef

__all__ = ["Folding", "Told", "Watched", "Watching", "kind_of"]

WATCHED: Final = 2_000
"""Failures watched at a time; more are counted with the last one of the same task."""

GRACE: Final = 0.5
"""Seconds from a failure until it counts as not asked for: the next cell may ask."""

AT_ONCE: Final = 16
"""Errors described at a time: each must be unpickled, which takes 0.1 ms, in the thread that everything waits for."""

IN_FULL: Final = 5
"""Tracebacks shown of one cell: who sees five kinds of failures has something to do."""

KINDS: Final = 1_000
_FIRST_SUMMARY: Final = 1.0  # seconds after which failures alike are summed up; then twice as long each time
_LAST_SUMMARY: Final = 60.0

_PLACE: Final = re.compile(r'(?:File "[^"]*"|In \[\d+\]), line \d+')


def kind_of(text: str, last: str) -> str:
    """What failures alike have in common: exception and innermost line; not the message, which has values in it."""
    places = _PLACE.findall(text)
    return f"{last.partition(':')[0]} {places[-1] if places else ''}"


class Watched(msgspec.Struct, eq=False):
    """One error that nobody has asked for yet."""

    error: Any
    cell: Cell | None
    task: str
    plan: Any  # of the first task that failed with it
    alive: float = 0  # references to it; infinite: nobody knows
    count: int = 1  # failures that it stands for
    since: float = -1.0
    refs: list[weakref.ref[ObjectRef]] = []
    is_actor: bool = False  # it ended an actor before that could be called; `task` is its class


class Watching:
    """The errors that nobody has asked for.

    Parameters
    ----------
    is_over
        Whether a cell is over, so that its failures are told although there are references; never, unless given.
    """

    def __init__(self, is_over: Callable[[Cell | None], bool] | None = None) -> None:
        self.is_over = is_over
        self._watched: dict[int, Watched] = {}  # by the identity of the error, which the entry keeps
        self._told: dict[int, Watched] = {}
        self._dropped: deque[Watched] = deque()  # destructors run anywhere: they only append

    def failed(self, record: Any, error: Any, refs: Iterable[ObjectRef]) -> None:
        """A task failed. ``refs`` carry the error from now on."""
        key, plan = id(error), record.plan
        entry = self._watched.get(key) or self._told.get(key)
        if entry is None:
            if len(self._watched) >= WATCHED:
                self._count_with_another(plan)
                return
            entry = self._watched[key] = Watched(error, plan.cell, plan.name, plan, refs=[])
        if record.stream is not None:
            entry.alive = float("inf")  # the generator gives the error to a reference of its own making
        for ref in refs:
            self._hold(entry, ref)

    def actor_failed(self, plan: Any, error: Any, handle: ObjectRef | None) -> None:
        """An actor ended before anybody could call it. A call carries the error only when it is made (`seen`)."""
        entry = self._watched[id(error)] = Watched(error, plan.cell, plan.name, plan, refs=[], is_actor=True)
        if handle is not None:
            self._hold(entry, handle)

    def _hold(self, entry: Watched, ref: ObjectRef) -> None:
        entry.alive += 1
        entry.refs.append(weakref.ref(ref, lambda _: self._dropped.append(entry)))

    def _count_with_another(self, plan: Any) -> None:
        for entry in reversed(list(self._watched.values())):
            if entry.plan is plan:
                entry.count += 1
                return

    def seen(self, error: Any) -> Watched | None:
        """Somebody got an error. In any thread. Returns what it was, unless it was seen or told already."""
        entry = self._watched.pop(id(error), None)
        if entry is not None:
            entry.refs = []  # with them goes the interest in when they go
        return entry

    def take(self, now: float, *, all_of_them: bool = False) -> Iterator[Watched]:
        """Those that are to be told now."""
        while self._dropped:
            entry = self._dropped.popleft()
            entry.alive -= 1
            if entry.alive <= 0:
                entry.refs = []
                self._told.pop(id(entry.error), None)
        for key, entry in list(self._watched.items()):
            if entry.since < 0:
                entry.since = now
            gone = all_of_them or entry.alive <= 0
            if not gone and not (now - entry.since >= GRACE and self.is_over is not None and self.is_over(entry.cell)):
                continue
            if self._watched.pop(key, None) is None:
                continue  # somebody got it in this moment
            if entry.alive > 0:
                self._told[key] = entry
            yield entry


class Told(msgspec.Struct):
    """What is said of failures of one kind. ``text`` is empty if they are like one that was told."""

    cell: Cell | None
    task: str
    kind: str
    last: str  # exception and message in one line
    text: str
    count: int
    actor: str = ""  # the class of an actor that could not be made


class _Kind(msgspec.Struct, eq=False):
    told: Told
    waiting: int = 0
    due: float = 0.0
    every: float = _FIRST_SUMMARY
    is_known: bool = False  # the user got one of these: nothing is said of the others


class Folding:
    """Sums up failures that are alike."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[tuple[Cell | None, str, str], _Kind] = OrderedDict()
        self._in_full: OrderedDict[Cell | None, int] = OrderedDict()
        self.restless = False

    def known(self, cell: Cell | None, task: str, kind: str) -> None:
        """The user got a failure of this kind."""
        self._kind(Told(cell, task, kind, "", "", 0)).is_known = True

    def add(self, failure: Told, now: float) -> list[Told]:
        """Failures are to be told; returns what is said at once."""
        known = self._kind(failure)
        if known.is_known:
            return []
        if known.due or not failure.text:
            known.due = known.due or now + known.every
            known.waiting += failure.count
            self.restless = True
            return []
        known.due = now + known.every
        shown = self._in_full.pop(failure.cell, 0) + 1
        self._in_full[failure.cell] = shown
        if len(self._in_full) > KINDS:
            self._in_full.popitem(last=False)
        if shown > IN_FULL:
            known.waiting += failure.count
            self.restless = True
            return []
        known.waiting += failure.count - 1
        self.restless = self.restless or known.waiting > 0
        return [Told(failure.cell, failure.task, failure.kind, failure.last, failure.text, 1, failure.actor)]

    def tick(self, now: float, *, at_end: bool = False) -> list[Told]:
        """Some time has passed."""
        if not self.restless:
            return []
        self.restless = False
        said = []
        for known in self._kinds.values():
            if not known.waiting:
                continue
            if known.is_known:
                known.waiting = 0
            elif at_end or now >= known.due:
                known.every = min(_LAST_SUMMARY, 2 * known.every)
                known.due = now + known.every
                first = known.told
                said.append(Told(first.cell, first.task, first.kind, first.last, "", known.waiting, first.actor))
                known.waiting = 0
            else:
                self.restless = True
        return said

    def _kind(self, failure: Told) -> _Kind:
        key = failure.cell, failure.task, failure.kind
        known = self._kinds.get(key)
        if known is None:
            known = self._kinds[key] = _Kind(failure)
            if len(self._kinds) > KINDS:
                self._kinds.popitem(last=False)
        return known
