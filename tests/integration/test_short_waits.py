"""A task that waits a moment for an argument on its own node keeps its CPU."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import himalia
from himalia.util.state._source import open_source
from tests.support.leaks import LeakGuard


@pytest.fixture(scope="module")
def cluster(leak_guard: LeakGuard) -> Iterator[None]:
    with leak_guard.shared("the cluster of this module"):
        himalia.init("local", num_cpus=2, log_to_driver=False)
        yield
        himalia.shutdown()


@pytest.mark.usefixtures("cluster")
def test_arguments_that_others_own_do_not_have_more_tasks_run_than_there_are_cpus() -> None:
    @himalia.remote(num_cpus=0)
    class Owner:
        def make(self) -> list[Any]:
            return [himalia.put(np.zeros(500_000))]

    @himalia.remote
    def work(value: Any) -> None:
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            sum(range(1000))

    owner = Owner.remote()
    [borrowed] = himalia.get(owner.make.remote())
    refs = [work.remote(borrowed) for _ in range(20)]
    free: list[int] = []
    with open_source(None, 10.0) as source:
        while len(himalia.wait(refs, num_returns=len(refs), timeout=0.02)[0]) < len(refs):
            free.append(source.nodes()[0]["available"]["CPU"])
    assert min(free) == 0
