"""Kernels for the tests of this folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_core.utils import ensure_event_loop

from tests.kernel_ext.kernel_versions import INSTALLED, OTHERS, NotAvailableError, python_with
from tests.kernel_ext.notebook import Notebook, notebook
from tests.support.leaks import LeakGuard, warm_up

# Blocking clients share an event loop that lives as long as the process.
warm_up(ensure_event_loop)

#: Logical CPUs: enough for what tests let wait at the same time, whatever the machine has.
START = "%load_ext himalia\n%cluster start --cpus 4\nimport himalia, os, time"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path, as sockets need it."""
    path = Path(tempfile.mkdtemp(prefix="hk-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def fresh(folder: Path) -> Iterator[Notebook]:
    """A kernel that nothing was done with."""
    with notebook(folder) as opened:
        yield opened


@pytest.fixture(scope="session")
def environments() -> Iterator[Path]:
    """Where other releases of ipykernel are installed, once for all tests."""
    path = Path(tempfile.mkdtemp(prefix="hk-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def _started(leak_guard: LeakGuard, environments: Path, release: str) -> Iterator[Notebook]:
    python = None
    if release != INSTALLED:
        try:
            python = python_with(release, environments)
        except NotAvailableError as error:
            pytest.skip(f"no environment with ipykernel {release}: {error}")
    folder = Path(tempfile.mkdtemp(prefix="hk-"))
    with leak_guard.shared(f"the kernel of this module ({release})"), notebook(folder, python) as opened:
        cell = opened.run(START)
        assert not cell.error, cell.traceback
        yield opened
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module", params=[INSTALLED, *OTHERS])
def any_kernel(request: pytest.FixtureRequest, leak_guard: LeakGuard, environments: Path) -> Iterator[Notebook]:
    """A kernel of each release that behaves in a way of its own, with the extension and a cluster."""
    yield from _started(leak_guard, environments, request.param)


@pytest.fixture(scope="module")
def kernel(leak_guard: LeakGuard, environments: Path) -> Iterator[Notebook]:
    """A kernel of the installed release, with the extension and a cluster."""
    yield from _started(leak_guard, environments, INSTALLED)
