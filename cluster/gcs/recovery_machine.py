"""Actors after something came back: the GCS from its storage, or a raylet from a broken connection.

Strategy: storage says what should be, a raylet's hello says what is. What runs and should not is stopped; what should
run and does not counts as lost while nobody looked; what was on its way is sent again, which a raylet that has it
ignores.
"""

from __future__ import annotations

from ..protocol.common import Address, Death, DeathKind
from ..protocol.gcs_messages import ActorSpec
from ..protocol.raylet_messages import StartActor, StopActor
from ..protocol.transitions import Step
from .actor_record import Actor, ActorRecord, ActorState, Lost, Started
from .actors_machine import Actors, unknown_here
from .commands import Outbox
from .nodes_machine import Node

__all__ = ["reconcile", "restore"]


def restore(actors: Actors, actor_id: bytes, spec: ActorSpec, record: ActorRecord, now: float) -> None:
    """Take over an actor from before a restart of the GCS, after its node. Waiting ones are placed on reports."""
    actor = Actor.from_record(actor_id, spec, record)
    actor.history.append(Step(now, "restored", "(storage)", actor.state))
    if actor.is_dead:
        actors.by_id[actor_id] = actor
        actors.dead[actor_id] = None
        return
    actors.enter(actor)
    if actor.state is ActorState.WAITING:
        actors.queue.add(actor)
        return
    node = actors.nodes.by_id.get(actor.node_id or b"")
    if node is None or node.is_dead:
        # The node's death was stored, the actor's was not: storage ends between two records of one step.
        actor.node_id, actor.address, actor.state, actor.bundle = None, None, ActorState.WAITING, -1
        actors.queue.add(actor)
        return
    actors.nodes.promise(node, actor_id, actor.promised(), spread=spec.strategy == "SPREAD")
    actors.place.hold(actor)
    if actor.state is ActorState.STARTING:
        actors.nodes.reserve(node, actor_id, actor.taken())
        if any(units < 0 for units in node.free.values()):
            # Who presses is not stored, but shows: more is on its way than there is, so one is to have room made.
            actors.nodes.press(node.node_id, actor_id)
    if actor.address is not None:
        actors.by_worker[actor.address.worker_id] = actor


def reconcile(actors: Actors, out: Outbox, node: Node, running: list[tuple[bytes, Address]], now: float) -> None:
    """A raylet said hello and which actors it has."""
    listed = dict(running)
    for actor_id in listed:
        actor = actors.by_id.get(actor_id)
        if actor is None or actor.node_id != node.node_id:
            death = actor.death if actor is not None and actor.death is not None else unknown_here()
            out.raylet(node.node_id, StopActor(actor_id, death))
    for actor_id in list(node.promises):
        actor = actors.by_id[actor_id]
        actors.at(now)
        _reconcile_one(actors, out, actor, node, listed.get(actor_id))


def _reconcile_one(actors: Actors, out: Outbox, actor: Actor, node: Node, address: Address | None) -> None:
    lost = Lost(Death(DeathKind.CRASHED, "its worker ended while the GCS could not be reached"))
    if actor.state is ActorState.STARTING:
        if address is not None:
            actors.take(actor, Started(address))
        else:
            out.raylet(node.node_id, StartActor(actor.actor_id, actor.spec, actor.restarts, actor.bundle))
    elif address is None:
        actors.take(actor, lost)
    elif actor.state is ActorState.STOPPING:
        death = actor.old_death or Death(DeathKind.KILLED, "killed with kill(no_restart=False)")
        out.raylet(node.node_id, StopActor(actor.actor_id, death))
    elif actor.state is ActorState.ENDING:
        out.raylet(
            node.node_id, StopActor(actor.actor_id, Death(DeathKind.OUT_OF_SCOPE, "the last handle to it went"), False)
        )
