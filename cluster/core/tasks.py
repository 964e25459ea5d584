"""Submitting, cancelling and ending tasks: the part of a core behind `f.remote()`.

The first half runs in user threads and touches no machine: it makes a `Record` and leaves it in the inbox. What it
costs is most of what a small task costs its owner, so the common case (no references, small plain arguments, one
return) is straight.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..protocol.common import Address, CancelCell, Cell, Resources
from ..protocol.core_messages import ARG_INLINE, CancelObjects, Dep, RefInfo, StreamItem, Task, TaskResults, Template
from ..protocol.errors import RayTaskError
from ..protocol.raylet_messages import (
    LeaseGranted,
    LeaseReclaim,
    LeaseRefused,
    LeaseSpec,
    LeaseSpill,
    RayletReply,
    WorkerDied,
)
from ..serialization.error_values import deserialize_error
from ..serialization.functions import captures_of_argument
from ..serialization.layout import pack
from ..serialization.values import Serialized, serialize, serialize_args
from .cells import Cells
from .commands import Connect, Send
from .generator import ObjectRefGenerator
from .objects import INLINE_LIMIT, ObjectOps
from .records import Plan, Record, Stream
from .refs import PENDING, ObjectRef
from .sites import call_site

if TYPE_CHECKING:
    from ..serialization.functions import Exported

__all__ = ["TIMED", "TaskOps", "cell_var", "task_var"]

STREAMING: Final = -1

TIMED: Final = "timed"
"""Option of a template whose tasks are measured: see timing.py."""

cell_var: ContextVar[Cell | None] = ContextVar("himalia_cell", default=None)
"""The cell on whose behalf the current thread or coroutine of a worker runs."""

task_var: ContextVar[Any] = ContextVar("himalia_task", default=None)
"""The task that the current thread or coroutine of a worker runs."""


class TaskOps(ObjectOps):
    """Part of `Core`."""

    def _init_tasks(self) -> None:
        self.templates = 0
        self.base_cell: Cell | None = None  # outside of a notebook's cells: only the job
        self.cells = Cells(self.submission, self.actor_calls)
        self.take_task: Callable[[Record], None] = self.submission.submitted
        self.take_call: Callable[[Record], None] = self.actor_calls.submitted

    def _install_task_handlers(self) -> None:
        answers = self.answer_handlers
        submission = self.submission
        clock = time.monotonic
        answers[LeaseGranted] = lambda peer, message: submission.lease_granted(peer, message, clock())
        answers[LeaseSpill] = self._on_spill
        answers[LeaseRefused] = submission.lease_refused
        answers[LeaseReclaim] = lambda peer, message: submission.lease_reclaim(message)
        answers[WorkerDied] = self._on_worker_died
        answers[CancelCell] = self._on_cancel_cell
        self.handlers[CancelCell] = self._on_cancel_cell
        self.handlers[CancelObjects] = self._on_cancel_objects

    # -- in user threads --------------------------------------------------------------------------------------------

    def current_cell(self) -> Cell | None:
        """The cell on whose behalf this thread works."""
        if self.cell_provider is not None:
            cell = self.cell_provider()
            if cell is not None:
                return cell
        return cell_var.get() or self.base_cell

    def make_plan(
        self,
        name: str,
        function: Exported,
        *,
        resources: Resources,
        strategy: str = "DEFAULT",
        labels: dict[str, str] | None = None,
        runtime_env: str = "",
        num_returns: int = 1,
        max_retries: int = 3,
        retry_exceptions: bool | tuple[type[BaseException], ...] = False,
        backpressure: int = -1,
        options: dict[str, object] | None = None,
        cell: Cell | None = None,
    ) -> Plan:
        """What all tasks of a function with these options, from this cell, share."""
        self.templates += 1
        options = self._with_root(options or {})
        if self.code:
            options = {**options, "code": self.code}
        template = Template(
            self.templates, name, function.content_hash, None, b"", num_returns, cell, resources, options
        )
        spec = LeaseSpec(resources, self.job_id, strategy, runtime_env, labels or {})
        plan = Plan(template, name, None, max_retries, retry_exceptions, num_returns)
        plan.scheduling = self.submission.scheduling_class(spec)
        plan.backpressure, plan.cell, plan.function = backpressure, cell, function.payload
        plan.site = call_site()
        if function.refs:
            self.pinned_refs.extend((name, ref) for ref in function.refs)
            for ref in function.refs:
                self.pin_forever(ref)
        return plan

    def output_root(self) -> Address | None:
        """Who is to see what our tasks print, if not we: the driver at the root of what this thread runs."""
        job = task_var.get()
        if job is None:
            return None
        root: Address | None = job.loaded.root or job.peer.address
        return root

    def _with_root(self, options: dict[str, object]) -> dict[str, object]:
        root = self.output_root()
        if self.timing is not None:
            options = {**options, TIMED: True}
        return {**options, "root": [root.worker_id, root.node_id, root.ipc, root.tcp]} if root else options

    def submit(self, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Submit a task; returns its reference, its list of references, or its generator."""
        if self.fatal is not None:
            raise self.fatal
        counter = self.next_counter()
        if args or kwargs:
            task, holds = self._task_with_args(counter, plan, args, kwargs)
        else:
            task, holds = Task(counter, plan.template.index), None
        if plan.num_returns == 1:
            ref = ObjectRef(self.worker_id, counter)
            record = Record(task, plan, ref, None, plan.max_retries, holds)
            ref._data = record
            self.inbox.append(record)
            if self.reactor.sleeping:
                self.reactor.wake()
            return ref
        return self._submit_many(Record(task, plan, None, None, plan.max_retries, holds), counter)

    def _submit_many(self, record: Record, counter: int) -> Any:
        num_returns = record.plan.num_returns
        if num_returns == STREAMING:
            ref = ObjectRef(self.worker_id, counter, 1, PENDING, record)
            record.ref, record.stream = ref, Stream({})
            self.inbox.append(record)
            self.reactor.wake()
            return ObjectRefGenerator(self, record)
        refs = [ObjectRef(self.worker_id, counter, index, PENDING, record) for index in range(1, num_returns + 1)]
        record.refs = refs
        self.inbox.append(record)
        self.reactor.wake()
        return list(refs) if refs else None

    def _task_with_args(
        self, counter: int, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Task, list[ObjectRef] | None]:
        deps: list[Dep] | None = None
        holds: list[ObjectRef] | None = None
        for value in args:
            if type(value) is ObjectRef:
                deps, holds, args, kwargs = take_refs(args, kwargs)
                break
        else:
            for value in kwargs.values():
                if type(value) is ObjectRef:
                    deps, holds, args, kwargs = take_refs(args, kwargs)
                    break
        if holds is not None:
            for ref in holds:
                if ref._w is not self.worker_id:
                    self._check_session(ref)
        packed = serialize_args(args, kwargs)
        if not packed.buffers and not packed.refs and packed.nbytes <= INLINE_LIMIT:
            return Task(counter, plan.template.index, packed.data, deps), holds
        if packed.nbytes > INLINE_LIMIT:
            deps, holds, packed = self._put_large(args, kwargs, deps, holds)
        task = Task(counter, plan.template.index, self._as_bytes(packed), deps)
        if packed.refs:
            holds = [*(holds or ()), *packed.refs]
            task.refs = [RefInfo(ref.binary(), self.owner_of(ref)) for ref in packed.refs]
        return task, holds

    @staticmethod
    def _as_bytes(packed: Serialized) -> bytes:
        return bytes(pack(packed)) if packed.buffers else packed.data

    def _put_large(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        deps: list[Dep] | None,
        holds: list[ObjectRef] | None,
    ) -> tuple[list[Dep], list[ObjectRef], Serialized]:
        """Put large arguments into the object store, as if the user had, and pass references."""
        deps, holds = deps or [], holds or []
        values = list(args)
        named = dict(kwargs)
        places: list[tuple[Iterable[Any], Any]] = [(range(len(values)), values), (list(named), named)]
        for slots, container in places:
            for slot in slots:
                value = container[slot]
                one = serialize(value, "an argument")
                if one.nbytes > INLINE_LIMIT:
                    for capture in captures_of_argument(value):
                        self.warn(f"{capture} It is pickled anew each time that it is passed.")
                    ref = self.put_serialized(one, "an argument")
                    deps.append(Dep(slot, ref.binary(), ARG_INLINE))
                    holds.append(ref)
                    container[slot] = None
        return deps, holds, serialize_args(tuple(values), named)

    def cancel(self, ref: ObjectRef, force: bool, recursive: bool) -> None:
        """Cancel the task that makes `ref`, unless it has ended."""

        def act() -> None:
            record = ref._data
            if ref._state == PENDING and ref._w != self.worker_id and ref._x is not None and ref._x.owner is not None:
                self.out.append(Connect(ref._x.owner))
                self.out.append(Send(ref._w, CancelObjects([ref.binary()], force, recursive)))
                return
            if ref._state != PENDING or type(record) is not Record:
                return
            if record.plan.actor is not None:
                self.actor_calls.cancel(record, recursive)
            elif record.create is None:
                self.submission.cancel(record, force, recursive)

        self.post(act)

    # -- in the leader ----------------------------------------------------------------------------------------------

    def _on_results(self, peer: bytes, message: TaskResults) -> None:
        worker = self.submission.workers.get(peer)
        if worker is not None:
            self.submission.results(worker, message, time.monotonic())
            return
        client = self.actor_calls.by_worker.get(peer)
        if client is not None:
            self.actor_calls.results(client, message, time.monotonic())
            return
        for result in message.results:  # of a process that we gave up
            self.completion.unwanted(result.returns or (), peer)

    def _on_stream_item(self, peer: bytes, message: StreamItem) -> None:
        holder: Any = self.submission.workers.get(peer) or self.actor_calls.by_worker.get(peer)
        record = holder.inflight.get(message.counter) if holder is not None else None
        if record is not None:
            self.completion.stream_item(record, message, peer)
        else:
            self.completion.unwanted((message.value,), peer)

    def _on_spill(self, peer: bytes, message: LeaseSpill) -> None:
        there = message.raylet.worker_id
        if there not in self._decoders:
            self._decoders[there] = msgspec.msgpack.Decoder(RayletReply).decode
        self.submission.lease_spill(peer, message)

    def _on_worker_died(self, peer: bytes, message: WorkerDied) -> None:
        self.submission.worker_died(message, time.monotonic())
        self._process_gone(message.worker_id)

    def _process_gone(self, worker_id: bytes) -> None:
        """Tell those who deal with processes of one that has died."""
        for hook in self.death_hooks:
            hook(worker_id)
        self.actor_calls.process_died(worker_id)

    def _should_retry(self, record: Record, data: bytes) -> bool:
        """Whether the options of a task say to retry it after this exception."""
        wanted = record.plan.retry_exceptions
        if isinstance(wanted, bool):
            return wanted
        error = deserialize_error(data)
        while isinstance(error, RayTaskError):
            error = error.cause
        return isinstance(error, wanted)

    def _on_cancel_objects(self, peer: bytes, message: CancelObjects) -> None:
        for object_id in message.object_ids:
            known = self.references.exported.get(object_id)
            if known is not None:
                self.cancel(known.ref, message.force, message.recursive)

    def cancel_since(self, counter: int) -> None:
        """Cancel what this process submitted from that counter on: the children of the task it runs."""

        def act() -> None:
            submission, calls = self.submission, self.actor_calls
            for cls in submission.by_id.values():
                inflight = [r for worker in cls.workers.values() for r in worker.inflight.values()]
                for record in [*cls.queue, *inflight]:
                    if record.task.counter >= counter and not record.cancelled:
                        submission.cancel(record, False, True)
            for client in calls.clients.values():
                for record in [*client.queue, *client.inflight.values()]:
                    if record.task.counter >= counter and not record.cancelled:
                        calls.cancel(record, True)

        self.post(act)

    # -- cells ------------------------------------------------------------------------------------------------------

    def cancel_cell(self, cell: Cell) -> None:
        """Cancel what a notebook cell has submitted and has not ended, with all that came of it, and nothing else.

        A task that goes on regardless is ended with its worker after `submission.GRACE` seconds; not an actor's method.
        What is submitted from now on goes by another name.
        """
        if cell == self.base_cell:
            self.base_cell = Cell(cell.job_id, cell.execution, cell.message_id, cell.generation + 1)
        elif self.cell_cancelled is not None:
            self.cell_cancelled(cell)

        def act() -> None:
            self.end_cell(cell)
            self.out.append(Send(self.raylet_id, CancelCell(cell)))

        self.post(act)

    def end_cell(self, cell: Cell) -> None:
        """A cell is over: end what this process owns and runs of it. In the leader."""
        if not self.cells.end(cell, time.monotonic()):
            return
        self.take_task, self.take_call = self.cells.take_task, self.cells.take_call
        if self.executor is not None:
            self.executor.end_cells()

    def _on_cancel_cell(self, peer: bytes, message: CancelCell) -> None:
        self.end_cell(message.cell)

    def _begin_again(self, record: Record) -> None:
        """Submit a task anew whose value was lost: as of a later generation, if its cell was cancelled since."""
        plan = record.plan
        if plan.cell is not None and self.cells.ended.is_over(plan.cell):
            cell = self.cells.ended.successor(plan.cell)
            self.templates += 1
            template = msgspec.structs.replace(plan.template, index=self.templates, cell=cell)
            record.plan = msgspec.structs.replace(plan, template=template, cell=cell)
            record.task.template = template.index
        self.submission.submitted(record)

    def stream_abandoned(self, record: Record) -> None:
        """Nobody will take the rest of a stream: its task is cancelled."""
        if record.ref is not None:
            self.cancel(record.ref, False, True)


def take_refs(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[list[Dep], list[ObjectRef], tuple[Any, ...], dict[str, Any]]:
    """Take references out of the top level of the arguments; their places hold None."""
    deps: list[Dep] = []
    holds: list[ObjectRef] = []
    values = list(args)
    for slot, value in enumerate(args):
        if type(value) is ObjectRef:
            deps.append(Dep(slot, value.binary(), ARG_INLINE))
            holds.append(value)
            values[slot] = None
    named = kwargs
    if kwargs:
        named = dict(kwargs)
        for name, value in kwargs.items():
            if type(value) is ObjectRef:
                deps.append(Dep(name, value.binary(), ARG_INLINE))
                holds.append(value)
                named[name] = None
    return deps, holds, tuple(values), named
