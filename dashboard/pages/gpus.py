"""GPUs: how they are used, and who holds which share of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..sources import Rows
from .base import Page
from .panels import Column, Numbers, Opens, Panel, Plot, Table
from .tracks import Tracks
from .words import host_names, in_cell, share_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..state import State

__all__ = ["Gpus"]

_NONE = (
    "No GPU was found: no node has an NVIDIA driver that answers. On a machine that has one, install nvidia-ml-py, "
    "and see that nvidia-smi works as the user who runs the cluster."
)


class Gpus(Page):
    """See the top of the file."""

    name = "gpus"
    title = "GPUs"
    about = "How the GPUs are used, and who holds which share of them"
    NEEDS = ("gpu_stats", "nodes")

    def __init__(self, params: Mapping[str, str]) -> None:
        super().__init__(params)
        self._numbers = self.add(Rows("numbers", Numbers.COLUMNS))
        self._work, self._memory = Tracks("work"), Tracks("memory")
        self.add(self._work.series)
        self.add(self._memory.series)
        self._gpus = self.add(
            Rows(
                "gpus",
                ("uuid", "label", "name", "node", "work", "memory", "memory_share", "power", "limit", "temperature",
                 "clock", "share", "held"),
            )
        )  # fmt: skip
        self._users = self.add(
            Rows("users", ("key", "gpu", "what", "pid", "function", "cell", "share", "memory", "worker_id"))
        )
        self._at = 0.0

    def panels(self) -> list[Panel]:
        """Figures, plots, GPUs, who uses them."""
        return [
            Numbers("numbers"),
            Plot("Utilization", ["work"], "times:tracks", {"number": "0", "high": 100}, height=200, span=6,
                 hint="Percent of the time in which a kernel ran, by GPU", empty=_NONE),
            Plot("Memory", ["memory"], "times:tracks", {"number": "0.0 d"}, height=200, span=6,
                 hint="In use, by GPU", empty=_NONE),
            Table(
                "GPUs",
                "gpus",
                [
                    Column("label", "GPU"),
                    Column("name", "Model"),
                    Column("node", "Node"),
                    Column("work", "Utilization", "percent"),
                    Column("memory", "Memory", "bytes"),
                    Column("memory_share", "Full", "share"),
                    Column("power", "Power", "watt"),
                    Column("limit", "Limit", "watt"),
                    Column("temperature", "Temperature", "celsius"),
                    Column("clock", "Clock", "text"),
                    Column("share", "Given out", "share", "The part that tasks and actors hold by num_gpus"),
                    Column("held", "By"),
                ],
                empty=_NONE,
            ),
            Table(
                "Who uses them",
                "users",
                [
                    Column("gpu", "GPU"),
                    Column("what", "How", "text", "A share is what num_gpus asked for, memory is what the driver sees"),
                    Column("pid", "Process", "code"),
                    Column("function", "Runs"),
                    Column("cell", "Cell", "cell"),
                    Column("share", "Share", "share"),
                    Column("memory", "Memory", "bytes"),
                ],
                opens=Opens("worker", {"worker": "worker_id"}),
                empty="Nobody holds a GPU. A task does that asks for one: @himalia.remote(num_gpus=1)",
            ),
        ]  # fmt: skip

    def update(self, state: State) -> None:
        """See `Page.update`."""
        hosts = host_names(state)
        rows = state.get("gpu_stats")
        labels = {row["uuid"]: _label(row, hosts, rows) for row in rows}
        self._gpus.set(_gpu_row(row, labels[row["uuid"]], hosts) for row in rows)
        self._users.set(user for row in rows for user in _users(row, labels[row["uuid"]]))
        self._numbers.set(_figures(rows))
        at = max((row["at"] for row in rows), default=0.0)
        if at > self._at:
            self._at = at
            self._work.add(
                at, {labels[row["uuid"]]: row["utilization"] for row in rows if row["utilization"] is not None}
            )
            self._memory.add(
                at, {labels[row["uuid"]]: row["memory_used"] for row in rows if row["memory_used"] is not None}
            )


def _label(row: dict[str, Any], hosts: Mapping[str, str], rows: list[dict[str, Any]]) -> str:
    many = len({one["node_id"] for one in rows}) > 1
    return f"{hosts.get(row['node_id'], '')} {row['index']}" if many else f"GPU {row['index']}"


def _gpu_row(row: dict[str, Any], label: str, hosts: Mapping[str, str]) -> tuple[Any, ...]:
    used, total = row["memory_used"], row["memory_total"]
    names = {holder["function"] or f"process {holder['pid']}" for holder in row["held_by"]}
    return (
        row["uuid"],
        label,
        row["name"],
        hosts.get(row["node_id"], ""),
        row["utilization"],
        used,
        round(used / total, 3) if used is not None and total else None,
        row["power"],
        row["power_limit"],
        row["temperature"],
        f"{row['clock']} MHz" if row["clock"] is not None else "",
        round(row["share"], 3),
        ", ".join(sorted(names)),
    )


def _users(row: dict[str, Any], label: str) -> list[tuple[Any, ...]]:
    found = [("share", one) for one in row["held_by"]] + [("memory", one) for one in row["processes"] or []]
    return [
        (
            f"{row['uuid']}:{what}:{one.get('worker_id') or one.get('pid')}",
            label,
            "holds a share" if what == "share" else "uses it",
            str(one.get("pid") or ""),
            one.get("function") or "",
            in_cell(one.get("cell")),
            one.get("share"),
            one.get("memory"),
            one.get("worker_id") or "",
        )
        for what, one in found
    ]


def _figures(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    if not rows:
        return [("gpus", "GPUs", 0, "number", None, "")]
    work = [row["utilization"] for row in rows if row["utilization"] is not None]
    used, total = (sum(row[name] or 0 for row in rows) for name in ("memory_used", "memory_total"))
    power = [row["power"] for row in rows if row["power"] is not None]
    given = sum(row["share"] for row in rows)
    return [
        ("gpus", "GPUs", len(rows), "number", None, ""),
        ("given", "Given out", round(given, 2), "number", share_of(given, len(rows)), f"of {len(rows)}"),
        ("work", "Utilization", sum(work) / len(work) if work else None, "percent", None, "on average"),
        ("memory", "Memory", used, "bytes", share_of(used, total), f"of {total / 1e9:.1f} GB"),
        ("power", "Power", sum(power) if power else None, "watt", None, "in all"),
    ]
