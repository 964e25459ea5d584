"""A test that leaves something behind is found, and one that does not is left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.leaks import PREFIX, SHARED_MEMORY, LeakGuard, Snapshot
from tests.support.source_tree import ROOT

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]

#: Starts a process that outlives its parent, in a session of its own, as a daemon does; prints its id.
DETACH = f"""
import subprocess
daemon = subprocess.Popen({SLEEP!r}, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(daemon.pid)
"""


@pytest.fixture
def guard(tmp_path: Path) -> LeakGuard:
    return LeakGuard(session_folders=tmp_path)


@pytest.fixture
def before(guard: LeakGuard) -> Snapshot:
    return guard.snapshot()


def test_nothing_left_is_no_difference(guard: LeakGuard, before: Snapshot) -> None:
    assert guard.settle(before) == []


def test_a_child_process_is_found_and_ended(guard: LeakGuard, before: Snapshot) -> None:
    with subprocess.Popen(SLEEP) as child:
        (left,) = guard.settle(before, grace=0.05)
        assert str(child.pid) in left
        assert "time.sleep" in left
        guard.remove(before)
        assert child.wait(10) == -signal.SIGKILL


def test_a_process_that_detached_itself_is_found(guard: LeakGuard, before: Snapshot) -> None:
    run = subprocess.run([sys.executable, "-S", "-c", DETACH], check=True, capture_output=True, text=True)
    assert any(run.stdout.strip() in line for line in guard.settle(before, grace=0.05))
    guard.remove(before)
    assert guard.settle(before) == []


def test_a_process_of_somebody_else_is_not_ours(guard: LeakGuard, before: Snapshot) -> None:
    # Without the marker and without a living parent of ours, it could be anybody's.
    run = subprocess.run(
        [sys.executable, "-S", "-c", DETACH], check=True, capture_output=True, text=True, env={"PATH": os.defpath}
    )
    try:
        assert guard.differences(before) == []
    finally:
        os.kill(int(run.stdout), signal.SIGKILL)


def test_a_zombie_is_not_a_leak(guard: LeakGuard, before: Snapshot) -> None:
    child = subprocess.Popen([sys.executable, "-S", "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert guard.differences(before) == []
    child.wait()


def test_a_thread_is_found(guard: LeakGuard, before: Snapshot) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="left over", daemon=True)
    thread.start()
    assert guard.settle(before, grace=0.05) == ["  thread left over"]
    stop.set()
    thread.join()


def test_what_is_about_to_end_gets_the_time_to(guard: LeakGuard, before: Snapshot) -> None:
    thread = threading.Thread(target=time.sleep, args=(0.2,))
    thread.start()
    assert guard.differences(before)
    assert guard.settle(before) == []


def test_a_descriptor_is_found(guard: LeakGuard, before: Snapshot) -> None:
    reader, writer = os.pipe()
    assert guard.settle(before, grace=0.05) == ["  2 descriptor(s) of pipe"]
    os.close(reader)
    os.close(writer)


def test_a_descriptor_that_replaces_another_is_no_leak(guard: LeakGuard) -> None:
    old = os.eventfd(0)
    before = guard.snapshot()
    os.close(old)
    new = os.eventfd(0)
    assert guard.differences(before) == []
    os.close(new)


@pytest.fixture
def arena() -> Iterator[Path]:
    path = SHARED_MEMORY / f"{PREFIX}-leak-test-{os.getpid()}"
    yield path
    path.unlink(missing_ok=True)


def test_a_shared_memory_file_is_found_and_deleted(guard: LeakGuard, before: Snapshot, arena: Path) -> None:
    arena.touch()
    assert guard.settle(before, grace=0.05) == [f"  {arena}"]
    guard.remove(before)
    assert not arena.exists()


def test_a_shared_memory_file_that_a_stranger_maps_is_not_ours(guard: LeakGuard, before: Snapshot, arena: Path) -> None:
    arena.write_bytes(bytes(4096))
    hold = (
        "import mmap, sys, os; fd = os.open(sys.argv[1], os.O_RDWR); m = mmap.mmap(fd, 0); print('held', flush=True);"
        " sys.stdin.read()"
    )
    launcher = [sys.executable, "-S", "-c", hold, str(arena)]
    with subprocess.Popen(launcher, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        # Ours, as long as its process is.
        assert any(str(arena) in line for line in guard.differences(before))
        guard._ours.discard(holder.pid)
        assert not any(str(arena) in line for line in guard.differences(before))
        assert holder.stdin is not None
        holder.stdin.close()


def test_a_session_folder_is_found_and_deleted(guard: LeakGuard, before: Snapshot, tmp_path: Path) -> None:
    folder = tmp_path / f"{PREFIX}-session"
    (folder / "sockets").mkdir(parents=True)
    assert guard.settle(before, grace=0.05) == [f"  {folder}"]
    guard.remove(before)
    assert not folder.exists()


def test_what_a_shared_fixture_owns_is_its_business_until_it_ends(guard: LeakGuard) -> None:
    with guard.shared("a cluster"):
        assert guard.is_shared
        reader, writer = os.pipe()
        os.close(reader)
        os.close(writer)
    assert not guard.is_shared


def test_what_a_shared_fixture_leaves_is_its_leak(guard: LeakGuard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.leaks.GRACE", 0.05)
    ends: list[int] = []
    with pytest.raises(AssertionError, match=r"a cluster left behind:\n  2 descriptor"), guard.shared("a cluster"):
        ends.extend(os.pipe())
    for end in ends:
        os.close(end)


def test_a_snapshot_is_cheap(guard: LeakGuard) -> None:
    guard.snapshot()
    rounds = []
    for _ in range(20):
        start = time.perf_counter()
        guard.snapshot()
        rounds.append(time.perf_counter() - start)
    # Two for each test, of five milliseconds together; the best round, as the machine may be busy.
    assert min(rounds) < 0.0025


LEAKY = """
import threading
import pytest
import tests.support.leaks

tests.support.leaks.GRACE = 0.5

def test_leaves_a_thread():
    threading.Thread(target=threading.Event().wait, name="forgotten", daemon=True).start()

def test_after_it_is_clean():
    pass

def test_that_fails_is_reported_once():
    threading.Thread(target=threading.Event().wait, name="of a failed test", daemon=True).start()
    assert False
"""


def test_the_fixture_fails_the_test_that_leaks(tmp_path: Path) -> None:
    (tmp_path / "test_leaky.py").write_text(LEAKY)
    # As a plug-in and not as a conftest: the file is outside the repository.
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-c", ROOT / "pyproject.toml", tmp_path, "-q"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 failed, 2 passed, 1 error" in run.stdout, run.stdout + run.stderr
    assert "the test left behind:\n  thread forgotten" in run.stdout
    assert "thread of a failed test" not in run.stdout
