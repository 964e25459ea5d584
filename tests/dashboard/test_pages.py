"""Every page, and what its tables hold."""

from __future__ import annotations

import json

import pytest

from himalia.dashboard.hub import Hub
from himalia.dashboard.pages import PAGES
from himalia.dashboard.themes import STATE_COLOURS, function_colour
from tests.dashboard.cluster import PlayedCluster, source
from tests.dashboard.viewing import Looker


def bring(hub: Hub, played: PlayedCluster) -> None:
    played.now += 1
    hub.feed.apply(hub.feed.read(hub.needs()))
    hub.step()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_an_empty_cluster_says_what_to_do(name: str) -> None:
    hub = Hub(PlayedCluster().feed())
    (page,) = Looker(hub, name).pages
    assert page["title"]
    assert page["about"]
    for panel, plot in zip(page["panels"], page["plots"], strict=True):
        assert (panel["panel"] == "plot") == (plot is not None)
        if panel["panel"] in ("table", "text", "frame"):
            assert panel["empty"], f"{panel['title']} says nothing while it is empty"


@pytest.mark.parametrize("name", PAGES)
def test_panels_name_sources_and_columns_that_are_there(name: str) -> None:
    hub = Hub(PlayedCluster().feed())
    looker = Looker(hub, name)
    for panel in looker.pages[0]["panels"]:
        for one in panel.get("sources", [panel.get("source")]):
            assert one in looker.data
        columns = looker.data[panel.get("source", panel.get("sources", [""])[0])]
        for column in panel.get("columns", []):
            assert column["name"] in columns
        for opened in [panel["opens"]] if "opens" in panel else []:
            assert opened["page"] in ("", *PAGES)
            assert set(opened["params"].values()) <= set(columns)
            known = {"job", *PAGES[opened["page"] or name].PARAMS}
            assert set(opened["params"]) | set(opened.get("fixed", {})) <= known


def test_overview_shows_work_and_nodes() -> None:
    played = PlayedCluster()
    hub = Hub(played.feed())
    looker = Looker(hub, "overview")
    played.ran(source("f", cell=3), 4)
    played.ran(source("g"), 1, error="ValueError: no")
    bring(hub, played)
    assert looker.row("functions", name="f")["cell"] == "In [3]"
    assert looker.row("functions", name="g")["failed"] == 1
    assert looker.row("nodes", host="here")["cpu"] == 1
    assert looker.row("numbers", key="cpu") == {
        "key": "cpu", "label": "CPUs in use", "value": 1, "kind": "number", "share": 0.25, "note": "of 4",
    }  # fmt: skip
    assert looker.data["use"]["cpu"] == [1]


def test_task_stream_has_a_row_for_each_worker_and_marks_what_failed() -> None:
    played = PlayedCluster()
    hub = Hub(played.feed())
    looker = Looker(hub, "task_stream")
    played.ran(source("f"), 2, worker=1)
    played.ran(source("g", cell=2), 1, worker=2, error="ValueError: no")
    bring(hub, played)
    assert looker.data["workers"]["label"] == ["1", "2"]
    assert looker.data["bars"]["colour"] == [function_colour("f")] * 2 + [STATE_COLOURS["failed"]]
    failed = looker.row("bars", name="g")
    assert (failed["worker"], failed["cell"], failed["state"]) == ("2", "In [2]", "failed")
    assert failed["end"] - failed["begin"] == 500


def test_task_stream_thins_what_comes_too_fast_and_loses_no_task() -> None:
    played = PlayedCluster()
    hub = Hub(played.feed())
    looker = Looker(hub, "task_stream")
    bring(hub, played)
    seen = 0
    for _ in range(8):  # 64 workers, 10,000 tasks a second
        for worker in range(64):
            played.ran(source("f"), 160, worker=worker, took=0.006)
        before = len(looker.texts)
        bring(hub, played)
        seen += sum(len(text) for text in looker.texts[before:])
    assert seen / 8 < 100_000  # bytes a second
    assert looker.row("functions", name="f")["tasks"] == 8 * 64 * 160
    ops = [op for text in looker.texts for op in json.loads(text).get("ops", []) if op["source"] == "bars"]
    assert sum(sum(op["data"]["count"]) for op in ops) == 8 * 64 * 160
