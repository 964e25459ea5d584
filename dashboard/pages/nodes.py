"""Machines: what they have, how they are, and which processes use them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..sources import Rows, Series
from .base import Page
from .panels import Act, Choice, Column, Control, Factors, Numbers, Opens, Panel, Plot, Table
from .placement_groups import BUNDLE, bundle_rows, bundle_table
from .tracks import Tracks
from .words import host_names, in_cell, milliseconds, process_key, share_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..state import State

__all__ = ["Nodes"]

_KEPT = 600  # samples
_PROCESS = ("key", "process", "pid", "node", "state", "function", "cell", "since", "cpu", "rss", "uss", "threads")


class Nodes(Page):
    """See the top of the file."""

    name = "nodes"
    title = "Nodes"
    about = "How the machines are, and which processes use them"
    PARAMS = ("node",)
    NEEDS = ("nodes", "node_stats", "worker_stats", "function_memory", "placement_groups")

    def __init__(self, params: Mapping[str, str]) -> None:
        super().__init__(params)
        self._numbers = self.add(Rows("numbers", Numbers.COLUMNS))
        self._cpu, self._memory = Tracks("cpu"), Tracks("memory")
        self.add(self._cpu.series)
        self.add(self._memory.series)
        self._traffic = self.add(Series("traffic", ("time", "read", "written", "received", "sent"), _KEPT))
        self._cores = self.add(Rows("cores", ("core", "percent")))
        self._nodes = self.add(
            Rows(
                "nodes",
                ("node_id", "name", "state", "resources", "cpu", "memory", "memory_share", "store", "store_share",
                 "spilled", "workers", "disk", "may_drain", "why"),
            )
        )  # fmt: skip
        self._choices = self.add(Rows("choices", ("key", "label")))
        self._processes = self.add(Rows("processes", _PROCESS))
        self._functions = self.add(Rows("functions", ("key", "function", "node", "peak", "grown", "samples")))
        self._bundles = self.add(Rows("bundles", BUNDLE))
        self._at = 0.0

    def controls(self) -> list[Control]:
        """Which node."""
        return [Choice("node", "Node", "choices")]

    def panels(self) -> list[Panel]:
        """Figures, plots, nodes, processes, memory by function."""
        return [
            Numbers("numbers"),
            Plot("CPU", ["cpu"], "times:tracks", {"number": "0", "high": 100}, height=180, span=6,
                 hint="Percent of all cores, by node", empty="No node has been measured yet."),
            Plot("Memory", ["memory"], "times:tracks", {"number": "0.0 d"}, height=180, span=6,
                 hint="In use, of the machine or its container, by node", empty="No node has been measured yet."),
            Plot("Cores", ["cores"], "times:bars", {"x": "core", "value": "percent", "colour": "#0072b2", "high": 100},
                 height=150, span=6, factors=Factors("x", "cores", "core"), hint="Percent, each, at this moment",
                 empty="No node has been measured yet."),
            Plot("Disk and network", ["traffic"], "times:lines",
                 {"number": "0.0 d",
                  "names": [("read", "read", "#56b4e9"), ("written", "written", "#0072b2"),
                            ("received", "received", "#e69f00"), ("sent", "sent", "#d55e00")]},
                 height=150, span=6, hint="Bytes a second"),
            self._node_table(),
            self._process_table(),
            Table(
                "Memory by function",
                "functions",
                [
                    Column("function", "Function"),
                    Column("node", "Node"),
                    Column("peak", "Peak", "bytes", "The most that a worker had while it ran the function"),
                    Column("grown", "Grown", "bytes", "How much workers grew while they ran it, in all: leaks add up"),
                    Column("samples", "Samples", "number", "Of short tasks few are seen"),
                ],
                sort="-grown",
                height=260,
                empty="No task has been seen at work yet: functions that run for a quarter of a second or more are.",
            ),
            bundle_table("Reserved by placement groups", height=260),
        ]  # fmt: skip

    @staticmethod
    def _node_table() -> Table:
        return Table(
            "Nodes",
            "nodes",
            [
                Column("name", "Node"),
                Column("state", "State", "state"),
                Column("resources", "Resources"),
                Column("cpu", "CPU", "percent", "Of all cores"),
                Column("memory", "Memory", "bytes"),
                Column("memory_share", "Full", "share"),
                Column("store", "Objects", "bytes", "Shared memory that objects take"),
                Column("store_share", "Full", "share"),
                Column("spilled", "Spilled", "bytes", "Objects on disk, since there was no room in memory"),
                Column("workers", "Workers", "text", "At work, of all"),
                Column("disk", "Disk", "share", "How full the disk is that the session lies on"),
                Column("why", "Why it is gone", "sentence"),
            ],
            opens=Opens("nodes", {"node": "node_id"}),
            acts=[Act("drain_node", "Drain", {"node_id": "node_id"}, when="may_drain")],
            empty="No node has joined yet: himalia start --address … on another machine adds one.",
        )

    @staticmethod
    def _process_table() -> Table:
        return Table(
            "Processes",
            "processes",
            [
                Column("process", "Process"),
                Column("pid", "Id", "code"),
                Column("node", "Node"),
                Column("state", "State"),
                Column("function", "Runs"),
                Column("cell", "Cell", "cell"),
                Column("since", "For", "seconds"),
                Column("cpu", "CPU", "percent", "Of one core"),
                Column("rss", "Memory", "bytes", "Resident: with what it shares with others"),
                Column("uss", "Its own", "bytes", "What would be free if it ended"),
                Column("threads", "Threads", "number"),
            ],
            sort="-cpu",
            height=360,
            search=True,
            opens=Opens("worker", {"worker": "key"}),
            empty="No process has been measured yet.",
            hint="A row opens the process: what it runs, its log, its stacks, where its time goes",
        )

    def update(self, state: State) -> None:
        """See `Page.update`."""
        chosen = self.params.get("node", "")
        hosts = host_names(state)
        self._choices.set([("", "all"), *hosts.items()])
        stats = [row for row in state.get("node_stats") if chosen in ("", row["node_id"])]
        self._draw_nodes(state, hosts)
        self._draw_processes(state, hosts, chosen)
        self._functions.set(
            (
                f"{row['node_id']}:{row['function']}",
                row["function"],
                hosts.get(row["node_id"], ""),
                row["peak"],
                row["grown"],
                row["samples"],
            )
            for row in state.get("function_memory")
            if chosen in ("", row["node_id"])
        )
        self._bundles.set(bundle_rows(state.get("placement_groups"), hosts, {chosen} if chosen else hosts.keys()))
        if stats:
            self._sample(stats, hosts)

    def _sample(self, stats: list[dict[str, Any]], hosts: Mapping[str, str]) -> None:
        at = max(row["at"] for row in stats)
        cores = [
            (f"{hosts.get(row['node_id'], '')} {core}" if len(stats) > 1 else str(core), round(percent, 1))
            for row in stats
            for core, percent in enumerate(row["cpu_percents"] or [])
        ]
        self._cores.set(cores[:128])
        self._numbers.set(_figures(stats))
        if at <= self._at:
            return
        self._at = at
        self._cpu.add(at, {hosts.get(row["node_id"], ""): round(row["cpu_percent"], 1) for row in stats})
        self._memory.add(at, {hosts.get(row["node_id"], ""): row["limit_used"] for row in stats})
        sums = {
            column: [round(sum(row[name] for row in stats))]
            for column, name in (("read", "disk_read"), ("written", "disk_written"), ("received", "net_received"),
                                 ("sent", "net_sent"))
        }  # fmt: skip
        self._traffic.append({"time": [milliseconds(at)], **sums})

    def _draw_nodes(self, state: State, hosts: Mapping[str, str]) -> None:
        measured = {row["node_id"]: row for row in state.get("node_stats")}
        self._nodes.set(
            _node_row(row, measured.get(row["node_id"]), hosts.get(row["node_id"], "")) for row in state.get("nodes")
        )

    def _draw_processes(self, state: State, hosts: Mapping[str, str], chosen: str) -> None:
        self._processes.set(
            (
                process_key(row),
                row["process"],
                str(row["pid"]),
                hosts.get(row["node_id"], ""),
                row["state"],
                row["function"] + (f" and {row['task_count'] - 1} more" if row["task_count"] > 1 else ""),
                in_cell(row["cell"]),
                round(state.now - row["task_start_time_ms"] / 1000, 1) if row["task_start_time_ms"] else None,
                round(row["cpu_percent"], 1),
                row["rss"],
                row["uss"],
                row["threads"],
            )
            for row in state.get("worker_stats")
            if chosen in ("", row["node_id"])
        )


def _figures(stats: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Of these nodes together."""
    cpus = sum(row["cpus"] for row in stats)
    busy = sum(row["cpu_percent"] * row["cpus"] for row in stats) / 100
    used, total = sum(row["limit_used"] for row in stats), sum(row["limit_total"] for row in stats)
    swap, swap_total = sum(row["swap_used"] for row in stats), sum(row["swap_total"] for row in stats)
    store, capacity = (sum(row[name] for row in stats) for name in ("store_used", "store_capacity"))
    load = sum((row["load"] or [0.0])[0] for row in stats)
    return [
        ("nodes", "Nodes", len(stats), "number", None, ""),
        ("cores", "Cores at work", round(busy, 1), "number", share_of(busy, cpus), f"of {cpus}, load {load:.1f}"),
        ("memory", "Memory", used, "bytes", share_of(used, total), f"of {total / 1e9:.1f} GB"),
        ("swap", "Swap", swap, "bytes", share_of(swap, swap_total), "" if swap_total else "there is none"),
        ("store", "Object store", store, "bytes", share_of(store, capacity), f"of {capacity / 1e9:.1f} GB"),
        ("spilled", "Spilled", sum(row["spilled"] for row in stats), "bytes", None, "on disk"),
    ]


def _node_row(row: dict[str, Any], measured: dict[str, Any] | None, name: str) -> tuple[Any, ...]:
    resources = ", ".join(
        f"{quantity:g} {resource}"
        for resource, quantity in sorted(row["resources_total"].items())
        if not resource.startswith(("node:", "memory", "object_store_memory"))
    )
    fixed = (row["node_id"], name, row["state"].lower(), resources)
    if measured is None:
        return (*fixed, *[None] * 6, "", None, False, row["state_message"])
    disk = max(measured["disks"] or [{"used": 0, "total": 1}], key=lambda one: one["used"] / max(1, one["total"]))
    return (
        *fixed,
        round(measured["cpu_percent"], 1),
        measured["limit_used"],
        share_of(measured["limit_used"], measured["limit_total"]),
        measured["store_used"],
        share_of(measured["store_used"], measured["store_capacity"]),
        measured["spilled"],
        f"{measured['busy_workers']} of {measured['workers']}",
        share_of(disk["used"], disk["total"]),
        row["state"] == "ALIVE" and not row["is_head_node"],
        row["state_message"],
    )
