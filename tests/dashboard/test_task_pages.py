"""Progress, the task graph, the tasks of a function, one task."""

from __future__ import annotations

from typing import Any

from himalia.dashboard.hub import Hub
from himalia.dashboard.pages.words import brief, group_key, group_of
from himalia.dashboard.themes import STATE_COLOURS
from tests.dashboard.cluster import PlayedCluster, source
from tests.dashboard.viewing import Looker


def bring(hub: Hub, played: PlayedCluster) -> None:
    played.now += 1
    hub.feed.apply(hub.feed.read(hub.needs()))
    hub.step()


def opened(played: PlayedCluster, page: str, params: dict[str, str] | None = None) -> tuple[Hub, Looker]:
    hub = Hub(played.feed())
    bring(hub, played)
    return hub, Looker(hub, page, params)


def test_progress_counts_each_function_of_each_cell() -> None:
    played, own = PlayedCluster(), source("f", cell=3)
    played.ran(own, 4)
    played.ran(source("f", cell=4), 1, error="ValueError: no")
    hub, looker = opened(played, "progress")
    assert [(row["cell"], row["total"], row["failed"]) for row in looker.rows("rows")] == [
        ("In [4]", 1, 1),
        ("In [3]", 4, 0),
    ]
    assert looker.row("rows", cell="In [3]")["done"] == 1.0
    played.ran(own, 6)
    bring(hub, played)
    assert looker.row("rows", cell="In [3]")["total"] == 10
    assert looker.row("numbers", key="done")["note"] == "100 % of 11"


def test_progress_of_one_cell_leaves_the_others_out() -> None:
    played = PlayedCluster()
    played.ran(source("f", cell=3), 4)
    played.ran(source("g", cell=4), 2)
    hub, looker = opened(played, "progress")
    cells = {row["label"]: row["key"] for row in looker.rows("cells")}
    assert list(cells) == ["All cells", "In [4]", "In [3]"]
    of_one = Looker(hub, "progress", {"cell": cells["In [4]"]})
    assert [row["name"] for row in of_one.rows("rows")] == ["g"]


def test_a_bar_is_as_long_as_the_share_of_each_state() -> None:
    played, own = PlayedCluster(), source("f")
    played.ran(own, 3)
    played.ran(own, 1, error="ValueError: no")
    _, looker = opened(played, "progress")
    (bar,) = looker.rows("bars")
    assert [bar[f"e{place}"] for place in range(6)] == [0, 0.75, 1, 1, 1, 1]


def test_a_box_of_the_graph_stays_where_it_is_while_others_come() -> None:
    played = PlayedCluster()
    played.ran(source("f"), 3)
    hub, looker = opened(played, "task_graph")
    before = looker.row("boxes", name="f")
    played.ran(source("g"), 2, error="ValueError: no")
    bring(hub, played)
    after = looker.row("boxes", name="f")
    assert [after[name] for name in ("left", "top")] == [before[name] for name in ("left", "top")]
    failed = looker.row("boxes", name="g")
    assert failed["frame"] == STATE_COLOURS["failed"]
    assert failed["counts"].startswith("2 tasks, 2 failed")
    assert failed["top"] < after["bottom"]


def test_the_graph_of_cells_has_one_box_for_all_functions_of_a_cell() -> None:
    played = PlayedCluster()
    for name in ("f", "g"):
        played.ran(source(name, cell=3), 2)
    _, looker = opened(played, "task_graph", {"level": "cells"})
    (box,) = looker.rows("boxes")
    assert (box["name"], box["cell"], box["total"]) == ("2 functions", "In [3]", 4)


def test_a_cell_that_is_over_tells_what_it_waited_for() -> None:
    played = PlayedCluster()
    played.ran(source("f", cell=3), 2, took=0.25)
    hub, looker = opened(played, "task_graph")
    key = looker.row("cells", label="In [3]")["key"]
    (step,) = Looker(hub, "task_graph", {"cell": key}).rows("chain")
    assert (step["name"], step["took"], step["why"]) == ("f", 0.25, "the first one")


def key_of(hub: Hub, name: str) -> str:
    (group,) = [group for group in hub.feed.state.model.groups.all if group.name == name]
    assert group_of(hub.feed.state.model, group_key(group)) is group
    return group_key(group)


def test_tasks_are_paged_sorted_and_filtered() -> None:
    played, own = PlayedCluster(), source("f")
    for took in (0.1, 0.3, 0.2):
        played.ran(own, 1, took=took)
    played.ran(own, 250, took=0.001)
    played.ran(own, 2, error="ValueError: no")
    played.ran(source("g"), 5)
    hub, _ = opened(played, "progress")
    key = key_of(hub, "f")

    def rows(**params: str) -> list[dict[str, Any]]:
        shown = Looker(hub, "tasks", {"group": key, **params}).rows("rows")
        return sorted(shown, key=lambda row: row["number"])

    assert [row["took"] for row in rows(sort="longest")[2:5]] == [0.3, 0.2, 0.1]
    assert len(rows()) == 200
    assert len(rows(page="1")) == 55
    assert [row["number"] for row in rows(page="1")][:2] == [201, 202]
    assert [row["error"] for row in rows(state="failed")] == ["ValueError: no"] * 2
    assert rows(state="running") == rows(state="waiting") == []
    pages = Looker(hub, "tasks", {"group": key}).rows("pages")
    assert [page["label"] for page in pages] == ["1 – 200 of 255", "201 – 255 of 255"]


def test_tasks_of_a_function_that_is_not_known_say_so() -> None:
    _, looker = opened(PlayedCluster(), "tasks", {"group": "f-12345678", "page": "many"})
    assert looker.rows("rows") == []


def test_a_task_shows_what_telemetry_and_its_owner_know() -> None:
    played = PlayedCluster()
    played.ran(source("f", cell=2), 1, error="ValueError: <script>alert(1)</script>")
    hub, looker = opened(played, "progress")
    key = key_of(hub, "f")
    (task,) = Looker(hub, "tasks", {"group": key}).data["rows"]["task"]
    played.rows_of[f"task_log:{task}"] = [{"text": "hello", "stream": 1, "at": 0.0}]
    played.rows_of[f"task_told:{task}"] = [
        {
            "kind": "facts",
            "pending": False,
            "missing": 0,
            "retries": 3,
            "resources": {"CPU": 1.0},
            "site": "a.py:1 in f",
        },
        {"kind": "argument", "slot": "0", "text": "17", "object": "", "maker": ""},
        {"kind": "traceback", "text": "Traceback\nValueError"},
        {"kind": "result", "object": "ab", "size": 9, "status": "FAILED", "nodes": [], "borrowers": []},
    ]
    looker = Looker(hub, "task", {"task": task})
    bring(hub, played)
    details = {row["label"]: row["value"] for row in looker.rows("details")}
    assert details["Function"] == "f"
    assert details["Needs"] == "1 CPU"
    assert details[""] == ""  # it is over: there is nothing to cancel
    assert looker.row("attempts", attempt=0)["took"] == 0.5
    assert looker.row("arguments", slot="0")["text"] == "17"
    assert looker.row("results", key="ab")["status"] == "failed"
    assert looker.data["log"]["text"] == ["hello"]
    assert looker.data["error"]["text"] == ["ValueError: <script>alert(1)</script>", "Traceback", "ValueError"]


def test_a_task_that_is_not_known_asks_nothing_odd() -> None:
    hub, looker = opened(PlayedCluster(), "task", {"task": "no id"})
    assert hub.needs() == set()
    assert looker.rows("details") == []


def test_numbers_are_short_where_there_is_little_room() -> None:
    assert [brief(one) for one in (7, 9_999, 12_345, 1_200_000)] == ["7", "9,999", "12.3 k", "1.2 M"]
