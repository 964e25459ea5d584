"""Every benchmark runs, at sizes that measure nothing, so that none rots between the days when somebody measures."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.source_tree import ROOT

BENCH = ROOT / "bench"

pytestmark = pytest.mark.skipif(not BENCH.is_dir(), reason="the benchmarks are no part of an installed package")


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, str(BENCH / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    # 1 says that a floor is not met, which at these sizes says nothing.
    assert done.returncode in (0, 1), done.stderr
    assert "himalia: " not in done.stderr, done.stderr  # how `peers.py` begins when an engine failed
    return done.stdout


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, object]]:
    report = tmp_path_factory.mktemp("bench") / "peers.json"
    # Without `put_large`, which fills 800 MB.
    names = "tasks_two_clients,task_chain,tree_reduce,async_actor_async,get_small"
    small = ("--rounds", "1", "--seconds", "0.01")
    text = run("peers.py", "--engines", "himalia", *small, "--only", names, "--floors", "--json", str(report))
    return text, json.loads(report.read_text())


def test_workloads_run_and_give_figures(peers: tuple[str, dict[str, object]]) -> None:
    figures = peers[1]["figures"]
    assert isinstance(figures, dict)

    assert {"startup_to_first_result_s", "idle_memory_mb", "task_chain", "get_64kb", "shutdown_s"} <= set(figures)
    assert all(value > 0 for rounds in figures.values() for value in rounds["himalia"])


def test_a_report_names_the_machine(peers: tuple[str, dict[str, object]]) -> None:
    text, report = peers
    described = report["machine"]
    assert isinstance(described, dict)

    assert {"cpu", "cores", "memory_gb", "kernel", "python", "versions", "date", "load"} <= set(described)
    assert str(described["cpu"]) in text


def test_what_a_floor_compares_with_and_is_not_there_is_not_judged(peers: tuple[str, dict[str, object]]) -> None:
    lines = [line for line in peers[0].splitlines() if line.startswith("task_chain") and "× ray" in line]

    assert lines
    assert lines[0].endswith("not measured")


def test_an_unknown_workload_is_refused_with_the_names_there_are() -> None:
    command = [sys.executable, str(BENCH / "peers.py"), "--only", "tasks_snyc"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    assert done.returncode != 0
    assert "tasks_snyc" in done.stderr
    assert "tasks_sync" in done.stderr


def test_costs_of_tasks_are_measured(tmp_path: Path) -> None:
    report = tmp_path / "tasks.json"
    sizes = ("--seconds", "0.04", "--rounds", "1", "--queued", "1000", "--counted", "50", "--method", "bytecodes")
    run("tasks.py", *sizes, "--json", str(report))

    figures = json.loads(report.read_text())["figures"]

    assert 0 < figures["queued_task"]["value"] < 10_000
    assert {"queued_done", "telemetry_rate_ratio", "latency_idle_p50", "latency_loaded_p99"} <= set(figures)
    assert figures["hot_path_total"]["unit"] == "bytecodes"


def test_bytecodes_of_the_hot_path_are_the_same_in_each_run() -> None:
    first, second = (run("hot_path.py", "--method", "bytecodes", "--tasks", "200") for _ in range(2))

    assert first == second


def test_measuring_a_cell_costs_its_tasks_less_than_three_percent() -> None:
    def total(*options: str) -> float:
        last = run("hot_path.py", "--method", "bytecodes", "--tasks", "1000", *options).splitlines()[-1]
        return float(last.split()[1].replace(",", ""))

    assert total("--explained") <= 1.03 * total()


def test_floors_judge_against_a_peer_a_limit_and_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    from floors import judge  # type: ignore[import-not-found]

    medians = {
        "tasks_async": {"ray": 100.0, "himalia": 1900.0},
        "idle_memory_mb": {"ray": 1000.0, "himalia": 200.0},
        "put_large_gb_per_s": {"himalia": 7.0},
        "memcpy_limit_gb_per_s": {"himalia": 10.0},
        "fine_grained_efficiency": {"himalia": 0.89},
    }

    verdicts = {verdict.floor.figure: verdict.is_met for verdict in judge(medians)}

    assert verdicts["tasks_async"] is False
    assert verdicts["idle_memory_mb"] is True
    assert verdicts["put_large_gb_per_s"] is True
    assert verdicts["fine_grained_efficiency"] is False
    assert verdicts["tasks_sync"] is None


def test_figures_are_published_where_the_marks_are(peers: tuple[str, dict[str, object]], tmp_path: Path) -> None:
    report = tmp_path / "peers.json"
    report.write_text(json.dumps(peers[1]))
    (tmp_path / "docs").mkdir()
    for place, mark in (("README.md", "short"), ("docs/benchmarks.md", "all")):
        text = f"before\n<!-- figures: {mark} -->\nold\n<!-- end of figures -->\nafter\n"
        (tmp_path / place).write_text(text)
    run("publish.py", str(report), "--root", str(tmp_path))
    page = (tmp_path / "docs/benchmarks.md").read_text()
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert "old" not in page
    assert "| each task on the result of the last, 1/s |" in page
    assert "CPython" in page
    assert "task_chain" not in (tmp_path / "README.md").read_text()


def test_widgets_measures_what_pages_send_and_how_long_they_hold_up(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    output = run("widgets.py", "--seconds", "1", "--rate", "2000", "--pages", "overview", "--json", str(report))
    found = json.loads(report.read_text())
    assert 0 < found["bytes_a_second"]["overview"] < 100_000
    assert found["opening_bytes"]["overview"] > 1_000
    assert found["updates"] > 0
    assert 0 < found["update_cpu_ms"]["p50"] <= found["update_cpu_ms"]["max"]
    assert "held up by pages" in output


@pytest.mark.parametrize("script", ["routing.py", "explain.py"])
def test_what_a_cell_costs_is_measured_in_pairs(script: str, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    output = run(script, "--tasks", "50", "--rounds", "3", "--json", str(report))
    found = json.loads(report.read_text())
    assert found["pairs"] == 3
    assert 0 < found["low"] <= found["median"] <= found["high"]
    assert "of the rate is left" in output


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium is installed (Debian: apt install chromium)")
def test_dashboard_browser_measures_what_somebody_notices(tmp_path: Path) -> None:
    pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    report = tmp_path / "report.json"
    small = ("--tasks", "2000", "--rate", "500", "--seconds", "1")
    output = run("dashboard_browser.py", *small, "--json", str(report))
    figures = json.loads(report.read_text())["figures"]
    assert all(
        figures[name] > 0 for name in ("first_paint_s", "click_p95_s", "moment_p95_s", "memory_mb", "pixel_p95_s")
    )
    assert "first_paint_s" in output
