"""The single tasks of a function: a page of rows at a time, sorted, filtered by state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from ...cluster.telemetry.events import TaskState
from ..sources import Rows
from .base import Page
from .counts import counts_of
from .panels import Choice, Control, Numbers, Opens, Panel, Plot, Table
from .panels import Column as Col
from .words import cell_name, group_of, state_name, took

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..groups import Group, Running
    from ..model import Model
    from ..state import State
    from ..stream import Ended, TaskSeen

__all__ = ["Tasks"]

_PAGE: Final = 200  # rows
_PAGES_SHOWN: Final = 100  # that can be chosen: the first ones, and the last
_EVERY: Final = 1.0  # seconds between two tables: sorting a million rows takes a tenth of one
_BINS: Final = 40

_STATES: Final = {
    "finished": frozenset({TaskState.FINISHED}),
    "failed": frozenset({TaskState.FAILED}),
    "cancelled": frozenset({TaskState.CANCELLED}),
}
_SORTS: Final = [
    ("", "Ended last"),
    ("first", "Ended first"),
    ("longest", "Took longest"),
    ("shortest", "Took shortest"),
]


class Tasks(Page):
    """See the top of the file."""

    name = "tasks"
    title = "Tasks"
    about = "The single tasks of a function; a click shows one"
    PARAMS = ("group", "state", "sort", "page")
    IN_MENU = False

    def __init__(self, params: Mapping[str, str]) -> None:
        super().__init__(params)
        self._numbers = self.add(Rows("numbers", Numbers.COLUMNS))
        self._rows = self.add(
            Rows("rows", ("key", "state", "began", "took", "worker", "attempt", "error", "task", "number"))
        )
        self._pages = self.add(Rows("pages", ("key", "label")))
        self._durations = self.add(Rows("durations", ("key", "left", "right", "count", "label")))
        self._shown: tuple[object, ...] = ()
        self._shown_at = float("-inf")

    def controls(self) -> list[Control]:
        """Which of them, in which order."""
        states = [("", "All"), *((name, name.capitalize()) for name in ("waiting", "running", *_STATES))]
        return [
            Choice("state", "State", values=states),
            Choice("sort", "Order", values=_SORTS),
            Choice("page", "Rows", source="pages"),
        ]

    def panels(self) -> list[Panel]:
        """Figures, how long tasks took, and the tasks."""
        return [
            Numbers("numbers"),
            Plot(
                "How long tasks took",
                ["durations"],
                "boxes:durations",
                height=150,
                empty="No task of this function has ended yet.",
                hint="Number of tasks by the time that they ran; a bar far to the right is a straggler",
            ),
            Table(
                "Tasks",
                "rows",
                [
                    Col("state", "State", "state"),
                    Col("began", "Began", "time", "Of what waits: when it was submitted"),
                    Col("took", "Took", "seconds"),
                    Col("worker", "Worker", "text", "Process id"),
                    Col("attempt", "Attempt", "number", "Times that it was tried again"),
                    Col("error", "Error"),
                    Col("task", "Task", "id"),
                ],
                sort="number",
                opens=Opens("task", {"task": "task"}),
                search=True,
                empty="No task of this function is known in this state. The cluster remembers the last million tasks.",
            ),
        ]

    def update(self, state: State) -> None:
        """See `Page.update`."""
        model = state.model
        group = group_of(model, self.params.get("group", ""))
        if group is None:
            return
        self._draw_numbers(group)
        running = [one for one in model.groups.running.values() if one.group == group.number]
        shown = (group.ended, group.waiting, frozenset((one.task_id, one.attempt) for one in running))
        if shown == self._shown or state.now - self._shown_at < _EVERY:
            return
        self._shown, self._shown_at = shown, state.now
        self._draw_rows(model, group, running, state.now)

    def _draw_numbers(self, group: Group) -> None:
        counts = counts_of([group])
        self._numbers.set(
            [
                ("name", "Function", group.name, "text", None, cell_name(group.cell)),
                ("done", "Done", counts.ended, "number", counts.share, f"of {counts.total:,}"),
                ("running", "Running", counts.running, "number", None, ""),
                ("waiting", "Waiting", counts.waiting, "number", None, ""),
                ("failed", "Failed", counts.failed, "number", None, f"{counts.cancelled:,} cancelled"),
                ("mean", "Mean time", round(counts.mean, 6), "seconds", None, ""),
                ("rate", "Rate", round(counts.rate, 1), "rate", None, ""),
            ]
        )

    def _draw_rows(self, model: Model, group: Group, running: list[Running], now: float) -> None:
        wanted = self.params.get("state", "")
        ended = model.stream.ended(group.number)
        places = self._order(ended, wanted)
        self._draw_durations(ended)
        first: list[tuple[object, ...]] = []
        pids = {worker.worker_id: worker.pid for worker in model.workers}
        if wanted in ("", "running"):
            first = [
                (f"{one.task_id.hex()}:{one.attempt}", "running", one.begin, max(0.0, now - one.begin),
                 str(pids.get(one.worker, "")), one.attempt, "", one.task_id.hex())
                for one in sorted(running, key=lambda one: -one.begin)
            ]  # fmt: skip
        waiting: list[TaskSeen] = []
        if wanted in ("", "waiting") and counts_of([group]).waiting:
            busy = {one.task_id for one in running}
            waiting = [one for one in model.stream.waiting(group.number, _PAGE) if one.task_id not in busy]
        total = len(first) + len(places) + len(waiting)
        begin = min(self._page() * _PAGE, max(0, (total - 1) // _PAGE * _PAGE))
        rows = first[begin : begin + _PAGE]
        for place in places[max(0, begin - len(first)) :][: _PAGE - len(rows)].tolist():
            rows.append(self._row(model, ended.task(place)))
        if len(rows) < _PAGE:
            start = max(0, begin - len(first) - len(places))
            rows += [self._row(model, one) for one in waiting[start : start + _PAGE - len(rows)]]
        unique: dict[object, tuple[object, ...]] = {}
        for row in rows:
            unique.setdefault(row[0], row)
        self._rows.set((*row, number) for number, row in enumerate(unique.values(), begin + 1))
        self._draw_pages(total)

    def _page(self) -> int:
        text = self.params.get("page", "")
        return int(text) if text.isdecimal() else 0

    def _order(self, ended: Ended, wanted: str) -> npt.NDArray[np.int64]:
        places = np.arange(len(ended))
        if wanted:
            states = [int(state) for state in _STATES.get(wanted, ())]
            places = places[np.isin(ended.states, states)]
        sort = self.params.get("sort", "")
        if sort in ("longest", "shortest"):
            places = places[np.argsort((ended.ends - ended.begins)[places], kind="stable")]
        return places if sort in ("first", "shortest") else places[::-1]

    @staticmethod
    def _row(model: Model, seen: TaskSeen) -> tuple[object, ...]:
        is_over = seen.state >= TaskState.FINISHED
        return (
            f"{seen.task_id.hex()}:{seen.attempt}",
            state_name(seen.state),
            round(seen.begin, 4),
            round(seen.end - seen.begin, 7) if is_over else None,
            str(model.workers[seen.worker].pid) if seen.worker >= 0 else "",
            seen.attempt,
            seen.error if is_over else "",
            seen.task_id.hex(),
        )

    def _draw_pages(self, total: int) -> None:
        last = max(0, (total - 1) // _PAGE)
        numbers = [*range(min(last + 1, _PAGES_SHOWN)), *([last] if last >= _PAGES_SHOWN else [])]
        own = min(self._page(), last)
        if own not in numbers:
            numbers = sorted({*numbers, *range(max(0, own - 5), min(last, own + 5) + 1)})
        self._pages.set(
            (
                str(number) if number else "",
                f"{number * _PAGE + 1:,} – {min((number + 1) * _PAGE, total):,} of {total:,}",
            )
            for number in numbers
        )

    def _draw_durations(self, ended: Ended) -> None:
        if not len(ended):
            self._durations.set([])
            return
        spans = np.maximum(ended.ends - ended.begins, 1e-7)
        low, high = float(spans.min()), float(spans.max())
        places = np.geomspace(low, max(high, low * 1.05) * 1.0001, _BINS + 1)
        counts, _ = np.histogram(spans, places)
        bins = zip(places[:-1].tolist(), places[1:].tolist(), counts.tolist(), strict=True)
        self._durations.set(
            (number, float(f"{left:.4g}"), float(f"{right:.4g}"), count, f"{took(left)} to {took(right)}")
            for number, (left, right, count) in enumerate(bins)
        )
