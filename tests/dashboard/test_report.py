"""A run as one file."""

from __future__ import annotations

import base64
import json
import re
import zlib
from typing import Any

import pytest

from himalia.dashboard.pages import menu
from himalia.dashboard.report import make_report
from tests.dashboard.cluster import PlayedCluster, source


def played_run() -> PlayedCluster:
    played, own = PlayedCluster(), source("f", cell=1)
    for second in range(20):
        played.now += 1
        played.ran(own, 2 + second, took=0.01)
    played.ran(source("g", cell=2), 3, error="ValueError: </script><script>alert(1)</script>")
    return played


def record_of(text: str) -> dict[str, Any]:
    (packed,) = re.findall(r'<script id="himalia-record" type="text/plain">([^<]*)</script>', text)
    record: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    return record


@pytest.fixture(scope="module")
def report() -> str:
    return make_report(played_run(), "recorded today")


def test_it_has_every_page_of_the_menu_and_those_that_they_lead_to(report: str) -> None:
    pages = record_of(report)["pages"]
    assert {f"{entry['name']}?{{}}" for entry in menu()} <= set(pages)
    names = [key.partition("?")[0] for key in pages]
    assert names.count("tasks") == 5  # two orders of two functions, and what failed of one
    assert names.count("task") == 13  # three that failed, and the longest of the other
    assert names.count("progress") == 3


def test_frames_are_what_changed_from_one_moment_to_the_next(report: str) -> None:
    record = record_of(report)
    entry = record["pages"]["progress?{}"]
    assert len(entry["frames"]) == len(record["times"]) > 20
    assert record["times"] == sorted(record["times"])
    assert {op["op"] for op in entry["frames"][0]} == {"reset"}
    sizes = [len(json.dumps(frame)) for frame in entry["frames"][1:]]
    assert sorted(sizes)[len(sizes) // 2] < len(json.dumps(entry["frames"][0]))


def test_it_says_what_of_the_run_is_left_out(report: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = "of 233 tasks 13 have a page: those that failed, and the longest of each function"
    assert record_of(report)["left_out"] == f"Left out of this file: {tasks}."
    monkeypatch.setattr("himalia.dashboard.report._GROUPS", 1)
    monkeypatch.setattr("himalia.dashboard.report._PAGE_BYTES", 2_000)
    said = record_of(make_report(played_run(), "recorded today"))["left_out"]
    assert "of 2 functions the newest 1 have a list of their tasks" in said
    assert "only the end is shown of Overview, Progress, " in said


def test_it_fetches_nothing_and_nothing_in_it_ends_a_script(report: str) -> None:
    assert "default-src 'none'" in report
    assert not re.search(r"""<(?:script|link|img)[^>]*(?:src|href)=""", report[: report.index("<script id=")])
    assert len(re.findall(r"</script", report)) == 3
    assert "alert(1)" not in report


def test_of_a_cluster_that_ran_nothing_there_is_a_report_too() -> None:
    record = record_of(make_report(PlayedCluster(), "recorded today"))
    assert len(record["times"]) == 1
    assert "progress?{}" in record["pages"]
