"""A worker measures what it does around tasks as long as they say so, and tells with its rows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np
import pytest

import himalia
from himalia.cluster.core.current import get_core
from himalia.cluster.core.timing import DriverTiming
from himalia.cluster.protocol.common import Cell
from himalia.cluster.telemetry.feed import TaskFeed
from himalia.cluster.telemetry.phases import Phase
from tests.support.leaks import LeakGuard

_numbers = count(1)


@pytest.fixture(scope="module", autouse=True)
def cluster(leak_guard: LeakGuard) -> Iterator[None]:
    with leak_guard.shared("the cluster of this module"):
        himalia.init(num_cpus=1, log_to_driver=False)
        yield
        himalia.shutdown()


@pytest.fixture
def feed() -> TaskFeed:
    """What comes from now on."""
    made = TaskFeed(get_core().gcs_call, after=-1)
    made.read()
    return made


def enter_cell() -> None:
    """What is submitted from now on is of a later cell."""
    core = get_core()
    cell = Cell(core.job_id, next(_numbers))
    core.cell_provider = lambda: cell


def phases_of(feed: TaskFeed, wanted: set[tuple[str, Phase]]) -> dict[tuple[str, Phase], Any]:
    """What workers told, by function and phase, when that has come."""
    found: dict[tuple[str, Phase], Any] = {}
    deadline = time.monotonic() + 10
    while not wanted <= set(found) and time.monotonic() < deadline:
        for batch in feed.read():
            for source_of, phase, *rest in batch.phases:
                found[batch.sources[source_of].name, Phase(phase)] = rest
        time.sleep(0.05)
    return found


def state() -> tuple[bool, bool]:
    core = get_core()
    return core.executor.timing is not None, "of_value" in vars(core.executor.results)


def test_phases_come_by_function_with_their_bytes(feed: TaskFeed) -> None:
    def large(rows: list[int]) -> np.ndarray:  # type: ignore[type-arg]
        return np.ones(len(rows))

    timing = DriverTiming(get_core(), __file__)
    enter_cell()
    timing.install()
    try:
        ref = himalia.remote(large).remote(list(range(1_000_000)))
        himalia.wait([ref])
    finally:
        timing.remove()
    names = {("large", phase) for phase in (Phase.LOAD, Phase.ARGUMENTS, Phase.RESULT, Phase.STORE)}
    found = phases_of(feed, names)
    assert names <= set(found)
    assert found["large", Phase.STORE][2] >= 8_000_000
    assert all(seconds > 0 for _, seconds, _ in found.values())


def test_children_are_measured_as_their_parents_are() -> None:
    def parent() -> Any:
        return himalia.get(himalia.remote(state).remote())

    timing = DriverTiming(get_core(), __file__)
    enter_cell()
    timing.install()
    try:
        assert himalia.get(himalia.remote(parent).remote()) == (True, True)
    finally:
        timing.remove()


def test_a_later_cell_ends_it() -> None:
    timing = DriverTiming(get_core(), __file__)
    enter_cell()
    timing.install()
    try:
        assert himalia.get(himalia.remote(state).remote()) == (True, True)
    finally:
        timing.remove()
    enter_cell()
    assert himalia.get(himalia.remote(state).remote()) == (False, False)


def test_calls_of_actors_are_measured_too(feed: TaskFeed) -> None:
    class Maker:
        def make(self, n: int) -> np.ndarray:  # type: ignore[type-arg]
            return np.ones(n)

    timing = DriverTiming(get_core(), __file__)
    enter_cell()
    timing.install()
    try:
        maker = himalia.remote(Maker).remote()
        himalia.wait([maker.make.remote(1_000_000)])
    finally:
        timing.remove()
    found = phases_of(feed, {("Maker.make", Phase.STORE)})
    assert found["Maker.make", Phase.STORE][2] >= 8_000_000
    himalia.kill(maker)
