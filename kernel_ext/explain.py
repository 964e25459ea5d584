"""Running a cell and measuring it, and finding what is known of one that ran: the record that a diagnosis is made of.

Strategy: the cell's code runs here, in the notebook's namespace, as it would without the magic; measuring is switched
on around it (`cluster/core/timing.py`). What workers measured comes with their telemetry, so the diagnosis begins when
the records of all tasks of the cell have come, half a second after its end.

A cell that ran without being measured is made out of the events that the cluster remembers.
"""

from __future__ import annotations

import ast
import bisect
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from ..cluster.core.timing import DriverTiming, Look
from ..cluster.gcs.client import GcsClient, GcsRefusedError, GcsUnreachableError
from ..cluster.telemetry.events import Batch
from ..cluster.telemetry.feed import TaskFeed
from ..cluster.telemetry.phases import Phase
from ..dashboard.explain.record import CellRecord, DriverRecord, Function, collect
from .arguments import UsageProblem
from .cell_code import CellSyntaxError
from .explain_beside import CellProfile, ClusterWatch
from .own_tasks import pending_tasks

if TYPE_CHECKING:
    from ..cluster.core.runtime import Core
    from ..cluster.protocol.common import Cell
    from ..cluster.protocol.stack_messages import Profile

__all__ = ["CellRun", "past_cell"]

_POLL: Final = 0.1  # seconds
_SETTLED: Final = 0.6  # seconds after which workers have told all they measured: they do so four times a second
_PATIENCE: Final = 3.0  # seconds for the records of tasks that have ended
_ASK_SECONDS: Final = 2.0  # for a store that does not answer
_READ_BYTES: Final = 4 << 20  # of one answer


class CellRun:
    """One run of the code below ``%%explain``.

    Parameters
    ----------
    shell
        IPython's.
    code
        The cell's text below the magic's line.
    number
        The n of ``In [n]``.
    flame
        Take a profile, too.

    Attributes
    ----------
    profile
        That, if it was wanted and could be had; ``problem`` says why not.

    Raises
    ------
    CellSyntaxError
        It is no Python.
    UsageProblem
        It is empty, or awaits at top level.
    """

    def __init__(self, core: Core, shell: Any, code: str, number: int, *, flame: bool = False) -> None:
        if not code.strip():
            raise UsageProblem("there is no code below %%explain")
        self.core = core
        self.number = number
        self.text = "\n" + code  # line 1 is the magic's own
        self._shell = shell
        self._flags: int = shell.compile.flags & ~ast.PyCF_ONLY_AST
        try:
            source = "\n" + shell.transform_cell(code)
            self.filename: str = shell.compile.cache(source, number, raw_code=self.text)
            self._tree = ast.parse(source, self.filename)
            compile(source, self.filename, "exec", self._flags)
        except SyntaxError as error:
            if "outside" in str(error) and "await" in str(error):
                raise UsageProblem("await at top level is not possible below %%explain: use himalia.get()") from None
            raise CellSyntaxError(error, shell) from None
        self.timing = DriverTiming(core, self.filename)
        self.profile: Profile | None = None
        self.problem = ""
        self._flame = flame
        self._watch = ClusterWatch(core)
        self._feed = TaskFeed(core.gcs_call, after=-1, limit=_READ_BYTES)
        self._cell: Cell | None = None
        self._begin = self._end = 0.0
        self._moved: tuple[int, int] | None = None  # bytes spilled and restored

    def run(self) -> Any:
        """Run the code, measured; the value of its last expression, if it is one. Raises what the code raises."""
        core = self.core
        self._feed.read()
        before = _spilled(core)
        self._cell = core.current_cell()
        profiling = CellProfile(core) if self._flame else None
        self._watch.start()
        self.timing.install()
        self._begin = time.time()
        try:
            value = self._execute()
            self._end = time.time()
            self._wait_for_tasks()
            if profiling is not None:
                self.profile, self.problem = profiling.stop(), profiling.problem
        finally:
            self._end = self._end or time.time()
            self.timing.remove()
            self._watch.stop()
            if profiling is not None:
                profiling.close()
        after = _spilled(core)
        if before is not None and after is not None:
            self._moved = (after[0] - before[0], after[1] - before[1])
        return value

    def _execute(self) -> Any:
        space = self._shell.user_ns
        body = self._tree.body
        last = body[-1]
        if not isinstance(last, ast.Expr):
            self._exec(body, space)
            return None
        self._exec(body[:-1], space)
        expression = compile(ast.Expression(last.value), self.filename, "eval", self._flags)
        return eval(expression, space)  # noqa: S307 the user's own code, in the user's own process

    def _exec(self, body: list[ast.stmt], space: dict[str, Any]) -> None:
        exec(compile(ast.Module(body, []), self.filename, "exec", self._flags), space)

    def _wait_for_tasks(self) -> None:
        """What the cell left running belongs to it."""
        while any(task.cell == self._cell for task in pending_tasks(self.core)):
            time.sleep(_POLL)

    def record(self) -> CellRecord:
        """What is known of the run, when all has come that was measured."""
        assert self._cell is not None
        settled = time.monotonic() + _SETTLED
        deadline = time.monotonic() + _PATIENCE
        batches: list[Batch] = []
        last = self.timing.marks[-1][1] if self.timing.marks else 0
        while True:
            batches += self._feed.read_all()
            now = time.monotonic()
            if now >= deadline or (now >= settled and self._highest(batches) >= last):
                break
            time.sleep(_POLL)
        known = {
            plan.name: Function(plan.name, plan.cpus, plan.gpus, self._line_of(plan.site), plan.is_actor)
            for plan in self.timing.plans.values()
        }
        record = collect(
            batches,
            [self._cell],
            self.core.worker_id,
            slots=self._watch.slots,
            begin=self._begin,
            end=self._end,
            known=known,
        )
        record.driver = self._driver(record)
        record.number, record.text = self.number, self.text
        record.lost = self._feed.missed
        if self._moved is not None:
            record.spilled, record.restored = self._moved
        record.gpus = [sample for sample in self._watch.gpus if sample.at <= record.end]
        record.nodes = sum(node.alive for node in self.core.nodes.values())
        return record

    def _highest(self, batches: list[Batch]) -> int:
        """The newest task of this process that a worker has told of."""
        own = self.core.worker_id
        return max(
            (
                max(batch.counters)
                for batch in batches
                if batch.counters and any(source.owner == own for source in batch.sources)
            ),
            default=0,
        )

    def _line_of(self, site: Any) -> int:
        return site.line if site is not None and site.filename == self.filename else 0

    def _driver(self, record: CellRecord) -> DriverRecord:
        timing = self.timing
        offset = time.time() - time.perf_counter()
        sums, intervals = timing.log.take()
        driver = DriverRecord(
            [(phase, begin + offset, begin + offset + seconds) for _, phase, begin, seconds in intervals],
            {phase: one for (_, phase), one in sums.items()},
            [(at + offset, counter) for at, counter in timing.marks],
            timing.edges,
        )
        for look, following in pairwise(timing.looks):
            if look.waits:
                driver.intervals.append((Phase.BLOCKED, look.at + offset, following.at + offset))
        if record.end > self._end:  # it waited for what the cell had left running
            driver.intervals.append((Phase.BLOCKED, self._end, record.end))
        _note_places(driver, timing.looks, offset, self._end)
        return driver


def _note_places(driver: DriverRecord, looks: list[Look], offset: float, end: float) -> None:
    """Where the main thread was while it did not wait, with code of the user's or with ours."""
    blocked = _Cover([(begin, stop) for phase, begin, stop in driver.intervals if phase is Phase.BLOCKED])
    ours = _Cover([(begin, stop) for _, begin, stop in driver.intervals])
    for look, following in pairwise(looks):
        at = look.at + offset
        if at > end or blocked.has(at):
            continue
        seconds = following.at - look.at
        lines = driver.sent if ours.has(at) else driver.lines
        if look.line:
            lines[look.line] = lines.get(look.line, 0.0) + seconds
        if look.where and lines is driver.lines:
            driver.places[look.where] = driver.places.get(look.where, 0.0) + seconds


class _Cover:
    """Moments that lie in any of some intervals."""

    def __init__(self, intervals: list[tuple[float, float]]) -> None:
        self.begins: list[float] = []
        self.ends: list[float] = []
        for begin, end in sorted(intervals):
            if self.ends and begin <= self.ends[-1]:
                self.ends[-1] = max(end, self.ends[-1])
            else:
                self.begins.append(begin)
                self.ends.append(end)

    def has(self, moment: float) -> bool:
        place = bisect.bisect_right(self.begins, moment) - 1
        return place >= 0 and self.ends[place] > moment


def past_cell(core: Core, number: int, text: str) -> CellRecord:
    """What the cluster remembers of a cell of this notebook that ran without being measured.

    Raises
    ------
    UsageProblem
        It submitted nothing, or that is forgotten.
    """
    feed = TaskFeed(core.gcs_call, limit=_READ_BYTES)
    batches = list(feed.read_all())
    cells = {
        source.cell
        for batch in batches
        for source in batch.sources
        if source.cell is not None and source.cell.job_id == core.job_id and source.cell.execution == number
    }
    if not cells:
        forgotten = f" ({feed.earlier:,} events of earlier tasks are forgotten)" if feed.earlier else ""
        raise UsageProblem(f"cell [{number}] has submitted no task that the cluster remembers{forgotten}")
    record = collect(batches, list(cells), core.worker_id, slots=_cpus(core))
    record.number, record.text, record.lost = number, text, feed.missed + feed.unsent
    return record


def _cpus(core: Core) -> float:
    return core.resources()[0].get("CPU", 0.0) or 1.0


def _spilled(core: Core) -> tuple[int, int] | None:
    """Bytes that all stores have written to disk and read back since they began; None: they do not tell."""
    spilled = restored = 0
    try:
        with GcsClient(core.options) as client:
            for node in list(core.nodes.values()):
                if node.alive:
                    stats = client.store_stats(node.raylet, detail=False, timeout=_ASK_SECONDS)
                    spilled += stats.spilled + stats.fallback
                    restored += stats.restored
    except (GcsUnreachableError, GcsRefusedError):
        return None
    return spilled, restored
