"""What every test gets: a check that it leaves nothing behind.

Fixtures that keep a cluster for several tests mark what they own with ``leak_guard.shared`` (see `support/leaks.py`).
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.lab import chromium
from tests.support.leaks import LeakGuard, Snapshot, warm_up
from tests.support.sizes import REPORT_LINES, files_longer_than
from tests.support.source_tree import ROOT

# A shell starts what it runs in the background with SIGINT ignored, and Python keeps that: tests of interrupts, and
# what they start, need it as a terminal gives it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_FAILED = pytest.StashKey[bool]()

# Clusters of this test run keep to a folder of their own: what is left in it is ours, whatever else runs here. Its path
# is short, since that of a socket must be.
_SESSION_FOLDERS = Path(tempfile.mkdtemp(prefix=f"hv-{os.getpid()}-"))
os.environ["HIMALIA_TMPDIR"] = str(_SESSION_FOLDERS)
_GUARD = LeakGuard(_SESSION_FOLDERS)


def _open_zmq_instance() -> None:
    """Make pyzmq's process-wide context, whose threads and descriptors live as long as the process."""
    import zmq

    zmq.Context.instance().socket(zmq.PUSH).close()


warm_up(_open_zmq_instance)


def pytest_unconfigure() -> None:
    shutil.rmtree(_SESSION_FOLDERS, ignore_errors=True)
    for folder in _SESSION_FOLDERS.parent.glob("hv-*-*"):
        # Of a run that was killed and could not do this itself.
        if not Path("/proc", folder.name.split("-")[1]).exists():
            shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("browser") is not None:
        if chromium() is None:
            pytest.skip("no Chromium is installed (Debian: apt install chromium)")
        pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.when in ("setup", "call") and report.failed:  # type: ignore[attr-defined]
        item.stash[_FAILED] = True
    return report


@pytest.fixture(scope="session")
def leak_guard() -> LeakGuard:
    return _GUARD


def _end_cluster() -> list[str]:
    """Shut down a cluster that this process still has; returns the line that reports it, if it had one."""
    himalia = sys.modules.get("himalia")
    # Tests of the engine's parts import it without the front door's API ever having loaded.
    if not getattr(himalia, "is_initialized", bool)():
        return []
    assert himalia is not None
    himalia.shutdown()
    return ["  a running cluster: himalia.shutdown() was not called"]


@pytest.fixture(autouse=True)
def _nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test that leaves a cluster, processes, threads, descriptors, shared memory or session folders."""
    if _GUARD.is_shared:
        yield
        return
    if _end_cluster():
        pytest.fail("a fixture of a wider scope keeps a cluster and does not say so with leak_guard.shared(...)")
    before: Snapshot = _GUARD.snapshot()
    yield
    if _GUARD.is_shared:  # the test asked for a shared fixture while it ran
        return
    failed = request.node.stash.get(_FAILED, False)
    left = _end_cluster()
    # A failed test has said what is wrong, and its traceback keeps its objects alive: clean up without a second report.
    left += _GUARD.differences(before) if failed else _GUARD.settle(before)
    if left:
        _GUARD.remove(before)
    if left and not failed:
        pytest.fail("the test left behind:\n" + "\n".join(left), pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the files that grow towards the limit, while splitting them is still easy."""
    long_files = files_longer_than(REPORT_LINES, ROOT)
    if long_files:
        terminalreporter.section(f"files over {REPORT_LINES} lines")
        for name, lines in long_files:
            terminalreporter.line(f"{lines:5d} {name}")
