"""Rows of what nodes measure when they are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from himalia.cluster.protocol.common import from_units
from himalia.util.state._schemas import FunctionMemory, GpuStats, NodeStats, StateRecord, WorkerStats

if TYPE_CHECKING:
    from himalia.util.state._source import Source

__all__ = ["function_memory", "gpu_stats", "node_stats", "worker_stats"]


def surveyed(source: Source, what: str) -> list[dict[str, Any]]:
    """The rows of all nodes that answered; who did not is noted as missing."""
    answer = source.ask(what)
    source.missing += [f"node {node_id.hex()} is missing: it did not answer in time" for node_id in answer["missing"]]
    return [row for rows in answer["nodes"] for row in rows]


def node_stats(source: Source) -> list[StateRecord]:
    hosts = {row["node_id"]: row["host"] for row in source.nodes()}
    names = set(NodeStats.columns()) - {"node_id", "node_ip"}
    return [
        NodeStats(
            node_id=row["node_id"].hex(),
            node_ip=hosts.get(row["node_id"], ""),
            **{name: row[name] for name in names},
        )
        for row in surveyed(source, "node_stats")
    ]


def worker_stats(source: Source) -> list[StateRecord]:
    return [
        WorkerStats(
            worker_id=row["worker_id"].hex(),
            pid=row["pid"],
            process=row["kind"],
            state=row["state"],
            cpu_percent=row["cpu_percent"],
            rss=row["rss"],
            uss=row["uss"],
            function=row["function"],
            cell=row["cell"] or None,
            node_id=row["node_id"].hex(),
            task_id=row["task_id"].hex() or None,
            task_count=row["task_count"],
            task_start_time_ms=round(row["task_started"] * 1000) or None,
            threads=row["threads"],
            job_id=row["job_id"].hex(),
            actor_id=row.get("actor_id", b"").hex() or None,
            resources=from_units(row.get("resources", {})),
            devices=row.get("devices", {}),
        )
        for row in surveyed(source, "worker_stats")
    ]


def gpu_stats(source: Source) -> list[StateRecord]:
    described = {"node_id", "share", "held_by", "processes"}
    as_read = [name for name in GpuStats.columns() if name not in described]
    return [
        GpuStats(
            node_id=row["node_id"].hex(),
            share=sum((holder["share"] for holder in row["holders"]), 0.0),
            held_by=[_readable(holder) for holder in row["holders"]],
            processes=[_readable(process) for process in row["processes"]],
            **{name: row[name] for name in as_read},
        )
        for row in surveyed(source, "gpu_stats")
    ]


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in row.items()}


def function_memory(source: Source) -> list[StateRecord]:
    rows = sorted(surveyed(source, "function_memory"), key=lambda row: -row["peak"])
    return [
        FunctionMemory(
            function=row["name"],
            peak=row["peak"],
            grown=row["grown"],
            samples=row["samples"],
            node_id=row["node_id"].hex(),
        )
        for row in rows
    ]
