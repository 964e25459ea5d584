"""What is looked at beside a cell that is explained: how large the cluster is, how busy its GPUs are, and for a flame
graph the stacks of its processes.

A cluster without GPUs is not asked for them, and a profile is taken only when it was asked for.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from ..dashboard.explain.record import GpuSample

if TYPE_CHECKING:
    from himalia.util.state._stacks import Profiling

    from ..cluster.core.runtime import Core
    from ..cluster.protocol.stack_messages import Frame, Profile

__all__ = ["CellProfile", "ClusterWatch"]

_LOOK: Final = 1.0  # seconds: nodes remember what they measured for as long
_JOIN: Final = 5.0
_LONGEST: Final = 600.0  # seconds of a profile
_WAITS: Final = ("Poller.poll", "Condition.wait", "EpollSelector.select", "poll", "wait", "select")
"""Functions that wait, which py-spy takes for work where it may not ask the kernel."""
_RUNNERS: Final = ("execute", "_execute", "_run_one")  # our functions that call those of tasks


class ClusterWatch:
    """How many CPUs there are, and how busy the GPUs are that tasks of one job hold.

    Attributes
    ----------
    slots
        Times, and how many CPUs there were from then on.
    gpus
        One sample a second, the first after one.
    """

    def __init__(self, core: Core) -> None:
        self.slots: list[tuple[float, float]] = []
        self.gpus: list[GpuSample] = []
        self._core = core
        self._has_gpus = False
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="himalia-explain-watch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._look_at_resources()
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._end.set()
        self._thread.join(_JOIN)

    def _watch(self) -> None:
        while not self._end.wait(_LOOK):
            with contextlib.suppress(Exception):  # a cluster that does not answer is told by the cell itself
                self._look_at_resources()
                if self._has_gpus:
                    answer = self._core.cluster_state("gpu_stats")
                    self.gpus.append(self._sample([row for rows in answer["nodes"] for row in rows]))

    def _look_at_resources(self) -> None:
        total = self._core.resources()[0]
        cpus = total.get("CPU", 0.0) or 1.0
        if not self.slots or self.slots[-1][1] != cpus:
            self.slots.append((time.time(), cpus))
        self._has_gpus = bool(total.get("GPU"))

    def _sample(self, rows: list[dict[str, Any]]) -> GpuSample:
        """Of the devices that our job holds."""
        held, busy = 0.0, []
        for row in rows:
            shares = [holder["share"] for holder in row["holders"] if holder.get("job_id") == self._core.job_id]
            if shares and row["utilization"] is not None:
                held += sum(shares)
                busy.append(row["utilization"] / 100)
        return GpuSample(time.time(), held, tuple(busy))


class CellProfile:
    """A profile of this process and of the workers that there are, from now until `stop`.

    Attributes
    ----------
    problem
        Why there is none; empty if there is one.
    """

    def __init__(self, core: Core) -> None:
        from himalia.util.state import list_workers
        from himalia.util.state._stacks import Profiling, StackError

        self.problem = ""
        self._running: Profiling | None = None
        self._error = StackError
        workers = [row.worker_id for row in list_workers() if row.is_alive and row.worker_type == "WORKER"]
        if not workers:
            self.problem = "No worker ran when the cell began, so there is no flame graph of its tasks: run it again."
            return
        try:
            self._running = Profiling([core.worker_id.hex(), *workers], seconds=_LONGEST)
        except (StackError, ValueError) as error:
            self.problem = f"There is no flame graph: {error}"

    def stop(self) -> Profile | None:
        """End it: what was seen."""
        if self._running is None:
            return None
        try:
            return _of_the_cell(self._running.stop())
        except self._error as error:
            self.problem = f"There is no flame graph: {error}"
            return None
        finally:
            self.close()

    def close(self) -> None:
        """End it without a result."""
        if self._running is not None:
            self._running.close()
            self._running = None


def _of_the_cell(profile: Profile) -> Profile:
    """Only what tasks did, and code of cells: a kernel has a dozen threads that wait for other things."""
    wanted = {number for number, frame in enumerate(profile.frames) if frame.cell or _runs_tasks(frame)}
    idle = {number for number, frame in enumerate(profile.frames) if frame.name in _WAITS}
    profile.stacks = [
        stack
        for stack in profile.stacks
        if wanted.intersection(stack.frames) and (profile.idle or stack.frames[-1] not in idle)
    ]
    return profile


def _runs_tasks(frame: Frame) -> bool:
    return frame.internal and frame.name.rpartition(".")[2] in _RUNNERS and "/worker/" in frame.file
