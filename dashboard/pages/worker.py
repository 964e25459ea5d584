"""One process of the cluster: what it runs, what its tasks printed, where its threads are and what takes its time.

A stack dump or a profile is taken when somebody presses the button: the button sets a parameter, and the page asks for
what that names. So a reload of the page, or a link to it, looks anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errands import UNDER_WAY
from ..questions import query_name
from ..sources import Rows, Series
from .base import Page
from .lines import Lines, log_lines
from .panels import Column, Control, Details, Flame, Panel, Plot, Press, Table, Text
from .words import host_names, in_cell, milliseconds, process_key, process_of_key, seconds_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..state import State

__all__ = ["WorkerPage"]

_SECONDS = 5  # of a profile
_KEPT = 600


class WorkerPage(Page):
    """See the top of the file."""

    name = "worker"
    title = "Process"
    about = "One process: what it runs, what its tasks printed, where its threads are, what takes its time"
    PARAMS = ("worker", "look", "again")
    NEEDS = ("nodes", "worker_stats", "workers")
    IN_MENU = False

    def __init__(self, params: Mapping[str, str]) -> None:
        super().__init__(params)
        self._worker = self.params.get("worker", "")
        self._look = self.params.get("look", "")
        self._details = self.add(Rows("details", Details.COLUMNS))
        self._use = self.add(Series("use", ("time", "cpu", "rss", "uss"), _KEPT))
        self._stack, self._log = Lines("stack"), Lines("log")
        self._profile = self.add(Rows("profile", ("key", "html")))
        self._hot = self.add(Rows("hot", ("key", "name", "place", "own", "total")))
        self.add(self._stack.rows)
        self.add(self._log.rows)

    def _asked(self, look: str) -> str:
        """The question that a press of a button asks; empty if it was not pressed."""
        if self._look.partition("-")[0] != look or not self._worker:
            return ""
        told = {"seconds": _SECONDS, "idle": int(self._look.endswith("-all"))} if look == "profile" else {}
        return query_name(look, of=process_of_key(self._worker), again=self.params.get("again", ""), **told)

    def _log_name(self) -> str:
        return query_name("logs", worker=self._worker)

    def needs(self) -> list[str]:
        """Its log, and what was asked for by a button."""
        looks = [self._asked("stack"), self._asked("profile")]
        has_log = self._worker and "@" not in self._worker
        return [*self.NEEDS, *([self._log_name()] if has_log else []), *[look for look in looks if look]]

    def controls(self) -> list[Control]:
        """What can be looked at."""
        return [
            Press("look", "Stack dump", "stack", again="again"),
            Press("look", f"CPU profile, {_SECONDS} s", "profile", again="again"),
            Press("look", f"Profile with waiting, {_SECONDS} s", "profile-all", again="again"),
        ]

    def panels(self) -> list[Panel]:
        """What was asked for comes first."""
        found: list[Panel] = []
        if self._look == "stack":
            found = [Text("Stacks", "stack", height=420, empty="Its threads are being looked at …")]
        elif self._look:
            found = [
                Flame("Where its time goes", "profile", empty=f"It is being looked at for {_SECONDS} s …"),
                Table(
                    "Functions that took most",
                    "hot",
                    [
                        Column("name", "Function", "code"),
                        Column("place", "Where", "code"),
                        Column("own", "In its own code", "seconds"),
                        Column("total", "With what it called", "seconds"),
                    ],
                    sort="-own",
                    empty="What took most stands here when the profile is there.",
                ),
            ]
        return [
            *found,
            Details("Process", "details", span=5, empty="There is no such process: see the page Nodes."),
            Plot(
                "Memory",
                ["use"],
                "times:lines",
                {"number": "0.0 d", "names": [("rss", "resident", "#cc79a7"), ("uss", "its own", "#0072b2")]},
                height=200,
                span=7,
                empty="It has not been measured yet.",
            ),
            Text("Log", "log", follow=True, empty="Its tasks have printed nothing."),
        ]  # fmt: skip

    def update(self, state: State) -> None:
        """See `Page.update`."""
        hosts = host_names(state)
        found = [row for row in state.get("worker_stats") if process_key(row) == self._worker]
        ended = [row for row in state.get("workers") if row["worker_id"] == self._worker and not row["is_alive"]]
        for row in found:
            self._details.set(_described(row, hosts, state.now))
            self._use.append(
                {
                    "time": [milliseconds(state.now)],
                    "cpu": [row["cpu_percent"]],
                    "rss": [row["rss"]],
                    "uss": [row["uss"]],
                }
            )
        if ended and not found:
            (row,) = ended
            why = row["exit_detail"] or row["exit_type"] or ""
            self._details.set([("state", "State", "dead", "state"), ("why", "Why", why, "text")])
        self._log.set(log_lines(state.get(self._log_name())))
        self._draw_looks(state)

    def _draw_looks(self, state: State) -> None:
        stack = state.get(self._asked("stack"))
        self._stack.set((row["text"], row["mark"]) for row in stack if UNDER_WAY not in row)
        profile = [row for row in state.get(self._asked("profile")) if UNDER_WAY not in row]
        self._profile.set((0, row["html"]) for row in profile)
        self._hot.set(
            (place, one["name"], one["place"], one["own"], one["total"])
            for row in profile
            for place, one in enumerate(row["hot"])
        )


def _described(row: dict[str, Any], hosts: Mapping[str, str], now: float) -> list[tuple[Any, ...]]:
    begun = seconds_of(row["task_start_time_ms"])
    held = {
        **(row["resources"] or {}),
        **{name: sum(shares.values()) for name, shares in (row["devices"] or {}).items()},
    }
    return [
        ("process", "Process", row["process"], "text"),
        ("pid", "Process id", str(row["pid"]), "code"),
        ("node", "Node", hosts.get(row["node_id"], ""), "text"),
        ("state", "State", row["state"], "text"),
        ("function", "Runs", row["function"] or "nothing at this moment", "text"),
        ("since", "For", round(now - begun, 1) if begun else None, "seconds"),
        ("cell", "Of cell", in_cell(row["cell"]), "cell"),
        ("task", "Task", row["task_id"], "code"),
        ("more", "Tasks at a time", row["task_count"] if row["task_count"] > 1 else None, "number"),
        ("actor", "Actor", row["actor_id"], "code"),
        ("held", "Holds", ", ".join(f"{name} {quantity:g}" for name, quantity in held.items()), "text"),
        ("cpu", "CPU", round(row["cpu_percent"], 1), "percent"),
        ("rss", "Memory", row["rss"], "bytes"),
        ("uss", "Memory of its own", row["uss"], "bytes"),
        ("threads", "Threads", row["threads"], "number"),
        ("job", "Job", row["job_id"], "code"),
        ("worker_id", "Id", row["worker_id"], "code"),
    ]
