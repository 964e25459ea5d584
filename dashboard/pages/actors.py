"""Actors, what they do at this moment, and how long their methods take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...cluster.telemetry.events import TaskKind
from ..questions import query_name
from ..sources import Rows
from .base import Page
from .lines import Lines, log_lines
from .panels import Act, Column, Details, Numbers, Opens, Panel, Table, Text
from .words import cell_name, host_names, in_cell, seconds_of, took

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..groups import Group
    from ..state import State

__all__ = ["ActorPage", "Actors"]

_METHODS = (
    Column("name", "Method"),
    Column("cell", "Cell", "cell"),
    Column("calls", "Calls ended", "number"),
    Column("mean", "Mean time", "seconds", "Time that a call runs, without waiting for its turn"),
    Column("running", "Running", "number"),
    Column("waiting", "Waiting", "number", "Calls that wait for their turn, their arguments, or the actor"),
    Column("failed", "Failed", "number"),
)


def methods_of(groups: Iterable[Group], name: str = "") -> list[tuple[Any, ...]]:
    """A row for each method that was called, of one class or all, by cell."""
    return [
        (
            group.number,
            group.name,
            cell_name(group.cell),
            group.ended,
            group.seconds / group.ended if group.ended else None,
            group.running,
            max(0, group.total - group.ended - group.running),
            group.failed,
        )
        for group in groups
        if group.kind != TaskKind.NORMAL and (not name or group.name.rpartition(".")[0] == name)
    ]


def death_text(actor: Mapping[str, Any]) -> str:
    """Why an actor is dead; empty if it is not."""
    death = actor["death_cause"]
    return "" if not death else f"{death['detail'] or death['kind']}"


def restarts_text(actor: Mapping[str, Any]) -> str:
    """How often it was restarted, and how often it may be."""
    if not actor["max_restarts"]:
        return ""
    most = "any number" if actor["max_restarts"] < 0 else f"{actor['max_restarts']}"
    return f"{actor['num_restarts']} of {most}"


class Actors(Page):
    """See the top of the file."""

    name = "actors"
    title = "Actors"
    about = "Which actors live, what they do, and how long their methods take"
    NEEDS = ("actors", "nodes")

    def __init__(self, params: Mapping[str, str]) -> None:
        super().__init__(params)
        self._numbers = self.add(Rows("numbers", Numbers.COLUMNS))
        self._actors = self.add(
            Rows(
                "actors",
                ("actor_id", "class", "name", "state", "runs", "since", "restarts", "node", "pid", "cell", "begun",
                 "death", "may_kill"),
            )
        )  # fmt: skip
        self._methods = self.add(
            Rows("methods", ("key", "name", "cell", "calls", "mean", "running", "waiting", "failed"))
        )

    def panels(self) -> list[Panel]:
        """Figures, actors, methods."""
        return [
            Numbers("numbers"),
            Table(
                "Actors",
                "actors",
                [
                    Column("class", "Class"),
                    Column("name", "Name"),
                    Column("state", "State", "state"),
                    Column("runs", "Runs", "text", "The method that runs now"),
                    Column("since", "For", "seconds"),
                    Column("restarts", "Restarts"),
                    Column("node", "Node"),
                    Column("pid", "Process", "code"),
                    Column("cell", "Cell", "cell"),
                    Column("begun", "Created", "ago"),
                    Column("death", "Why it is dead", "sentence"),
                ],
                opens=Opens("actor", {"actor": "actor_id"}),
                acts=[Act("kill_actor", "Kill", {"actor_id": "actor_id"}, when="may_kill")],
                search=True,
                height=420,
                empty="There are no actors. A remote class makes them: Counter.remote()",
                hint="A row opens the actor with its calls and what it printed",
            ),
            Table(
                "Methods",
                "methods",
                list(_METHODS),
                sort="-calls",
                empty="No method of an actor was called yet: counter.add.remote()",
                hint="Of all actors of a class together",
            ),
        ]

    def update(self, state: State) -> None:
        """See `Page.update`."""
        actors = state.get("actors")
        hosts = host_names(state)
        running = {one.worker.hex(): one for one in reversed(state.model.groups.running.values())}
        rows = []
        for actor in actors:
            at_work = running.get(actor["worker_id"] or "")
            rows.append(
                (
                    actor["actor_id"],
                    actor["class_name"],
                    actor["name"],
                    actor["state"].lower().replace("_", " "),
                    state.model.groups.all[at_work.group].name if at_work else "",
                    round(max(0.0, state.now - at_work.begin), 1) if at_work else None,
                    restarts_text(actor),
                    hosts.get(actor["node_id"] or "", ""),
                    str(actor["pid"] or ""),
                    in_cell(actor["cell"]),
                    seconds_of(actor["start_time_ms"]),
                    death_text(actor),
                    actor["state"] != "DEAD",
                )
            )
        self._actors.set(rows)
        methods = methods_of(state.model.groups)
        self._methods.set(methods)
        states = [actor["state"] for actor in actors]
        dead, restarts = states.count("DEAD"), sum(actor["num_restarts"] for actor in actors)
        self._numbers.set(
            [
                ("alive", "Alive", states.count("ALIVE"), "number", None, f"of {len(states):,} that are known"),
                ("begin", "Beginning", len(states) - dead - states.count("ALIVE"), "number", None, "or restarting"),
                ("dead", "Dead", dead, "number", None, f"{restarts:,} restarts in all"),
                ("waiting", "Calls waiting", sum(row[6] for row in methods), "number", None, ""),
            ]
        )


class ActorPage(Page):
    """One actor: what it is, its calls, what it printed."""

    name = "actor"
    title = "Actor"
    about = "One actor: what it is, its calls, what it printed"
    PARAMS = ("actor",)
    NEEDS = ("actors", "nodes")
    IN_MENU = False

    def __init__(self, params: Mapping[str, str]) -> None:
        super().__init__(params)
        self._actor = self.params.get("actor", "")
        self._details = self.add(Rows("details", Details.COLUMNS))
        self._methods = self.add(
            Rows("methods", ("key", "name", "cell", "calls", "mean", "running", "waiting", "failed"))
        )
        self._calls = self.add(
            Rows("calls", ("key", "task_id", "name", "state", "cell", "waited", "started", "took", "error"))
        )
        self._log = Lines("log")
        self.add(self._log.rows)

    def needs(self) -> list[str]:
        """Its calls and its log, too."""
        if not self._actor:
            return list(self.NEEDS)
        return [*self.NEEDS, f"actor_calls:{self._actor}", self._log_name()]

    def _log_name(self) -> str:
        return query_name("logs", actor=self._actor)

    def panels(self) -> list[Panel]:
        """What it is, its calls, what it printed."""
        return [
            Details(
                "Actor",
                "details",
                span=5,
                acts=[Act("kill_actor", "Kill", {"actor_id": "actor_id"}, when="may_kill")],
                empty="There is no such actor, or it has been dead for so long that nobody remembers it.",
            ),
            Table(
                "Methods of its class",
                "methods",
                list(_METHODS),
                span=7,
                sort="-calls",
                empty="No method of this class was called yet.",
            ),
            Table(
                "Calls",
                "calls",
                [
                    Column("name", "Method"),
                    Column("state", "State", "state"),
                    Column("cell", "Cell", "cell"),
                    Column("started", "Began", "time"),
                    Column("waited", "Waited", "seconds", "From the call to its beginning, where that was seen"),
                    Column("took", "Ran for", "seconds"),
                    Column("error", "Error", "sentence"),
                    Column("task_id", "Task", "id"),
                ],
                height=320,
                sort="-started",
                opens=Opens("task", {"task": "task_id"}),
                search=True,
                empty="None of its methods was called yet.",
                hint="The newest 200, and those that wait",
            ),
            Text("Log", "log", follow=True, empty="It has printed nothing."),
        ]

    def update(self, state: State) -> None:
        """See `Page.update`."""
        found = [actor for actor in state.get("actors") if actor["actor_id"] == self._actor]
        hosts = host_names(state)
        for actor in found:
            self._details.set(self._describe(actor, hosts))
            self._methods.set(methods_of(state.model.groups, actor["class_name"]))
        if not found:
            self._details.set([])
        self._calls.set(
            (
                f"{call['task_id']}:{call['attempt']}",
                call["task_id"],
                call["name"],
                _state_of(call["state"]),
                in_cell(call["cell"]),
                max(0.0, call["started"] - call["submitted"]) if call["started"] and call["submitted"] else None,
                call["started"],
                call["ended"] - call["started"] if call["ended"] and call["started"] else None,
                call["error"],
            )
            for call in state.get(f"actor_calls:{self._actor}")
        )
        self._log.set(log_lines(state.get(self._log_name())))

    @staticmethod
    def _describe(actor: Mapping[str, Any], hosts: Mapping[str, str]) -> list[tuple[Any, ...]]:
        begun, ended = seconds_of(actor["start_time_ms"]), seconds_of(actor["end_time_ms"])
        resources = ", ".join(f"{name} {quantity:g}" for name, quantity in (actor["required_resources"] or {}).items())
        return [
            ("class", "Class", actor["class_name"], "text"),
            ("name", "Name", actor["name"] or "none", "text"),
            ("state", "State", actor["state"].lower().replace("_", " "), "state"),
            ("death", "Why it is dead", death_text(actor), "text"),
            ("node", "Node", hosts.get(actor["node_id"] or "", ""), "text"),
            ("pid", "Process", str(actor["pid"] or ""), "code"),
            ("cell", "Created in", in_cell(actor["cell"]), "cell"),
            ("site", "Created at", actor["call_site"], "code"),
            ("begun", "Created", begun, "ago"),
            ("lived", "Lived for", took(ended - begun) if begun and ended else "", "text"),
            ("resources", "Holds", resources or "no CPU or GPU while it waits for calls", "text"),
            ("group", "Placement group", actor["placement_group_id"] or "", "code"),
            ("restarts", "Restarts", restarts_text(actor) or "it is not restarted", "text"),
            (
                "detached",
                "Ends with",
                "kill() only: it is detached" if actor["is_detached"] else "its last handle",
                "text",
            ),
            ("job", "Job", actor["job_id"], "code"),
            ("actor_id", "Id", actor["actor_id"], "code"),
            ("may_kill", "", actor["state"] != "DEAD", "bool"),
        ]


def _state_of(name: str) -> str:
    return {"RUNNING": "running", "FINISHED": "finished", "FAILED": "failed", "CANCELLED": "cancelled"}.get(
        name, "waiting"
    )
