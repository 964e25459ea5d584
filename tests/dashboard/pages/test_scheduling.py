"""The page that says why work waits."""

from __future__ import annotations

from typing import Any

from tests.dashboard.pages.showing import NODE, Shown, node_row

LACKS = {"node_id": NODE, "host": "here", "verdict": "too small", "reason": "it has 4 CPU of the 100 asked for"}
NEVER: dict[str, Any] = {
    "kind_of_work": "tasks", "name": "big", "cell": 3, "tasks": 5, "waited_s": 7.5, "verdict": "NEVER",
    "reason": "no node has it", "resources": {"CPU": 100.0, "memory": 2e9}, "strategy": "DEFAULT", "labels": {},
    "owner_id": "o1", "actor_id": None, "nodes": [LACKS],
}  # fmt: skip
BUSY = {**NEVER, "name": "small", "verdict": "BUSY", "tasks": 2, "waited_s": 1.0, "strategy": "SPREAD"}
NODES = [node_row(resources_total={"CPU": 4.0, "memory": 1e10}, resources_available={"CPU": 1.0, "memory": 1e10})]


def test_what_waits_says_what_it_needs_and_what_each_node_lacks() -> None:
    looker = Shown("scheduling", pending=[NEVER, BUSY], nodes=NODES).looker
    row = looker.row("waiting", name="big")
    assert (row["verdict"], row["mark"], row["needs"]) == ("can never run", "failed", "100 CPU, 2.0 GB memory")
    assert looker.row("waiting", name="small")["needs"] == "100 CPU, 2.0 GB memory, SPREAD"
    assert [row["name"] for row in looker.rows("nodes")] == ["big", "small"]
    assert looker.row("nodes", name="big")["reason"] == "it has 4 CPU of the 100 asked for"
    assert looker.row("free", resource="CPU")["share"] == 0.75
    assert looker.row("numbers", key="never")["value"] == 5
    assert looker.row("numbers", key="longest")["value"] == 7.5


def test_a_row_can_be_chosen() -> None:
    shown = Shown("scheduling", pending=[NEVER, BUSY], nodes=NODES)
    key = shown.looker.row("waiting", name="small")["key"]
    shown.looker.viewer.change({"of": key})
    assert [row["name"] for row in shown.bring().rows("nodes")] == ["small"]


def test_nothing_waits() -> None:
    looker = Shown("scheduling", pending=[], nodes=NODES).looker
    assert looker.row("numbers", key="longest")["value"] is None
    assert looker.rows("waiting") == []
