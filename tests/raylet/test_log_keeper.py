"""Logs of workers that have ended go when there are too many of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from himalia.cluster.raylet.log_keeper import trim_logs
from himalia.cluster.telemetry.task_log import dropped_bytes


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """Five workers with 1,000 bytes each, the first of them the oldest; and a server's log."""
    folder = tmp_path / "logs"
    folder.mkdir()
    for number in range(5):
        for kind, size in (("log", 600), ("index", 200), ("out", 200)):
            path = folder / f"worker-{number}{number}.{kind}"
            path.write_bytes(b"x" * size)
            os.utime(path, (number, number))
    (folder / "raylet.log").write_bytes(b"x" * 100_000)
    return tmp_path


def workers(session: Path) -> set[str]:
    return {path.name.split("-")[1].split(".")[0] for path in (session / "logs").glob("worker-*")}


def test_within_the_bound_nothing_goes(session: Path) -> None:
    assert trim_logs(str(session), 5_000, set()) == 0
    assert len(workers(session)) == 5


def test_the_oldest_go_whole_and_are_counted(session: Path) -> None:
    assert trim_logs(str(session), 4_000, set()) == 2_000
    assert workers(session) == {"22", "33", "44"}
    assert dropped_bytes(session / "logs") == {"": 2_000}
    assert trim_logs(str(session), 2_000, set()) == 2_000
    assert dropped_bytes(session / "logs") == {"": 4_000}


def test_living_workers_keep_theirs(session: Path) -> None:
    assert trim_logs(str(session), 2_000, {"00", "11", "22", "33"}) == 1_000
    assert workers(session) == {"00", "11", "22", "33"}
