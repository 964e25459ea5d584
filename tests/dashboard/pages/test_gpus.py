"""The page of GPUs."""

from __future__ import annotations

from typing import Any

from tests.dashboard.pages.showing import NODE, Shown

HOLDER = {"pid": 7, "worker_id": "w1", "function": "train", "cell": 3, "share": 0.5}
GPU: dict[str, Any] = {
    "uuid": "GPU-1", "node_id": NODE, "index": 0, "name": "H100", "utilization": 80, "memory_used": 20,
    "memory_total": 80, "power": 300.0, "power_limit": 700.0, "temperature": 60, "clock": 1980, "share": 0.5,
    "held_by": [HOLDER], "processes": [{**HOLDER, "memory": 19}], "at": 100.0,
}  # fmt: skip
SILENT = {**GPU, "uuid": "GPU-2", "index": 1, "utilization": None, "memory_used": None, "memory_total": None,
          "power": None, "clock": None, "held_by": [], "processes": None, "share": 0.0}  # fmt: skip


def test_gpus_are_shown_with_who_holds_which_share() -> None:
    looker = Shown("gpus", gpu_stats=[GPU, SILENT]).looker
    row = looker.row("gpus", uuid="GPU-1")
    assert (row["memory_share"], row["share"], row["held"], row["clock"]) == (0.25, 0.5, "train", "1980 MHz")
    share, memory = looker.rows("users")
    assert (share["what"], share["share"], share["cell"]) == ("holds a share", 0.5, "In [3]")
    assert (memory["what"], memory["memory"]) == ("uses it", 19)
    assert looker.row("numbers", key="given")["share"] == 0.25
    assert looker.data["work"]["name"] == ["GPU 0"]


def test_what_a_driver_does_not_tell_is_left_empty() -> None:
    looker = Shown("gpus", gpu_stats=[SILENT]).looker
    row = looker.row("gpus", uuid="GPU-2")
    assert (row["work"], row["memory"], row["power"], row["clock"]) == (None, None, None, "")
    assert looker.row("numbers", key="work")["value"] is None


def test_a_cluster_without_gpus_says_so() -> None:
    looker = Shown("gpus", gpu_stats=[]).looker
    assert looker.row("numbers", key="gpus")["value"] == 0
    table = next(panel for panel in looker.pages[0]["panels"] if panel["panel"] == "table")
    assert "No GPU was found" in table["empty"]
