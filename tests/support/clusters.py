"""What tests of real clusters share: waiting for a condition, the processes of a node, scripts as drivers."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psutil

from tests.support.source_tree import ROOT

__all__ = [
    "PATIENCE",
    "Script",
    "eventually",
    "has_own_mounts",
    "is_running",
    "node_processes",
    "session_folders",
    "slay",
    "took_less_than",
    "unhindered",
]

PATIENCE: Final = 30.0
"""Seconds after which something that should happen at once counts as never happening, on a busy machine."""

_PRESSURE: Final = Path("/proc/pressure/cpu")  # not every system has it
_STATISTICS: Final = Path("/proc/stat")


def unhindered() -> float:
    """A clock, in seconds, that stands still while anybody on this machine waits for a processor.

    What a test says of seconds it says of a machine that has time. A wait that ought not to be there (for a timeout,
    for somebody to look again) needs no processor, so this clock sees all of it, however busy the machine is.
    """
    return time.monotonic() - _hindered()


def _hindered() -> float:
    """Seconds since the machine began in which a process waited for a processor, or the host gave it to others."""
    total = re.match(r"some .*total=(\d+)", _PRESSURE.read_text()) if _PRESSURE.exists() else None
    stolen = int(_STATISTICS.read_text().split(maxsplit=9)[8])
    return (int(total[1]) / 1e6 if total else 0.0) + stolen / os.sysconf("SC_CLK_TCK")


def eventually(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Wait until ``condition()`` is true, and return what it returned."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.005)
    return found


def node_processes(session_dir: str) -> dict[str, list[int]]:
    """Process ids of a node by role: host, gcs, raylet, worker."""
    from himalia.cluster.launchers.session import read_connection_file

    host = read_connection_file(session_dir).pid
    found: dict[str, list[int]] = {"host": [host]}
    for child in psutil.Process(host).children():
        name = Path(f"/proc/{child.pid}/comm").read_text().strip()
        found.setdefault(name.removeprefix("himalia:"), []).append(child.pid)
    return found


def is_running(pid: int) -> bool:
    """Whether a process is there and more than a zombie, which holds nothing but its entry in the table."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def slay(pid: int) -> None:
    """End a process so that it cannot do anything about it."""
    os.kill(pid, signal.SIGKILL)


def session_folders() -> set[str]:
    """The session folders of this test run that exist."""
    from himalia.cluster.launchers.session import session_root

    root = session_root()
    return {path.name for path in root.iterdir()} if root.exists() else set()


class took_less_than:  # noqa: N801 - reads as the sentence that it asserts
    """Assert that the body of the ``with`` statement takes less than so many `unhindered` seconds, however it ends."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.started = 0.0

    def __enter__(self) -> None:
        self.started = unhindered()

    def __exit__(self, *exc: object) -> None:
        taken = unhindered() - self.started
        assert taken < self.seconds, f"took {taken:.1f} s, which was to be less than {self.seconds:g} s"


def has_own_mounts() -> bool:
    """Whether a process may be given mounts that nobody else sees."""
    probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/mnt"]
    return (
        shutil.which("unshare") is not None and subprocess.run(probe, capture_output=True, check=False).returncode == 0
    )


class Script:
    """A driver of its own: a program in another process, whose ``__main__`` is the text given.

    ``shared_memory`` is the size in MB of a /dev/shm of its own, which only root can give it (`has_own_mounts`).
    """

    def __init__(self, text: str, folder: Path, shared_memory: int = 0) -> None:
        path = folder / "script.py"
        mount = f'mount -t tmpfs -o size={shared_memory}m tmpfs /dev/shm && exec "$@"'
        prefix = ["unshare", "--mount", "sh", "-c", mount, "sh"] if shared_memory else []
        path.write_text(textwrap.dedent(text))
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-u", str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.pid = self.process.pid

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        text = self.process.stdout.readline()
        if not text:
            self.process.wait(PATIENCE)
            assert self.process.stderr is not None
            raise AssertionError(f"the script ended: {self.process.stderr.read()}")
        return text.strip()

    def finish(self, seconds: float = 20.0) -> str:
        """Wait for its end; what it printed. It must succeed."""
        out, err = self.process.communicate(timeout=seconds)
        assert self.process.returncode == 0, f"exit code {self.process.returncode}\n{out}\n{err}"
        return out

    def close(self) -> None:
        """End it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
