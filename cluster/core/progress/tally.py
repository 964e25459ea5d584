"""How far the tasks are that somebody waits for, by function. Pure: it reads the owner's records.

Strategy: a pending reference leads to its record, and a record to those of its arguments; so all that is waited for is
found once, and later looks only ask the records that had not ended. Rejected: counting by function where tasks end. It
would cost every task something, and could not tell what somebody waits for from everything else.

A record is gone once its task has ended, and with it the name of the function. What had ended before the first look is
therefore taken for the function of the others, if these have only one, and is `OTHERS` else; arguments likewise, for
each parameter of a function.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

import msgspec

from ..actor_calls import ActorClient
from ..records import Record
from ..refs import ERROR, PENDING, STORE, ObjectRef

__all__ = ["OTHERS", "Counts", "Tally"]

OTHERS: Final = ""
"""The name of what is not known by a function: tasks of other processes, and such as had ended."""


class Counts(msgspec.Struct):
    """Tasks of one function: each is in one of these."""

    done: int = 0
    failed: int = 0
    cancelled: int = 0
    running: int = 0
    waiting: int = 0  # for arguments, for a worker, or behind others at one

    @property
    def ended(self) -> int:
        return self.done + self.failed + self.cancelled

    @property
    def total(self) -> int:
        return self.ended + self.running + self.waiting

    def plus(self, other: Counts) -> Counts:
        """Both together."""
        both = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
        return Counts(*map(sum, both))


class _Argument(msgspec.Struct):
    """One argument of one function: whose results it takes, and how many of them were there at the first look."""

    givers: set[str] = msgspec.field(default_factory=set)
    ended: int = 0


class Tally:
    """The tasks behind references, with their arguments' tasks. Holds what has not ended, and nothing else."""

    def __init__(self) -> None:
        self._live: list[Record] = []
        self._elsewhere: list[ObjectRef] = []  # made by other processes
        self._ended: dict[str, Counts] = {}
        self._unnamed = Counts()
        self._waited: set[str] = set()  # functions of what is waited for itself, not as an argument
        self._seen: set[Any] = set()
        self._arguments: dict[tuple[str, str | int], _Argument] = {}
        self._order: list[str] = []  # of functions: one whose results another takes comes first

    def add(self, refs: Iterable[ObjectRef]) -> None:
        """Somebody waits for these too."""
        for ref in refs:
            record = ref._data
            if ref._state == PENDING and type(record) is Record:
                self._waited.add(record.plan.name)
                self._follow(record)
            elif ref._i != 0:  # 0: it was put, by no task
                self._add_other(ref)

    def add_ended(self, number: int) -> None:
        """So many more were waited for, and were there before we looked."""
        self._unnamed.done += number

    def _follow(self, record: Record) -> None:
        """Take a record and those that it waits for; a loop, as chains are longer than the stack."""
        found = [(record, "")]
        while found:
            record, taker = found.pop()
            if record.task.counter in self._seen:
                continue
            self._seen.add(record.task.counter)
            self._live.append(record)
            self._place(record.plan.name, taker)
            for dep, held in zip(record.task.deps or (), record.holds or (), strict=False):
                made_by = held._data
                argument = self._arguments.setdefault((record.plan.name, dep.slot), _Argument())
                if held._state == PENDING and type(made_by) is Record:
                    argument.givers.add(made_by.plan.name)
                    found.append((made_by, record.plan.name))
                elif held._state not in (PENDING, ERROR) and held._i != 0 and held._n not in self._seen:
                    self._seen.add(held._n)
                    argument.ended += 1

    def _place(self, name: str, taker: str) -> None:
        if name not in self._order:
            self._order.insert(self._order.index(taker) if taker else len(self._order), name)

    def _add_other(self, ref: ObjectRef) -> None:
        extra = ref._x
        elsewhere = extra is not None and extra.owner is not None
        key = (ref._w, ref._n) if elsewhere else ref._n
        if key in self._seen:
            return
        self._seen.add(key)
        if ref._state == PENDING:
            self._elsewhere.append(ref)
        elif ref._state == ERROR:
            self._unnamed.failed += 1
        elif ref._state == STORE and extra is not None and type(extra.lineage) is Record:
            self._counts(extra.lineage.plan.name).done += 1
        else:
            self._unnamed.done += 1

    def _counts(self, name: str) -> Counts:
        return self._ended.setdefault(name, Counts())

    def look(self, *, running: bool = True) -> dict[str, Counts]:
        """How many there are of each function, at this moment.

        Parameters
        ----------
        running
            Tell those that run from those that wait. Only the leader may ask what a worker has: others count both as
            waiting.
        """
        self._sort_out()
        shown = {name: Counts() for name in self._order}
        at_work: dict[int, set[int]] = {}
        for record in self._live:
            counts = shown[record.plan.name]
            if running and _runs(record, at_work):
                counts.running += 1
            else:
                counts.waiting += 1
        for name, ended in self._ended.items():
            shown[name] = shown.get(name, Counts()).plus(ended)
        for argument in self._arguments.values():
            if len(argument.givers) == 1:  # else they may be old: results of earlier work, passed to this
                (name,) = argument.givers
                shown[name] = shown[name].plus(Counts(done=argument.ended))
        others = self._unnamed.plus(Counts(waiting=len(self._elsewhere)))
        if others.total:
            name = next(iter(self._waited)) if len(self._waited) == 1 and not self._elsewhere else OTHERS
            shown[name] = shown.get(name, Counts()).plus(others)
        return {name: counts for name, counts in shown.items() if counts.total}

    def _sort_out(self) -> None:
        """Count what has ended, and let go of it."""
        live: list[Record] = []
        for record in self._live:
            ref = _first(record)
            if ref is None or ref._state not in (PENDING, ERROR):  # without its references it is lineage: it ended well
                self._counts(record.plan.name).done += 1
            elif ref._state == PENDING:
                live.append(record)
            elif record.cancelled:
                self._counts(record.plan.name).cancelled += 1
            else:
                self._counts(record.plan.name).failed += 1
        self._live = live
        elsewhere: list[ObjectRef] = []
        for ref in self._elsewhere:
            if ref._state == PENDING:
                elsewhere.append(ref)
            elif ref._state == ERROR:
                self._unnamed.failed += 1
            else:
                self._unnamed.done += 1
        self._elsewhere = elsewhere

    @property
    def over(self) -> bool:
        """Whether nothing is left to wait for, as of the last look."""
        return not self._live and not self._elsewhere

    def leave(self) -> None:
        """Nobody waits any more: what has not ended is forgotten, and can be added again."""
        self._seen.difference_update([record.task.counter for record in self._live])
        self._seen.difference_update([(ref._w, ref._n) for ref in self._elsewhere])
        self._live, self._elsewhere = [], []


def _first(record: Record) -> ObjectRef | None:
    """A reference that tells whether the task has ended."""
    if record.refs is None:
        return record.ref
    return record.refs[0] if record.refs else None


def _runs(record: Record, at_work: dict[int, set[int]]) -> bool:
    """Whether a worker is at it, and not at what it was sent before. ``at_work`` remembers that for each worker."""
    worker = record.worker
    if worker is None:
        return False
    tasks = at_work.get(id(worker))
    if tasks is None:
        at_once = worker.concurrency if type(worker) is ActorClient else 1
        tasks = at_work[id(worker)] = set(islice(worker.inflight, at_once))
    return record.task.counter in tasks
