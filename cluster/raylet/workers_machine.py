"""The workers of a node: started, idle, in use, ended.

Strategy: a worker is made without a job and belongs to the first one it serves, for life: a job's modules and globals
must not show in another. So idle workers lie in stacks, one for each (job, runtime environment) and one for the fresh,
the last used on top (its caches are warm). A small reserve of fresh ones makes the start of an actor or of a new job a
matter of a message. The reserve is refilled a moment after leases took from it, so that forks do not take the CPUs of
the very tasks that were just granted; after an actor took from it at once, since actors come in bursts.

How a process ended is known exactly (the node host reaps it); why, when we ended it, is what we noted before.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Final

from ..protocol.cluster_events import ClusterEvent, EventKind, Severity
from ..protocol.common import Address, Death, DeathKind
from ..protocol.raylet_messages import Exit
from ..protocol.transitions import History, IllegalTransition, Step, new_history
from .environment import process_environment
from .events import Context, SignalWorker, StartWorker
from .ledger import Allocation

__all__ = ["WORKER_EDGES", "Worker", "WorkerPool"]

PoolKey = tuple[bytes, str]
FRESH: PoolKey = (b"", "")

_FORK_STUCK: Final = "it was made {seconds:g} s ago and has not said hello"

_SPARED: Final = 16
"""Idle workers that are not lent for what they own: each costs some 10 MB."""

_FAILURE_SECONDS: Final = 10.0
"""Whoever asks later is worth a new try: the folder may be there, or the memory."""

WORKER_EDGES: Final[dict[tuple[str, str], str]] = {
    ("starting", "hello"): "idle",
    ("starting", "stop"): "stopping",
    ("starting", "end"): "gone",
    ("idle", "lease"): "leased",
    ("idle", "assign actor"): "actor",
    ("idle", "stop"): "stopping",
    ("idle", "end"): "gone",
    ("leased", "return"): "idle",
    ("leased", "stop"): "stopping",
    ("leased", "end"): "gone",
    ("actor", "stop"): "stopping",
    ("actor", "end"): "gone",
    ("stopping", "hello"): "stopping",
    ("stopping", "stop"): "stopping",
    ("stopping", "end"): "gone",
}
"""(state, fact) to state. A worker that was told to stop stays `stopping` until the host reports its end."""


class Worker:
    """One worker process.

    ``lease_id`` is set while leased, ``actor_id`` while it is an actor (also when either is stopping). ``death``: why
    we end it, for the report; None while it lives of its own. ``kill_at``: when asking has lasted long enough.
    """

    __slots__ = (
        "actor_id",
        "address",
        "allocation",
        "blocked",
        "death",
        "history",
        "job_id",
        "kill_at",
        "last_owner",
        "lease_id",
        "pid",
        "runtime_env",
        "since",
        "state",
        "token",
        "worker_id",
    )

    def __init__(self, worker_id: bytes, token: bytes, job_id: bytes, runtime_env: str, now: float) -> None:
        self.worker_id = worker_id
        self.token = token
        self.job_id = job_id
        self.runtime_env = runtime_env
        self.state = "starting"
        self.since = now
        self.pid = 0
        self.address: Address | None = None
        self.allocation: Allocation | None = None
        self.lease_id = 0
        self.last_owner = b""
        self.actor_id = b""
        self.blocked = False
        self.death: Death | None = None
        self.kill_at: float | None = None
        self.history: History = new_history()

    @property
    def key(self) -> PoolKey:
        return self.job_id, self.runtime_env

    def move(self, fact: str, now: float) -> None:
        """Take the edge of a fact, or raise with the worker's history."""
        after = WORKER_EDGES.get((self.state, fact))
        if after is None:
            raise IllegalTransition(f"worker {self.worker_id.hex()}", self.state, fact, tuple(self.history))
        self.history.append(Step(now, fact, self.state, after))
        self.state = after
        self.since = now


class WorkerPool:
    """All workers of the node."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.workers: dict[bytes, Worker] = {}
        self._idle: dict[PoolKey, list[Worker]] = {}
        self._starting: dict[PoolKey, set[Worker]] = {}
        self._starting_count = 0
        self.failures: dict[PoolKey, list[tuple[float, str]]] = {}
        self._refill_at: float | None = None
        self.owns_work: Callable[[bytes], bool] = lambda process_id: False
        """Whether tasks that a process has submitted still run or wait for a worker."""
        self.is_closed = False
        """Whether the node is about to leave: no more workers are started."""
        self._idle_limit = max(context.config.prestart, context.config.reserve)

    # -- starting ---------------------------------------------------------------------------------------------------

    def resize(self, cpus: int) -> None:
        """The node has so many CPUs: as many idle workers are kept."""
        self._idle_limit = max(cpus, self._context.config.reserve)

    def prestart(self) -> None:
        """Make the first workers, before anybody asks."""
        for _ in range(self._context.config.prestart):
            self._start(FRESH)

    @staticmethod
    def kind(key: PoolKey) -> PoolKey:
        """The kind of worker to start for a job and environment: who needs no environment can use a fresh one."""
        return key if key[1] else FRESH

    def ask_for(self, needs: dict[PoolKey, int]) -> bool:
        """Start workers so that as many start as could be used now (``needs``, by kind), within the limits.

        False if one of a kind cannot even be tried, see `failure`.
        """
        if self.is_closed:
            return True
        can_all = True
        for pool, count in needs.items():
            while (
                len(self._starting.get(pool, ())) < count
                and self._starting_count < self._context.config.starting_limit
                and len(self.workers) < self._context.config.max_workers
            ):
                if not self._start(pool):
                    can_all = False
                    break
        return can_all

    def _start(self, key: PoolKey) -> bool:
        context = self._context
        job_id, runtime_env = key
        try:
            env, cwd = process_environment(runtime_env)
        except ValueError as error:
            self.failures[key] = [(context.now, str(error))] * context.config.start_attempts
            return False
        drawn = context.draw(8)
        worker = Worker(bytes([drawn[0] | 1]) + drawn[1:], context.draw(16), job_id, runtime_env, context.now)
        self.workers[worker.worker_id] = worker
        self._starting.setdefault(key, set()).add(worker)
        self._starting_count += 1
        context.add(StartWorker(worker.worker_id, worker.token, env, cwd, job_id, runtime_env))
        return True

    def _started(self, worker: Worker) -> None:
        """It is not starting any more."""
        members = self._starting.get(worker.key)
        if members is not None and worker in members:
            members.discard(worker)
            self._starting_count -= 1

    def _start_failed(self, worker: Worker, text: str) -> None:
        failures = self.failures.setdefault(worker.key, [])
        failures.append((self._context.now, text))
        text = f"worker {worker.worker_id.hex()} could not start: {text}"
        self._context.log("error", text)
        self._context.event(
            ClusterEvent(
                kind=EventKind.WORKER_NOT_STARTED,
                severity=Severity.ERROR,
                source="RAYLET",
                message=text[:1].upper() + text[1:],
                worker_id=worker.worker_id,
                job_id=worker.job_id,
            )
        )

    def failure(self, key: PoolKey) -> str:
        """Why no worker of this kind can be made, once it was tried often enough a moment ago; else empty."""
        failures = self.failures.get(self.kind(key))
        if not failures:
            return ""
        at, text = failures[-1]
        if self._context.now >= at + _FAILURE_SECONDS:
            del self.failures[self.kind(key)]
            return ""
        return text if len(failures) >= self._context.config.start_attempts else ""

    # -- facts ------------------------------------------------------------------------------------------------------

    def forked(self, worker_id: bytes, pid: int) -> None:
        worker = self.workers.get(worker_id)
        if worker is not None:
            worker.pid = pid

    def hello(self, worker: Worker, address: Address, pid: int) -> None:
        """Its process is up and connected."""
        self._started(worker)
        worker.move("hello", self._context.now)
        worker.address = address
        worker.pid = pid
        if worker.state == "idle":
            self.failures.pop(worker.key, None)
            self._idle.setdefault(worker.key, []).append(worker)
        else:
            self._context.reply(worker.worker_id, Exit("it is not needed any more"))

    def ended(self, worker: Worker, code: int | None, number: int | None, by_kernel: bool) -> Death:
        """Its process is gone; why."""
        was_starting = worker.state == "starting"
        self._started(worker)
        self._forget_idle(worker)
        worker.move("end", self._context.now)
        del self.workers[worker.worker_id]
        death = self._death_of(worker, code, number, by_kernel)
        if was_starting:
            self._start_failed(worker, f"{death.detail}; its log: {self._log_of(worker)}")
        return death

    def not_forked(self, worker: Worker, text: str) -> None:
        """There never was a process."""
        self._started(worker)
        worker.move("end", self._context.now)
        del self.workers[worker.worker_id]
        self._start_failed(worker, text)

    def _log_of(self, worker: Worker) -> str:
        return f"{self._context.config.session_dir}/logs/worker-{worker.worker_id.hex()}.err"

    def _death_of(self, worker: Worker, code: int | None, number: int | None, by_kernel: bool) -> Death:
        noted = worker.death
        if noted is not None:
            return Death(noted.kind, noted.detail, code, number, worker.pid)
        if by_kernel:
            return Death(
                DeathKind.OUT_OF_MEMORY,
                "The kernel killed it because memory was exhausted: use fewer or smaller tasks at a time, "
                "or give each more with `memory=`.",
                code,
                number,
                worker.pid,
            )
        if number is not None:
            name = signal.Signals(number).name
            return Death(
                DeathKind.CRASHED,
                f"Its process (pid {worker.pid}) was ended by signal {number} ({name}).",
                code,
                number,
                worker.pid,
            )
        if code == 0:  # without a word: code of the user's ended it, and not the worker itself
            return Death(DeathKind.CRASHED, f"Its process (pid {worker.pid}) left by itself.", 0, None, worker.pid)
        return Death(
            DeathKind.CRASHED,
            f"Its process (pid {worker.pid}) left with exit code {code}.",
            code,
            None,
            worker.pid,
        )

    # -- using ------------------------------------------------------------------------------------------------------

    def take(self, job_id: bytes, runtime_env: str, *, prefer_fresh: bool = False) -> Worker | None:
        """An idle worker for this job and environment; the caller moves it on at once."""
        key = (job_id, runtime_env)
        order = (key, FRESH) if not prefer_fresh else (FRESH, key)
        found = self._choose([pool for pool in (order if not runtime_env else (key,)) if self._idle.get(pool)])
        if found is None:
            return None
        pool, worker = found
        self._idle[pool].remove(worker)
        worker.job_id = job_id
        if pool == FRESH:
            delay = 0.0 if prefer_fresh else self._context.config.refill_after
            due = self._context.now + delay
            self._refill_at = due if self._refill_at is None else min(self._refill_at, due)
        return worker

    def _choose(self, stacks: list[PoolKey]) -> tuple[PoolKey, Worker] | None:
        """The last used of the first stack that owns nothing under way.

        What a worker has submitted would end with it, should the next task take it along or have it killed; and while
        that holds the interpreter's lock, nobody would look after it. So rather another one is started, up to a point.
        """
        spared = 0
        for pool in stacks:
            for worker in reversed(self._idle[pool]):
                if not self.owns_work(worker.worker_id):
                    return pool, worker
                spared += 1
        can_start = len(self.workers) < self._context.config.max_workers and not self.is_closed and not self.failures
        if not spared or (spared <= _SPARED and can_start):
            return None
        return stacks[0], self._idle[stacks[0]][-1]

    def give_back(self, worker: Worker) -> None:
        """Its lease ended well."""
        worker.lease_id = 0
        worker.blocked = False
        worker.move("return", self._context.now)
        self._idle.setdefault(worker.key, []).append(worker)

    def stop(self, worker: Worker, death: Death, *, force: bool, graceful: bool = False) -> None:
        """End it: at once (``force``), or ask first. ``graceful``: after what it has and owns, whenever that is."""
        self._forget_idle(worker)
        was_starting = worker.state == "starting"
        self._started(worker)
        worker.move("stop", self._context.now)
        if worker.death is None:
            worker.death = death
        if force:
            worker.kill_at = None
            self._context.add(SignalWorker(worker.worker_id, signal.SIGKILL))
            return
        if not graceful:
            worker.kill_at = self._context.now + self._context.config.stop_grace
        if not was_starting:  # else it is told when it says hello
            self._context.reply(worker.worker_id, Exit(death.detail, graceful))

    def leaving(self, worker: Worker, death: Death) -> None:
        """It said that it is about to leave by itself; it may take its time."""
        self._forget_idle(worker)
        self._started(worker)
        worker.move("stop", self._context.now)
        if worker.death is None:
            worker.death = death

    def _forget_idle(self, worker: Worker) -> None:
        if worker.state == "idle":
            stack = self._idle[worker.key]
            stack.remove(worker)
            if not stack:
                del self._idle[worker.key]

    def end_job(self, job_id: bytes) -> None:
        """Nobody will use the idle workers of this job again."""
        death = Death(DeathKind.EXITED, "its job ended")
        for worker in [w for w in self.workers.values() if w.job_id == job_id and w.state in ("idle", "starting")]:
            self.stop(worker, death, force=False)

    # -- time -------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Refill the reserve, end what is idle for long, kill what does not leave, give up on what does not come."""
        context = self._context
        config = context.config
        now = context.now
        if self._refill_at is not None and now >= self._refill_at:
            self._refill()
        for worker in list(self.workers.values()):
            if worker.kill_at is not None and now >= worker.kill_at:
                worker.kill_at = None
                context.add(SignalWorker(worker.worker_id, signal.SIGKILL))
            elif worker.state == "starting" and now >= worker.since + config.hello_timeout:
                text = _FORK_STUCK.format(seconds=config.hello_timeout)
                self._start_failed(worker, text)
                self.stop(worker, Death(DeathKind.CRASHED, text), force=True)
        surplus = self.idle_count() - self._idle_limit
        if surplus > 0:
            death = Death(DeathKind.EXITED, f"it was idle for {config.idle_worker_seconds:g} s")
            for worker in sorted(self._idle_workers(), key=lambda w: w.since)[:surplus]:
                if now >= worker.since + config.idle_worker_seconds:
                    self.stop(worker, death, force=False, graceful=True)  # others may need what it owns

    def _refill(self) -> None:
        missing = self._context.config.reserve - len(self._idle.get(FRESH, ())) - len(self._starting.get(FRESH, ()))
        self._refill_at = None
        if missing > 0 and not self.failures.get(FRESH):
            self.ask_for({FRESH: len(self._starting.get(FRESH, ())) + missing})
            if missing > 1:  # the limit on starting workers may have held some back
                self._refill_at = self._context.now + self._context.config.refill_after

    def next_deadline(self) -> float | None:
        config = self._context.config
        times: list[float] = [] if self._refill_at is None else [self._refill_at]
        for worker in self.workers.values():
            if worker.kill_at is not None:
                times.append(worker.kill_at)
            elif worker.state == "starting":
                times.append(worker.since + config.hello_timeout)
        surplus = self.idle_count() - self._idle_limit
        if surplus > 0:
            times.append(min(worker.since for worker in self._idle_workers()) + config.idle_worker_seconds)
        return min(times, default=None)

    # -- looking ----------------------------------------------------------------------------------------------------

    def _idle_workers(self) -> Iterator[Worker]:
        for stack in self._idle.values():
            yield from stack

    @property
    def starting_count(self) -> int:
        return self._starting_count

    def idle_count(self) -> int:
        return sum(map(len, self._idle.values()))

    def check_invariants(self) -> None:
        """Stacks, sets and states tell the same story."""
        idle = list(self._idle_workers())
        assert len(set(map(id, idle))) == len(idle), "a worker is idle twice"
        assert {w.worker_id for w in idle} == {w.worker_id for w in self.workers.values() if w.state == "idle"}
        starting = [worker for members in self._starting.values() for worker in members]
        assert len(starting) == self._starting_count
        assert {w.worker_id for w in starting} == {w.worker_id for w in self.workers.values() if w.state == "starting"}
        for key, stack in self._idle.items():
            assert all(worker.key == key for worker in stack), "a worker lies in the stack of another job"
        for worker in self.workers.values():
            assert worker.state != "gone"
            if worker.state in ("starting", "idle"):
                assert worker.allocation is None, f"an {worker.state} worker holds resources"
                assert not worker.lease_id
                assert not worker.actor_id
            assert (worker.state == "leased") <= bool(worker.lease_id)
            assert (worker.state == "actor") <= bool(worker.actor_id)
