"""Events, on the overview and on the page of the autoscaler."""

from __future__ import annotations

from typing import Any

from tests.dashboard.pages.showing import Shown, node_row

JOINED: dict[str, Any] = {
    "event_id": 1, "time_ms": 1_000_500, "severity": "INFO", "event_type": "NODE_JOINED", "message": "It joined.",
    "source_type": "GCS", "cell": None, "custom_fields": {},
}  # fmt: skip
CHANGED = {**JOINED, "event_id": 2, "event_type": "CAPACITY_CHANGED", "message": "More CPUs, as 7 tasks wait.",
           "custom_fields": {"before": 2.0, "after": 4.0}, "cell": 3}  # fmt: skip
ROWS = {"newest_events:500": [CHANGED, JOINED]}


def test_the_overview_lists_what_happened() -> None:
    looker = Shown("overview", **ROWS).looker
    assert looker.row("events", number=1) == {
        "number": 1, "at": 1000.5, "severity": "info", "kind": "NODE_JOINED", "message": "It joined.", "source": "gcs",
        "cell": "",
    }  # fmt: skip
    assert looker.row("events", number=2)["cell"] == "In [3]"


def test_decisions_are_shown_with_the_numbers_behind_them() -> None:
    node = node_row(resources_total={"CPU": 4.0}, resources_available={"CPU": 1.0})
    looker = Shown("autoscaler", nodes=[node], **ROWS).looker
    (decision,) = looker.rows("decisions")
    assert (decision["message"], decision["grounds"]) == ("More CPUs, as 7 tasks wait.", "before=2, after=4")
    assert [row["number"] for row in looker.rows("events")] == [1]
    assert looker.row("numbers", key="used")["share"] == 0.75
