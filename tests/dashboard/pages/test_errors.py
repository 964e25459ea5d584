"""The pages of what failed."""

from __future__ import annotations

from typing import Any

from himalia.dashboard.pages.errors import error_key
from tests.dashboard.pages.showing import NODE, Shown

FAILED: dict[str, Any] = {
    "error": "ValueError", "function": "f", "count": 3, "cells": [2, 4], "message": "<script>no",
    "file": "/a/b/x.py", "place": "b/x.py:7", "line": 7, "frame": "inner", "first_time_ms": 1_000_000,
    "last_time_ms": 1_004_000, "task_id": "t1", "worker_id": "w1",
    "node_ids": [NODE], "traceback": 'Traceback\n  File "x.py"\nValueError: <script>no',
}  # fmt: skip
CRASHED = {**FAILED, "error": "WorkerCrashedError", "file": "", "place": "", "line": 0, "frame": "", "traceback": None}


def test_failures_are_counted_by_kind() -> None:
    looker = Shown("errors", errors=[FAILED, CRASHED]).looker
    row = looker.row("errors", error="ValueError")
    assert (row["count"], row["where"], row["cells"]) == (3, "b/x.py:7 in inner", "In [2], In [4]")
    assert row["message"] == "<script>no"  # text: the browser sets it as such
    assert looker.row("errors", error="WorkerCrashedError")["where"] == ""
    assert looker.row("numbers", key="kinds")["value"] == 2
    assert looker.row("numbers", key="tries")["value"] == 6


def test_one_failure_has_its_traceback() -> None:
    looker = Shown("error", {"error": error_key(FAILED)}, errors=[FAILED]).looker
    assert looker.row("details", key="nodes")["value"] == "here"
    assert looker.data["trace"]["mark"] == ["error", "faint", "error"]
    assert Shown("error", {"error": "another"}, errors=[FAILED]).looker.rows("details") == []
