"""Phases are counted for themselves, and measuring what is short and frequent ends by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from himalia.cluster.telemetry.phases import ENOUGH, LONG, Phase, PhaseLog


class Clock:
    """Goes on when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def takes(self, seconds: float, then: Callable[[], object] = lambda: None) -> Callable[..., object]:
        """A function that takes so long, and does something in between."""

        def work(*arguments: object) -> object:
            self.now += seconds
            return then()

        return work


class Worker:
    """Whose method is measured."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds, self.calls = clock, seconds, 0

    def work(self) -> None:
        self.calls += 1
        self.clock.now += self.seconds


def test_a_phase_within_another_counts_for_itself() -> None:
    clock = Clock()
    log = PhaseLog(clock=clock)
    wait = log.timed(Phase.FETCH, clock.takes(2.0))
    read = log.timed(Phase.ARGUMENTS, clock.takes(1.0, wait))
    read()
    sums, intervals = log.take()
    assert {phase: one.seconds for (_, phase), one in sums.items()} == {Phase.ARGUMENTS: 1.0, Phase.FETCH: 2.0}
    assert [(phase, begin, span) for _, phase, begin, span in intervals] == [
        (Phase.FETCH, 101.0, 2.0),
        (Phase.ARGUMENTS, 100.0, 3.0),
    ]
    assert log.take() == ({}, [])


def test_what_raises_is_counted_too() -> None:
    clock = Clock()
    log = PhaseLog(clock=clock)

    def fails() -> None:
        clock.now += 1.0
        raise ValueError

    with pytest.raises(ValueError):
        log.timed(Phase.RESULT, fails)()
    assert log.sums[None, Phase.RESULT].seconds == 1.0
    assert log.phase is None


def test_only_long_phases_have_times_of_their_own() -> None:
    clock = Clock()
    log = PhaseLog(clock=clock)
    for seconds in (LONG / 2, LONG * 2):
        with log.during(Phase.BLOCKED):
            clock.now += seconds
    assert len(log.intervals) == 1
    assert log.sums[None, Phase.BLOCKED].count == 2


def test_phases_are_told_apart_by_whose_they_are_and_sizes_are_added() -> None:
    clock = Clock()
    whose = iter("aab")
    log = PhaseLog(lambda: next(whose), clock)
    store = log.timed(Phase.STORE, clock.takes(1.0, lambda: 7), lambda result, *arguments: result)
    for _ in range(3):
        store()
    assert {key: (one.count, one.nbytes) for key, one in log.sums.items()} == {
        ("a", Phase.STORE): (2, 14),
        ("b", Phase.STORE): (1, 7),
    }


def test_a_tap_ends_when_calls_are_short_and_begins_anew() -> None:
    clock = Clock()
    log = PhaseLog(clock=clock)
    worker = Worker(clock, 0.000_01)
    tap = log.tap(worker, "work", Phase.RESULT)
    worker.work()
    assert not log.sums, "it is off at first"
    tap.turn_on()
    for _ in range(100):
        worker.work()
    assert log.sums[None, Phase.RESULT].count == ENOUGH
    assert worker.calls == 101
    tap.turn_on()
    worker.work()
    assert log.sums[None, Phase.RESULT].count == ENOUGH + 1


def test_a_tap_stays_on_as_long_as_calls_are_long() -> None:
    clock = Clock()
    log = PhaseLog(clock=clock)
    worker = Worker(clock, 0.01)
    log.tap(worker, "work", Phase.RESULT).turn_on()
    for number in range(100):
        worker.seconds = 0.01 if number % ENOUGH == 0 else 0.000_01
        worker.work()
    assert log.sums[None, Phase.RESULT].count == 100
