"""A worker that has become an actor: one instance, and calls in order, in threads, or on an event loop.

Strategy: a plain actor (concurrency 1) runs calls on the main thread just as tasks run, in the order they came. With
more concurrency or groups, each group has a thread pool. If any method is a coroutine, the main thread runs an asyncio
loop, which drives the core as well (see loop_lead.py); calls of one batch are started in order by one callback.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
import time
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..core.refs import ObjectRef
from ..core.tasks import cell_var, task_var
from ..protocol.core_messages import R_CANCELLED, R_EXITING, R_STREAM_END, Dep, RefInfo, Result, Task, Template
from ..protocol.gcs_messages import ActorSpec
from ..protocol.ids import task_counter
from ..protocol.raylet_messages import ActorStarted, AssignActor, Blocked, WorkerExiting
from ..serialization.functions import import_function
from .executor import ActorExit, Executor, raise_in_thread, set_visible_accelerators
from .iterating import as_async
from .loop_lead import LoopLead
from .peers import Job, Loaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["ActorHost"]

_TOLD_TO_LEAVE: Final = 10.0  # seconds; a raylet that has not answered by then is none


class ActorHost:
    """The actor of this worker."""

    def __init__(self, executor: Executor, message: AssignActor) -> None:
        self.executor = executor
        self.core = executor.core
        self.message = message
        self.spec: ActorSpec = message.spec
        self.actor_id = message.actor_id
        self.instance: Any = None
        self.early: list[Job] = []  # calls that came before there was who runs them
        self.receive: Callable[[list[Job]], Any] | None = None  # who runs them; set by the leader, as calls come to it
        self.methods: dict[str, Any] = {}
        self.active: dict[tuple[bytes, int], Job] = {}
        self.loop: asyncio.AbstractEventLoop | None = None
        self.lead: LoopLead | None = None
        self.stop: asyncio.Event | None = None
        self.finishing = ""  # leave when nothing is running or waiting
        self.limits: dict[str, int] = {"": max(1, self.spec.max_concurrency), **self.spec.concurrency_groups}
        self.counts: dict[str, int] = dict.fromkeys(self.limits, 0)
        self.queues: dict[str, deque[Job]] = {name: deque() for name in self.limits}
        self.pools: dict[str, ThreadPoolExecutor] = {}
        self.threaded = not self.spec.is_async and (self.spec.max_concurrency > 1 or bool(self.spec.concurrency_groups))
        self._blocked = 0
        self._blocked_lock = threading.Lock()
        self.core.actor_id = self.actor_id
        self.core.actor_name = self.spec.class_name
        self.core.actor_restarts = message.restart
        self.core.accelerators = message.accelerators
        set_visible_accelerators(message.accelerators)

    def ready_to_run(self) -> bool:
        """An assigned worker always has its actor to run."""
        return True

    # -- messages, in the leader ------------------------------------------------------------------------------------

    def enqueue(self, jobs: list[Job]) -> None:
        """Calls came."""
        if self.receive is None:
            self.early.extend(jobs)
        else:
            self.receive(jobs)

    def _receive_by(self, receive: Callable[[list[Job]], Any]) -> None:
        """From now on calls are taken by `receive`, those that came early first. From the thread that runs them.

        The leader makes the change, between two messages, so no call comes while it is made.
        """

        def change() -> None:
            early, self.early = self.early, []
            self.receive = receive
            receive(early)

        self.core.post(change)
        self.core.reactor.drive(lambda: self.receive is not None)

    def cancel(self, wanted: Callable[[Job], bool]) -> None:
        """A caller cancels calls, or a cell is over."""
        for job in [job for job in self.early if wanted(job)]:
            self.early.remove(job)
            self.executor.answer_cancelled(job)
        for job in list(self.active.values()):
            if not wanted(job):
                continue
            job.cancelled = True
            running = job.running
            if isinstance(running, asyncio.Task) and self.loop is not None:
                self.loop.call_soon_threadsafe(running.cancel)
            elif isinstance(running, int):
                raise_in_thread(running, KeyboardInterrupt)

    def end(self, reason: str) -> None:
        """The cluster ends this actor after the calls it has."""
        self.finishing = reason or "out of scope"
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self._maybe_finish)

    @contextmanager
    def blocking(self) -> Iterator[None]:
        """While a call waits in `get`, the actor's CPU is lent."""
        if not self.spec.resources.get("CPU"):
            yield
            return
        with self._blocked_lock:
            self._blocked += 1
            first = self._blocked == 1
        if first:
            self.core.raylet_send(Blocked(True))
        try:
            yield
        finally:
            with self._blocked_lock:
                self._blocked -= 1
                last = self._blocked == 0
            if last:
                self.core.raylet_send(Blocked(False))

    # -- life -------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Construct the instance and run calls until the end. On the main thread."""
        if not self._construct():
            return
        if self.spec.is_async:
            asyncio.run(self._run_async())
        elif self.threaded:
            self._run_threaded()
        else:
            self._run_plain()

    def _construct(self) -> bool:
        executor, core, spec = self.executor, self.core, self.spec
        owner = executor.peer(spec.owner.worker_id)
        owner.address = spec.owner
        deps: list[Dep] | None = None
        refs: list[RefInfo] | None = None
        if spec.deps:
            deps, refs = msgspec.msgpack.decode(spec.deps, type=tuple[list[Dep] | None, list[RefInfo] | None])
        task = Task(task_counter(self.actor_id), 0, spec.args, deps, refs, 0, self.message.restart)
        template = Template(0, f"{spec.class_name}.__init__", b"", None, self.actor_id, 1, spec.cell)
        job = Job(owner, task, Loaded(template, template.name, None, 1, spec.cell, spec.root, 0, 0, "__init__"))
        job.started = time.perf_counter()
        cell_var.set(spec.cell)
        task_var.set(job)
        executor.running = job
        error, detail, described = b"", "", ""
        try:
            core.adopt_job(spec.job_id)
            core.namespace = spec.namespace
            if spec.code:
                executor.adopt(spec.code)
            cls = import_function(core.fetch_function(spec.class_hash))
            args: tuple[Any, ...] = ()
            kwargs: dict[str, Any] = {}
            watched: list[weakref.ref[ObjectRef]] = []
            if spec.args or deps:
                args, kwargs, found = executor.arguments(job)
                watched = found or []
            if spec.is_async:
                self.instance = asyncio.run(self._construct_in_loop(cls, args, kwargs))
            else:
                self.instance = cls(*args, **kwargs)
            del args, kwargs
            executor.settle_arguments(job, watched, Result(0, 0))
        except BaseException as failure:  # noqa: BLE001 the constructor's own, whatever it is
            result = executor.failed(job, failure, None, self.actor_id)
            error, detail = result.data, f"its constructor raised {type(failure).__name__}: {failure}"
            described = job.error
        executor.running = None
        task_var.set(None)
        if executor.events is not None and spec.events:
            executor.events.created(job, spec.class_name, described)
        if executor.output is not None:
            executor.output.finish(job)
            executor.output.background = job
        core.reactor.run_once()
        core.raylet_send(ActorStarted(self.actor_id, core.address, error, detail))
        if error:
            # The raylet has us leave when it has read why. Who left at once could be seen to have gone before that.
            executor.exiting = detail
            core.reactor.drive(lambda: self.finishing, time.monotonic() + _TOLD_TO_LEAVE)
            return False
        return True

    @staticmethod
    async def _construct_in_loop(made: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return made(*args, **kwargs)

    def _load(self, job: Job) -> Any:
        loaded = job.loaded
        function = loaded.function
        if function is None:
            name = loaded.method
            if name == "__ray_ready__":
                function = lambda: True  # noqa: E731
            elif name == "__ray_terminate__":
                function = self._terminate
            elif name == "__ray_call__":
                function = lambda fn, *args, **kwargs: fn(self.instance, *args, **kwargs)  # noqa: E731
            else:
                function = getattr(self.instance, name)
            loaded.function = function
            loaded.is_coroutine = inspect.iscoroutinefunction(function)
            loaded.is_generator = loaded.num_returns < 0
        return function

    @staticmethod
    def _terminate() -> None:
        raise ActorExit(0)

    @property
    def one_at_a_time(self) -> bool:
        """What this process submits while a call runs comes of that call."""
        return not self.threaded and not self.spec.is_async

    def running(self) -> list[Job]:
        """The calls that run, and those that wait for a thread or their turn. From any thread."""
        if self.active:
            return list(self.active.values())
        running = self.executor.running
        return [running] if running is not None else []

    # -- plain ------------------------------------------------------------------------------------------------------

    def _run_plain(self) -> None:
        executor, reactor = self.executor, self.core.reactor
        queue = executor.queue
        self._receive_by(queue.extend)
        clock = time.perf_counter
        while not executor.exiting:
            if not queue:
                if self.finishing:
                    return self._leave(self.finishing)
                reactor.drive(lambda: queue or executor.exiting or self.finishing)
            flushed = clock()
            while queue:
                job = queue.popleft()
                try:
                    self._execute(job)
                except ActorExit:
                    return self._leave("exit_actor", intended=True)
                now = clock()
                if now - flushed > 0.002:
                    reactor.run_once()
                    flushed = clock()
        return None

    def _execute(self, job: Job) -> None:
        """Run one call on this thread; `ActorExit` passes through."""
        executor, loaded, task = self.executor, job.loaded, job.task
        start = job.started = time.perf_counter()
        main = not self.threaded
        if main:
            executor.page[0] = task.counter
            executor.running = job
            executor.first_child = self.core.next_counter()
        cell_var.set(loaded.cell)
        task_var.set(job)
        watched: list[weakref.ref[ObjectRef]] | None = None
        exiting: ActorExit | None = None
        try:
            function = loaded.function or self._load(job)
            args: tuple[Any, ...] = ()
            kwargs: dict[str, Any] = {}
            if main:
                executor.interruptible = True
            if task.args or task.deps is not None:
                args, kwargs, watched = executor.arguments(job)
            if loaded.is_generator:
                result = executor.stream(job, function(*args, **kwargs))
            else:
                value = function(*args, **kwargs)
                result = executor.results.of_value(job, value)
                del value
            executor.interruptible = False
        except ActorExit as leaving:
            exiting = leaving
            result = Result(task.counter, R_EXITING, b"", None, None, task.attempt)
        except BaseException as error:  # noqa: BLE001 whatever the method raised goes to its caller
            executor.interruptible = False
            result = executor.failed(job, error, self.instance, self.actor_id)
        args, kwargs = (), {}
        if watched is not None:
            executor.settle_arguments(job, watched, result)
        if main:
            executor.running = None
        task_var.set(None)
        executor.finish(job, result, time.perf_counter() - start)
        if exiting is not None:
            raise exiting

    def _leave(self, reason: str, intended: bool = True) -> None:
        executor = self.executor
        executor.exiting = reason
        while executor.queue:
            job = executor.queue.popleft()
            executor.outgoing.add(
                job.peer.worker_id, Result(job.task.counter, R_EXITING, b"", None, None, job.task.attempt), -1.0
            )
        self.core.raylet_send(WorkerExiting(reason, intended))
        self.core.reactor.run_once()

    # -- threads ----------------------------------------------------------------------------------------------------

    def _run_threaded(self) -> None:
        executor, reactor = self.executor, self.core.reactor
        queue = executor.queue
        self._receive_by(queue.extend)
        for name, limit in self.limits.items():
            self.pools[name] = ThreadPoolExecutor(limit, thread_name_prefix=f"himalia-{name or 'default'}")
        while not executor.exiting:
            reactor.drive(lambda: queue or executor.exiting or (self.finishing and not self.active))
            while queue:
                job = queue.popleft()
                self.active[job.peer.worker_id, job.task.counter] = job
                group = self._group(job)
                if group not in self.pools:
                    self._refuse_group(job, group)
                    continue
                self.pools[group].submit(self._in_thread, job)
            if self.finishing and not self.active and not queue:
                return self._leave(self.finishing)
        for pool in self.pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        return None

    def _group(self, job: Job) -> str:
        group = job.loaded.group
        if not group and job.loaded.method:
            declared = self.spec.methods.get(job.loaded.method, {}).get("concurrency_group")
            group = str(declared) if declared else ""
        return group

    def _refuse_group(self, job: Job, group: str) -> None:
        self.active.pop((job.peer.worker_id, job.task.counter), None)
        job.started = time.perf_counter()
        known = ", ".join(repr(name) for name in self.limits if name) or "none"
        error = ValueError(f"actor {self.spec.class_name} has no concurrency group {group!r}; there are: {known}")
        self.executor.finish(job, self.executor.failed(job, error, self.instance, self.actor_id), 0.0)
        self.core.reactor.wake()

    def _in_thread(self, job: Job) -> None:
        key = (job.peer.worker_id, job.task.counter)
        try:
            if job.cancelled:
                job.started = time.perf_counter()
                self.executor.finish(job, Result(job.task.counter, R_CANCELLED), 0.0)
                return
            job.running = threading.get_ident()
            self._execute(job)
        except ActorExit:
            self.executor.exiting = "exit_actor"
            self.core.post(lambda: None)
            self._leave("exit_actor")
        finally:
            job.running = None
            self.active.pop(key, None)
            self.core.reactor.wake_up()

    # -- event loop -------------------------------------------------------------------------------------------------

    async def _run_async(self) -> None:
        self.stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(None)
        self.lead = LoopLead(loop, self.core.reactor)
        self.loop = loop
        self._receive_by(lambda jobs: loop.call_soon_threadsafe(self._start_async, jobs))
        if self.finishing:
            loop.call_soon(self._maybe_finish)  # after the calls that came early
        self.lead.look()
        await self.stop.wait()
        self.lead.close()
        self._leave(self.finishing or "exit_actor")

    def _start_async(self, jobs: list[Job]) -> None:
        """Start calls, or queue them when their group is full. On the loop."""
        for job in jobs:
            group = self._group(job)
            if group not in self.queues:
                self._refuse_group(job, group)
                continue
            self.active[job.peer.worker_id, job.task.counter] = job
            if self.counts[group] < self.limits[group]:
                self._launch(job, group)
            else:
                self.queues[group].append(job)

    def _launch(self, job: Job, group: str) -> None:
        assert self.loop is not None
        self.counts[group] += 1
        context = contextvars.copy_context()
        job.running = self.loop.create_task(self._run_one(job, group), context=context)

    async def _run_one(self, job: Job, group: str) -> None:
        executor, loaded, task = self.executor, job.loaded, job.task
        start = job.started = time.perf_counter()
        cell_var.set(loaded.cell)
        task_var.set(job)
        watched: list[weakref.ref[ObjectRef]] | None = None
        exiting = False
        try:
            function = loaded.function or self._load(job)
            args: tuple[Any, ...] = ()
            kwargs: dict[str, Any] = {}
            if job.cancelled:
                raise asyncio.CancelledError
            if task.args or task.deps is not None:
                if task.deps is None:
                    args, kwargs, watched = executor.arguments(job)
                else:
                    args, kwargs, watched = await asyncio.to_thread(executor.arguments, job)
            if loaded.is_generator:
                result = await self._stream(job, function(*args, **kwargs))
            else:
                value = function(*args, **kwargs)
                if loaded.is_coroutine or inspect.isawaitable(value):
                    value = await value
                result = executor.results.of_value(job, value)
                del value
        except ActorExit:
            exiting = True
            result = Result(task.counter, R_EXITING, b"", None, None, task.attempt)
        except asyncio.CancelledError as error:
            if job.cancelled:
                result = Result(task.counter, R_CANCELLED, b"", None, None, task.attempt)
            elif executor.exiting:  # the loop ends, as another call wanted
                result = Result(task.counter, R_EXITING, b"", None, None, task.attempt)
            else:
                result = executor.failed(job, error, self.instance, self.actor_id)
        except BaseException as error:  # noqa: BLE001 whatever the method raised goes to its caller
            result = executor.failed(job, error, self.instance, self.actor_id)
        args, kwargs = (), {}
        if watched:
            await asyncio.to_thread(executor.settle_arguments, job, watched, result)
        elif watched is not None:
            executor.settle_arguments(job, watched, result)
        executor.finish(job, result, time.perf_counter() - start)
        assert self.lead is not None
        self.lead.soon()
        self.active.pop((job.peer.worker_id, task.counter), None)
        self.counts[group] -= 1
        if exiting:
            self.finishing = "exit_actor"
            assert self.stop is not None
            self.stop.set()
            return
        queue = self.queues[group]
        while queue and self.counts[group] < self.limits[group]:
            self._launch(queue.popleft(), group)
        if self.finishing:
            self._maybe_finish()

    def _maybe_finish(self) -> None:
        if not self.active and self.stop is not None:
            self.stop.set()

    async def _stream(self, job: Job, generator: Any) -> Result:
        executor = self.executor
        limit, index = job.loaded.backpressure, 0
        counter, peer = job.task.counter, job.peer
        if not hasattr(generator, "__anext__"):
            generator = as_async(generator)
        async for value in generator:
            index += 1
            executor.send_item(job, index, value)
            assert self.lead is not None
            self.lead.soon()
            del value
            while limit > 0 and index - peer.consumed.get(counter, 0) >= limit:
                await asyncio.to_thread(executor.wait_consumed, job, index, limit)
        return Result(counter, R_STREAM_END, b"", None, None, job.task.attempt)
