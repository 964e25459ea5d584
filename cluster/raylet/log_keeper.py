"""Keeps the logs of a node within their bound: those of workers that have ended go, the oldest first.

A living worker bounds its own (`telemetry/task_log.py`). How much went is counted in a file beside the logs, so that
who reads them can be told.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path
from typing import Final

from ..telemetry.task_log import DROPPED

__all__ = ["CHECK_EVERY", "trim_logs"]

CHECK_EVERY: Final = 10.0
"""Seconds between two looks at the folder, when workers end all the time."""
_ROOM: Final = 0.9  # of the bound, so that not every look has to let something go


def trim_logs(session_dir: str, limit: int, living: Collection[str]) -> int:
    """Let go of logs beyond ``limit`` bytes; how many bytes went.

    Parameters
    ----------
    living
        Ids, in hexadecimal digits, of workers whose logs are left alone.
    """
    folder = Path(session_dir) / "logs"
    total = 0
    by_worker: dict[str, list[tuple[Path, int]]] = {}
    latest: dict[str, float] = {}
    for path in folder.glob("worker-*"):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            total += status.st_size
            worker = path.name.removeprefix("worker-").partition(".")[0]
            by_worker.setdefault(worker, []).append((path, status.st_size))
            latest[worker] = max(latest.get(worker, 0.0), status.st_mtime)
    if total <= limit:
        return 0
    gone = 0
    for worker in sorted(by_worker, key=lambda name: latest[name]):
        if total - gone <= _ROOM * limit:
            break
        if worker not in living:
            for path, size in by_worker[worker]:
                path.unlink(missing_ok=True)
                gone += size
    counted, before = folder / DROPPED, 0
    with contextlib.suppress(FileNotFoundError, ValueError):
        before = int(counted.read_text())
    if gone:
        counted.write_text(str(before + gone))
    return gone
