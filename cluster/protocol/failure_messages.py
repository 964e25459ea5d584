"""Failed tasks, told by kind and not one by one: see `telemetry/failure_groups.py`."""

from __future__ import annotations

import msgspec

__all__ = ["FailureGroup", "ReportFailures"]


class FailureGroup(msgspec.Struct, array_like=True, kw_only=True):
    """Attempts of tasks that failed alike: same error, same function, same line of the user's code.

    ``error`` is the exception's type, ``message`` the text of the last one. ``file``, ``line`` and ``frame`` (the name
    of a function) say where the user's code was, ``place`` says it in words; empty where it did not run. ``count`` is
    since the last report, times are seconds since the epoch. ``traceback`` is that of one of them, empty where it was
    sent before.
    """

    job_id: bytes
    function: str
    error: str
    file: str = ""
    line: int = 0
    frame: str = ""
    message: str = ""
    count: int = 0
    first: float = 0.0
    last: float = 0.0
    cells: list[int] = []
    task_id: bytes = b""  # of the last one
    node_id: bytes = b""
    worker_id: bytes = b""
    traceback: str = ""
    place: str = ""


class ReportFailures(msgspec.Struct, array_like=True, tag=62):
    """Worker or owner to GCS. ``others``: failures of more kinds than a process tells at a time."""

    groups: list[FailureGroup]
    others: int = 0
