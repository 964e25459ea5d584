"""Jobs that can be chosen to be shown alone: what they are called, from when to when they ran, which rows are theirs.

Strategy: nothing is kept for each job. Tasks of a job are its groups in the model that there is (`Model.of_job`), rows
name their job, or the process that owns them; so choosing a job costs nothing until somebody does, and works for every
moment of the past. Rejected: a model and a recording for each job, which a job that is chosen late would have to wait
for: a million tasks take seconds to play.

Pure: no IO, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from .groups import Groups

__all__ = ["JobSpan", "KnownJobs", "rows_of_job"]

_SETTLED: Final = 2.0  # seconds after its end until all that a job's processes told has come
_JOB_COLUMNS: Final = ("job_id", "creator_job_id")
_NAMED: Final = 40  # characters of what a driver is called

Row = Mapping[str, Any]


class JobSpan(msgspec.Struct, frozen=True):
    """A job: ``label`` for people; seconds since the epoch, ``begin`` 0 where not known, ``end`` 0 while it runs."""

    job_id: str
    label: str
    begin: float = 0.0
    end: float = 0.0

    def within(self, record: tuple[float, float]) -> tuple[float, float]:
        """From when to when it is recorded, of what is recorded at all."""
        first, last = record
        begin = min(max(first, self.begin), last)
        return begin, max(begin, min(last, self.end + _SETTLED) if self.end else last)


class KnownJobs:
    """Jobs of which tasks were recorded, in the order of their first ones."""

    def __init__(self) -> None:
        self.ids: dict[str, None] = {}
        self._looked_at = 0  # groups

    def look(self, groups: Groups) -> None:
        """Take in what groups there are. Cheap: each is looked at once."""
        for group in islice(groups.all, self._looked_at, None):
            if group.cell is not None:
                self.ids.setdefault(group.cell.job_id.hex())
        self._looked_at = len(groups.all)

    def span(self, job_id: str, jobs: Iterable[Row]) -> JobSpan:
        """One job, recorded or not. ``jobs``: rows of the state API, as far as they are known."""
        for row in jobs:
            if row["job_id"] == job_id:
                begin, end = row["start_time"] or 0, row["end_time"] or 0
                return JobSpan(job_id, f"{job_id} {_brief(row['entrypoint'])}".strip(), begin / 1000, end / 1000)
        return JobSpan(job_id, job_id)

    def choice(self, jobs: Sequence[Row]) -> list[tuple[str, str]]:
        """Ids and labels to choose from, the newest first."""
        return [(job_id, self.span(job_id, jobs).label) for job_id in reversed(self.ids)]


def _brief(entrypoint: str) -> str:
    """A driver as it is called, without the folder it lies in."""
    words = [word.rpartition("/")[2] for word in (entrypoint or "").split()]
    text = " ".join(words)
    return text if len(text) <= _NAMED else f"{text[: _NAMED - 1]}…"


def rows_of_job(rows: list[dict[str, Any]], job_id: str, workers: Iterable[Row]) -> list[dict[str, Any]]:
    """Rows without those of other jobs; what is nobody's, as nodes are, stays.

    Parameters
    ----------
    workers
        Rows of the processes: an object is its owner's job's.
    """
    name = next((name for name in _JOB_COLUMNS if rows and name in rows[0]), "")
    if name:
        return [row for row in rows if (row[name] or job_id) == job_id]
    if not rows or "owner_id" not in rows[0]:
        return rows
    job_of = {row["worker_id"]: row["job_id"] for row in workers}
    return [row for row in rows if (job_of.get(row["owner_id"]) or job_id) == job_id]
