"""What happened in the cluster, as tables of pages show it."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from ..sources import Rows
from .base import Page
from .panels import Column, Numbers, Panel, Table
from .words import in_cell, share_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..state import State

__all__ = ["EVENTS", "Autoscaler", "event_rows", "event_source", "event_table"]

EVENTS = "newest_events:500"
"""What to ask for (see questions.py)."""


def event_source(name: str) -> Rows:
    """The source of an `event_table`."""
    return Rows(name, ("number", "at", "severity", "kind", "message", "source", "cell"))


def event_table(title: str, source: str, empty: str, height: int = 260) -> Table:
    """Events, the newest first."""
    return Table(
        title,
        source,
        [
            Column("at", "When", "time"),
            Column("severity", "", "state"),
            Column("message", "What happened, and why", "sentence"),
            Column("cell", "Cell", "cell"),
            Column("source", "Says"),
        ],
        sort="-number",
        height=height,
        search=True,
        empty=empty,
    )


def event_rows(state: State, kinds: Collection[str] = ()) -> list[tuple[Any, ...]]:
    """Events of these kinds, or all."""
    return [
        (
            row["event_id"],
            row["time_ms"] / 1000,
            row["severity"].lower(),
            row["event_type"],
            row["message"],
            row["source_type"].replace("_", " ").lower(),
            in_cell(row["cell"]),
        )
        for row in state.get(EVENTS)
        if not kinds or row["event_type"] in kinds
    ]


class Autoscaler(Page):
    """Changes of what the cluster has, with what they were decided on."""

    name = "autoscaler"
    title = "Autoscaler"
    about = "When CPUs and nodes came and went, and on what grounds"
    NEEDS = ("nodes", EVENTS)

    _KINDS = ("CAPACITY_CHANGED", "NODE_JOINED", "NODE_DRAINING", "NODE_LEFT", "NODE_DIED", "ACTOR_INFEASIBLE")

    def __init__(self, params: Mapping[str, str]) -> None:
        super().__init__(params)
        self._numbers = self.add(Rows("numbers", Numbers.COLUMNS))
        self._decisions = self.add(Rows("decisions", ("number", "at", "message", "grounds")))
        self._events = self.add(event_source("events"))

    def panels(self) -> list[Panel]:
        """What there is, decisions, and what became of them."""
        return [
            Numbers("numbers"),
            Table(
                "Decisions",
                "decisions",
                [
                    Column("at", "When", "time"),
                    Column("message", "What was decided, and why", "sentence"),
                    Column("grounds", "Numbers behind it", "code"),
                ],
                sort="-number",
                height=360,
                empty="Nothing was changed yet. %cluster adapt 2 8 has the number of CPUs follow the work; "
                "%cluster scale 8 sets it.",
            ),
            event_table("Nodes", "events", "No node came or went yet.", height=360),
        ]

    def update(self, state: State) -> None:
        """See `Page.update`."""
        living = [row for row in state.get("nodes") if row["state"] == "ALIVE"]
        total, free = (
            sum((row[name] or {}).get("CPU", 0.0) for row in living)
            for name in ("resources_total", "resources_available")
        )
        waiting = state.model.progress().waiting
        share = share_of(total - free, total)
        self._numbers.set(
            [
                ("nodes", "Nodes", len(living), "number", None, ""),
                ("cpus", "CPUs", total, "number", None, "that tasks and actors can have"),
                ("used", "In use", round(max(0.0, total - free), 2), "number", share, ""),
                ("waiting", "Tasks waiting", waiting, "number", None, "for a worker or arguments"),
            ]
        )
        self._decisions.set(
            (
                row["event_id"],
                row["time_ms"] / 1000,
                row["message"],
                ", ".join(f"{name}={_short(value)}" for name, value in (row["custom_fields"] or {}).items()),
            )
            for row in state.get(EVENTS)
            if row["event_type"] == "CAPACITY_CHANGED"
        )
        self._events.set(event_rows(state, self._KINDS[1:]))


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
