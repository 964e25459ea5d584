"""The pages of placement groups."""

from __future__ import annotations

from typing import Any

from tests.dashboard.pages.showing import NODE, Shown, actor_row


def bundle(free: dict[str, float] | None, **fields: Any) -> dict[str, Any]:
    state = "WAITING" if free is None else "CREATED"
    return {
        "unit_resources": {"CPU": 2.0, "GPU": 1.0}, "available_resources": free, "actors": 0, "label_selector": {},
        "node_id": None if free is None else NODE, "host": "" if free is None else "here", "state": state, **fields,
    }  # fmt: skip


def group_row(group_id: str, state: str, verdict: str, *bundles: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A row of ``list_placement_groups``."""
    row = {
        "placement_group_id": group_id, "name": "", "creator_job_id": "01", "state": state, "strategy": "PACK",
        "bundle_count": len(bundles), "node_count": len({one["node_id"] for one in bundles if one["node_id"]}),
        "reason": "", "cell": 3, "bundles": list(bundles), "is_detached": False, "creator_actor_id": None,
        "stats": {"scheduling_state": verdict, "scheduling_attempt": 2, "placements": 1,
                  "end_to_end_creation_latency_ms": 12.5},
        "call_site": "x.py:3", "creation_time_ms": 900_000,
    }  # fmt: skip
    return {**row, **fields}


PLACED = group_row(
    "aaaa0001", "CREATED", "CREATED", bundle({"CPU": 0.5, "GPU": 1.0}), bundle({"CPU": 2.0, "GPU": 1.0}), name="train"
)
WAITS = group_row("bbbb0002", "PENDING", "BUSY", bundle(None), reason="It waits for room for 1 bundle.")
NEVER = group_row("cccc0003", "RESCHEDULING", "NEVER", bundle(None), reason="It can never be placed.")
GONE = group_row("dddd0004", "REMOVED", "REMOVED", bundle(None, state="REMOVED"), reason="It was removed.")


def test_groups_are_listed_with_what_they_reserve_and_why_they_wait() -> None:
    looker = Shown("placement_groups", placement_groups=[PLACED, WAITS, NEVER, GONE]).looker
    first = looker.row("groups", group_id="aaaa0001")
    assert (first["name"], first["mark"], first["needs"], first["cell"]) == (
        "train",
        "created",
        "4 CPU, 2 GPU",
        "In [3]",
    )
    assert looker.row("groups", group_id="bbbb0002")["reason"] == "It waits for room for 1 bundle."
    assert [row["mark"] for row in looker.rows("groups")] == ["created", "pending", "never fits", "removed"]
    assert [row["may_remove"] for row in looker.rows("groups")] == [True, True, True, False]
    assert [row["value"] for row in looker.rows("numbers")] == [1, 1, 1, 1]


def test_bundles_say_what_of_them_is_used_and_where_they_lie() -> None:
    looker = Shown("placement_groups", placement_groups=[PLACED, WAITS, GONE]).looker
    used = looker.row("bundles", key="aaaa0001:0")
    assert (used["node"], used["has"], used["free"], used["share"]) == ("here", "2 CPU, 1 GPU", "0.5 CPU, 1 GPU", 0.75)
    assert looker.row("bundles", key="aaaa0001:1")["share"] == 0
    waits = looker.row("bundles", key="bbbb0002:0")
    assert (waits["mark"], waits["node"], waits["free"], waits["share"]) == ("waiting", "", "", None)
    assert len(looker.rows("bundles")) == 3  # nothing of what is removed
    on_node = Shown(
        "nodes", placement_groups=[PLACED, WAITS], node_stats=[], worker_stats=[], function_memory=[]
    ).looker
    assert {row["group_id"] for row in on_node.rows("bundles")} == {"aaaa0001"}


def test_one_group_is_shown_with_what_runs_and_waits_in_it() -> None:
    waiting = {
        "owner_id": "o", "kind_of_work": "tasks", "name": "f", "cell": 3, "verdict": "BUSY", "actor_id": None,
        "tasks": 4, "waited_s": 2.0, "reason": "all of it is held", "placement_group_id": "aaaa0001",
    }  # fmt: skip
    looker = Shown(
        "placement_group",
        {"group": "aaaa0001"},
        placement_groups=[PLACED, WAITS],
        actors=[actor_row(placement_group_id="aaaa0001"), actor_row("a2")],
        pending=[waiting, {**waiting, "placement_group_id": None}],
    ).looker
    assert looker.row("details", key="placed")["value"] == "12.5 ms"
    assert looker.row("details", key="ends")["value"] == "its job"
    assert [row["actor_id"] for row in looker.rows("actors")] == ["a1"]
    assert [(row["name"], row["tasks"]) for row in looker.rows("waiting")] == [("f", 4)]
    assert len(looker.rows("bundles")) == 2


def test_a_group_that_nobody_knows_has_no_details_and_without_groups_it_says_how_to_make_one() -> None:
    empty = Shown("placement_group", {"group": "ffff"}, placement_groups=[PLACED], pending=[]).looker
    assert empty.rows("details") == []
    page = Shown("placement_groups").looker.pages[0]
    assert any("placement_group([" in panel.get("empty", "") for panel in page["panels"])
