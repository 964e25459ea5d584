"""Session folders: where the sockets, logs and the connection file of one node are, and how they go.

Strategy: all folders of a user lie in one private folder, and each says in `session.json` which process it belongs to
and what lies elsewhere (spilled objects). A process is named by its id and its start time, since ids are taken again.
So whatever was killed without a chance to clean up is swept by the next start, and the running clusters are found by
looking, with no pointer file that could be stale. (Shared memory has no name at all: the kernel cleans up after it.)
Rejected: a lock held by the host, as a forked worker would inherit it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from .boot import ConnectionInfo

__all__ = [
    "CONNECTION_FILE",
    "TOKEN_FILE",
    "SessionRecord",
    "create_session",
    "is_alive",
    "process_started",
    "read_connection_file",
    "remove_session",
    "running_sessions",
    "session_root",
    "sweep_stale_sessions",
    "write_connection_file",
    "write_token",
]

CONNECTION_FILE: Final = "cluster.json"
TOKEN_FILE: Final = "dashboard_token"
_RECORD_FILE: Final = "session.json"
_LONGEST_ENDPOINT: Final = 100
"""Bytes of a socket's path: the kernel takes 107, ZeroMQ adds some for its own name."""
_SOCKET_NAME: Final = 17
_UNRECORDED_SECONDS: Final = 60.0
"""A folder without a record is being made at this moment, or was left by a host that was killed while making it."""


class SessionRecord(msgspec.Struct, kw_only=True):
    """Whose a session folder is, and what belongs to it elsewhere."""

    node_id: bytes
    cluster_id: str
    pid: int
    pid_started: int
    spill_dir: str
    is_head: bool
    owner_pid: int = 0


def _base() -> str:
    explicit = os.environ.get("HIMALIA_TMPDIR")
    if explicit:
        return explicit
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.access(runtime, os.W_OK | os.X_OK):
        return runtime
    return tempfile.gettempdir()


def session_root() -> Path:
    """The folder of all sessions of this user; it need not exist."""
    return Path(_base()) / f"himalia-{os.getuid()}"


def spill_root() -> Path:
    """Where objects are spilled to: on a disk, while session folders may lie in memory."""
    return Path(os.environ.get("HIMALIA_TMPDIR") or tempfile.gettempdir()) / f"himalia-{os.getuid()}"


def make_private(folder: Path) -> None:
    """Make a folder for this user alone, or see that it is that already."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise PermissionError(
                f"{folder} must be a folder that belongs to you with mode 0700, and is not: "
                "remove it, or set HIMALIA_TMPDIR to a folder of your own"
            ) from None


def create_session(node_id: bytes) -> str:
    """Make the folder of a node, and its `logs` folder; returns its path."""
    root = session_root()
    folder = root / f"session-{node_id.hex()}"
    if len(os.fsencode(folder)) + _SOCKET_NAME > _LONGEST_ENDPOINT:
        raise ValueError(f"sockets in {folder} would have too long a path: set HIMALIA_TMPDIR to a shorter one")
    for _ in range(10):
        make_private(root)
        try:
            folder.mkdir(mode=0o700)
        except FileNotFoundError:
            continue  # another cluster of ours ended at this moment and removed the empty root
        (folder / "logs").mkdir()
        return str(folder)
    raise OSError(f"could not make {folder}: {root} is being removed again and again")


def _write_private(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 that appears complete or not at all."""
    partial = path.with_suffix(".partial")
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
    partial.rename(path)


def write_record(session_dir: str, record: SessionRecord) -> None:
    """Say whose the folder is."""
    _write_private(Path(session_dir) / _RECORD_FILE, msgspec.json.encode(record))


def read_record(session_dir: str | Path) -> SessionRecord | None:
    """The folder's record, None if it has none that can be read."""
    try:
        return msgspec.json.decode((Path(session_dir) / _RECORD_FILE).read_bytes(), type=SessionRecord)
    except (OSError, msgspec.DecodeError):
        return None


def write_connection_file(info: ConnectionInfo) -> Path:
    """Write `cluster.json` into the session folder, mode 0600; returns its path."""
    path = Path(info.session_dir) / CONNECTION_FILE
    _write_private(path, msgspec.json.encode(info))
    return path


def write_token(session_dir: str, token: str) -> None:
    """Write the token of the dashboard by itself, for programs that want a file with nothing else (Prometheus)."""
    _write_private(Path(session_dir) / TOKEN_FILE, token.encode())


def read_connection_file(path: str | Path) -> ConnectionInfo:
    """Read a connection file, given itself or the session folder that holds it."""
    place = Path(path)
    if place.is_dir():
        place /= CONNECTION_FILE
    try:
        return msgspec.json.decode(place.read_bytes(), type=ConnectionInfo)
    except msgspec.DecodeError as error:
        raise ValueError(f"{place} is not a connection file of Himalia: {error}") from error


def process_started(pid: int) -> int:
    """When a process began, in clock ticks since boot; 0 if there is no such process (or only its zombie)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return 0
    # The second field is the program's name in parentheses, which may hold spaces and parentheses itself.
    fields = text[text.rindex(b")") + 2 :].split()
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def is_alive(pid: int, started: int) -> bool:
    """Whether this very process still runs."""
    return process_started(pid) == started != 0


def _sessions() -> Iterator[Path]:
    try:
        yield from session_root().glob("session-*")
    except OSError:
        return


def running_sessions() -> list[ConnectionInfo]:
    """This user's nodes on this machine, in the order in which a driver would choose one.

    Those that live by themselves come before those of drivers, head nodes before others, the newest first.
    """
    found: list[tuple[bool, bool, int, ConnectionInfo]] = []
    for folder in _sessions():
        record = read_record(folder)
        if record is None or not is_alive(record.pid, record.pid_started):
            continue
        with contextlib.suppress(OSError, ValueError):  # it ends at this moment, or is not ready yet
            info = read_connection_file(folder)
            found.append((record.owner_pid == 0, record.is_head, record.pid_started, info))
    return [info for *_, info in sorted(found, key=lambda item: item[:3], reverse=True)]


def remove_session(session_dir: str | Path, record: SessionRecord | None = None) -> None:
    """Remove a session folder and all that belongs to it; what is gone already is no error."""
    record = record or read_record(session_dir)
    if record is not None:
        shutil.rmtree(record.spill_dir, ignore_errors=True)
        with contextlib.suppress(OSError):  # other nodes use it
            Path(record.spill_dir).parent.rmdir()
    shutil.rmtree(session_dir, ignore_errors=True)
    with contextlib.suppress(OSError):
        Path(session_dir).parent.rmdir()


def sweep_stale_sessions(now: float | None = None) -> list[str]:
    """Remove what killed nodes of this user left behind; returns the folders and files removed."""
    now = time.time() if now is None else now
    removed: list[str] = []
    for folder in _sessions():
        record = read_record(folder)
        try:
            young = now - folder.stat().st_mtime < _UNRECORDED_SECONDS
        except OSError:
            continue
        if (record is None and young) or (record is not None and is_alive(record.pid, record.pid_started)):
            continue
        remove_session(folder, record)
        removed.append(str(folder))
    return removed
