"""Cells written down instead of run: tasks with their times, and what the driver was at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from himalia.cluster.protocol.common import Cell
from himalia.cluster.telemetry.events import FORMAT, Batch, Source, TaskState
from himalia.cluster.telemetry.phases import Phase, Sum
from himalia.dashboard.explain.record import CellRecord, DriverRecord, Function, collect

DRIVER, NODE, JOB = b"driver__", b"node____", b"\0\0\0\1"
CELL = Cell(JOB, 3, "m")
BEGAN = 1_000.0
"""When every cell on paper begins, in seconds since the epoch."""

Task = tuple[str, int, float, float]
"""Function, worker, begin and end in seconds since the cell's begin. Its counter is its place in the list, from 1."""


def batches(tasks: Sequence[Task], cell: Cell | None = CELL, first: int = 1, sequence: int = 1) -> list[Batch]:
    """What the workers of these tasks would have sent: one batch each."""
    made = []
    for worker in sorted({worker for _, worker, _, _ in tasks}):
        rows = [(first + place, task) for place, task in enumerate(tasks) if task[1] == worker]
        names = list(dict.fromkeys(task[0] for _, task in rows))
        made.append(
            Batch(
                FORMAT,
                False,
                b"worker%02d" % worker,
                NODE,
                worker,
                sequence,
                0.0,
                [Source(name, DRIVER, JOB, cell=cell) for name in names],
                [counter for counter, _ in rows],
                0,
                [names.index(task[0]) for _, task in rows],
                bytes([TaskState.FINISHED] * len(rows)),
                [BEGAN + task[2] for _, task in rows],
                [task[3] - task[2] for _, task in rows],
                {},
            )
        )
    return made


def record(
    tasks: Sequence[Task],
    wall: float,
    slots: float = 2.0,
    *,
    submitted: Sequence[tuple[float, int]] | None = None,
    driver: Sequence[tuple[Phase, float, float]] = (),
    edges: dict[int, tuple[int, ...]] | None = None,
    phases: dict[tuple[str, Phase], tuple[int, float]] | None = None,
    known: dict[str, Function] | None = None,
    extra: Sequence[Batch] = (),
) -> CellRecord:
    """The record of a cell.

    Parameters
    ----------
    submitted
        Times, and the task that was the newest then. None: all at the begin.
    driver
        What it was at: phases with begin and end.
    edges
        Which tasks' results each waited for.
    phases
        Of functions: how often, and how long in all.
    """
    found = collect([*batches(tasks), *extra], [CELL], DRIVER, slots=slots, begin=BEGAN, end=BEGAN + wall, known=known)
    marks = submitted if submitted is not None else [(0.0, 0), (0.000_1, len(tasks))]
    sums: dict[Phase, Sum] = {}
    for phase, begin, end in driver:
        one = sums.setdefault(phase, Sum())
        one.count, one.seconds = one.count + 1, one.seconds + end - begin
    found.driver = DriverRecord(
        [(phase, BEGAN + begin, BEGAN + end) for phase, begin, end in driver],
        sums,
        [(BEGAN + at, counter) for at, counter in marks],
        edges or {},
    )
    numbers = {function.name: number for number, function in enumerate(found.functions)}
    found.phases = {(numbers[name], phase): Sum(*one) for (name, phase), one in (phases or {}).items()}
    return found


def waiting(*intervals: tuple[float, float]) -> list[tuple[Phase, float, float]]:
    """A driver that waits in these times."""
    return [(Phase.BLOCKED, begin, end) for begin, end in intervals]


def causes(found: Any) -> list[str]:
    """The causes of a diagnosis, in its order."""
    return [finding.cause for finding in found.findings]
