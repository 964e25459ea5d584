"""The pages of nodes and processes."""

from __future__ import annotations

from typing import Any

from himalia.dashboard.errands import UNDER_WAY
from tests.dashboard.pages.showing import NODE, Shown, node_row

OTHER = "02" * 8


def stats_row(**fields: Any) -> dict[str, Any]:
    row = {
        "node_id": NODE, "at": 100.0, "cpus": 4, "cpu_percent": 50.0, "cpu_percents": [100.0, 0.0], "load": [1.5],
        "limit_used": 1_000, "limit_total": 4_000, "swap_used": 0, "swap_total": 0, "store_used": 10,
        "store_capacity": 100, "spilled": 7, "busy_workers": 1, "workers": 3, "disk_read": 1.0, "disk_written": 2.0,
        "net_received": 3.0, "net_sent": 4.0, "disks": [{"path": "/", "used": 1, "total": 10}],
    }  # fmt: skip
    return {**row, **fields}


def whole_node(**fields: Any) -> dict[str, Any]:
    resources = {"CPU": 4.0, "memory": 1e9, "node:here": 1.0, "GPU": 2.0}
    return node_row(resources_total=resources, state_message="", **fields)


def process_row(**fields: Any) -> dict[str, Any]:
    row = {
        "worker_id": "w1", "node_id": NODE, "pid": 7, "process": "worker", "state": "leased", "function": "f",
        "cell": 3, "task_count": 2, "task_start_time_ms": 1_100_000, "cpu_percent": 99.0, "rss": 5_000, "uss": 3_000,
        "threads": 4, "job_id": "01", "actor_id": None, "task_id": "t1", "resources": {"CPU": 1.0}, "devices": {},
    }  # fmt: skip
    return {**row, **fields}


MEMORY = {"function": "f", "peak": 9, "grown": 5, "samples": 2, "node_id": NODE}


def shown_nodes(params: dict[str, str] | None = None) -> Shown:
    other = whole_node() | {"node_id": OTHER, "node_name": "there", "is_head_node": False}
    return Shown(
        "nodes",
        params,
        nodes=[whole_node(), other],
        node_stats=[stats_row(), stats_row(node_id=OTHER, cpu_percent=10.0)],
        worker_stats=[process_row(), process_row(worker_id="", process="raylet", function="", task_count=0)],
        function_memory=[MEMORY],
    )


def test_nodes_are_listed_with_what_they_have_and_use() -> None:
    looker = shown_nodes().looker
    row = looker.row("nodes", name="here")
    assert (row["resources"], row["memory_share"], row["store_share"]) == ("4 CPU, 2 GPU", 0.25, 0.1)
    assert (row["workers"], row["disk"], row["may_drain"]) == ("1 of 3", 0.1, False)
    assert looker.row("nodes", name="there")["may_drain"]
    assert looker.row("numbers", key="cores")["value"] == 2.4
    assert looker.row("numbers", key="memory")["share"] == 0.25
    assert looker.data["cores"]["core"] == ["here 0", "here 1", "there 0", "there 1"]
    assert looker.data["cpu"]["name"] == ["here", "there"]
    assert looker.data["traffic"]["sent"] == [8]


def test_one_node_can_be_chosen() -> None:
    looker = shown_nodes({"node": NODE}).looker
    assert looker.row("numbers", key="nodes")["value"] == 1
    assert looker.data["cores"]["core"] == ["0", "1"]
    assert len(looker.rows("nodes")) == 2


def test_a_sample_is_drawn_once() -> None:
    shown = shown_nodes()
    assert len(shown.bring().data["traffic"]["time"]) == 1
    shown.bring(node_stats=[stats_row(at=101.0)])
    assert len(shown.looker.data["traffic"]["time"]) == 2


def test_processes_have_what_they_run_and_servers_a_name_of_their_own() -> None:
    looker = shown_nodes().looker
    row = looker.row("processes", key="w1")
    assert (row["function"], row["cell"], row["since"], row["rss"]) == ("f and 1 more", "In [3]", 5.0, 5_000)
    assert looker.row("processes", process="raylet")["key"] == f"raylet@{NODE}"
    assert looker.row("functions", function="f")["grown"] == 5


def shown_worker(look: str = "", **rows: Any) -> Shown:
    params = {"worker": "w1", "look": look, "again": "1"} if look else {"worker": "w1"}
    return Shown("worker", params, worker_stats=[process_row()], **{"logs:worker=w1": [], **rows})


def test_a_process_is_shown_with_what_it_holds_and_runs() -> None:
    shown = shown_worker()
    assert shown.looker.row("details", key="held")["value"] == "CPU 1"
    assert shown.looker.row("details", key="since")["value"] == 5.0
    assert shown.looker.data["use"]["rss"] == [5_000]
    assert shown.hub.feed.state.failed == {}
    assert [panel["panel"] for panel in shown.looker.pages[0]["panels"]] == ["details", "plot", "text"]


def test_a_process_that_has_ended_says_why() -> None:
    ended = {"worker_id": "w1", "is_alive": False, "exit_detail": "signal 9", "exit_type": "CRASHED"}
    shown = Shown("worker", {"worker": "w1"}, worker_stats=[], workers=[ended], **{"logs:worker=w1": []})
    assert shown.looker.row("details", key="why")["value"] == "signal 9"


def test_a_stack_is_asked_for_by_a_press_of_a_button() -> None:
    name = "stack:again=1&of=w1"
    shown = shown_worker("stack", **{name: [{UNDER_WAY: 0.5}]})
    assert shown.looker.rows("stack") == []
    looker = shown.bring(**{name: [{"text": "main (x.py:3)", "mark": ""}]})
    assert looker.data["stack"]["text"] == ["main (x.py:3)"]


def test_a_profile_is_a_flame_graph_and_what_took_most() -> None:
    hot = {"name": "f", "place": "x.py:3", "own": 1.0, "total": 2.0}
    shown = shown_worker("profile", **{"profile:again=1&of=w1&seconds=5": [{"html": "<div>f</div>", "hot": [hot]}]})
    assert shown.looker.data["profile"]["html"] == ["<div>f</div>"]
    assert shown.looker.row("hot", name="f")["own"] == 1.0
    with_waiting = shown_worker("profile-all", **{"profile:again=1&idle=1&of=w1&seconds=5": []})
    assert with_waiting.hub.feed.state.failed == {}


def test_servers_are_asked_for_by_what_they_are() -> None:
    params = {"worker": f"raylet@{NODE}", "look": "stack", "again": "1"}
    rows: dict[str, Any] = {f"stack:again=1&of={NODE}": []}
    shown = Shown("worker", params, worker_stats=[process_row(worker_id="", process="raylet")], **rows)
    assert shown.hub.feed.state.failed == {}
    assert shown.looker.row("details", key="process")["value"] == "raylet"
