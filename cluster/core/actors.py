"""Creating and calling actors: the part of a core behind `A.remote()` and `a.method.remote()`."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import msgspec

from ..protocol.common import Cell, Death, DeathKind
from ..protocol.core_messages import Task, Template
from ..protocol.errors import ActorHandleNotFoundError, PendingCallsLimitExceeded
from ..protocol.gcs_messages import ActorInfo, ActorSpec, CreateActor, KillActor, KvPut
from ..protocol.ids import make_task_id
from .actor_calls import ActorClient, Creation
from .commands import Send
from .records import Plan, Record
from .refs import INLINE, PENDING, Extra, ObjectRef
from .sites import call_site
from .tasks import TaskOps

if TYPE_CHECKING:
    from ..serialization.functions import Exported

__all__ = ["ActorOps"]

_NONE = b"\x80\x05N."  # the pickle stream of None


class ActorOps(TaskOps):
    """Part of `Core`."""

    def _init_actors(self) -> None:
        self._stored_functions: set[bytes] = set()
        self._actor_args: dict[bytes, list[ObjectRef]] = {}  # constructor arguments of actors that may restart

    def store_function(self, name: str, function: Exported) -> None:
        """Put a function's or class's payload where any worker finds it by its hash, once."""
        if function.content_hash not in self._stored_functions:
            self._stored_functions.add(function.content_hash)
            self.gcs_send(KvPut(b"fn:" + function.content_hash.hex().encode(), function.payload))
            for ref in function.refs:
                self.pinned_refs.append((name, ref))
                self.pin_forever(ref)

    def create_actor(
        self,
        spec: ActorSpec,
        function: Exported,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        get_if_exists: bool,
    ) -> tuple[bytes, ObjectRef | None]:
        """Have the GCS make an actor; its id, and the reference whose life is the actor's (None: it was there already).

        Raises
        ------
        RequestFailed
            The name is taken.
        """
        if self.fatal is not None:
            raise self.fatal
        self.store_function(spec.class_name, function)
        counter = self.next_counter()
        actor_id = make_task_id(self.worker_id, counter)
        plan = Plan(Template(0, spec.class_name, b"", options=self._with_root({})), spec.class_name, None)
        plan.cell = spec.cell
        task, holds = self._task_with_args(counter, plan, args, kwargs)
        spec.args = task.args
        client = self.actor_calls.client(actor_id, spec.class_name)
        if spec.name:
            found = self._create_named(actor_id, spec, task, holds, get_if_exists)
            if found != actor_id:
                return found, None
        ref = ObjectRef(self.worker_id, counter, 1, INLINE, _NONE, None, Extra(self.worker_id, counter, 1))
        assert ref._x is not None
        creation = Creation(plan, weakref.ref(ref))
        if not spec.detached:
            ref._x.actor = client
            self.references.findable[ref.binary()] = ref
        if spec.name:
            self.post(lambda: self.actor_calls.made_here(client, creation))
        else:
            client.creation = creation  # before it can be made, and die
            record = Record(task, plan, None, [], 0, holds)
            record.create = lambda: self._send_creation(actor_id, spec, record, client)
            self.post(lambda: self._create_when_ready(record))
        return actor_id, ref

    def _create_named(
        self, actor_id: bytes, spec: ActorSpec, task: Task, holds: list[ObjectRef] | None, get_if_exists: bool
    ) -> bytes:
        if task.deps:
            assert holds is not None
            self.wait_until(lambda: all(ref._state != PENDING for ref in holds), None)
        record = Record(task, Plan(Template(0, spec.class_name, b""), spec.class_name, None), None, [], 0, holds)
        box: list[ActorInfo | BaseException] = []

        def act() -> None:
            self._fill_creation(actor_id, spec, record)
            self.gcs_request(CreateActor(actor_id, spec, get_if_exists), answered)
            self.actor_calls.watch(self.actor_calls.client(actor_id, spec.class_name))

        def answered(value: Any) -> None:
            box.append(value if isinstance(value, BaseException) else msgspec.convert(value, ActorInfo))

        self.post(act)
        self.wait_until(lambda: box, None)
        if isinstance(box[0], BaseException):
            raise box[0]
        return box[0].actor_id

    def _create_when_ready(self, record: Record) -> None:
        if record.task.deps is None or self.completion.await_dependencies(record):
            record.create()

    def _fill_creation(self, actor_id: bytes, spec: ActorSpec, record: Record) -> bytes | None:
        error = self.completion.fill(record)
        holds = record.holds
        if holds:
            for ref in holds:
                self.references.in_transit(ref, 1)
            self._actor_args[actor_id] = holds
        if record.task.deps or record.task.refs:
            self.completion.leave(record)  # the actor may start anywhere, any time: it pins what it reads
            spec.deps = msgspec.msgpack.encode((record.task.deps, record.task.refs))
        return error

    def _send_creation(self, actor_id: bytes, spec: ActorSpec, record: Record, client: ActorClient) -> None:
        error = self._fill_creation(actor_id, spec, record)
        record.create = record.holds = None  # a cycle, which would keep the arguments until it is collected
        if error is not None:
            death = Death(DeathKind.CREATION_FAILED, "an argument of its constructor failed")
            self.actor_calls.actor_update(ActorInfo(actor_id, "DEAD", None, 0, death, error))
            self._forget_args(actor_id)
            return

        def answered(value: Any) -> None:
            if isinstance(value, BaseException):
                death = Death(DeathKind.CREATION_FAILED, str(value))
                self.actor_calls.actor_update(ActorInfo(actor_id, "DEAD", None, 0, death))

        request = CreateActor(actor_id, spec, False)
        request.request = self._next_request()
        self._requests[request.request] = answered
        self.out.append(Send(self.gcs_id, request))
        self.actor_calls.watch(client)
        if client.unheld:  # the GCS was told that the last handle went before it knew of the actor
            self.out.append(Send(self.gcs_id, KillActor(actor_id, True, True)))

    def actor_plan(
        self,
        actor_id: bytes,
        class_name: str,
        method: str,
        ref: ObjectRef | None,
        *,
        num_returns: int = 1,
        max_task_retries: int = 0,
        retry_exceptions: bool | tuple[type[BaseException], ...] = False,
        backpressure: int = -1,
        options: dict[str, object] | None = None,
        cell: Cell | None = None,
        name: str = "",
        unordered: bool = False,
        concurrency: int = 1,
    ) -> Plan:
        """What all calls of a method, from this cell, share.

        ``ref`` keeps the actor alive while calls are under way.
        """
        self.templates += 1
        if name:  # the worker shows it; a template of an actor has the method where others have their name
            options = {**(options or {}), "name": name}
        options = self._with_root(options or {})
        template = Template(self.templates, method, b"", None, actor_id, num_returns, cell, {}, options)
        plan = Plan(template, name or f"{class_name}.{method}", None, max_task_retries, retry_exceptions, num_returns)
        plan.actor = self.actor_calls.client(actor_id, class_name)
        plan.actor.unordered, plan.actor.concurrency = unordered, concurrency
        plan.backpressure, plan.cell, plan.function = backpressure, cell, ref
        plan.site = call_site()
        return plan

    def call_actor(self, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any], limit: int = -1) -> Any:
        """Submit a call; its reference, references or generator.

        Raises
        ------
        PendingCallsLimitExceeded
            ``limit`` calls from this process have not ended yet.
        """
        client: ActorClient = plan.actor
        if 0 < limit <= client.pending:
            raise PendingCallsLimitExceeded(limit=limit)
        client.pending += 1
        return self.submit(plan, args, kwargs)

    def check_handle(self, ref: ObjectRef, class_name: str) -> None:
        """Refuse a handle of an earlier session of this process.

        Raises
        ------
        ActorHandleNotFoundError
            It is one.
        """
        if ref._w != self.worker_id and (ref._x is None or ref._x.owner is None):
            raise ActorHandleNotFoundError(f"the handle of actor {class_name} is from a session that is over")

    def kill_actor(self, actor_id: bytes, no_restart: bool) -> None:
        """End an actor's process at once."""

        def act() -> None:
            self.out.append(Send(self.gcs_id, KillActor(actor_id, no_restart)))
            self.actor_calls.killed(actor_id, no_restart)

        self.post(act)

    def _actor_out_of_scope(self, client: ActorClient) -> None:
        if client.state != "DEAD":
            self.out.append(Send(self.gcs_id, KillActor(client.actor_id, True, True)))
        self.actor_calls.forget(client)
        self._forget_args(client.actor_id)

    def _actor_changed(self, info: ActorInfo) -> None:
        if info.state == "DEAD":
            self._forget_args(info.actor_id)

    def _forget_args(self, actor_id: bytes) -> None:
        """The actor will not start again: let go of its constructor's arguments."""
        for ref in self._actor_args.pop(actor_id, ()):
            self.references.in_transit(ref, -1)
