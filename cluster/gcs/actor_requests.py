"""What cores and raylets ask and tell of actors: each message is checked here, and answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from ..protocol.common import Death, DeathKind, from_units
from ..protocol.constraints import affinity
from ..protocol.gcs_messages import (
    ActorInfo,
    ActorSpec,
    CreateActor,
    GetActor,
    KillActor,
    Notice,
    ReplaceClass,
    ReportActor,
    SayHello,
    WatchActor,
)
from ..protocol.ids import task_owner
from .actor_record import Actor
from .placement import needed

if TYPE_CHECKING:
    from .machine import GcsMachine

__all__ = ["ActorRequests"]


class ActorRequests:
    """Part of `GcsMachine`."""

    def __init__(self, gcs: GcsMachine) -> None:
        self._gcs = gcs
        gcs.actors.infeasible = self._warn_infeasible

    def handlers(self) -> dict[type, Callable[[bytes, Any], None]]:
        """By the type of message."""
        return {
            CreateActor: self._create,
            GetActor: self._get,
            WatchActor: self._watch,
            KillActor: self._kill,
            ReplaceClass: self._replace_class,
            ReportActor: self._report,
        }

    def _create(self, peer: bytes, message: CreateActor) -> None:
        spec = message.spec
        known = self._gcs.actors.by_id.get(message.actor_id)
        if known is None and spec.name:
            holder = self._gcs.actors.named(spec.name, spec.namespace)
            if holder is not None and not message.get_if_exists:
                text = f"the name {spec.name!r} is taken in namespace {spec.namespace!r} by a living actor"
                self._gcs.out.fail(peer, message.request, "name_taken", text)
                return
            known = holder
        if known is None:
            known = self._new(peer, message)
        if known is not None:
            self._gcs.out.answer(peer, message.request, known.info())

    def _new(self, peer: bytes, message: CreateActor) -> Actor | None:
        spec, owner = message.spec, message.spec.owner.worker_id
        try:
            affinity(spec.strategy)
        except ValueError as error:
            self._gcs.out.fail(peer, message.request, "bad_request", str(error))
            return None
        # Who makes it wants to know where it is.
        self._gcs.actors.watchers.setdefault(message.actor_id, set()).add(peer)
        actor = self._gcs.actors.create(message.actor_id, spec, self._gcs.now)
        job = self._gcs.jobs.by_id.get(spec.job_id)
        if owner in self._gcs.processes.dead and not spec.detached:
            self._gcs.actors.end(actor, Death(DeathKind.OWNER_DIED, "the process that made it is gone"), self._gcs.now)
        elif job is not None and job.info.ended is not None and not actor.outlives_job:
            self._gcs.actors.end(actor, Death(DeathKind.OWNER_DIED, "its job has ended"), self._gcs.now)
        return actor

    def _warn_infeasible(self, actor: Actor) -> None:
        wanted = from_units(needed(actor.spec))
        there = (
            "; ".join(f"{n.info.host} has {from_units(n.total)}" for n in self._gcs.nodes.open()) or "there is no node"
        )
        labels = f" and labels {actor.spec.labels}" if actor.spec.labels else ""
        text = (
            f"actor {actor.spec.class_name} asks for {wanted}{labels} ({actor.spec.strategy}),"
            f" which no node of this cluster could ever give: {there}."
            " It stays pending until such a node joins; ask for less, or add a node."
        )
        self._gcs.out.log("warning", text)
        self._gcs.log.actor_infeasible(actor, text)
        job = self._gcs.jobs.by_id.get(actor.spec.job_id)
        if job is not None:
            driver = self._gcs.processes.by_worker.get(job.info.driver.worker_id)
            if driver is not None:
                self._gcs.out.send(driver.peer, Notice("infeasible", text))

    def _get(self, peer: bytes, message: GetActor) -> None:
        actor = (
            self._gcs.actors.by_id.get(message.actor_id)
            if message.actor_id
            else self._gcs.actors.named(message.name, message.namespace)
        )
        if actor is None:
            wanted = message.actor_id.hex() or f"{message.name!r} in namespace {message.namespace!r}"
            text = f"there is no living actor {wanted}: check name and namespace, or whether it has ended"
            self._gcs.out.fail(peer, message.request, "not_found", text)
            return
        # A caller needs methods and options, not what the constructor was given.
        spec = msgspec.structs.replace(actor.spec, args=b"", deps=b"")
        answer: tuple[ActorInfo, ActorSpec] = (actor.info(), spec)
        self._gcs.out.answer(peer, message.request, answer)

    def _watch(self, peer: bytes, message: WatchActor) -> None:
        owner_is_dead = task_owner(message.actor_id) in self._gcs.processes.dead
        self._gcs.actors.watch(message.actor_id, peer, owner_is_dead=owner_is_dead)

    def _kill(self, peer: bytes, message: KillActor) -> None:
        actor = self._gcs.actors.by_id.get(message.actor_id)
        if actor is None:
            text = f"there is no actor {message.actor_id.hex()}"
            self._gcs.out.fail(peer, message.request, "not_found", text)
            return
        if message.out_of_scope:
            self._gcs.actors.calls_end(actor, self._gcs.now)
        elif message.no_restart:
            self._gcs.actors.end(actor, Death(DeathKind.KILLED, "it was killed with kill()"), self._gcs.now)
        else:
            self._gcs.actors.restart(
                actor, Death(DeathKind.KILLED, "it was killed with kill(no_restart=False)"), self._gcs.now
            )
        self._gcs.out.answer(peer, message.request, True)

    def _replace_class(self, peer: bytes, message: ReplaceClass) -> None:
        actor = self._gcs.actors.by_id.get(message.actor_id)
        if actor is None or actor.is_dead:
            text = f"there is no actor {message.actor_id.hex()}, or it is dead"
            self._gcs.out.fail(peer, message.request, "not_found", text)
            return
        self._gcs.actors.replace_class(actor, message.class_hash, message.class_name, message.methods, message.code)
        self._gcs.out.answer(peer, message.request, True)

    def _report(self, peer: bytes, message: ReportActor) -> None:
        node = self._gcs.nodes.by_peer.get(peer)
        if node is None:
            self._gcs.out.send(peer, SayHello())
            return
        self._gcs.nodes.heard(node, self._gcs.now)
        self._gcs.actors.report(node, message, self._gcs.now)
        self._gcs.try_waiting()  # what it was to hold is free, or room can be made for the next
