"""The page of jobs."""

from __future__ import annotations

from typing import Any

from tests.dashboard.cluster import source
from tests.dashboard.pages.showing import Shown

JOB: dict[str, Any] = {
    "job_id": b"job1".hex(), "status": "RUNNING", "entrypoint": "a.ipynb", "message": None, "start_time": 1_000_000,
    "end_time": None, "driver_info": {"pid": "7", "node_ip_address": "here"},
}  # fmt: skip


def test_jobs_have_their_tasks_and_only_those_that_run_can_be_stopped() -> None:
    ended = {**JOB, "job_id": "02", "status": "FAILED", "end_time": 1_005_000, "message": "its driver died"}
    shown = Shown("jobs", jobs=[JOB, ended])
    shown.played.ran(source("f", cell=1), 3)
    shown.played.ran(source("g", cell=1), 1, error="ValueError: no")
    looker = shown.bring()
    running = looker.row("jobs", status="running")
    assert (running["tasks"], running["failed"], running["may_stop"], running["took"]) == (4, 1, True, None)
    failed = looker.row("jobs", status="failed")
    assert (failed["took"], failed["message"], failed["may_stop"]) == (5.0, "its driver died", False)
