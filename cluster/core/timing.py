"""Measuring what a process does beside its tasks, while a cell is explained: in a driver, and in workers.

Strategy: the methods to be timed are replaced on this one core (`install`), and are what they were afterwards
(`remove`). So a program that explains nothing runs exactly the code it would run without this file. Workers learn of it
by an option of the templates that a measuring process makes (`worker/timing.py`); what they submit themselves is
measured too.

The driver also has a thread that looks a hundred times a second at what the main thread is at, and how many tasks wait
for what. That costs less than the tasks' own times would, and waiting is no event of any task.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..protocol.common import RESOURCE_UNIT
from ..protocol.ids import object_counter, object_owner
from ..protocol.places import place_text
from ..telemetry.phases import Phase, PhaseLog, Tap
from .records import Plan, Record
from .refs import ObjectRef

if TYPE_CHECKING:
    from .runtime import Core
    from .sites import Site

__all__ = ["CoreTiming", "DriverTiming", "Look", "PlanSeen"]

_LOOK: Final = 0.01
"""Seconds between two looks, and in the long run a thousandth of the time that the cell has run: what is kept of a cell
that runs for hours stays small."""
_WAITS: Final = (Phase.FETCH, Phase.RESTORE, Phase.ROOM)
_EDGES_KEPT: Final = 200_000
_INTERVALS_KEPT: Final = 200_000
_WAITING_FILES: Final = ("/selectors.py", "/threading.py")  # a thread whose innermost frame is there does nothing
_COUNTED: Final = 1_000  # tasks that wait for arguments and are counted one by one


class CoreTiming:
    """The phases of one core. Undone by `remove`."""

    def __init__(self, core: Core, log: PhaseLog) -> None:
        self.core = core
        self.log = log
        self._undo: list[Callable[[], None]] = []
        self._taps: list[Tap] = []

    def install(self) -> None:
        """Begin."""
        core, log = self.core, self.log
        for name in ("submit_function", "call_method"):
            self.tap(core, name, Phase.SUBMIT)
        self.replace(core, "get", log.timed(Phase.READ, core.get, count=_count_of_refs))
        self.replace(core, "put", log.timed(Phase.PUT, core.put, _size_of_ref))
        self.replace(core, "_put_large", log.timed(Phase.PUT, core._put_large, _size_of_args))
        self.replace(core, "_read", log.timed(Phase.READ, core._read, _size_read))
        self.replace(core, "write_object", log.timed(Phase.STORE, core.write_object, _size_written))
        self.replace(core, "_ask_raylet", log.timed(Phase.ROOM, core._ask_raylet))
        self.replace(core, "_hold_pin", self._timed_pin(core._hold_pin))
        self.replace(core, "blocking", self._timed_blocking(core.blocking))
        core.timing = self
        self.turn_on()

    def turn_on(self) -> None:
        """Time the next of those calls that are not all timed."""
        for tap in self._taps:
            tap.turn_on()

    def remove(self) -> None:
        """End: everything is as it was."""
        for tap in self._taps:
            tap.turn_off()
        while self._undo:
            self._undo.pop()()
        self.core.timing = None

    def replace(self, holder: Any, name: str, new: Any) -> None:
        """Put something in the place of an attribute of one object."""
        if name in vars(holder):
            old = vars(holder)[name]
            self._undo.append(lambda: setattr(holder, name, old))
        else:
            self._undo.append(lambda: delattr(holder, name))
        setattr(holder, name, new)

    def tap(self, holder: Any, name: str, phase: Phase) -> None:
        """Time a method now and then."""
        self.replace(holder, name, getattr(holder, name))  # so that it goes again
        self._taps.append(self.log.tap(holder, name, phase))

    def _timed_pin(self, hold_pin: Callable[..., bool]) -> Callable[..., bool]:
        """Waiting for an object: that lies on this node, but not in memory, or on another one."""
        log, node_id = self.log, self.core.node_id
        restored = log.timed(Phase.RESTORE, hold_pin, _size_pinned)
        fetched = log.timed(Phase.FETCH, hold_pin, _size_pinned)

        def held(ref: ObjectRef, *timeout: Any) -> bool:
            extra = ref._x
            if extra is None or extra.pins > 0:
                return hold_pin(ref, *timeout)
            result: bool = (restored if node_id in extra.nodes else fetched)(ref, *timeout)
            return result

        return held

    def _timed_blocking(self, blocking: Callable[[], Any]) -> Callable[[], Any]:
        log = self.log

        @contextmanager
        def blocked() -> Iterator[None]:
            if log.phase in _WAITS:
                with blocking():
                    yield
                return
            with log.during(Phase.BLOCKED), blocking():
                yield

        return blocked


class PlanSeen(msgspec.Struct):
    """A function that the driver used: what its tasks hold, and the line that first called it."""

    name: str
    cpus: float
    gpus: float
    site: Site | None
    is_actor: bool


class Look(msgspec.Struct, array_like=True):
    """What a driver was at.

    Attributes
    ----------
    at
        On `time.perf_counter`.
    line
        Of the explained cell, that the main thread was in; 0: none.
    where
        The innermost line of the user's program: ``function (file:line)``.
    waits
        It waited for something that is no `get`: an event loop, or another thread.
    parked, queued, inflight
        Tasks that wait for their arguments; that are ready and have no worker; that are at a worker.
    """

    at: float
    line: int
    where: str
    waits: bool
    parked: int
    queued: int
    inflight: int


class DriverTiming(CoreTiming):
    """What the process that explains a cell measures of itself.

    Parameters
    ----------
    filename
        Of the cell's code.

    Attributes
    ----------
    looks
        What the main thread was at, by time.
    marks
        When how many tasks had been submitted: times and counters.
    edges
        Tasks of this process, by counter, that waited for the results of others of it.
    plans
        The functions used.
    """

    def __init__(self, core: Core, filename: str) -> None:
        super().__init__(core, PhaseLog(kept=_INTERVALS_KEPT))
        self.filename = filename
        self.looks: list[Look] = []
        self.marks: list[tuple[float, int]] = []
        self.edges: dict[int, tuple[int, ...]] = {}
        self.plans: dict[str, PlanSeen] = {}
        self._main = threading.main_thread().ident or 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look_around, name="himalia-explain", daemon=True)

    def install(self) -> None:
        super().install()
        core = self.core
        self.replace(core, "make_plan", self._noted_plan(core.make_plan))
        self.replace(core, "actor_plan", self._noted_plan(core.actor_plan))
        self.replace(core.completion, "await_dependencies", self._noted_edges(core.completion.await_dependencies))
        self._thread.start()

    def remove(self) -> None:
        self._end.set()
        self._thread.join()
        super().remove()

    def _noted_plan(self, make: Callable[..., Plan]) -> Callable[..., Plan]:
        def made(*arguments: Any, **named: Any) -> Plan:
            plan = make(*arguments, **named)
            resources = plan.template.resources
            is_actor = bool(plan.template.actor_id)
            cpus, gpus = (resources.get(name, 0) / RESOURCE_UNIT for name in ("CPU", "GPU"))
            self.plans.setdefault(plan.name, PlanSeen(plan.name, 1.0 if is_actor else cpus, gpus, plan.site, is_actor))
            return plan

        return made

    def _noted_edges(self, wait: Callable[[Record], bool]) -> Callable[[Record], bool]:
        own, edges = self.core.worker_id, self.edges

        def noted(record: Record) -> bool:
            if len(edges) < _EDGES_KEPT:
                used = [dep.object_id for dep in record.task.deps or ()]
                edges[record.task.counter] = tuple(object_counter(one) for one in used if object_owner(one) == own)
            return wait(record)

        return noted

    # -- looking around ---------------------------------------------------------------------------------------------

    def _look_around(self) -> None:
        # What counts tasks tells its number without giving it away only as text: "count(17)".
        counter: Any = getattr(self.core.next_counter, "__self__", None)
        begin = time.perf_counter()
        while True:
            self.marks.append((time.perf_counter(), int(repr(counter)[6:-1]) - 1))
            if self._end.wait(max(_LOOK, (time.perf_counter() - begin) / 1_000)):
                return
            self.looks.append(self._look())
            self.turn_on()

    def _look(self) -> Look:
        line, where, waits = self._place()
        submission, calls = self.core.submission, self.core.actor_calls
        parked = list(self.core.completion.parked)
        some = parked[-_COUNTED:]
        waiting = sum(1 for record in some if record.waiting > 0) * len(parked) // len(some) if some else 0
        clients = list(calls.clients.values())
        queued = sum(len(cls.queue) for cls in list(submission.by_id.values()))
        inflight = sum(len(worker.inflight) for worker in list(submission.workers.values()))
        queued += sum(len(client.queue) for client in clients)
        inflight += sum(len(client.inflight) for client in clients)
        queued += len(self.core.inbox)
        return Look(time.perf_counter(), line, where, waits, waiting, queued, inflight)

    def _place(self) -> tuple[int, str, bool]:
        """The line of the cell that the main thread is in, the innermost line that is not ours, whether that waits."""
        frame = sys._current_frames().get(self._main)
        where = ""
        waits = frame is not None and frame.f_code.co_filename.endswith(_WAITING_FILES)
        while frame is not None:
            code = frame.f_code
            if not where and not (frame.f_globals.get("__name__") or "").startswith(_OURS):
                where = place_text(code.co_filename, frame.f_lineno)
                if code.co_filename != self.filename:
                    where = f"{code.co_name} ({where})"
            if code.co_filename == self.filename:
                return frame.f_lineno, where, waits
            frame = frame.f_back
        return 0, where, waits


_OURS: Final = f"{__name__.partition('.')[0]}."


def _count_of_refs(refs: Any, *timeout: Any) -> int:
    return 1 if type(refs) is ObjectRef else len(refs)


def _size_of_ref(made: Any, *arguments: Any) -> int:
    if type(made) is not ObjectRef:
        return 0
    return made._x.size if made._x is not None else len(made._data) if isinstance(made._data, bytes) else 0


def _size_of_args(made: Any, *arguments: Any) -> int:
    return sum(ref._x.size for ref in made[1] if ref._x is not None)


def _size_written(made: Any, *arguments: Any) -> int:
    size: int = made[1]
    return size


def _size_read(made: Any, ref: ObjectRef) -> int:
    return ref._x.size if ref._x is not None else 0


def _size_pinned(made: Any, ref: ObjectRef, *timeout: Any) -> int:
    return ref._x.size if ref._x is not None else 0
