"""Session folders are private, say whose they are, and do not outlive their processes for long."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from himalia.cluster.launchers import session
from himalia.cluster.launchers.boot import ConnectionInfo
from himalia.cluster.protocol.common import Address

NODE = b"\x01node!!!"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    short = Path(f"/tmp/himalia-test-{os.getpid()}")
    short.mkdir()
    monkeypatch.setenv("HIMALIA_TMPDIR", str(short))
    yield session.session_root()
    for path in sorted(short.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    short.rmdir()


def record(pid: int | None = None, **more: object) -> session.SessionRecord:
    pid = os.getpid() if pid is None else pid
    fields: dict[str, object] = {
        "node_id": NODE,
        "cluster_id": "c",
        "pid": pid,
        "pid_started": session.process_started(pid),
        "spill_dir": str(session.spill_root() / "spill"),
        "is_head": True,
        **more,
    }
    return session.SessionRecord(**fields)  # type: ignore[arg-type]


def connection(folder: str) -> ConnectionInfo:
    return ConnectionInfo(
        cluster_id="c", node_id=NODE, gcs=Address(b"g"), raylet=Address(NODE), session_dir=folder, secret_key="s"
    )


def test_a_session_is_for_its_user_alone(root: Path) -> None:
    folder = Path(session.create_session(NODE))
    assert folder.parent == root
    assert (folder / "logs").is_dir()
    for path in (root, folder):
        assert path.stat().st_mode & 0o777 == 0o700
    session.remove_session(folder)
    assert not root.exists()


def test_a_root_that_others_can_use_is_refused(root: Path) -> None:
    root.mkdir(mode=0o755)
    root.chmod(0o755)
    with pytest.raises(PermissionError, match="mode 0700"):
        session.create_session(NODE)


def test_a_root_that_is_a_link_is_refused(root: Path, tmp_path: Path) -> None:
    root.symlink_to(tmp_path)
    with pytest.raises(PermissionError):
        session.create_session(NODE)
    root.unlink()


def test_a_folder_too_deep_for_sockets_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIMALIA_TMPDIR", str(tmp_path / ("x" * 60)))
    with pytest.raises(ValueError, match="set HIMALIA_TMPDIR to a shorter one"):
        session.create_session(NODE)


@pytest.mark.parametrize("runtime", ["usable", "missing"])
def test_without_a_choice_it_is_the_users_runtime_folder_or_the_temporary_one(
    runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HIMALIA_TMPDIR", raising=False)
    place = tmp_path if runtime == "usable" else tmp_path / "none"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
    expected = tmp_path if runtime == "usable" else Path("/tmp")
    assert session.session_root() == expected / f"himalia-{os.getuid()}"


def test_the_connection_file_holds_the_key_and_is_private(root: Path) -> None:
    folder = session.create_session(NODE)
    info = connection(folder)
    path = session.write_connection_file(info)
    assert path.stat().st_mode & 0o777 == 0o600
    assert session.read_connection_file(path) == info
    assert session.read_connection_file(folder) == info
    path.write_text("{}")
    with pytest.raises(ValueError, match="is not a connection file"):
        session.read_connection_file(path)


def test_what_lives_is_not_swept(root: Path) -> None:
    folder = session.create_session(NODE)
    session.write_record(folder, record())
    assert session.sweep_stale_sessions() == []
    assert Path(folder).exists()


def test_what_a_dead_process_left_is_swept(root: Path) -> None:
    sleeper = subprocess.Popen(["sleep", "60"])
    folder = session.create_session(NODE)
    left = record(sleeper.pid)
    session.write_record(folder, left)
    spilled = Path(left.spill_dir) / "spill"
    spilled.mkdir(parents=True)
    (spilled / "1").write_bytes(b"x")
    assert session.sweep_stale_sessions() == []
    sleeper.kill()
    sleeper.wait()
    assert session.sweep_stale_sessions() == [folder]
    assert not Path(folder).exists()
    assert not spilled.exists()


def test_a_process_is_told_from_a_later_one_of_its_id(root: Path) -> None:
    folder = session.create_session(NODE)
    session.write_record(folder, record(pid_started=session.process_started(os.getpid()) - 1))
    assert session.sweep_stale_sessions() == [folder]


def test_a_folder_in_the_making_is_left_alone_for_a_while(root: Path) -> None:
    folder = session.create_session(NODE)
    assert session.sweep_stale_sessions() == []
    assert session.sweep_stale_sessions(time.time() + 61) == [folder]


def test_running_sessions_are_those_with_a_live_host_and_a_connection_file(root: Path) -> None:
    ready, starting, dead = (session.create_session(bytes([1, n]) + bytes(6)) for n in range(3))
    for folder in (ready, starting):
        session.write_record(folder, record())
    session.write_record(dead, record(pid_started=1))
    for folder in (ready, dead):
        session.write_connection_file(connection(folder))
    assert [info.session_dir for info in session.running_sessions()] == [ready]


def test_a_zombie_does_not_live() -> None:
    child = subprocess.Popen(["true"])
    while Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.001)
    assert session.process_started(child.pid) == 0
    child.wait()
    assert not session.is_alive(0, 0)
