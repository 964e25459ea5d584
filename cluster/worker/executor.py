"""Runs tasks and calls on the worker's main thread, and keeps order between what arrives and what leaves.

Strategy: the main thread takes the lead of the core while it has nothing to do, so a task is run by the very thread
that received it. Results, stream items and printed text go into one queue, `outgoing`, in the order they came to be;
whoever leads next packs them into messages. Between short tasks that happens every `FLUSH` seconds; under a long one
the IO thread takes over within a few milliseconds, so a finished result never waits for the task behind it.

Before a task begins, its counter is written into a page of shared memory: should the worker die, the raylet can tell
which tasks may have run.
"""

from __future__ import annotations

import ctypes
import inspect
import os
import signal
import threading
import time
import weakref
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from ..core.refs import ObjectRef
from ..core.tasks import TIMED, cell_var, task_var
from ..protocol.core_messages import (
    R_CANCELLED,
    R_EXITING,
    R_INLINE,
    R_RETURNED,
    R_STREAM_END,
    CancelTasks,
    PushTasks,
    Result,
    StealTasks,
    StreamConsumed,
    StreamItem,
)
from ..protocol.errors import TaskCancelledError
from ..protocol.raylet_messages import Blocked, WorkerExiting
from ..serialization.reloading import AdoptedCode
from ..serialization.values import serialize
from ..telemetry.events import describe_error
from .arguments import Inputs, LocalGone
from .breakpoints import Breakpoints
from .interrupts import Interrupts
from .iterating import sync_iterator
from .outgoing import Outgoing
from .peers import Job, Loaded, Peer
from .results import ResultMaker
from .snapshot import FrameTaker
from .timing import note_template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..core.runtime import Core
    from ..telemetry.recorder import WorkerRecorder
    from .display import RichOutput
    from .output import Output
    from .timing import WorkerTiming

__all__ = ["ActorExit", "Executor"]

FLUSH: Final = 0.002  # seconds between flushes while short tasks run
LONG_TASK: Final = 0.0005
"""Seconds: a task must take longer than this to have written past Python, as starting a process does."""
RECENT: Final = 2_048  # results kept for tasks that follow


_node_gpus: Final = os.environ.get("CUDA_VISIBLE_DEVICES", "")
_seen_before: Final[list[str | None]] = []  # what a lease of GPUs has replaced, until one without them


class ActorExit(SystemExit):
    """`exit_actor` was called."""


class Executor(Inputs, Interrupts):
    """The tasks of one worker."""

    def __init__(self, core: Core, page: memoryview) -> None:
        self.core = core
        self.page = page  # one 64-bit number: the counter of the task that began last
        self.queue: deque[Job] = deque()
        self.peers: dict[bytes, Peer] = {}
        self.functions: dict[bytes, bytes] = {}
        self.loaded_functions: dict[bytes, Any] = {}
        self.code = AdoptedCode(core.fetch_function)
        self.results = ResultMaker(core)
        self.frames = FrameTaker()
        self.breakpoints = Breakpoints(self)
        self.outgoing = Outgoing(core)
        self.running: Job | None = None
        self.interruptible = False
        self.interrupt_target: Job | None = None
        self.missed: list[tuple[bytes, CancelTasks]] = []
        self.blocked = 0
        self.exiting = ""
        self.actor: Any = None  # the actor host, once this worker is one
        self.main = threading.main_thread().ident or 0
        self.first_child = 0
        self.events: WorkerRecorder | None = None
        self.record: Callable[[tuple[Any, ...]], None] | None = None  # of telemetry: see `events.WIDTH`
        self.output: Output | None = None  # what tasks print and show
        self.rich: RichOutput | None = None  # what libraries need to show things
        self.exit_code = 0
        self.timing: WorkerTiming | None = None  # while a cell is explained
        self.ended_cells = core.cells.ended.latest  # empty until a cell was cancelled
        core.tick_hooks.append(self.insist)
        core.before_flush = self.outgoing.collect
        handlers = core.handlers
        handlers[PushTasks] = self.on_push
        handlers[CancelTasks] = self.on_cancel
        handlers[StealTasks] = self.on_steal
        handlers[StreamConsumed] = self.on_consumed
        core.blocking = self.blocking
        signal.signal(signal.SIGINT, self.on_sigint)

    # -- messages, in the leader ------------------------------------------------------------------------------------

    def peer(self, worker_id: bytes) -> Peer:
        """What we know of an owner."""
        peer = self.peers.get(worker_id)
        if peer is None:
            peer = self.peers[worker_id] = Peer(worker_id, None, {}, {}, {})
        return peer

    def on_push(self, peer_id: bytes, message: PushTasks) -> None:
        """An owner sends tasks."""
        peer = self.peers.get(peer_id) or self.peer(peer_id)
        if message.owner is not None:
            peer.address = message.owner
            if message.lease_id != peer.lease_id:
                peer.lease_id = message.lease_id
                peer.recent = {}
            if message.accelerators is not None:
                self.core.accelerators = message.accelerators
                set_visible_accelerators(message.accelerators)
        for template in message.templates:
            if template.payload is not None:
                self.functions[template.function] = template.payload
            peer.templates[template.index] = load_template(template, peer)
            if self.timing is not None or TIMED in template.options:
                note_template(self, template)
        templates = peer.templates
        jobs = [Job(peer, task, templates[task.template]) for task in message.tasks]
        if self.ended_cells:
            jobs = self.refuse_over(jobs)
        if self.exiting:
            for job in jobs:
                self.give_back(job, R_EXITING)
        elif self.actor is not None:
            self.actor.enqueue(jobs)
        elif self.blocked:
            for job in jobs:
                self.give_back(job)
            self.outgoing.blocked.add(peer_id)
        else:
            self.queue.extend(jobs)

    def on_steal(self, peer_id: bytes, message: StealTasks) -> None:
        """An owner wants unstarted tasks back: the newest, and those that follow others only with them."""
        self._hand_back(peer_id, message.count)
        self.outgoing.stolen.add(peer_id)

    def _hand_back(self, peer_id: bytes, count: int) -> None:
        for _ in range(count):
            try:
                job = self.queue.pop()
            except IndexError:
                return
            if job.peer.worker_id != peer_id:
                self.queue.append(job)
                return
            self.give_back(job)

    def give_back(self, job: Job, kind: int = R_RETURNED) -> None:
        """Return a task that did not start."""
        self.outgoing.add(job.peer.worker_id, Result(job.task.counter, kind, b"", None, None, job.task.attempt), -1.0)

    def on_consumed(self, peer_id: bytes, message: StreamConsumed) -> None:
        """A consumer took items."""
        self.peer(peer_id).consumed[message.counter] = message.consumed

    # -- blocking in get --------------------------------------------------------------------------------------------

    @contextmanager
    def blocking(self) -> Iterator[None]:
        """While a task waits: its CPU is lent, and nothing waits behind it."""
        if threading.get_ident() != self.main or self.running is None or self.actor is not None:
            if self.actor is not None:
                with self.actor.blocking():
                    yield
                return
            yield
            return
        self.blocked += 1
        core = self.core
        if self.blocked == 1:
            owners = {self.running.peer.worker_id, *(job.peer.worker_id for job in self.queue)}
            while self.queue:
                self.give_back(self.queue.pop())
            self.outgoing.blocked |= owners
            core.raylet_send(Blocked(True))
        try:
            yield
        finally:
            self.blocked -= 1
            if self.blocked == 0:
                core.raylet_send(Blocked(False))

    # -- the main thread --------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run tasks until the worker is to leave."""
        queue, reactor = self.queue, self.core.reactor
        clock = time.perf_counter
        while True:
            reactor.drive(self._something_to_do)
            if self.actor is not None and self.actor.ready_to_run():
                self.actor.run()
                return
            flushed = clock()
            while queue:
                try:
                    job = queue.popleft()
                except IndexError:
                    break  # stolen this moment
                now = self.execute(job)
                if now - flushed > FLUSH:
                    reactor.run_once()
                    flushed = clock()
            if self.exiting and not queue:
                return

    def drain(self) -> None:
        """Before leaving on purpose: stay until nobody refers to an object of ours, and our tasks have ended.

        Not those of an actor, which end with it.
        """
        exported = self.core.references.exported
        leased, pending = self.core.submission.workers, self.core.cells.pending
        is_actor = self.actor is not None
        self.core.reactor.drive(lambda: not exported and (is_actor or not (leased or pending())))

    def _something_to_do(self) -> bool:
        return bool(self.queue) or bool(self.exiting) or (self.actor is not None and self.actor.ready_to_run())

    def execute(self, job: Job) -> float:
        """Run one task to its end; returns when that was, on `time.perf_counter`."""
        loaded, task = job.loaded, job.task
        start = job.started = time.perf_counter()
        self.page[0] = task.counter
        # Below those of everything that it submits. First: a cancel that comes in between is not for earlier children.
        self.first_child = self.core.next_counter()
        self.running = job
        cell_var.set(loaded.cell)
        task_var.set(job)
        watched: list[weakref.ref[ObjectRef]] | None = None
        args: tuple[Any, ...] = ()
        kwargs: dict[str, Any] = {}
        try:
            try:
                function = loaded.function or self.load(loaded)
                self.interruptible = True
                if task.args or task.deps is not None:
                    args, kwargs, watched = self.arguments(job)
                if loaded.is_generator and loaded.num_returns < 0:
                    result = self.stream(job, function(*args, **kwargs))
                else:
                    value = function(*args, **kwargs)
                    result = self.results.of_value(job, value)
                    del value
                self.interruptible = False
            except LocalGone:
                result = Result(task.counter, R_RETURNED, b"", None, None, task.attempt)
            except BaseException as error:  # noqa: BLE001 whatever the task raised goes to its owner
                self.interruptible = False
                result = self.failed(job, error)
            finally:
                self.interruptible = False
            del args, kwargs
            if watched is not None:
                self.settle_arguments(job, watched, result)
        except KeyboardInterrupt:  # a cancel that came with the very end of the task
            result = Result(task.counter, R_CANCELLED, b"", None, None, task.attempt)
        self.running = None
        task_var.set(None)
        end = time.perf_counter()
        self.remember(job, result)
        self.finish(job, result, end - start)
        return end

    def load(self, loaded: Loaded) -> Any:
        """Unpickle a function. First, results of other functions and cells leave: this one may take the process along,
        or hold the interpreter's lock for as long as it likes."""
        if self.outgoing.items:
            self.core.reactor.run_once(flush_only=True)
        return super().load(loaded)

    def finish(self, job: Job, result: Result, seconds: float) -> None:
        """Send the result on its way, and leave if `max_calls` says so."""
        if self.breakpoints.active:
            self.breakpoints.task_ended(job)
        output = self.output
        if output is not None and (job.voice is not None or seconds > LONG_TASK or output.at_end):
            output.finish(job)  # else it has neither printed nor had the time to start what prints
        self.outgoing.add(job.peer.worker_id, result, seconds)
        loaded = job.loaded
        if self.record is not None:
            task = job.task
            self.record(
                (loaded, task.counter, task.attempt, result.kind, job.started, seconds, job.error, self.first_child)
            )
        if loaded.max_calls:
            loaded.calls += 1
            if loaded.calls >= loaded.max_calls:
                self.leave("max_calls")

    def leave(self, reason: str) -> None:
        """Stop taking tasks, return those that wait, end."""
        self.exiting = reason
        while self.queue:
            self.give_back(self.queue.pop(), R_EXITING)
        self.core.raylet_send(WorkerExiting(reason, True))

    @staticmethod
    def remember(job: Job, result: Result) -> None:
        """Keep a small result for tasks of the same owner that follow this one."""
        recent = job.peer.recent
        if result.kind == R_INLINE:
            recent[job.task.counter] = result.data
        else:
            recent[job.task.counter] = None
        if len(recent) > RECENT:
            del recent[next(iter(recent))]

    def failed(self, job: Job, error: BaseException, actor: Any = None, actor_id: bytes = b"") -> Result:
        """What the owner gets for an exception."""
        if isinstance(error, KeyboardInterrupt) and job.cancelled:
            error.__traceback__ = None
            return Result(job.task.counter, R_CANCELLED, b"", None, None, job.task.attempt)
        if isinstance(error, TaskCancelledError) and job.cancelled:
            return Result(job.task.counter, R_CANCELLED, b"", None, None, job.task.attempt)
        job.error = describe_error(error)
        if self.events is not None:
            self.events.failed(job, error)
        cell = job.loaded.cell
        frames = self.frames.take(job.loaded.name, cell, error) if cell is not None and cell.execution else b""
        result = self.results.of_error(job, error, actor, actor_id, frames)
        error.__traceback__ = None  # its frames hold the arguments
        return result

    # -- generators -------------------------------------------------------------------------------------------------

    def stream(self, job: Job, generator: Any) -> Result:
        """Send each item as it is yielded."""
        if inspect.isasyncgen(generator):
            return self.stream(job, sync_iterator(generator))
        if not hasattr(generator, "__next__"):
            if not hasattr(generator, "__iter__"):
                raise TypeError(
                    f"task `{job.loaded.name}` is to stream its returns, but it returned a "
                    f"{type(generator).__name__}: it must be a generator function"
                )
            generator = iter(generator)
        index = 0
        limit = job.loaded.backpressure
        flushed = time.perf_counter()
        for value in generator:
            index += 1  # noqa: SIM113 enumerate would keep the value alive while the next one is made
            self.send_item(job, index, value)
            del value
            if limit > 0:
                self.wait_consumed(job, index, limit)
            now = time.perf_counter()
            if now - flushed > FLUSH:
                self.interruptible = False  # raised inside the machines it would stop them half way
                self.core.reactor.run_once()
                self.interruptible = True
                flushed = now
        job.peer.consumed.pop(job.task.counter, None)
        return Result(job.task.counter, R_STREAM_END, b"", None, None, job.task.attempt)

    def send_item(self, job: Job, index: int, value: Any) -> None:
        """Send one item of a stream."""
        packed = serialize(value, f"item {index} of task `{job.loaded.name}`")
        returned = self.results.returned(job, index + 1, packed)
        self.outgoing.add_item(job.peer.worker_id, StreamItem(job.task.counter, index, returned, job.task.attempt))

    def wait_consumed(self, job: Job, index: int, limit: int) -> None:
        """Wait until fewer than ``limit`` items are untaken."""
        consumed, counter = job.peer.consumed, job.task.counter
        if index - consumed.get(counter, 0) >= limit:
            self.core.wait_until(lambda: index - consumed.get(counter, 0) < limit, None)


def load_template(template: Any, peer: Peer) -> Loaded:
    """A template as the worker uses it."""
    options = template.options
    root = options.get("root")
    loaded = Loaded(template, template.name, None, template.num_returns, template.cell)
    if root is not None:
        from ..protocol.common import Address

        loaded.root = Address(*root)
    loaded.max_calls = int(options.get("max_calls", 0))
    loaded.backpressure = int(options.get("backpressure", 0))
    loaded.group = str(options.get("concurrency_group", ""))
    loaded.owner = peer.worker_id
    if template.actor_id:
        loaded.method = template.name
    return loaded


def set_visible_accelerators(accelerators: dict[str, list[int]]) -> None:
    """Let libraries see only the GPUs that the lease holds; without one, what the process saw before its first."""
    if accelerators.get("GPU"):
        _seen_before.append(os.environ.get("CUDA_VISIBLE_DEVICES"))
        del _seen_before[1:]
        # A node that was itself given some of the GPUs counts within these.
        visible = _node_gpus.split(",") if _node_gpus else None
        held = accelerators["GPU"]
        names = [visible[index] if visible and index < len(visible) else str(index) for index in held]
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(names)
    elif _seen_before:
        before = _seen_before.pop()
        if before is None:
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = before


def raise_in_thread(thread_id: int, kind: type[BaseException]) -> None:
    """Raise an exception in another thread at its next bytecode."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), ctypes.py_object(kind))
