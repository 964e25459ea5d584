"""Who submits whom and works on whose results: a box a function and cell, or a cell, however many tasks these are."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from ..critical import longest_chain, run_chain
from ..layout import Layout
from ..sources import Rows
from .base import Page
from .boxes import ARROW, BOX, arrow_row, box_row
from .counts import counts_of
from .panels import Choice, Control, Grows, Opens, Panel, Plot, Table
from .panels import Column as Col
from .words import cell_key, cell_name, group_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..groups import Group
    from ..model import Model
    from ..state import State

__all__ = ["TaskGraph"]

_BOXES: Final = 300  # the newest: more can not be told apart
_WHY: Final = {
    "first": "the first one",
    "result": "of those whose results it may use, the last to end",
    "submitted": "it submitted this one",
}

Edge = tuple[str, str]


class TaskGraph(Page):
    """See the top of the file."""

    name = "task_graph"
    title = "Task graph"
    about = "Which functions submit which, and which work on whose results; bold: the chain that takes longest"
    PARAMS = ("cell", "level")

    def __init__(self, params: Mapping[str, str]) -> None:
        super().__init__(params)
        self._boxes = self.add(Rows("boxes", BOX))
        self._submits = self.add(Rows("submits", ARROW))
        self._links = self.add(Rows("links", ARROW))
        self._lines = self.add(Rows("lines", ("key",)))
        self._cells = self.add(Rows("cells", ("key", "label")))
        self._chain = self.add(Rows("chain", ("key", "name", "cell", "began", "took", "gap", "why", "error", "task")))
        self._layout: Layout[str] = Layout()
        self._version = -1
        self._ended = -1
        self._by_cell = self.params.get("level") == "cells"

    def controls(self) -> list[Control]:
        """How near, and which cell."""
        levels = [("", "Functions"), ("cells", "Cells")]
        return [Choice("level", "Boxes are", values=levels), Choice("cell", "Cell", source="cells")]

    def panels(self) -> list[Panel]:
        """The graph, and what a run waited for."""
        opens = Opens("", {"cell": "opens"}, {"level": ""}) if self._by_cell else Opens("tasks", {"group": "opens"})
        chain = Table(
            "What the run waited for",
            "chain",
            [
                Col("name", "Function"),
                Col("cell", "Cell"),
                Col("began", "Began", "time"),
                Col("took", "Took", "seconds"),
                Col("gap", "After", "seconds", "Since the task before it ended, or since its submitter began"),
                Col("why", "The task before it is"),
                Col("error", "Error"),
                Col("task", "Task", "id"),
            ],
            opens=Opens("task", {"task": "task"}),
            empty="Choose a cell whose tasks have ended to see which of them made it take as long as it did.",
            hint="Back from the task that ended last. Whose results a single task used is not recorded; see the docs",
        )
        return [
            Plot(
                "Task graph",
                ["boxes", "submits", "links"],
                "boxes:graph",
                height=260,
                grows=Grows("lines", 84, 900),
                opens=opens,
                opens_source="boxes",
                empty="No task was submitted yet. Call a remote function: f.remote()",
                hint="Grey: submits. Blue, dashed: its results are used by. A click opens the box",
            ),
            chain,
        ]

    def update(self, state: State) -> None:
        """See `Page.update`."""
        model = state.model
        changes = model.changes_since(max(self._version, 0), bars=0)
        if self._version >= 0 and not (changes.groups or changes.edges or changes.links):
            return
        self._version = changes.version
        groups = [group for group in model.groups if group.total or group.ended or group.running]
        cells = {cell_key(group.cell): cell_name(group.cell) or "outside cells" for group in groups[::-1]}
        self._cells.set([("", "All cells"), *cells.items()])
        wanted = self.params.get("cell", "")
        if wanted:
            groups = [group for group in groups if cell_key(group.cell) == wanted]
        self._draw_graph(model, groups)
        if wanted:
            self._draw_chain(model, groups)

    def _draw_graph(self, model: Model, groups: list[Group]) -> None:
        box_of = {group.number: cell_key(group.cell) if self._by_cell else group_key(group) for group in groups}
        shown = dict.fromkeys(list(dict.fromkeys(box_of.values()))[-_BOXES:])
        submits, links = (_between(edges, box_of, shown) for edges in (model.graph.edges, model.graph.links))
        self._layout.remove([box for box in self._layout.places if box not in shown])
        self._layout.add(shown, [*links, *submits])
        members: dict[str, list[Group]] = {}
        for group in groups:
            members.setdefault(box_of[group.number], []).append(group)
        chain = self._longest(model, groups)
        boxes = [box_of[number] for number in chain]
        critical = set(pairwise(boxes))
        places = self._layout.places
        self._boxes.set(
            box_row(
                box, places[box], *self._named(members[box]), counts_of(members[box]), box, is_critical=box in boxes
            )
            for box in shown
        )
        for rows, found, is_link in ((self._submits, submits, False), (self._links, links, True)):
            rows.set(
                arrow_row(
                    f"{one} {other}", places[one], places[other], is_link=is_link, is_critical=(one, other) in critical
                )
                for one, other in found
            )
        self._lines.set((row,) for row in range(self._layout.rows))

    def _named(self, groups: list[Group]) -> tuple[str, str]:
        cell = cell_name(groups[0].cell)
        if not self._by_cell:
            return groups[0].name, cell
        names = list(dict.fromkeys(group.name for group in groups))
        return (names[0] if len(names) == 1 else f"{len(names)} functions"), cell

    @staticmethod
    def _longest(model: Model, groups: list[Group]) -> list[int]:
        weights = {group.number: counts_of([group]).mean for group in groups if group.finished + group.failed}
        chain = longest_chain(weights, model.graph.links, model.graph.edges)
        return chain if len(chain) > 1 else []

    def _draw_chain(self, model: Model, groups: list[Group]) -> None:
        ended = sum(group.ended for group in groups)
        if ended == self._ended or not all(group.is_over for group in groups):
            return
        self._ended = ended
        rows: list[tuple[object, ...]] = []
        for number, step in enumerate(run_chain(model, [group.number for group in groups])):
            task, group = step.task, model.groups.all[step.task.group]
            gap = round(step.gap, 6) if step.why != "first" else None
            ran = round(max(0.0, task.end - task.begin), 7)
            rows.append(
                (number, group.name, cell_name(group.cell), round(task.begin, 4), ran, gap, _WHY[step.why], task.error,
                 task.task_id.hex())
            )  # fmt: skip
        self._chain.set(rows)


def _between(edges: Mapping[tuple[int, int], int], box_of: Mapping[int, str], shown: Mapping[str, None]) -> list[Edge]:
    """Edges between boxes that are shown, each once."""
    found: dict[Edge, None] = {}
    for one, other in edges:
        first, second = box_of.get(one, ""), box_of.get(other, "")
        if first in shown and second in shown:
            found[first, second] = None
    return list(found)
