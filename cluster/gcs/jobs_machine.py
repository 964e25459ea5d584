"""Jobs, and the processes that subscribe: drivers and workers.

Strategy: a job lives exactly as long as its driver: it begins with the driver's hello and ends with its goodbye or
its death, whichever is heard first; the other is then no news. Job ids count from 1, are stored, and are never given
twice.

A core says hello once and is told of nodes and dead processes until its raylet reports its death. A lost connection
alone says nothing: a core whose connection broke comes back by itself under the same peer id.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Callable
from typing import ClassVar, Final, NamedTuple

import msgspec

from ..protocol.common import Address, Death
from ..protocol.gcs_messages import JobInfo, ProcessDead
from ..protocol.transitions import History, IllegalTransition, InvariantViolation, Step, new_history
from .commands import Outbox
from .config import GcsConfig

__all__ = ["Core", "Job", "JobState", "Jobs", "Processes"]

JOB_TABLE: Final = "jobs"
CORE_TABLE: Final = "cores"
META_TABLE: Final = "meta"
LAST_JOB: Final = b"last_job"


class JobState(enum.StrEnum):
    """RUNNING: its driver lives. FINISHED: it said goodbye. FAILED: it died without a word."""

    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"


class JobRecord(msgspec.Struct):
    info: JobInfo
    state: str
    death: Death | None


class Job:
    """What one driver submitted. ``death`` is how its driver ended."""

    __slots__ = ("death", "history", "info", "state")

    def __init__(self, info: JobInfo) -> None:
        self.info = info
        self.state = JobState.RUNNING
        self.death: Death | None = None
        self.history: History = new_history()

    def record(self) -> JobRecord:
        return JobRecord(self.info, self.state, self.death)


class Goodbye(NamedTuple):
    """The driver ended its job."""

    death: Death


class DriverDied(NamedTuple):
    """The driver is gone."""

    death: Death


Fact = Goodbye | DriverDied


class Jobs:
    def __init__(self, config: GcsConfig, out: Outbox, wall: Callable[[float], float]) -> None:
        self._config = config
        self._out = out
        self._wall = wall
        self.by_id: dict[bytes, Job] = {}
        self.by_driver: dict[bytes, Job] = {}  # the running ones, by the driver's worker id
        self._ended: OrderedDict[bytes, None] = OrderedDict()
        self._last = 0
        self._now = 0.0

    def _on_goodbye(self, job: Job, fact: Goodbye) -> JobState:
        self._end(job, fact.death)
        return JobState.FINISHED

    def _on_driver_died(self, job: Job, fact: DriverDied) -> JobState:
        self._end(job, fact.death)
        return JobState.FAILED

    _EDGES: ClassVar[dict[tuple[JobState, type[Fact]], Callable[..., JobState]]] = {
        (JobState.RUNNING, Goodbye): _on_goodbye,
        (JobState.RUNNING, DriverDied): _on_driver_died,
    }

    def _take(self, job: Job, fact: Fact) -> None:
        edge = self._EDGES.get((job.state, type(fact)))
        if edge is None:
            raise IllegalTransition(f"job {job.info.job_id.hex()}", job.state, repr(fact), tuple(job.history))
        before = job.state
        job.state = edge(self, job, fact)
        job.history.append(Step(self._now, type(fact).__name__, before, job.state))
        self._out.persist(JOB_TABLE, job.info.job_id, job.record())

    def _end(self, job: Job, death: Death) -> None:
        job.death = death
        job.info = msgspec.structs.replace(job.info, ended=self._wall(self._now))
        self.by_driver.pop(job.info.driver.worker_id, None)
        self._ended[job.info.job_id] = None
        while len(self._ended) > self._config.ended_jobs_kept:
            oldest, _ = self._ended.popitem(last=False)
            del self.by_id[oldest]
            self._out.persist(JOB_TABLE, oldest, None)

    def begin(self, info: JobInfo, now: float) -> Job:
        """A driver's hello: a new job, or the one it has already (the GCS restarted, or the hello was said twice)."""
        known = self.by_driver.get(info.driver.worker_id)
        if known is not None:
            return known
        self._now = now
        job_id = info.job_id
        if not job_id or job_id in self.by_id:
            self._last += 1
            job_id = self._last.to_bytes(4, "big")
        else:  # storage lost it: the driver still knows its number
            self._last = max(self._last, int.from_bytes(job_id, "big"))
        job = Job(msgspec.structs.replace(info, job_id=job_id, started=info.started or self._wall(now)))
        job.history.append(Step(now, "hello", "(new)", job.state))
        self.by_id[job_id] = job
        self.by_driver[info.driver.worker_id] = job
        self._out.persist(META_TABLE, LAST_JOB, self._last)
        self._out.persist(JOB_TABLE, job_id, job.record())
        return job

    def end(self, job: Job, death: Death, now: float, *, said_goodbye: bool) -> bool:
        """False if it had ended before."""
        if job.state is not JobState.RUNNING:
            return False
        self._now = now
        self._take(job, Goodbye(death) if said_goodbye else DriverDied(death))
        return True

    def restore_last(self, last: int) -> None:
        self._last = last

    def restore(self, record: JobRecord, now: float) -> None:
        job = self.by_id[record.info.job_id] = Job(record.info)
        job.state, job.death = JobState(record.state), record.death
        job.history.append(Step(now, "restored", "(storage)", job.state))
        if job.state is JobState.RUNNING:
            self.by_driver[record.info.driver.worker_id] = job
        else:
            self._ended[record.info.job_id] = None

    def check(self) -> None:
        for driver, job in self.by_driver.items():
            if job.state is not JobState.RUNNING or job.info.driver.worker_id != driver:
                raise InvariantViolation(f"driver {driver.hex()} leads to job {job.info.job_id.hex()}, {job.state}")
        for job_id, job in self.by_id.items():
            if int.from_bytes(job_id, "big") > self._last:
                raise InvariantViolation(f"job {job_id.hex()} has a number that may be given again")
            if (job.info.ended is not None) != (job.state is not JobState.RUNNING):
                raise InvariantViolation(f"job {job_id.hex()} is {job.state} but ended at {job.info.ended}")


class Core(msgspec.Struct):
    """A driver or worker that said hello."""

    peer: bytes
    address: Address
    job_id: bytes = b""
    is_driver: bool = False


class Processes:
    """The cores there are, and the last that died."""

    def __init__(self, config: GcsConfig, out: Outbox) -> None:
        self._config = config
        self._out = out
        self.by_worker: dict[bytes, Core] = {}
        self.dead: OrderedDict[bytes, tuple[Core | None, Death]] = OrderedDict()
        self.unknown: dict[bytes, float] = {}  # asked about, and when they will count as dead

    def hello(self, core: Core) -> None:
        self.unknown.pop(core.address.worker_id, None)
        self.by_worker[core.address.worker_id] = core
        self._out.persist(CORE_TABLE, core.address.worker_id, core)

    def asked(self, peer: bytes, worker_id: bytes, now: float) -> None:
        """A core met this process only now, and may have missed its death."""
        found = self.dead.get(worker_id)
        if found is not None:
            self._out.send(peer, ProcessDead(worker_id, found[1]))
        elif worker_id not in self.by_worker:
            self.unknown.setdefault(worker_id, now + self._config.hello_grace)

    @property
    def check_at(self) -> float | None:
        """When one of those that nobody has heard of will count as dead."""
        return min(self.unknown.values(), default=None)

    def missing(self, now: float) -> list[bytes]:
        """Those that should have said hello by now."""
        late = [worker_id for worker_id, until in self.unknown.items() if now >= until] if self.unknown else []
        for worker_id in late:
            del self.unknown[worker_id]
        return late

    def peers(self) -> tuple[bytes, ...]:
        return tuple(core.peer for core in self.by_worker.values())

    def on_node(self, node_id: bytes) -> list[bytes]:
        return [worker for worker, core in self.by_worker.items() if core.address.node_id == node_id]

    def died(self, worker_id: bytes, death: Death, raylets: tuple[bytes, ...]) -> bool:
        """Tell every core and raylet, once; False if it was told before."""
        if worker_id in self.dead:
            return False
        core = self.by_worker.pop(worker_id, None)
        if core is not None:
            self._out.persist(CORE_TABLE, worker_id, None)
        self.dead[worker_id] = (core, death)
        if len(self.dead) > self._config.dead_processes_kept:
            self.dead.popitem(last=False)
        self._out.send_many((*raylets, *self.peers()), ProcessDead(worker_id, death))
        return True

    def check(self) -> None:
        both = self.by_worker.keys() & self.dead.keys()
        if both:
            raise InvariantViolation(f"processes are alive and dead: {[worker.hex() for worker in both]}")
