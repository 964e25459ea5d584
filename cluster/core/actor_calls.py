"""A caller's side of actors: calls in order, restarts, ends. Pure: no IO, no clock.

Strategy: calls of one caller to one actor are pushed in the order they were made, over one connection, straight to the
actor's worker; the head of the queue waits for its arguments and holds back what follows. What the GCS says of the
actor (`ActorUpdate`) is the only truth about where it is: a call in flight when the actor goes away is tried again if
its options allow (`max_task_retries`), in the old order, or fails with the reason.

States of an actor as its callers see it: PENDING → ALIVE → RESTARTING → ALIVE … → DEAD.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from ..protocol.common import Address, CancelCell, Cell, Death, DeathKind
from ..protocol.core_messages import (
    R_CANCELLED,
    R_ERROR,
    R_EXITING,
    R_INLINE,
    R_MANY,
    R_RETURNED,
    R_STREAM_END,
    CancelTasks,
    PushTasks,
    Task,
    TaskResults,
    Template,
)
from ..protocol.gcs_messages import ActorInfo, WatchActor
from .commands import Connect, Disconnect, Send
from .completion import Completion
from .records import Plan, Record
from .refs import ObjectRef

__all__ = ["ActorCalls", "ActorClient", "Creation"]

BATCH: Final = 500  # calls a message: the worker begins with the first while the rest is still being pickled


class Creation(msgspec.Struct, eq=False):
    """What the process that makes an actor remembers of that, to tell of a constructor that fails."""

    plan: Plan
    handle: weakref.ref[ObjectRef]  # the reference whose life is the actor's
    error: bytes = b""  # it has failed, and this is watched until somebody gets it


class ActorClient(msgspec.Struct, eq=False):
    """One actor as this process calls it."""

    actor_id: bytes
    name: str  # of its class
    state: str = "PENDING"
    address: Address | None = None
    last_address: Address | None = None  # where it is or was
    queue: deque[Record] = msgspec.field(default_factory=deque)
    inflight: dict[int, Record] = msgspec.field(default_factory=dict)
    templates: set[int] = msgspec.field(default_factory=set)
    restarts: int = 0
    death: Death | None = None
    error: bytes = b""
    pending: int = 0  # calls not ended, for max_pending_calls
    dirty: bool = False
    greeted: bool = False
    watched: bool = False
    unordered: bool = False  # a call may overtake one that waits for its arguments
    concurrency: int = 1  # calls that it runs at the same time, at most
    creation: Creation | None = None  # where it was made, until a call has failed because it is dead
    unheld: bool = False  # no handle is left, and how its constructor ends is still to be heard


class ActorCalls:
    """All actors that this process calls."""

    def __init__(self, completion: Completion, out: list[Any], gcs: bytes, address: Address) -> None:
        self.completion = completion
        self.out = out
        self.gcs = gcs
        self.address = address
        self.clients: dict[bytes, ActorClient] = {}
        self.by_worker: dict[bytes, ActorClient] = {}
        self.dirty: list[ActorClient] = []
        self.death_error: Callable[[ActorClient, Record], bytes] = lambda client, record: b""
        self.unavailable_error: Callable[[ActorClient, Record], bytes] = lambda client, record: b""
        self.cancel_error: Callable[[Record], bytes] = lambda record: b""
        self.should_retry: Callable[[Record, bytes], bool] = lambda record, data: False
        self.on_dead: Callable[[ActorClient], None] = lambda client: None

    def client(self, actor_id: bytes, name: str) -> ActorClient:
        """The client of an actor, made when it is first needed."""
        client = self.clients.get(actor_id)
        if client is None:
            client = self.clients[actor_id] = ActorClient(actor_id, name)
        return client

    def made_here(self, client: ActorClient, creation: Creation) -> None:
        """It was made by this process, which knows that only now: it may be dead already."""
        client.creation = creation
        if client.state == "DEAD":
            self.on_dead(client)

    def forget(self, client: ActorClient) -> None:
        """The last handle here is gone, and with it all calls."""
        if client.creation is not None and client.state == "PENDING":
            client.unheld = True
        elif not client.queue and not client.inflight:
            self.clients.pop(client.actor_id, None)
            if client.address is not None:
                self.by_worker.pop(client.address.worker_id, None)

    def watch(self, client: ActorClient) -> None:
        """Have the GCS tell where the actor is."""
        if not client.watched:
            client.watched = True
            self.out.append(Send(self.gcs, WatchActor(client.actor_id)))

    def _touch(self, client: ActorClient) -> None:
        if not client.dirty:
            client.dirty = True
            self.dirty.append(client)

    # -- events -----------------------------------------------------------------------------------------------------

    def submitted(self, record: Record) -> None:
        """The user called a method."""
        client: ActorClient = record.plan.actor
        if record.task.refs is not None:
            self.completion.hold_contained(record)  # before it can fail, which lets go of them
        if client.state == "DEAD":
            self._fail(client, record, self.death_error(client, record))
            return
        if record.task.deps is not None:
            self.completion.await_dependencies(record)
        client.queue.append(record)
        if not client.watched:
            self.watch(client)
        if not client.dirty:
            client.dirty = True
            self.dirty.append(client)

    def actor_update(self, info: ActorInfo) -> None:
        """The GCS says where an actor is, or that it is no more."""
        client = self.clients.get(info.actor_id)
        if client is None or client.state == "DEAD" or info.restarts < client.restarts:
            return
        if info.state == "ALIVE" and client.state == "ALIVE" and client.restarts == info.restarts:
            return
        if client.state == "ALIVE":
            self._lost(client, info)
        client.state, client.restarts = info.state, info.restarts
        client.death, client.error = info.death, info.error
        if info.state == "ALIVE":
            assert info.address is not None
            client.address = client.last_address = info.address
            client.templates, client.greeted = set(), False
            self.by_worker[info.address.worker_id] = client
            self.out.append(Connect(info.address))
            self._touch(client)
        elif info.state == "DEAD":
            queue, client.queue = client.queue, deque()
            for record in queue:
                self._fail(client, record, self.death_error(client, record))
            self.on_dead(client)
        if client.unheld:
            self.forget(client)

    def _lost(self, client: ActorClient, info: ActorInfo) -> None:
        """Its process is gone: calls in flight go back to the queue, in order, or fail."""
        if client.address is not None:
            self.by_worker.pop(client.address.worker_id, None)
            self.out.append(Disconnect(client.address.worker_id))
        client.address = None
        client.death = info.death
        records, client.inflight = list(client.inflight.values()), {}
        again: list[Record] = []
        for record in records:
            record.worker = None
            if record.cancelled:
                self._fail(client, record, self.cancel_error(record))
            elif record.retries and info.state != "DEAD":
                if record.retries > 0:
                    record.retries -= 1
                record.task.attempt += 1
                again.append(record)
            elif info.state == "DEAD":
                client.state = "DEAD"
                self._fail(client, record, self.death_error(client, record))
            else:
                self._fail(client, record, self.unavailable_error(client, record))
        client.queue.extendleft(reversed(again))

    def killed(self, actor_id: bytes, no_restart: bool) -> None:
        """This process kills the actor: no call after this one reaches it in its present life."""
        client = self.clients.get(actor_id)
        if client is None or client.state == "DEAD":
            return
        death = Death(DeathKind.KILLED, "it was ended by himalia.kill")
        if no_restart:
            self.actor_update(ActorInfo(actor_id, "DEAD", None, client.restarts, death))
        elif client.state == "ALIVE":
            self._lost(client, ActorInfo(actor_id, "RESTARTING", None, client.restarts, death))
            client.state = "RESTARTING"

    def process_died(self, worker_id: bytes) -> None:
        """A worker is gone. The GCS will say what that means for the actor; until then nothing is sent to it."""
        client = self.by_worker.get(worker_id)
        if client is not None and client.state == "ALIVE":
            self._lost(client, ActorInfo(client.actor_id, "RESTARTING", None, client.restarts, client.death))
            client.state = "RESTARTING"

    def results(self, client: ActorClient, message: TaskResults, now: float) -> None:
        """The actor reports ends."""
        inflight, completion = client.inflight, self.completion
        returned: list[Record] = []
        peer = client.address.worker_id if client.address is not None else b""
        ended = 0
        for result in message.results:
            record = inflight.pop(result.counter, None)
            if record is None:
                completion.unwanted(result.returns or (), peer)
                continue
            kind = result.kind
            if kind == R_RETURNED or kind == R_EXITING:
                record.worker = None
                returned.append(record)
                continue
            ended += 1
            if kind == R_INLINE or kind == R_MANY:
                completion.succeed(record, result, peer)
            elif kind == R_ERROR and record.retries and self.should_retry(record, result.data):
                record.worker = None
                record.retries -= record.retries > 0
                record.task.attempt += 1
                returned.append(record)
                ended -= 1
            else:
                if result.borrows:
                    for object_id in result.borrows:
                        completion.references.add_borrower(object_id, peer)
                if kind == R_STREAM_END:
                    completion.end_stream(record)
                elif kind == R_CANCELLED:
                    completion.fail(record, self.cancel_error(record))
                else:
                    assert kind == R_ERROR
                    completion.fail(record, result.data)
        client.pending -= ended
        if returned:
            returned.sort(key=_counter)
            client.queue.extendleft(reversed(returned))
            if message.results[-1].kind != R_EXITING:
                self._touch(client)

    def cancel(self, record: Record, recursive: bool) -> None:
        """The user no longer wants this call."""
        client: ActorClient = record.plan.actor
        record.cancelled = True
        if record.worker is None:
            if record in client.queue:
                client.queue.remove(record)
            self._fail(client, record, self.cancel_error(record))
        elif client.address is not None:
            self.out.append(Send(client.address.worker_id, CancelTasks([record.task.counter], recursive)))

    def end_cell(self, cell: Cell, records: list[Record]) -> None:
        """A cell is over. ``records``: all its calls here that have not ended, marked as cancelled already.

        A method that runs is only told: ending its actor would take along what others have of it.
        """
        clients: dict[bytes, ActorClient] = {record.plan.actor.actor_id: record.plan.actor for record in records}
        for client in clients.values():
            client.queue = deque(record for record in client.queue if not record.cancelled)
            self._touch(client)  # what is at the head now may not have to wait
            if client.address is not None and client.inflight:
                self.out.append(Send(client.address.worker_id, CancelCell(cell)))
        for record in records:
            if record.worker is None:
                self._fail(record.plan.actor, record, self.cancel_error(record))

    def refuse(self, record: Record) -> None:
        """A method was called in a cell that is over."""
        if record.task.refs is not None:
            self.completion.hold_contained(record)
        record.cancelled = True
        self._fail(record.plan.actor, record, self.cancel_error(record))

    def _fail(self, client: ActorClient, record: Record, error: bytes) -> None:
        client.pending -= 1
        self.completion.fail(record, error)

    # -- pushing ----------------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Push what may go. Called once after a batch of events."""
        ready = self.completion.ready_records
        if ready:
            self.completion.ready_records = [r for r in ready if r.plan.actor is None]
            for record in ready:
                if record.plan.actor is not None:
                    self._touch(record.plan.actor)
        if self.dirty:
            clients, self.dirty = self.dirty, []
            for client in clients:
                client.dirty = False
                if client.state == "ALIVE":
                    self._push(client)

    def _push(self, client: ActorClient) -> None:
        queue, inflight, known = client.queue, client.inflight, client.templates
        assert client.address is not None
        peer = client.address.worker_id
        tasks: list[Task] = []
        templates: list[Template] = []
        held: list[Record] = []
        while queue:
            record = queue[0]
            if record.waiting:
                if not client.unordered:
                    break
                held.append(queue.popleft())
                continue
            queue.popleft()
            task = record.task
            if task.deps is not None and (error := self.completion.fill(record)) is not None:
                self._fail(client, record, error)
                continue
            if task.deps is not None:
                self.completion.place(record)
            template = record.plan.template
            if template.index not in known:
                known.add(template.index)
                templates.append(template)
            inflight[task.counter] = record
            record.worker = client
            tasks.append(task)
            if len(tasks) >= BATCH:
                self._send(client, peer, tasks, templates)
                tasks, templates = [], []
        if tasks:
            self._send(client, peer, tasks, templates)
        queue.extend(held)

    def _send(self, client: ActorClient, peer: bytes, tasks: list[Task], templates: list[Template]) -> None:
        message = PushTasks(tasks, templates)
        if not client.greeted:
            client.greeted = True
            message.owner = self.address
        self.out.append(Send(peer, message))


def _counter(record: Record) -> int:
    return record.task.counter
