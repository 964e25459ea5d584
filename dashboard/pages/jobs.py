"""What drivers submitted: a row for each, with its tasks, and a button that stops it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..sources import Rows
from .base import Page
from .panels import Act, Column, Opens, Panel, Table
from .words import seconds_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..state import State

__all__ = ["Jobs"]


class Jobs(Page):
    """See the top of the file."""

    name = "jobs"
    title = "Jobs"
    about = "What notebooks and scripts submitted, and what came of it"
    NEEDS = ("jobs",)

    def __init__(self, params: Mapping[str, str]) -> None:
        super().__init__(params)
        self._jobs = self.add(
            Rows(
                "jobs",
                ("job_id", "status", "entrypoint", "pid", "host", "begun", "took", "tasks", "running", "failed",
                 "message", "may_stop"),
            )
        )  # fmt: skip

    def panels(self) -> list[Panel]:
        """All jobs, with a button for those that run."""
        return [
            Table(
                "Jobs",
                "jobs",
                [
                    Column("job_id", "Job", "code"),
                    Column("status", "State", "state"),
                    Column("entrypoint", "Driver"),
                    Column("pid", "Process", "code"),
                    Column("host", "Host"),
                    Column("begun", "Began", "ago"),
                    Column("took", "Ran for", "seconds", "Of jobs that have ended"),
                    Column("tasks", "Tasks ended", "number"),
                    Column("running", "Running", "number"),
                    Column("failed", "Failed", "number"),
                    Column("message", "What ended it", "sentence"),
                ],
                sort="-begun",
                opens=Opens("overview", {"job": "job_id"}),
                acts=[Act("stop_job", "Stop", {"job_id": "job_id"}, when="may_stop")],
                hint="A row shows that job alone, on all pages",
                empty="No driver has connected yet. In a notebook: import himalia; himalia.init('auto')",
            )
        ]

    def update(self, state: State) -> None:
        """See `Page.update`."""
        sums: dict[str, list[int]] = {}
        for group in state.model.groups:
            if group.cell is not None:
                one = sums.setdefault(group.cell.job_id.hex(), [0, 0, 0])
                for place, count in enumerate((group.ended, group.running, group.failed)):
                    one[place] += count
        rows = []
        for job in state.get("jobs"):
            begun, ended = seconds_of(job["start_time"]), seconds_of(job["end_time"])
            rows.append(
                (
                    job["job_id"],
                    job["status"].lower(),
                    job["entrypoint"],
                    (job["driver_info"] or {}).get("pid", ""),
                    (job["driver_info"] or {}).get("node_ip_address", ""),
                    begun,
                    ended - begun if begun and ended else None,
                    *sums.get(job["job_id"], (0, 0, 0)),
                    job["message"] or "",
                    job["status"] == "RUNNING",
                )
            )
        self._jobs.set(rows)
