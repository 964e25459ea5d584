"""Failures of one process by kind, on their way to the GCS.

Strategy: a failure that is like one before costs a walk along its traceback and a count; the first of its kind also its
traceback as text. What came together is told at the process's tick. So a million tasks that fail alike are one row
with a count, and its traceback travels once a minute at most. A process tells of a bounded number of kinds at a time;
others are counted.

Rejected: finding the groups in the rows of telemetry (they have no frames, are bounded by a ring, and who asks would
have to decode all of it).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from ..protocol.common import Cell
from ..protocol.failure_messages import FailureGroup, ReportFailures
from ..protocol.places import place_text
from ..protocol.traceback_text import last_user_frame, remote_traceback
from .events import ERROR_TEXT

__all__ = ["CELLS", "TRACEBACK", "FailureGroups"]

TRACEBACK: Final = 8_000
"""Characters of a traceback: its beginning and its end are kept."""

CELLS: Final = 32
"""Cells of a group that are named: those in which it failed first."""

_KINDS: Final = 100
"""Kinds between two reports: who fails in more ways has no use for a list of them."""

_TOLD_AGAIN: Final = 60.0
"""Seconds after which the traceback of a kind is made and sent again, for a GCS that has forgotten it."""

_TOLD: Final = 1_000

_WAITING: Final = 10_000
"""Failures between two ticks that are looked at. Of more, which a program has that does nothing else, the number."""

_Key = tuple[bytes, str, str, str, int]


class _Failure(NamedTuple):
    key: _Key
    frame: str
    cell: int
    task_id: bytes
    message: str
    at: float
    traceback: str


class FailureGroups:
    """What failed since the last report. ``wall`` gives the time in seconds since the epoch.

    Any thread may tell of failures while another one takes the report: what they share is a list, to which the ones
    append and from whose beginning the other removes.
    """

    def __init__(self, worker_id: bytes, node_id: bytes, wall: Callable[[], float]) -> None:
        self._worker_id = worker_id
        self._node_id = node_id
        self._wall = wall
        self._news: list[_Failure | None] = []  # None: one more, of which nothing is known
        self._shown: dict[_Key, float] = {}  # when the traceback of a kind was made last

    def raised(self, job_id: bytes, function: str, cell: Cell | None, task_id: bytes, error: BaseException) -> bool:
        """A task raised an exception, whose traceback it still has. True if it is the first of its kind for a while."""
        if len(self._news) >= _WAITING:
            self._news.append(None)
            return False
        file, line, frame = last_user_frame(error.__traceback__)
        key = (job_id, function, type(error).__name__, file, line)
        traceback = _cut(remote_traceback(error)) if self._is_to_show(key) else ""
        self._add(key, frame, cell, task_id, _text(error), traceback)
        return bool(traceback)

    def ended(self, job_id: bytes, function: str, cell: Cell | None, task_id: bytes, text: str) -> None:
        """A task failed without a word of its worker: ``Type: text``."""
        kind, _, message = text.partition(": ")
        key = (job_id, function, kind, "", 0)
        self._add(key, "", cell, task_id, message[:ERROR_TEXT], _cut(text) if self._is_to_show(key) else "")

    def _is_to_show(self, key: _Key) -> bool:
        now = self._wall()
        if now - self._shown.get(key, float("-inf")) < _TOLD_AGAIN:
            return False
        self._shown[key] = now
        return True

    def _add(self, key: _Key, frame: str, cell: Cell | None, task_id: bytes, message: str, traceback: str) -> None:
        number = cell.execution if cell is not None else 0
        self._news.append(_Failure(key, frame, number, task_id, message, self._wall(), traceback))

    def take(self) -> ReportFailures | None:
        """What is to be told; None if nothing failed."""
        taken = self._news[:]
        if not taken:
            return None
        del self._news[: len(taken)]
        while len(self._shown) > _TOLD:
            del self._shown[next(iter(self._shown))]
        groups: dict[_Key, FailureGroup] = {}
        others = 0
        for failure in taken:
            if failure is None or (failure.key not in groups and len(groups) >= _KINDS):
                others += 1
            else:
                self._count(groups, failure)
        return ReportFailures(list(groups.values()), others)

    def _count(self, groups: dict[_Key, FailureGroup], failure: _Failure) -> None:
        group = groups.get(failure.key)
        if group is None:
            job_id, function, error, file, line = failure.key
            group = groups[failure.key] = FailureGroup(
                job_id=job_id,
                function=function,
                error=error,
                file=file,
                line=line,
                frame=failure.frame,
                place=place_text(file, line) if file else "",
                first=failure.at,
                cells=[],
                node_id=self._node_id,
                worker_id=self._worker_id,
            )
        group.count += 1
        group.last = failure.at
        group.message, group.task_id = failure.message, failure.task_id
        group.traceback = group.traceback or failure.traceback
        if failure.cell and failure.cell not in group.cells and len(group.cells) < CELLS:
            group.cells.append(failure.cell)


def _text(error: BaseException) -> str:
    try:
        return str(error)[:ERROR_TEXT]
    except Exception:  # noqa: BLE001 the exception is the user's, and so is its __str__
        return "(its text cannot be shown)"


def _cut(text: str) -> str:
    if len(text) <= TRACEBACK:
        return text
    half = TRACEBACK // 2
    return f"{text[:half]}\n  … {len(text) - 2 * half} characters are left out …\n{text[-half:]}"
