"""Who ran what when: a row a worker, a bar a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cluster.telemetry.events import TaskState
from ..model import Changes
from ..sources import Rows, Series
from ..stream import Bars, coarser
from ..themes import STATE_COLOURS, function_colour
from .base import Page
from .panels import Column as Col
from .panels import Factors, Panel, Plot, Table
from .words import cell_name, milliseconds, state_name, took

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..model import Model
    from ..state import State

__all__ = ["TaskStream"]

_BARS = 4_000  # in a browser: more can not be told apart, and cost it its fluency
_READ = 20_000  # bars at a time that are looked at
_RATE = 300  # bars a second: of about 130 bytes, and so that they are of the last ten seconds at least
_FINEST, _COARSEST = 0.01, 10.0  # seconds of a worker that may become one bar
_BAR = ("worker", "begin", "end", "colour", "edge", "name", "cell", "state", "count", "took", "task")
_WORKERS = 200  # rows


class TaskStream(Page):
    """See the top of the file."""

    name = "task_stream"
    title = "Task stream"
    about = "What each worker did when: gaps are idle workers, long bars are stragglers"

    def __init__(self, params: Mapping[str, str]) -> None:
        super().__init__(params)
        self._bars = self.add(Series("bars", _BAR, _BARS))
        self._running = self.add(Rows("running", ("key", *_BAR)))
        self._workers = self.add(Rows("workers", ("key", "label")))
        self._functions = self.add(Rows("functions", ("key", "name", "colour", "tasks", "mean", "seconds")))
        self._version = 0
        self._labels: dict[int, str] = {}
        self._numbers: dict[bytes, int] = {}
        self._width = _FINEST
        self._may = float(_BARS)  # bars that may be drawn now
        self._at = 0.0

    def panels(self) -> list[Panel]:
        """The stream, and what it consists of."""
        return [
            Plot(
                "Task stream",
                ["bars", "running"],
                "times:task_stream",
                height=160,
                factors=Factors("y", "workers", "label", size=24, most=640),
                empty="No task has run yet. Call a remote function: f.remote()",
                hint="Very short tasks of one function are one bar, which says how many they are",
            ),
            Table(
                "Functions",
                "functions",
                [
                    Col("colour", "", "colour"),
                    Col("name", "Function"),
                    Col("tasks", "Tasks ended", "number"),
                    Col("mean", "Mean time", "seconds"),
                    Col("seconds", "Time in sum", "seconds"),
                ],
                sort="-seconds",
                empty="No function has run yet.",
            ),
        ]

    def update(self, state: State) -> None:
        """See `Page.update`."""
        model = state.model
        changes = model.changes_since(self._version, _READ)
        self._version = changes.version
        self._name_workers(changes)
        self._add_bars(changes, model, state.now)
        if changes.running is not None or self._running:
            self._draw_running(model, state.now)
        if changes.groups:
            self._draw_functions(model)

    def _name_workers(self, changes: Changes) -> None:
        for worker in changes.workers:
            self._labels[worker.number] = f"{worker.pid}"
            self._numbers[worker.worker_id] = worker.number
        if changes.workers:
            taken: dict[str, int] = {}
            for number, label in self._labels.items():  # process ids of two nodes may be equal
                taken[label] = taken.get(label, 0) + 1
                if taken[label] > 1:
                    self._labels[number] = f"{label} ({taken[label]})"
            self._workers.set(list(self._labels.items())[-_WORKERS:])

    def _add_bars(self, changes: Changes, model: Model, now: float) -> None:
        bars, groups = self._thinned(changes.bars, now), model.groups.all
        data: dict[str, list[object]] = {name: [] for name in _BAR}
        for worker, number, begin, end, code, count, busy, task in zip(
            bars.workers, bars.groups, bars.begins, bars.ends, bars.states, bars.counts, bars.busy, bars.task_ids,
            strict=True,
        ):  # fmt: skip
            group, name = groups[number], state_name(TaskState(code))
            values = (
                self._labels[worker],
                milliseconds(begin),
                milliseconds(end),
                STATE_COLOURS["failed"] if code == TaskState.FAILED else function_colour(group.name),
                STATE_COLOURS["failed"] if code == TaskState.FAILED else "",
                group.name,
                cell_name(group.cell),
                name,
                count,
                took(busy) if count == 1 else f"{took(busy / count)} each",
                task,
            )
            for column, value in zip(data.values(), values, strict=True):
                column.append(value)
        self._bars.append(data)

    def _thinned(self, bars: Bars, now: float) -> Bars:
        """As many as a browser takes: coarser ones, if they are more for long."""
        self._may = min(_BARS, self._may + _RATE * max(0.0, now - self._at))
        self._at = now
        self._width = max(_FINEST, self._width / 2)
        if not self._may >= len(bars):
            while True:
                found = coarser(bars, self._width)
                if len(found) <= self._may or self._width >= _COARSEST:
                    break
                self._width *= 2
            bars = found
        self._may = max(0.0, self._may - len(bars))
        return bars

    def _draw_running(self, model: Model, now: float) -> None:
        rows = []
        for key, one in model.groups.running.items():
            number = self._numbers.get(one.worker)
            if number is None:
                continue
            group = model.groups.all[one.group]
            end = milliseconds(max(now, one.begin))
            colour = function_colour(group.name)
            rows.append(
                (f"{key[0].hex()}:{key[1]}", self._labels[number], milliseconds(one.begin), end, colour, "", group.name,
                 cell_name(group.cell), "running", 1, took(max(0.0, now - one.begin)), one.task_id.hex())
            )  # fmt: skip
        self._running.set(rows)

    def _draw_functions(self, model: Model) -> None:
        sums: dict[str, list[float]] = {}
        for group in model.groups:
            one = sums.setdefault(group.name, [0, 0.0])
            one[0] += group.finished + group.failed
            one[1] += group.seconds
        self._functions.set(
            (name, name, function_colour(name), int(ended), seconds / ended, round(seconds, 3))
            for name, (ended, seconds) in sums.items()
            if ended
        )
