"""What a test left behind: processes, threads, descriptors, shared memory, session folders.

A snapshot before a test is compared with one after it. Taking one must cost well under a millisecond or two, as every
test takes two, so:

- Processes are found by their parent or by a marker in their environment, which every descendant inherits, also when
  its parent has died or it has detached itself. A process is examined once, when its id is first seen.
- Descriptors are counted by kind (socket, pipe, a file), because a library may replace one of its own between two
  snapshots; only a kind that grew is a leak.
- Only if something is left do we collect garbage, wait (threads and processes need a moment to end) and look closer.

Rejected: psutil's `children(recursive=True)`, which reads all of /proc each time and misses detached processes; and
being the child subreaper, which would turn every orphan into a zombie of the test run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
import shutil
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

#: In the environment of this process's descendants, to tell them from everybody else's.
MARKER = "HIMALIA_TEST_RUN"
_RUN = f"{os.getpid()}-{uuid.uuid4().hex}"
_MARK = f"{MARKER}={_RUN}".encode()

#: What the engine makes in these two places begins with this.
PREFIX = "himalia"
SHARED_MEMORY = Path("/dev/shm")

#: Seconds that things which are ending may take. Only a test that leaks waits this long.
GRACE = 10.0

#: Threads and processes that a library starts once and keeps by design.
_KEPT_THREADS = ("pytest_timeout", "IPythonHistorySavingThread", "execnet")
_KEPT_PROCESSES = ("multiprocessing.resource_tracker",)


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """What exists at one moment and belongs to this process, by kind."""

    processes: frozenset[int]
    threads: frozenset[threading.Thread]
    descriptors: Counter[str]
    files: frozenset[Path]


class LeakGuard:
    """Takes snapshots, tells what one has that an earlier one had not, and removes it.

    Parameters
    ----------
    session_folders
        Where this process and its descendants make their session folders.
    """

    def __init__(self, session_folders: Path) -> None:
        self.session_folders = session_folders
        os.environ[MARKER] = _RUN
        self._seen: set[int] = set()
        self._ours: set[int] = set()
        self._shared = 0

    # Ownership by fixtures of a wider scope -------------------------------------------------------------------------

    @property
    def is_shared(self) -> bool:
        """Whether a fixture that outlives the test owns things, which come and go while tests run."""
        return self._shared > 0

    @contextlib.contextmanager
    def shared(self, owner: str) -> Iterator[None]:
        """Let a module or session fixture own what starts within, and check when it ends.

        A cluster that several tests share starts and ends workers whenever it likes, so no single test can answer for
        them. While this context is open tests are not checked; what is left at its end is a leak of ``owner``::

            @pytest.fixture(scope="module")
            def cluster(leak_guard):
                with leak_guard.shared("the cluster of this module"):
                    himalia.init(num_cpus=2)
                    yield
                    himalia.shutdown()
        """
        before = self.snapshot()
        self._shared += 1
        try:
            yield
        finally:
            self._shared -= 1
        left = self.settle(before)
        if left:
            self.remove(before)
            raise AssertionError(f"{owner} left behind:\n" + "\n".join(left))

    # Snapshots ------------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        return Snapshot(
            processes=frozenset(self._own_processes()),
            threads=frozenset(t for t in threading.enumerate() if not t.name.startswith(_KEPT_THREADS)),
            descriptors=_descriptors(),
            files=frozenset([*_named(SHARED_MEMORY), *_named(self.session_folders)]),
        )

    def differences(self, before: Snapshot) -> list[str]:
        """What is there now and was not ``before``, a line each; empty if nothing leaked."""
        now = self.snapshot()
        found = [f"  process {pid}: {_command_line(pid)}" for pid in sorted(now.processes - before.processes)]
        found += [f"  thread {thread.name}" for thread in now.threads - before.threads if thread.is_alive()]
        grown = now.descriptors - before.descriptors
        found += [f"  {count} descriptor(s) of {kind}" for kind, count in sorted(grown.items())]
        found += [f"  {path}" for path in sorted(now.files - before.files) if not _held_by_others(path, now.processes)]
        return found

    def settle(self, before: Snapshot, grace: float | None = None) -> list[str]:
        """The differences that remain when everything had the time to end."""
        left = self.differences(before)
        if not left:
            return left
        gc.collect()
        deadline = time.monotonic() + (GRACE if grace is None else grace)
        while (left := self.differences(before)) and time.monotonic() < deadline:
            time.sleep(0.02)
        return left

    def remove(self, before: Snapshot) -> None:
        """End the processes and delete the files that were not there ``before``, so that the next test starts clean."""
        now = self.snapshot()
        for pid in now.processes - before.processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for path in now.files - before.files:
            if _held_by_others(path, now.processes):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def _own_processes(self) -> Iterator[int]:
        """Ids of the living descendants of this process, and of those that were descendants once."""
        me = os.getpid()
        current = {int(name) for name in os.listdir("/proc") if name.isdecimal()}
        self._seen &= current
        self._ours &= current
        # Parents usually have the smaller id, so one ordered pass knows a parent before its children.
        for pid in sorted(current - self._seen):
            environment = _environment(pid)
            # The system reports that a program was started a moment before its environment can be read: look again.
            if environment != b"":
                self._seen.add(pid)
            if pid != me and (_parent(pid) in {me, *self._ours} or _MARK in environment.split(b"\0")):
                self._ours.add(pid)
        for pid in sorted(self._ours):
            if _is_running(pid) and not any(kept in _command_line(pid) for kept in _KEPT_PROCESSES):
                yield pid


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b"not ours to read, or gone"


def _named(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX):
                yield folder / entry.name


def _descriptors() -> Counter[str]:
    kinds: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # the descriptor of the listing itself
        # `socket:[4711]` and `pipe:[4712]` name an inode; only the kind before it can be compared.
        kind = target.partition(":[")[0] if not target.startswith("anon_inode") else target
        # A thread of a library may be reading a source file at this moment.
        if not kind.endswith((".py", ".pyc", ".so", "/dev/urandom", "/dev/null")) and not kind.startswith("/proc/"):
            kinds[kind] += 1
    return kinds


def _stat_fields(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return []
    # The second field, the name in parentheses, may itself contain spaces and parentheses.
    return text[text.rindex(")") + 2 :].split()


def _parent(pid: int) -> int | None:
    fields = _stat_fields(pid)
    return int(fields[1]) if fields else None


def _is_running(pid: int) -> bool:
    """Whether it is more than a zombie, which holds nothing but its entry in the table."""
    fields = _stat_fields(pid)
    return bool(fields) and fields[0] not in "ZX"


def _command_line(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return b" ".join(words).decode(errors="replace").strip()[:200]


def _held_by_others(path: Path, own: frozenset[int]) -> bool:
    """Whether a process outside this test run maps or uses the file or folder, so that it is not ours.

    Slow (it reads the maps of all processes), so only asked about a new file.
    """
    needle = str(path)
    for name in os.listdir("/proc"):
        if not name.isdecimal() or int(name) in own or int(name) == os.getpid():
            continue
        for source in ("maps", "cmdline", "environ"):
            with contextlib.suppress(OSError):
                if needle in Path(f"/proc/{name}/{source}").read_text(errors="replace"):
                    return True
    return False


def warm_up(*actions: Callable[[], object]) -> None:
    """Let libraries open now what they keep open for good, so that no test is blamed for it."""
    for action in actions:
        action()
