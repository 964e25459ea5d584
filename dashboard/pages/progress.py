"""How far each function of each cell is, and when it will be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..sources import Rows
from .base import Page
from .counts import EDGES, PARTS, counts_of, edges
from .panels import Choice, Control, Factors, Numbers, Opens, Panel, Plot, Table
from .panels import Column as Col
from .words import cell_key, cell_name, group_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..groups import Group
    from ..state import State

__all__ = ["Progress"]

_BARS = 16  # the newest
_ROWS = 2_000


class Progress(Page):
    """See the top of the file."""

    name = "progress"
    title = "Progress"
    about = "How far each function of each cell is, at which rate, and when it will be done"
    PARAMS = ("cell",)

    def __init__(self, params: Mapping[str, str]) -> None:
        super().__init__(params)
        self._numbers = self.add(Rows("numbers", Numbers.COLUMNS))
        self._bars = self.add(
            Rows("bars", ("key", "label", "name", "cell", *EDGES, "total", *PARTS, "mean", "rate", "group"))
        )
        self._labels = self.add(Rows("labels", ("key", "label")))
        self._rows = self.add(
            Rows("rows", ("key", "cell", "name", "done", "total", *PARTS, "rate", "left", "mean", "seconds", "group"))
        )
        self._cells = self.add(Rows("cells", ("key", "label")))
        self._version = -1

    def controls(self) -> list[Control]:
        """Which cell."""
        return [Choice("cell", "Cell", source="cells")]

    def panels(self) -> list[Panel]:
        """Figures, bars of states, all functions."""
        return [
            Numbers("numbers"),
            Plot(
                "States",
                ["bars"],
                "boxes:states",
                height=90,
                factors=Factors("y", "labels", "label", size=26, most=520),
                opens=Opens("tasks", {"group": "group"}),
                empty="No task was submitted yet. Call a remote function: f.remote()",
                hint="Tasks of the newest functions by their state; a click lists them",
            ),
            Table(
                "Functions",
                "rows",
                [
                    Col("cell", "Cell"),
                    Col("name", "Function"),
                    Col("done", "Done", "share"),
                    Col("total", "Tasks", "number", "As many as are known to be submitted"),
                    Col("waiting", "Waiting", "number", "For arguments, for a worker, or in a worker's queue"),
                    Col("running", "Running", "number"),
                    Col("failed", "Failed", "number"),
                    Col("cancelled", "Cancelled", "number"),
                    Col("rate", "Rate", "rate", "Tasks that ended, a second, of the last ten seconds"),
                    Col("left", "Left", "seconds", "Until all are done, at this rate"),
                    Col("mean", "Mean time", "seconds", "That a task ran"),
                    Col("seconds", "Time in sum", "seconds"),
                ],
                opens=Opens("tasks", {"group": "group"}),
                search=True,
                empty="No task was submitted yet. Call a remote function: f.remote()",
            ),
        ]

    def update(self, state: State) -> None:
        """See `Page.update`."""
        model = state.model
        changes = model.changes_since(max(self._version, 0), bars=0)
        if not changes.groups and self._version >= 0:
            return
        self._version = changes.version
        groups = [group for group in model.groups if group.total or group.ended or group.running]
        self._list_cells(groups)
        wanted = self.params.get("cell", "")
        if wanted:
            groups = [group for group in groups if cell_key(group.cell) == wanted]
        groups = groups[-_ROWS:][::-1]
        self._draw_numbers(groups)
        self._draw_bars(groups[:_BARS])
        self._rows.set(self._row(group) for group in groups)

    def _list_cells(self, groups: list[Group]) -> None:
        cells = {cell_key(group.cell): cell_name(group.cell) or "outside cells" for group in groups[::-1]}
        self._cells.set([("", "All cells"), *cells.items()])

    def _row(self, group: Group) -> tuple[object, ...]:
        counts = counts_of([group])
        return (
            group.number,
            cell_name(group.cell),
            group.name,
            counts.share,
            counts.total,
            *(getattr(counts, part) for part in PARTS),
            round(counts.rate, 1),
            counts.left,
            round(counts.mean, 6),
            round(counts.seconds, 3),
            group_key(group),
        )

    def _draw_bars(self, groups: list[Group]) -> None:
        rows: list[tuple[object, ...]] = []
        labels: dict[str, int] = {}
        for group in groups:
            label = " ".join(part for part in (cell_name(group.cell), group.name) if part)
            labels[label] = labels.get(label, 0) + 1
            if labels[label] > 1:
                label = f"{label} ({labels[label]})"
            counts = counts_of([group])
            rows.append(
                (group.number, label, group.name, cell_name(group.cell), *edges(counts, 0, 1), counts.total,
                 *(getattr(counts, part) for part in PARTS), counts.mean_text, round(counts.rate, 1), group_key(group))
            )  # fmt: skip
        self._bars.set(rows)
        self._labels.set([row[:2] for row in rows])

    def _draw_numbers(self, groups: list[Group]) -> None:
        counts = counts_of(groups)
        done = f"{counts.share * 100:.0f} % of {counts.total:,}"
        self._numbers.set(
            [
                ("done", "Done", counts.ended, "number", counts.share, done),
                ("running", "Running", counts.running, "number", None, ""),
                ("waiting", "Waiting", counts.waiting, "number", None, ""),
                ("failed", "Failed", counts.failed, "number", None, f"{counts.cancelled:,} cancelled"),
                ("rate", "Rate", round(counts.rate, 1), "rate", None, "of the last ten seconds"),
                ("left", "Left", counts.left, "seconds", None, "at this rate"),
            ]
        )
