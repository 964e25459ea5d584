"""Tells the user of failed tasks whose result nobody gets; the rules are in unseen_machine.py.

Each process looks after the tasks that it submitted. A worker tells the driver whose cell its own task belongs to, the
driver sums up what comes from all, and shows it where that cell's output goes. Only what the user can do something
about is told: not what was cancelled or killed, or ended with the session.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from ..protocol.common import Address, DeathKind
from ..protocol.core_messages import UnseenErrors
from ..protocol.errors import (
    ActorDiedError,
    NodeDiedError,
    OutOfMemoryError,
    RayTaskError,
    TaskUnschedulableError,
    WorkerCrashedError,
)
from . import failures
from .actor_calls import ActorClient
from .records import Record
from .unseen_machine import AT_ONCE, Folding, Told, Watched, Watching, kind_of

if TYPE_CHECKING:
    from .runtime import Core

__all__ = ["Unseen"]

_PATIENCE: Final = 1.0
"""Seconds that the end of a session waits for the leader, who is there unless the cluster is in trouble."""

_TOLD: Final = (RayTaskError, WorkerCrashedError, OutOfMemoryError, NodeDiedError, TaskUnschedulableError)
_OF_ITSELF: Final = {
    DeathKind.EXITED,
    DeathKind.CRASHED,
    DeathKind.OUT_OF_MEMORY,
    DeathKind.NODE_DIED,
    DeathKind.UNSCHEDULABLE,
}
"""How an actor ends before it is alive, besides by an exception; not because somebody wanted it to."""


class Unseen:
    """Of one core: its ``unseen``."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.watching = Watching()
        self._folding = Folding()
        self._due: list[Watched] = []  # not described yet
        self._roots: dict[Any, Address] = {}  # drivers of cells, in a worker
        core.completion.failure_hooks.append(self._failed)
        core.actor_calls.on_dead = self._actor_died
        core.references.error_told = self.watching.seen
        core.tick_hooks.append(self._tick)
        core.close_hooks.append(self._close)
        core.handlers[UnseenErrors] = self._on_unseen

    def seen(self, data: bytes | BaseException, error: BaseException) -> None:
        """Somebody here gets an error. In any thread."""
        entry = self.watching.seen(data)
        if entry is not None:
            known = _describe(entry, error)
            self.core.post(lambda: self._folding.known(known.cell, known.task, known.kind))
        part: BaseException | None = error
        while isinstance(part, RayTaskError):
            part = part.cause  # a task of ours may have called an actor of ours
        if isinstance(part, ActorDiedError) and part.actor_id:
            self._creation_is_known(self.core.actor_calls.clients.get(bytes.fromhex(part.actor_id)))

    # -- in the leader ------------------------------------------------------------------------------------------------

    def _failed(self, record: Record, error: bytes | BaseException) -> None:
        if record.cancelled or record.create is not None or self.core.closed or self.core.fatal is not None:
            return
        if record.plan.actor is not None and record.plan.actor.state == "DEAD":
            self._creation_is_known(record.plan.actor)
        refs = record.refs if record.refs is not None else [record.ref] if record.ref is not None else []
        self.watching.failed(record, error, refs)

    def _actor_died(self, client: ActorClient) -> None:
        creation, death = client.creation, client.death
        if creation is None or death is None or self.core.closed or self.core.fatal is not None:
            return
        never_alive = client.last_address is None and death.kind in _OF_ITSELF
        if death.kind is DeathKind.CREATION_FAILED or never_alive:
            creation.error = failures.actor_death(client)
            self.watching.actor_failed(creation.plan, creation.error, creation.handle())

    def _creation_is_known(self, client: ActorClient | None) -> None:
        """A call says, or somebody has been told, how an actor ended that was made here. In any thread."""
        if client is not None and client.creation is not None:
            creation, client.creation = client.creation, None
            self.watching.seen(creation.error)

    def _tick(self, now: float) -> None:
        self._due += self.watching.take(now)
        due, self._due = self._due[:AT_ONCE], self._due[AT_ONCE:]
        self._tell(due, now)
        for told in self._folding.tick(now):
            self._say(told)

    def _close(self) -> None:
        """The session ends: nobody can get them any more. In the thread that ends it."""
        core, done = self.core, [False]

        def tell() -> None:
            self._tell_all(time.monotonic())
            done[0] = True

        if core.fatal is None:
            core.post(tell)
            core.wait_until(lambda: done[0], time.monotonic() + _PATIENCE)

    def _tell_all(self, now: float) -> None:
        due, self._due = [*self._due, *self.watching.take(now, all_of_them=True)], []
        self._tell(due[: 10 * AT_ONCE], now)
        for told in self._folding.tick(now, at_end=True):
            self._say(told)

    def _tell(self, due: list[Watched], now: float) -> None:
        for entry in due:
            error = failures.load_error(entry.error)
            has_cause = isinstance(error, ActorDiedError) and error.cause is not None
            if isinstance(error, _TOLD) or has_cause or entry.is_actor:
                root = entry.plan.template.options.get("root")
                if root is not None:
                    self._roots[entry.cell] = Address(*root)
                for told in self._folding.add(_describe(entry, error), now):
                    self._say(told)

    def _say(self, told: Told) -> None:
        core = self.core
        message = UnseenErrors(
            told.cell, told.task, core.pid, core.node_id, told.kind, told.last, told.text, told.count, told.actor
        )
        if core.executor is None:
            if core.log_sink is not None:
                core.log_sink.show(message)
        elif (root := self._roots.get(told.cell)) is not None:
            core.executor.outgoing.tell(b"", root, message)

    def _on_unseen(self, peer: bytes, message: UnseenErrors) -> None:
        told = Told(message.cell, message.task, message.kind, message.last, message.text, message.count, message.actor)
        for said in self._folding.add(told, time.monotonic()):
            self._say(said)


def _describe(entry: Watched, error: BaseException) -> Told:
    text = str(error)
    cause = error.cause if isinstance(error, ActorDiedError) else error
    last = (
        cause.root_text if isinstance(cause, RayTaskError) else f"{type(error).__name__}: {text.partition(chr(10))[0]}"
    )
    actor = entry.task if entry.is_actor else ""
    return Told(entry.cell, entry.task, kind_of(text, last), last, text, entry.count, actor)
