"""What pages call cells, tasks and workers."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from ...cluster.protocol.common import Cell
from ...cluster.telemetry.events import TaskState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..groups import Group
    from ..model import Model
    from ..state import State

__all__ = [
    "brief",
    "cell_key",
    "cell_name",
    "group_key",
    "group_of",
    "host_names",
    "in_cell",
    "milliseconds",
    "process_key",
    "process_names",
    "process_of_key",
    "seconds_of",
    "share_of",
    "site_name",
    "state_name",
    "took",
]

_NAMES = {
    TaskState.PENDING_ARGS: "waiting",
    TaskState.PENDING_NODE: "waiting",
    TaskState.SUBMITTED_TO_WORKER: "waiting",
    TaskState.RUNNING: "running",
    TaskState.FINISHED: "finished",
    TaskState.FAILED: "failed",
    TaskState.CANCELLED: "cancelled",
}


def state_name(state: TaskState) -> str:
    """A task's state as people are told: waiting, running, finished, failed or cancelled."""
    return _NAMES[state]


def cell_name(cell: Cell | None) -> str:
    """``In [3]``; empty for what no cell submitted."""
    return f"In [{cell.execution}]" if cell is not None and cell.execution else ""


def share_of(part: float, whole: float) -> float | None:
    """The part of a whole, for a bar; None if there is no whole."""
    return round(part / whole, 3) if whole else None


def milliseconds(seconds: float) -> float:
    """A time for plots, to a hundredth of a millisecond: more digits are more bytes."""
    return round(seconds * 1000, 2)


def took(seconds: float) -> str:
    """A duration with its unit."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 120:
        return f"{seconds:.2f} s"
    return f"{seconds / 60:.1f} min"


def in_cell(execution: int | None) -> str:
    """``In [3]`` of a cell by its number; empty where there is none."""
    return f"In [{execution}]" if execution else ""


def site_name(site: str) -> str:
    """Where in the code something was made, as people are told: of a path, its last two parts."""
    file, _, function = site.partition(" in ")
    return "/".join(file.split("/")[-2:]) + (f" in {function}" if function and function != "<module>" else "")


def seconds_of(milliseconds_since: int | None) -> float | None:
    """Seconds since the epoch, of a time of the state API."""
    return milliseconds_since / 1000 if milliseconds_since else None


def host_names(state: State) -> dict[str, str]:
    """Nodes as people call them, by id: the host, with some of the id where several nodes share one."""
    rows: list[dict[str, Any]] = state.get("nodes")
    hosts = [row["node_name"] for row in rows]
    return {
        row["node_id"]: row["node_name"] + (f" {row['node_id'][:6]}" if hosts.count(row["node_name"]) > 1 else "")
        for row in rows
    }


def process_names(state: State) -> dict[str, str]:
    """Processes as people call them, by id: ``driver 4711``, ``worker 4712``, ``Counter 4713``."""
    actors = {row["worker_id"]: row["class_name"] for row in state.get("actors") if row["worker_id"]}
    return {
        row["worker_id"]: f"{actors.get(row['worker_id']) or row['worker_type'].lower()} {row['pid']}"
        for row in state.get("workers")
    }


def brief(count: float) -> str:
    """A number where there is little room: 950, 12.3 k, 1.2 M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(count) >= size:
            return f"{count / (1e3 if unit == 'k' else size):.1f} {unit}"
    return f"{count:,.0f}"


def cell_key(cell: Cell | None) -> str:
    """A cell in an address: the same for another process, and after its restart."""
    if cell is None:
        return "none"
    return f"{cell.execution}-{_hash(cell.job_id.hex(), cell.message_id, str(cell.generation))}"


def group_key(group: Group) -> str:
    """A group in an address: numbers are a model's own."""
    return f"{group.name}-{_hash(group.name, cell_key(group.cell), str(int(group.kind)))}"


def group_of(model: Model, key: str) -> Group | None:
    """The group of a key, if it is known here."""
    return next((group for group in model.groups if group_key(group) == key), None)


def _hash(*parts: str) -> str:
    return f"{zlib.crc32(chr(0).join(parts).encode()):08x}"


def process_key(row: Mapping[str, Any]) -> str:
    """What tells processes of ``worker_stats`` apart: the id, or of a server its name and node."""
    return str(row["worker_id"] or f"{row['process']}@{row['node_id']}")


def process_of_key(key: str) -> str:
    """What `get_stack` calls the process of a `process_key`."""
    name, _, node = key.partition("@")
    return node if name == "raylet" else name
