"""One small cluster for the tests of each module here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import himalia
from tests.support.leaks import LeakGuard


@pytest.fixture(scope="module")
def cluster(leak_guard: LeakGuard, request: pytest.FixtureRequest) -> Iterator[None]:
    with leak_guard.shared(f"the cluster of {request.module.__name__}"):
        himalia.init(num_cpus=2, log_to_driver=False, include_dashboard=False)
        yield
        himalia.shutdown()
