"""What is known of a cell's run: made of the rows and phases that workers sent, and of what the driver measured. Pure.

Strategy: columns of numpy, one row a task, so that a cell of a hundred thousand tasks is accounted for in a moment.
What was not measured is None, not zero: of a cell that ran without being explained there are only the tasks' own times,
and who reads the diagnosis is told what that leaves open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from ...cluster.protocol.common import Cell
from ...cluster.telemetry.events import Batch, Source, TaskKind, TaskState
from ...cluster.telemetry.phases import Phase, Sum

__all__ = ["CellRecord", "DriverRecord", "Function", "GpuSample", "Runs", "Wait", "collect"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_NO_TASK: Final = -1


class Function(msgspec.Struct):
    """What a cell ran: tasks of one name. ``line`` is that of the cell that first called it, 0 if unknown."""

    name: str
    cpus: float = 1.0
    gpus: float = 0.0
    line: int = 0
    is_actor: bool = False


class Runs(msgspec.Struct, eq=False):
    """One row for each attempt that ended, by begin. Times are seconds since the epoch.

    ``owners`` and ``workers`` are numbers of processes.
    """

    begins: Floats
    ends: Floats
    functions: Integers
    workers: Integers
    owners: Integers
    counters: Integers
    failed: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.begins)

    @property
    def spans(self) -> Floats:
        """Seconds that each ran."""
        return self.ends - self.begins


class Wait(msgspec.Struct, frozen=True):
    """A phase within a task that took long enough to have its own times."""

    function: int
    phase: Phase
    begin: float
    end: float


class GpuSample(msgspec.Struct, frozen=True):
    """GPUs at one moment: how many tasks held, and the utilisation (0 to 1) of each device that they held."""

    at: float
    held: float
    utilisation: tuple[float, ...]


class DriverRecord(msgspec.Struct):
    """What the driver measured of itself.

    Attributes
    ----------
    intervals
        Phases that took long: phase, begin and end, in the order in which they began.
    sums
        All phases.
    marks
        Times, and the counter of the newest task then.
    edges
        Of a task that waited for its arguments: the tasks that made these; by counter.
    lines
        Seconds that the main thread spent in each line of the cell with code of the user's.
    places
        The same by the innermost line of the user's program.
    sent
        Seconds that it spent in each line of the cell with submitting, putting and reading.
    """

    intervals: list[tuple[Phase, float, float]] = []
    sums: dict[Phase, Sum] = {}
    marks: list[tuple[float, int]] = []
    edges: dict[int, tuple[int, ...]] = {}
    lines: dict[int, float] = {}
    places: dict[str, float] = {}
    sent: dict[int, float] = {}


class CellRecord(msgspec.Struct, eq=False):
    """A cell's run.

    Attributes
    ----------
    begin, end
        Seconds since the epoch: from its first statement to its last, or the end of its last task.
    slots
        CPUs of the cluster: since when, and how many; one at least.
    phases
        Of workers, by function and phase; None: not measured.
    others
        What other cells and programs ran meanwhile: begins and ends.
    spilled, restored
        Bytes that stores wrote to disk and read back meanwhile; None: not known.
    nodes
        How many nodes the cluster had.
    processes
        Ids of processes by their numbers.
    lost
        Rows that are missing.
    text
        The cell's source.
    """

    begin: float
    end: float
    slots: list[tuple[float, float]]
    functions: list[Function]
    runs: Runs
    phases: dict[tuple[int, Phase], Sum] | None = None
    waits: list[Wait] = []
    driver: DriverRecord | None = None
    others: list[tuple[float, float]] = []
    spilled: int | None = None
    restored: int | None = None
    gpus: list[GpuSample] = []
    nodes: int = 1
    processes: list[bytes] = []
    own: int = -1  # number of the driver among these
    lost: int = 0
    number: int = 0
    text: str = ""

    @property
    def wall(self) -> float:
        """Seconds."""
        return max(0.0, self.end - self.begin)


class _Collector:
    def __init__(self, is_mine: Any) -> None:
        self.is_mine = is_mine
        self.seen: set[tuple[bytes, int]] = set()
        self.functions: dict[str, int] = {}
        self.processes: dict[bytes, int] = {}
        self.is_actor: dict[int, bool] = {}
        self.columns: list[tuple[Any, ...]] = []
        self.others: list[tuple[float, float]] = []
        self.phases: dict[tuple[int, Phase], Sum] = {}
        self.waits: list[Wait] = []

    def function(self, source: Source) -> int:
        number = self.functions.setdefault(source.name, len(self.functions))
        self.is_actor[number] = source.kind is TaskKind.ACTOR_METHOD
        return number

    def process(self, process: bytes) -> int:
        return self.processes.setdefault(process, len(self.processes))

    def add(self, batch: Batch) -> None:
        key = (batch.worker_id, batch.sequence)
        if key in self.seen or batch.is_owner:
            return
        self.seen.add(key)
        mine = [self.is_mine(source.cell) for source in batch.sources]
        numbers = [self.function(source) if own else _NO_TASK for source, own in zip(batch.sources, mine, strict=True)]
        self._add_rows(batch, numbers)
        for source_of, phase, count, seconds, nbytes in batch.phases:
            if mine[source_of]:
                known = self.phases.setdefault((numbers[source_of], Phase(phase)), Sum())
                known.count, known.seconds = known.count + count, known.seconds + seconds
                known.nbytes += nbytes
        self.waits += [
            Wait(numbers[source_of], Phase(phase), begin, begin + span)
            for source_of, phase, begin, span in batch.intervals
            if mine[source_of]
        ]

    def _add_rows(self, batch: Batch, numbers: list[int]) -> None:
        if not batch.counters:
            return
        states = np.frombuffer(batch.states, dtype=np.uint8)
        sources = np.array(batch.written_out(batch.source_of), dtype=np.int64)
        functions = np.array(numbers, dtype=np.int64)[sources]
        begins, spans = np.array(batch.begins), np.array(batch.spans)
        ended = (states >= TaskState.FINISHED) & (spans >= 0)
        owners = np.array([self.process(source.owner) for source in batch.sources], dtype=np.int64)[sources]
        chosen = ended & (functions >= 0)
        other = ended & (functions < 0)
        self.others += zip(begins[other].tolist(), (begins + spans)[other].tolist(), strict=True)
        if chosen.any():
            count = int(chosen.sum())
            worker = np.full(count, self.process(batch.worker_id), dtype=np.int64)
            counters = np.array(batch.counters, dtype=np.uint64)[chosen].astype(np.int64)
            failed = states[chosen] == TaskState.FAILED
            ends = begins + spans
            self.columns.append(
                (begins[chosen], ends[chosen], functions[chosen], worker, owners[chosen], counters, failed)
            )

    def runs(self) -> Runs:
        if not self.columns:
            none = np.zeros(0, dtype=np.int64)
            return Runs(np.zeros(0), np.zeros(0), none, none, none, none, np.zeros(0, dtype=bool))
        joined = [np.concatenate(column) for column in zip(*self.columns, strict=True)]
        order = np.argsort(joined[0], kind="stable")
        return Runs(*(column[order] for column in joined))


def collect(
    batches: Iterable[Batch],
    cells: Sequence[Cell],
    driver: bytes,
    *,
    slots: float | list[tuple[float, float]],
    begin: float | None = None,
    end: float | None = None,
    known: dict[str, Function] | None = None,
) -> CellRecord:
    """The record of a cell out of batches, in any order, that came more than once or not at all.

    Parameters
    ----------
    cells
        The names of the cell: a cell has several if it was cancelled.
    driver
        Id of the process that ran the cell.
    slots
        CPUs of the cluster; a list of times and numbers where that changed.
    begin, end
        When it ran; None: from the begin of its first task, to the end of its last. An end before that of a task is
        put off until then.
    known
        What the driver knows of functions, by name.
    """
    names = {(cell.job_id, cell.execution, cell.message_id) for cell in cells}
    collector = _Collector(lambda cell: cell is not None and (cell.job_id, cell.execution, cell.message_id) in names)
    own = collector.process(driver)
    for batch in batches:
        collector.add(batch)
    runs = collector.runs()
    if begin is None:
        begin = float(runs.begins.min()) if len(runs) else 0.0
    last = float(runs.ends.max()) if len(runs) else begin
    end = last if end is None else max(end, last)
    functions = []
    for name, number in collector.functions.items():
        function = (known or {}).get(name) or Function(name, is_actor=collector.is_actor[number])
        functions.append(function)
    return CellRecord(
        begin,
        end,
        slots if isinstance(slots, list) else [(begin, slots)],
        functions,
        runs,
        collector.phases or None,
        [wait for wait in collector.waits if wait.end > begin and wait.begin < end],
        others=[(max(b, begin), min(e, end)) for b, e in collector.others if e > begin and b < end],
        processes=list(collector.processes),
        own=own,
    )
