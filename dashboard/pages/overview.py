"""Nodes, what is in use, and what runs: the first page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..model import NodeSample, NodeView
from ..sources import Rows, Series
from .base import Page
from .events import EVENTS, event_rows, event_source, event_table
from .panels import Column, Numbers, Panel, Plot, Table
from .words import cell_name, milliseconds, share_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..state import State

__all__ = ["Overview"]

_KEPT = 600  # samples: ten minutes
_FUNCTIONS = 12  # rows: the newest


class Overview(Page):
    """See the top of the file."""

    name = "overview"
    title = "Overview"
    about = "What the cluster has, what is in use, and how far the work is"
    NEEDS = (EVENTS,)

    def __init__(self, params: Mapping[str, str]) -> None:
        super().__init__(params)
        self._numbers = self.add(Rows("numbers", Numbers.COLUMNS))
        self._use = self.add(Series("use", ("time", "cpu", "running", "store", "rate"), _KEPT))
        self._nodes = self.add(
            Rows("nodes", ("key", "host", "state", "cpu", "cpus", "store", "store_bytes", "store_share", "pending"))
        )
        self._functions = self.add(
            Rows("functions", ("key", "name", "cell", "total", "done", "running", "failed", "rate", "left"))
        )
        self._events = self.add(event_source("events"))
        self._version = 0
        self._last: dict[bytes, tuple[NodeView, NodeSample]] = {}

    def panels(self) -> list[Panel]:
        """Figures, use over time, functions, nodes."""
        return [
            Numbers("numbers"),
            Plot(
                "CPUs in use",
                ["use"],
                "times:lines",
                {"names": [("cpu", "in use", "#0072b2")], "fill": True},
                height=180,
                span=4,
                hint="CPUs that running tasks and actors hold",
            ),
            Plot(
                "Tasks a second",
                ["use"],
                "times:lines",
                {"names": [("rate", "tasks/s", "#009e73")], "fill": True},
                height=180,
                span=4,
                hint="Tasks that ended, a second, of the last ten seconds",
            ),
            Plot(
                "Object store",
                ["use"],
                "times:lines",
                {"names": [("store", "in use", "#cc79a7")], "fill": True, "number": "0.0 d"},
                height=180,
                span=4,
                hint="Shared memory that objects take, on all nodes",
            ),
            Table(
                "Work",
                "functions",
                [
                    Column("name", "Function"),
                    Column("cell", "Cell", "cell"),
                    Column("done", "Done", "share"),
                    Column("total", "Tasks", "number"),
                    Column("running", "Running", "number"),
                    Column("failed", "Failed", "number"),
                    Column("rate", "Rate", "rate", "Tasks that ended, a second"),
                    Column("left", "Left", "seconds", "Until all are done, at this rate"),
                ],
                empty="No task was submitted yet. Call a remote function: f.remote()",
            ),
            Table(
                "Nodes",
                "nodes",
                [
                    Column("host", "Host"),
                    Column("state", "State", "state"),
                    Column("cpu", "CPUs in use", "number"),
                    Column("cpus", "CPUs", "number"),
                    Column("store", "Objects", "bytes"),
                    Column("store_bytes", "Store", "bytes"),
                    Column("store_share", "Full", "share"),
                    Column("pending", "Waiting", "number", "Requests for resources that wait at this node"),
                ],
                empty="No node has said hello yet.",
            ),
            event_table("Events", "events", "Nothing has happened yet."),
        ]

    def update(self, state: State) -> None:
        """See `Page.update`."""
        changes = state.model.changes_since(self._version, bars=0)
        self._version = changes.version
        for node in changes.nodes:
            if node.samples or node.node_id in self._last:
                sample = node.samples[-1] if node.samples else self._last[node.node_id][1]
                self._last[node.node_id] = (node, sample)
        self._draw_nodes()
        self._draw_functions(state)
        self._events.set(event_rows(state))
        self._draw_numbers(state)
        if any(node.samples for node in changes.nodes):
            self._add_sample(state)

    def _living(self) -> list[NodeSample]:
        return [sample for node, sample in self._last.values() if node.alive]

    def _add_sample(self, state: State) -> None:
        progress = state.model.progress()
        living = self._living()
        self._use.append(
            {
                "time": [milliseconds(max(sample.at for sample in living) if living else state.now)],
                "cpu": [round(sum(sample.used.get("CPU", 0.0) for sample in living), 2)],
                "running": [progress.running],
                "store": [sum(sample.store_used for sample in living)],
                "rate": [round(progress.rate, 1)],
            }
        )

    def _draw_nodes(self) -> None:
        self._nodes.set(
            (
                node_id.hex(),
                node.host,
                "alive" if node.alive else "dead",
                round(sample.used.get("CPU", 0.0), 2) if node.alive else 0,
                sample.total.get("CPU", 0.0),
                sample.store_used if node.alive else 0,
                sample.store_bytes,
                _share(sample.store_used, sample.store_bytes) if node.alive else 0.0,
                sample.pending if node.alive else 0,
            )
            for node_id, (node, sample) in self._last.items()
        )

    def _draw_functions(self, state: State) -> None:
        groups = [group for group in state.model.groups if group.total][-_FUNCTIONS:]
        self._functions.set(
            (
                group.number,
                group.name,
                cell_name(group.cell),
                group.total,
                _share(group.ended, group.total),
                group.running,
                group.failed,
                round(group.rate, 1),
                round(group.left_s, 1) if group.left_s >= 0 and not group.is_over else None,
            )
            for group in reversed(groups)
        )

    def _draw_numbers(self, state: State) -> None:
        living = self._living()
        progress = state.model.progress()
        cpu, cpus = (sum(getattr(one, what).get("CPU", 0.0) for one in living) for what in ("used", "total"))
        used, size = sum(one.store_used for one in living), sum(one.store_bytes for one in living)
        gpus = sum(one.total.get("GPU", 0.0) for one in living)
        rows: list[tuple[object, ...]] = [
            ("nodes", "Nodes", len(living), "number", None, ""),
            ("cpu", "CPUs in use", round(cpu, 2), "number", _share(cpu, cpus), f"of {cpus:g}"),
            ("store", "Object store", used, "bytes", _share(used, size), ""),
            ("running", "Tasks running", progress.running, "number", None, f"{progress.waiting:,} waiting"),
            ("rate", "Tasks a second", round(progress.rate, 1), "rate", None, f"{progress.finished:,} finished"),
            ("failed", "Failed", progress.failed, "number", None, f"{progress.cancelled:,} cancelled"),
        ]
        if gpus:
            busy = sum(one.used.get("GPU", 0.0) for one in living)
            rows.insert(2, ("gpu", "GPUs in use", round(busy, 2), "number", _share(busy, gpus), f"of {gpus:g}"))
        self._numbers.set(rows)


def _share(part: float, whole: float) -> float:
    return share_of(part, whole) or 0.0
