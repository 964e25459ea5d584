"""The command line: what it parses, and a cluster started, looked at and stopped by it."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from himalia.__main__ import main, make_parser
from himalia.cli._cluster import _labels, _resources, _size
from himalia.cli._output import print_table
from himalia.cli._state import _filter


@pytest.mark.parametrize(
    ("text", "size"), [("100", 100), ("1K", 1024), ("1.5g", 3 << 29), ("2GiB", 2 << 30), ("8GB", 8 << 30)]
)
def test_sizes_have_units(text: str, size: int) -> None:
    assert _size(text) == size


@pytest.mark.parametrize(("parse", "text"), [(_size, "much"), (_resources, "{"), (_resources, "[1]"), (_labels, "a")])
def test_what_cannot_be_read_is_refused_with_an_example(parse: object, text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="write"):
        parse(text)  # type: ignore[operator]


def test_labels_and_resources_are_read() -> None:
    assert _labels("zone=a, kind=fast") == {"zone": "a", "kind": "fast"}
    assert _resources('{"disk": 2}') == {"disk": 2.0}


def test_filters_are_read() -> None:
    assert _filter("state=RUNNING") == ("state", "=", "RUNNING")
    assert _filter("name!=f=g") == ("name", "!=", "f=g")
    with pytest.raises(argparse.ArgumentTypeError):
        _filter("state")


def test_start_needs_to_know_which_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make_parser().parse_args(["start"])
    assert "--head --address" in capsys.readouterr().err


def test_a_wide_table_is_cut_to_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    print_table(["A", "B"], [["x" * 100, "y"], ["short", "z"]])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 60
    assert "…" in lines[1]


def test_no_cluster_is_one_line_and_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HIMALIA_TMPDIR", str(tmp_path))
    monkeypatch.delenv("HIMALIA_ADDRESS", raising=False)
    assert main(["status"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("himalia: No cluster of yours runs")
    assert error.count("\n") == 1


def run(*arguments: str, tmp: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "HIMALIA_TMPDIR": str(tmp), "HIMALIA_ADDRESS": ""}
    return subprocess.run(
        [sys.executable, "-m", "himalia", *arguments], env=env, capture_output=True, text=True, timeout=50, check=False
    )


@pytest.fixture
def sessions() -> Iterator[Path]:
    """A short path: Unix sockets lie below it."""
    with tempfile.TemporaryDirectory(prefix="hm-", dir="/tmp") as folder:
        yield Path(folder)


def test_a_cluster_is_started_joined_looked_at_and_stopped(sessions: Path) -> None:
    try:
        start = run("start", "--head", "--num-cpus=2", "--host=127.0.0.1", "--labels=zone=a", tmp=sessions)
        assert start.returncode == 0, start.stderr
        (session,) = sessions.glob("*/session-*")
        join = run("start", f"--address={session}", "--num-cpus=1", '--resources={"disk": 2}', tmp=sessions)
        assert join.returncode == 0, join.stderr
        status = json.loads(run("status", "--format=json", tmp=sessions).stdout)
        assert [node["state"] for node in status["nodes"]] == ["ALIVE", "ALIVE"]
        assert status["resources"]["CPU"]["total"] == 3.0
        assert status["resources"]["disk"]["total"] == 2.0
        nodes = json.loads(run("list", "nodes", "--format=json", "-f", "is_head_node=true", tmp=sessions).stdout)
        assert [node["labels"] for node in nodes] == [{"zone": "a"}]
        assert "RESOURCE" in run("status", tmp=sessions).stdout
        assert run("get", "nodes", nodes[0]["node_id"], tmp=sessions).stdout.startswith("FIELD")
        missing = run("get", "nodes", "ff", tmp=sessions)
        assert (missing.returncode, missing.stdout) == (1, "")
        assert run("summary", "tasks", tmp=sessions).stdout.startswith("NAME")
        timeline = sessions / "timeline.json"
        run("timeline", str(timeline), tmp=sessions)
        assert json.loads(timeline.read_text()) == []
        wrong = run("list", "tasks", "--filter", "colour=red", tmp=sessions)
        assert wrong.returncode == 1
        assert "colour" in wrong.stderr
    finally:
        stop = run("stop", tmp=sessions)
    assert stop.stdout == "Stopped 2 nodes.\n"
    assert not list(sessions.glob("*/session-*"))
