"""The command line: what it parses, and a cluster started, looked at and stopped by it."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import pytest

from himalia.__main__ import main, make_parser
from himalia.cli._cluster import _labels, _resources, _size
from himalia.cli._output import print_table
from himalia.cli._state import _filter
from tests.support.clusters import eventually


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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--head", "--num-cpus=-1"], "'CPU' must not be negative"),
        (["--head", '--resources={"CPU": 1}'], "'CPU' has an argument of its own"),
        (["--head", "--object-store-memory=1"], "at least 1048576 bytes"),
        (["--head", "--spill-dir=nothing://here"], "nothing"),
        (["--head", "--spill-dir=/proc/nowhere"], "spilling to /proc/nowhere is not possible"),
        (["--address=127.0.0.1:9"], "No cluster '127.0.0.1:9' is known"),
    ],
)
def test_a_node_that_cannot_start_is_one_line_and_leaves_nothing(
    arguments: list[str], said: str, sessions: Path
) -> None:
    done = run("start", *arguments, tmp=sessions)
    assert done.returncode == 1
    assert done.stdout == ""
    assert said in done.stderr
    assert done.stderr.startswith("himalia: ")
    assert done.stderr.count("\n") == 1
    assert not list(sessions.glob("*/session-*"))


def test_of_two_clusters_the_newest_is_meant_unless_an_address_names_one(sessions: Path) -> None:
    try:
        assert run("start", "--head", "--num-cpus=1", tmp=sessions).returncode == 0
        (first,) = sessions.glob("*/session-*")
        assert run("start", "--head", "--num-cpus=2", tmp=sessions).returncode == 0

        def cpus(*address: str) -> float:
            status = json.loads(run("status", "--format=json", *address, tmp=sessions).stdout)
            return float(status["resources"]["CPU"]["total"])

        assert cpus() == 2
        assert cpus(f"--address={first}") == 1
        stopped = run("stop", f"--address={first}", tmp=sessions).stdout
        assert not first.exists()
        (second,) = sessions.glob("*/session-*")
        assert stopped == f"Stopped 1 node.\nStill running: {second}  (himalia stop --all ends all)\n"
        assert cpus() == 2
    finally:
        stop = run("stop", "--all", tmp=sessions)
    assert stop.stdout == "Stopped 1 node.\n"
    assert run("stop", tmp=sessions).stdout == "No node of yours runs on this machine.\n"


def test_stop_ends_the_newest_cluster_and_all_only_when_told_to(sessions: Path) -> None:
    try:
        for cpus in (1, 2, 3):
            assert run("start", "--head", f"--num-cpus={cpus}", tmp=sessions).returncode == 0
        stopped = run("stop", tmp=sessions).stdout
        assert stopped.startswith("Stopped 1 node.\nStill running: ")
        status = json.loads(run("status", "--format=json", tmp=sessions).stdout)
        assert status["resources"]["CPU"]["total"] == 2
        assert run("stop", "--all", "--address=auto", tmp=sessions).returncode == 2
    finally:
        stop = run("stop", "--all", tmp=sessions)
    assert stop.stdout == "Stopped 2 nodes.\n"
    assert not list(sessions.glob("*/session-*"))


def test_what_a_short_program_ran_is_there_when_it_has_ended(sessions: Path) -> None:
    """It leaves before its workers have told what they ran, as they do some times a second, and they end with it."""
    program = """
import himalia
himalia.init("auto")
himalia.get([himalia.remote(abs).options(name="short").remote(i) for i in range(4)])
"""
    env = {**os.environ, "HIMALIA_TMPDIR": str(sessions), "HIMALIA_ADDRESS": ""}
    try:
        assert run("start", "--head", "--num-cpus=2", tmp=sessions).returncode == 0
        for _ in range(3):
            subprocess.run([sys.executable, "-c", program], env=env, timeout=50, check=True)

        def states() -> list[str]:
            rows = json.loads(run("list", "tasks", "--format=json", tmp=sessions).stdout)
            return [row["state"] for row in rows if row["name"] == "short"]

        eventually(lambda: len(states()) == 12, "all tasks to be listed", 30)
        assert set(states()) == {"FINISHED"}
    finally:
        run("stop", tmp=sessions)


def test_a_program_on_the_cluster_is_seen_by_all_commands(sessions: Path) -> None:
    program = """
import himalia
himalia.init("auto")

@himalia.remote
def square(x):
    return x * x

@himalia.remote
class Counter:
    def add(self):
        return 1

counter = Counter.options(name="count").remote()
assert himalia.get([square.remote(i) for i in range(3)]) == [0, 1, 4]
assert himalia.get(counter.add.remote()) == 1
large = himalia.put(bytes(1_000_000))
group = himalia.util.placement_group([{"CPU": 1}], name="reserved")
waiting = himalia.util.placement_group([{"CPU": 7}], name="too large")
assert group.wait(20)
print("ready", flush=True)
input()
"""
    env = {**os.environ, "HIMALIA_TMPDIR": str(sessions), "HIMALIA_ADDRESS": ""}
    try:
        assert run("start", "--head", "--num-cpus=1", tmp=sessions).returncode == 0
        with subprocess.Popen(
            [sys.executable, "-c", program], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as driver:
            assert driver.stdout is not None
            assert driver.stdout.readline() == "ready\n"

            def listed(kind: str, *more: str) -> list[dict[str, object]]:
                rows: list[dict[str, object]] = json.loads(
                    run("list", kind, "--format=json", *more, tmp=sessions).stdout
                )
                return rows

            # Workers report what they ran some times a second.
            eventually(lambda: len(listed("tasks", "-f", "state=FINISHED")) == 5, "all tasks to be reported", 30)
            assert [row["state"] for row in listed("tasks", "-f", "name=square")] == ["FINISHED"] * 3
            assert [(row["class_name"], row["name"]) for row in listed("actors")] == [("Counter", "count")]
            assert [(row["type"], row["pid"]) for row in listed("objects", "-f", "origin=PUT")] == [
                ("DRIVER", driver.pid)
            ]
            assert [row["status"] for row in listed("jobs")] == ["RUNNING"]
            assert driver.pid in [row["pid"] for row in listed("workers", "-f", "worker_type=DRIVER")]
            assert "square" in run("summary", "tasks", tmp=sessions).stdout
            assert "Counter" in run("summary", "actors", tmp=sessions).stdout
            assert "<string>:17 in <module>" in run("summary", "objects", tmp=sessions).stdout
            groups = {row["name"]: row for row in listed("placement-groups")}
            assert {name: row["state"] for name, row in groups.items()} == {
                "reserved": "CREATED",
                "too large": "PENDING",
            }
            too_large = str(groups["too large"]["placement_group_id"])
            assert "PENDING" in run("get", "placement-groups", too_large, tmp=sessions).stdout
            assert "too large (1 bundle): NEVER" in run("why", tmp=sessions).stdout
            memory = run("memory", tmp=sessions)
            assert "<string>:17 in <module>" in memory.stdout
            assert re.search(r"1\.0 MB .*LOCAL_REFERENCE", memory.stdout), memory.stdout
            cut = run("list", "tasks", "--limit=1", tmp=sessions)
            assert "1 of 5 shown: --limit 5 shows all" in cut.stderr
            timeline = sessions / "timeline.json"
            assert run("timeline", str(timeline), tmp=sessions).returncode == 0
            names = [event["name"] for event in json.loads(timeline.read_text()) if event["ph"] == "X"]
            assert names.count("square") == 3
            nowhere = run("timeline", str(sessions / "no" / "file"), tmp=sessions)
            assert nowhere.returncode == 1
            assert "No such file" in nowhere.stderr
            driver.communicate("\n", timeout=20)
        assert driver.returncode == 0
    finally:
        run("stop", tmp=sessions)


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
        assert [node["labels"]["zone"] for node in nodes] == ["a"]
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


def test_the_dashboards_url_is_printed_with_what_logs_in_and_by_status_without(sessions: Path) -> None:
    try:
        started = run("start", "--head", "--num-cpus=1", tmp=sessions)
        printed = run("dashboard", "--no-browser", tmp=sessions).stdout.strip()
        page = run("dashboard", "tasks", "--no-browser", tmp=sessions).stdout.strip()
        status = run("status", tmp=sessions).stdout
        refused = run("dashboard", "../tasks", "--no-browser", tmp=sessions)
    finally:
        run("stop", tmp=sessions)
    url, _, token = printed.partition("/?token=")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
    assert len(token) == 48
    assert page == f"{url}/page/tasks?token={token}"
    assert f"Dashboard: {url}\n" in status
    assert url in started.stdout
    assert token not in status + started.stdout
    assert "no name of a page" in refused.stderr


def test_a_cluster_without_a_dashboard_says_so(sessions: Path) -> None:
    try:
        assert run("start", "--head", "--num-cpus=1", "--include-dashboard=false", tmp=sessions).returncode == 0
        refused = run("dashboard", tmp=sessions)
    finally:
        run("stop", tmp=sessions)
    assert refused.returncode == 1
    assert "without a dashboard" in refused.stderr


def test_a_browser_is_given_a_file_that_only_its_user_can_read_and_no_token(
    sessions: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from himalia.cli import _dashboard

    opened: list[str] = []
    monkeypatch.setenv("HIMALIA_TMPDIR", str(sessions))
    monkeypatch.delenv("HIMALIA_ADDRESS", raising=False)
    monkeypatch.setattr(_dashboard, "_has_screen", lambda: True)
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    assert run("start", "--head", "--num-cpus=1", tmp=sessions).returncode == 0
    try:
        for _ in range(2):  # a second time, too
            assert main(["dashboard"]) == 0
        url = capsys.readouterr().out.splitlines()[0]
        page = Path(opened[-1].removeprefix("file://"))
        assert url in page.read_text()
        assert page.stat().st_mode & 0o777 == 0o600
        assert "token" not in "".join(opened)
    finally:
        run("stop", tmp=sessions)
