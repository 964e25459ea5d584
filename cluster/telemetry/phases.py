"""Where the time of a process goes beside the functions of its tasks: what is measured while a cell is explained.

Strategy: nothing of this exists while nobody explains. Who measures puts a timed method in the place of the plain one
(`cluster/core/timing.py`), and takes it away again. Times are counted by phase and function, and sent with the rows of
telemetry: four times a second, however many tasks there were. Only what takes long (`LONG`) is kept one by one, since
it alone can make a slot stand still.

Calls that may be short are not all timed: after `ENOUGH` short ones the plain method is back in its place, for some
milliseconds. How many calls there were is known from the tasks. So measuring tasks of some microseconds hardly changes
what they cost; what it can miss is a long call among thousands of short ones.

A phase within another one counts for itself: reading arguments does not include waiting for them.

Rejected: sampling stacks for this. A sampler gets the interpreter's lock where the sampled thread gives it away, which
is when it sends and waits: with short tasks it would see little else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, Final

import msgspec

__all__ = ["ENOUGH", "LONG", "Interval", "Phase", "PhaseLog", "Sum", "Tap"]

LONG: Final = 0.001
"""Seconds from which on a phase is also kept with the time when it was."""

SHORT: Final = 0.000_1  # seconds
ENOUGH: Final = 8  # calls shorter than that, one after the other, that tell what such a call takes

_KEPT: Final = 4_000
"""Intervals between two flushes, unless told otherwise; of more, only the sums are known."""


class Phase(IntEnum):
    """What a process does, if not the user's code. The numbers are on the wire."""

    LOAD = 0  # a function is unpickled, with the imports that this takes
    ARGUMENTS = 1  # arguments are unpickled
    RESULT = 2  # a result is pickled and stored
    FETCH = 3  # waits for an object from another node
    RESTORE = 4  # waits for an object that comes back from disk
    ROOM = 5  # waits for room in the object store: others are spilled for it
    BLOCKED = 6  # waits in `get` or `wait` for what is not ready
    SUBMIT = 7  # submits tasks, their small arguments included
    PUT = 8  # pickles and stores a large argument, or what is given to `put`
    READ = 9  # reads values that `get` returns
    STORE = 10  # copies a pickled value into the object store
    ON_CPU = 11  # all threads of a worker had processors for so long, whatever they did
    HELD_UP = 12  # its main thread could have run, and other threads or programs had the processors


class Sum(msgspec.Struct):
    """How often a phase came for one function, how long it took in all, and of how many bytes it was."""

    count: int = 0
    seconds: float = 0.0
    nbytes: int = 0


Interval = tuple[Any, Phase, float, float]
"""Whose (`PhaseLog`), phase, begin on `time.perf_counter`, and seconds."""


class _Local(threading.local):
    inner = 0.0  # seconds of phases that ended within the one that is going on
    phase: Phase | None = None


class PhaseLog:
    """The phases of one process between two flushes.

    ``whose`` tells what a phase is to be counted for: any hashable object, or None for the process itself.
    """

    def __init__(
        self,
        whose: Callable[[], Any] = lambda: None,
        clock: Callable[[], float] = time.perf_counter,
        kept: int = _KEPT,
    ) -> None:
        self.sums: dict[tuple[Any, Phase], Sum] = {}
        self.intervals: list[Interval] = []
        self._whose = whose
        self._clock = clock
        self._kept = kept
        self._local = _Local()

    @property
    def phase(self) -> Phase | None:
        """What the calling thread is in."""
        return self._local.phase

    def timed(
        self,
        phase: Phase,
        call: Callable[..., Any],
        nbytes: Callable[..., int] | None = None,
        count: Callable[..., int] | None = None,
    ) -> Callable[..., Any]:
        """The same function, timed at each call.

        Parameters
        ----------
        count
            Given the arguments: of how many things it was, if not of one.
        nbytes
            Given the result and the arguments: how many bytes it was about.
        """
        local, clock = self._local, self._clock

        def measured(*arguments: Any) -> Any:
            outer, before = local.phase, local.inner
            local.phase, local.inner = phase, 0.0
            begin = clock()
            result: Any = None
            try:
                result = call(*arguments)
            finally:
                seconds = clock() - begin
                own = seconds - local.inner
                local.phase, local.inner = outer, before + seconds
                size = nbytes(result, *arguments) if nbytes is not None and result is not None else 0
                self.note(phase, begin, seconds, own, 1 if count is None else count(*arguments), size)
            return result

        return measured

    def tap(self, holder: Any, name: str, phase: Phase) -> Tap:
        """A measurement of a method that may be called very often. It is off at first."""
        return Tap(self, holder, name, phase)

    @contextmanager
    def during(self, phase: Phase) -> Iterator[None]:
        """Time what is done meanwhile."""
        local = self._local
        outer, before = local.phase, local.inner
        local.phase, local.inner = phase, 0.0
        begin = self._clock()
        try:
            yield
        finally:
            seconds = self._clock() - begin
            own = seconds - local.inner
            local.phase, local.inner = outer, before + seconds
            self.note(phase, begin, seconds, own, 1, 0)

    def note(self, phase: Phase, begin: float, seconds: float, own: float, count: int, nbytes: int) -> None:
        """A phase is over. ``own`` is what no phase within it took."""
        whose = self._whose()
        known = self.sums.get((whose, phase))
        if known is None:
            known = self.sums.setdefault((whose, phase), Sum())
        known.count += count
        known.seconds += own
        known.nbytes += nbytes
        if seconds >= LONG and len(self.intervals) < self._kept:
            self.intervals.append((whose, phase, begin, seconds))

    def take(self) -> tuple[dict[tuple[Any, Phase], Sum], list[Interval]]:
        """All there is since the last time."""
        sums, self.sums = self.sums, {}
        intervals, self.intervals = self.intervals, []
        return sums, intervals


class Tap:
    """A method of one object that is timed now and then: see the top of the file."""

    def __init__(self, log: PhaseLog, holder: Any, name: str, phase: Phase) -> None:
        self.is_on = False
        self._holder = holder
        self._name = name
        self._plain = getattr(holder, name)
        self._short = 0
        self._measured = self._timed(log, phase, self._plain)

    def turn_on(self) -> None:
        """Time the next calls."""
        if not self.is_on:
            self._short = 0
            self.is_on = True
            setattr(self._holder, self._name, self._measured)

    def turn_off(self) -> None:
        """The plain method is back."""
        if self.is_on:
            self.is_on = False
            setattr(self._holder, self._name, self._plain)

    def _timed(self, log: PhaseLog, phase: Phase, call: Callable[..., Any]) -> Callable[..., Any]:
        local, clock = log._local, log._clock

        def measured(*arguments: Any) -> Any:
            outer, before = local.phase, local.inner
            local.phase, local.inner = phase, 0.0
            begin = clock()
            try:
                return call(*arguments)
            finally:
                seconds = clock() - begin
                own = seconds - local.inner
                local.phase, local.inner = outer, before + seconds
                log.note(phase, begin, seconds, own, 1, 0)
                self._short = self._short + 1 if seconds < SHORT else 0
                if self._short >= ENOUGH:
                    self.turn_off()

        return measured
