"""Clusters to be mistreated. A test that kills servers starts its own; one that kills workers shares the module's."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import himalia
from tests.support.clusters import Script
from tests.support.leaks import LeakGuard

_LIMIT = 30.0
"""Seconds of one test. None needs more than a few; nothing here may hang."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here:
            item.add_marker(pytest.mark.chaos)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(_LIMIT, method="signal"))


def start(**options: Any) -> ModuleType:
    """Start a small local cluster for this process."""
    chosen = {"num_cpus": 2, "object_store_memory": 64 << 20, "log_to_driver": False, **options}
    himalia.init("local", **chosen)
    return himalia


@pytest.fixture(scope="module")
def shared_cluster(request: pytest.FixtureRequest, leak_guard: LeakGuard) -> Iterator[ModuleType]:
    """One cluster for all tests of the module, which may kill its workers and nothing else."""
    with leak_guard.shared(f"the cluster of {request.module.__name__}"):
        yield start(**getattr(request.module, "CLUSTER", {}))
        himalia.shutdown()


@pytest.fixture
def hv(shared_cluster: ModuleType) -> ModuleType:
    """The API, with the module's cluster running."""
    return shared_cluster


@pytest.fixture
def fresh() -> Iterator[Callable[..., ModuleType]]:
    """Start a cluster for this test alone: ``fresh(num_cpus=…)`` returns the API."""
    yield functools.partial(start)
    himalia.shutdown()


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Callable[..., Script]]:
    """Run a text as a driver in a process of its own, if wanted with so many MB of shared memory of its own."""
    made: list[Script] = []

    def run(text: str, shared_memory: int = 0) -> Script:
        made.append(Script(text, tmp_path, shared_memory))
        return made[-1]

    yield run
    for one in made:
        one.close()
