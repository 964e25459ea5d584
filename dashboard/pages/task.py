"""One task: when it ran and where, of whom, with which arguments, what it made, printed and raised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ...cluster.telemetry.events import TaskState
from ..layout import Place
from ..sources import Rows
from .base import Page
from .boxes import ARROW, BOX, arrow_row, box_row
from .counts import Counts
from .panels import Act, Details, Opens, Panel, Plot, Table, Text
from .panels import Column as Col
from .words import cell_name, state_name, took

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..groups import Group
    from ..model import Model
    from ..state import State
    from ..stream import TaskSeen

__all__ = ["Task"]

_CHILDREN: Final = 200
_DRAWN: Final = 8  # children in the graph
_NO_TRACEBACK: Final = "Nobody holds the error any more, and its traceback is gone with it."


class Task(Page):
    """See the top of the file."""

    name = "task"
    title = "Task"
    about = "One task: times, place, arguments, results, output, error"
    PARAMS = ("task",)
    IN_MENU = False

    def __init__(self, params: Mapping[str, str]) -> None:
        super().__init__(params)
        self._details = self.add(Rows("details", Details.COLUMNS))
        self._attempts = self.add(
            Rows("attempts", ("key", "attempt", "state", "begin", "queued", "took", "worker", "node", "error"))
        )
        self._arguments = self.add(Rows("arguments", ("key", "slot", "text", "maker", "object", "task")))
        self._results = self.add(Rows("results", ("key", "size", "status", "nodes", "borrowers")))
        self._children = self.add(Rows("children", ("key", "name", "state", "begin", "took", "error", "task")))
        self._error = self.add(Rows("error", ("key", "text", "mark")))
        self._log = self.add(Rows("log", ("key", "text", "mark")))
        self._boxes = self.add(Rows("boxes", BOX))
        self._submits = self.add(Rows("submits", ARROW))
        self._links = self.add(Rows("links", ARROW))
        self._id = params.get("task", "")
        self._told = "What its owner knows has not been asked yet."

    def needs(self) -> list[str]:
        """What it printed, and what its owner knows."""
        return [f"task_log:{self._id}", f"task_told:{self._id}"] if self._task_id() else []

    def _task_id(self) -> bytes:
        try:
            return bytes.fromhex(self._id)
        except ValueError:
            return b""

    def panels(self) -> list[Panel]:
        """All that is known."""
        cancel = Act("cancel_task", "Cancel", {"task_id": "id"}, when="unfinished")
        return [
            Details(
                "Task", "details", span=5, acts=[cancel],
                empty="This task is not known (yet): the cluster remembers the last million tasks.",
            ),
            Plot(
                "Around it", ["boxes", "submits", "links"], "boxes:graph", {"columns": 3}, height=260, span=7,
                opens=Opens("task", {"task": "opens"}), opens_source="boxes",
                empty="Nothing is known of a task that submitted it, or that it submitted.",
                hint="The task that submitted it, and those that it submitted",
            ),
            Table(
                "Attempts", "attempts",
                [
                    Col("attempt", "Attempt", "number"), Col("state", "State", "state"), Col("begin", "Began", "time"),
                    Col("queued", "Waited", "seconds", "From its submission, as its owner saw it, to its begin"),
                    Col("took", "Took", "seconds"), Col("worker", "Worker"), Col("node", "Node", "id"),
                    Col("error", "Error"),
                ],
                empty="It has not begun yet.",
            ),
            Table(
                "Arguments", "arguments",
                [
                    Col("slot", "Argument"), Col("text", "Value", "code"), Col("maker", "Result of"),
                    Col("object", "Object", "id"),
                ],
                span=6, opens=Opens("task", {"task": "task"}),
                empty="Known only while the task waits or runs, or its results may have to be made again.",
            ),
            Table(
                "Results", "results",
                [
                    Col("key", "Object", "id"), Col("size", "Size", "bytes"), Col("status", "State", "state"),
                    Col("nodes", "In stores of"), Col("borrowers", "Held by others", "number"),
                ],
                span=6, empty="Nobody holds a result of it.",
            ),
            Table(
                "Submitted by it", "children",
                [
                    Col("name", "Function"), Col("state", "State", "state"), Col("begin", "Began", "time"),
                    Col("took", "Took", "seconds"), Col("error", "Error"), Col("task", "Task", "id"),
                ],
                opens=Opens("task", {"task": "task"}), empty="It submitted nothing that is known.",
            ),
            Text("Error", "error", height=200, empty="No error."),
            Text("Output", "log", follow=True, empty="It has printed nothing."),
        ]  # fmt: skip

    def update(self, state: State) -> None:
        """See `Page.update`."""
        task_id = self._task_id()
        model = state.model
        tries = model.task(task_id) if task_id else []
        if not tries:
            return
        newest = tries[0]
        group = model.groups.all[newest.group]
        told = state.get(f"task_told:{self._id}")
        self._draw_told(told)
        parent = model.graph.parent_task(task_id)
        self._draw_details(model, newest, group, parent, told)
        owner = {seen.attempt: seen for seen in model.stream.find(task_id) if seen.is_owner}
        self._attempts.set(self._attempt(model, seen, owner.get(seen.attempt)) for seen in tries)
        children = model.children(task_id, _CHILDREN)
        self._children.set(_child(model, child) for child in children)
        self._draw_around(model, newest, parent, children)
        self._draw_error(newest, told)
        self._log.set(
            (place, row["text"], "warning" if row["stream"] == 2 else "")
            for place, row in enumerate(state.get(f"task_log:{self._id}"))
        )

    def _draw_details(
        self, model: Model, seen: TaskSeen, group: Group, parent: bytes, told: list[dict[str, Any]]
    ) -> None:
        unfinished = "yes" if seen.state < TaskState.FINISHED else ""
        rows: list[tuple[object, ...]] = [
            ("name", "Function", group.name, "text"),
            ("state", "State", state_name(seen.state), "state"),
            ("cell", "Cell", cell_name(group.cell) or "outside cells", "text"),
            ("id", "Task", self._id, "code"),
            ("kind", "Kind", group.kind.name.lower().replace("_", " "), "text"),
            ("parent", "Submitted by", self._parent(model, parent), "text"),
            ("unfinished", "", unfinished, "text"),
        ]
        for row in told:
            if row["kind"] == "facts":
                needs = ", ".join(f"{quantity:g} {name}" for name, quantity in row["resources"].items())
                retries = "without end" if row["retries"] < 0 else str(row["retries"])
                rows += [("site", "Called at", row["site"], "code"), ("needs", "Needs", needs or "nothing", "text")]
                if row["pending"]:
                    rows.append(("retries", "Retries left", retries, "text"))
                if row["missing"]:
                    rows.append(("missing", "Arguments not ready", row["missing"], "number"))
        rows.append(("told", "Note", self._told, "text"))
        self._details.set(row for row in rows if row[2] != "" or row[0] == "unfinished")

    @staticmethod
    def _parent(model: Model, parent: bytes) -> str:
        if not parent:
            return "its program, or not recorded"
        seen = model.task(parent)
        return f"{model.groups.all[seen[0].group].name} ({parent.hex()})" if seen else parent.hex()

    def _draw_told(self, told: list[dict[str, Any]]) -> None:
        if told:
            self._told = next((row["text"] for row in told if row["kind"] == "note"), "")
        self._arguments.set(
            (place, row["slot"], row["text"], row["maker"], row["object"], row["object"][: len(self._id)])
            for place, row in enumerate(row for row in told if row["kind"] == "argument")
        )
        self._results.set(
            (row["object"], max(row["size"], 0) or None, row["status"].lower(), ", ".join(n[:8] for n in row["nodes"]),
             len(row["borrowers"]))
            for row in told
            if row["kind"] == "result"
        )  # fmt: skip

    @staticmethod
    def _attempt(model: Model, seen: TaskSeen, owner: TaskSeen | None) -> tuple[object, ...]:
        worker = model.workers[seen.worker] if seen.worker >= 0 else None
        began = seen.begin if not seen.is_owner else None
        queued = seen.begin - owner.begin if owner is not None and began and owner.begin <= seen.begin else None
        over = seen.state >= TaskState.FINISHED and began is not None
        return (
            seen.attempt, seen.attempt, state_name(seen.state), began, queued,
            round(seen.end - seen.begin, 7) if over else None, f"pid {worker.pid}" if worker else "",
            worker.node_id.hex() if worker else "", seen.error if seen.state == TaskState.FAILED else "",
        )  # fmt: skip

    def _draw_error(self, seen: TaskSeen, told: list[dict[str, Any]]) -> None:
        if seen.state != TaskState.FAILED or not seen.error:
            self._error.set([])
            return
        lines = [(line, "error") for line in seen.error.splitlines()]
        traceback = next((row["text"] for row in told if row["kind"] == "traceback"), "" if told else " ")
        lines += [(line, "") for line in traceback.splitlines()] or [(_NO_TRACEBACK, "faint")]
        self._error.set((place, text, mark) for place, (text, mark) in enumerate(lines))

    def _draw_around(self, model: Model, own: TaskSeen, parent: bytes, children: list[TaskSeen]) -> None:
        if not parent and not children:
            self._boxes.set([])
            self._submits.set([])
            return
        here = Place(1, min(len(children), _DRAWN) // 2)
        drawn: list[tuple[TaskSeen, Place]] = [(own, here)]
        seen = model.task(parent) if parent else []
        if seen:
            drawn.append((seen[0], Place(0, here.row)))
        drawn += [(child, Place(2, row)) for row, child in enumerate(children[:_DRAWN])]
        self._boxes.set(_single(model, one, place, is_own=one is own) for one, place in drawn)
        arrows = [(place, here) if place.column == 0 else (here, place) for _, place in drawn[1:]]
        self._submits.set(
            arrow_row(f"{first}{second}", first, second, is_link=False, is_critical=False) for first, second in arrows
        )


def _child(model: Model, seen: TaskSeen) -> tuple[object, ...]:
    over = seen.state >= TaskState.FINISHED and not seen.is_owner
    return (
        f"{seen.task_id.hex()}:{seen.attempt}", model.groups.all[seen.group].name, state_name(seen.state),
        seen.begin if not seen.is_owner else None, round(seen.end - seen.begin, 7) if over else None,
        seen.error if over else "", seen.task_id.hex(),
    )  # fmt: skip


def _single(model: Model, seen: TaskSeen, place: Place, *, is_own: bool) -> tuple[object, ...]:
    group = model.groups.all[seen.group]
    counts = Counts(total=1)
    setattr(counts, state_name(seen.state), 1)
    ran = f" · {took(seen.end - seen.begin)}" if seen.end and not seen.is_owner else ""
    note = f"{state_name(seen.state)}{ran}"
    return box_row(
        f"{seen.task_id.hex()}:{seen.attempt}:{is_own}", place, group.name, "", counts, seen.task_id.hex(),
        is_critical=is_own, note=note,
    )  # fmt: skip
