"""What must always hold of actors; tests ask after every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocol.transitions import InvariantViolation
from .actor_record import ON_NODE, Actor, ActorState

if TYPE_CHECKING:
    from .actors_machine import Actors

__all__ = ["check_actors"]


def check_actors(actors: Actors) -> None:
    """Raise `InvariantViolation` where two parts of the state contradict each other."""
    for actor in actors.by_id.values():
        _check_actor(actors, actor)
    for (namespace, name), actor_id in actors.by_name.items():
        holder = actors.by_id.get(actor_id)
        if holder is None or holder.is_dead or (holder.spec.namespace, holder.spec.name) != (namespace, name):
            raise InvariantViolation(f"the name {name!r} leads to {actor_id.hex()}, which does not live under it")
    for worker_id, inhabitant in actors.by_worker.items():
        if inhabitant.address is None or inhabitant.address.worker_id != worker_id:
            raise InvariantViolation(f"worker {worker_id.hex()} leads to an actor that is not there")
    if len(actors.dead) > actors.config.dead_actors_kept:
        raise InvariantViolation(f"{len(actors.dead)} dead actors are kept")


def _check_actor(actors: Actors, actor: Actor) -> None:
    name, state = actor.actor_id.hex(), actor.state
    on_node = actor.node_id is not None and actor.actor_id in actors.nodes.by_id[actor.node_id].promises
    rules = {
        "is on a node exactly if its state says so": on_node == (state in ON_NODE),
        "waits in the queue exactly if its state says so": (actor in actors.queue) == (state is ActorState.WAITING),
        "has an address exactly if it takes calls": (actor.address is not None)
        == (state in (ActorState.ALIVE, ActorState.ENDING)),
        "is in the list of the dead exactly if it is": (actor.actor_id in actors.dead) == actor.is_dead,
        "has a reason exactly if it is dead": (actor.death is not None) == actor.is_dead,
        "has not lived more often than allowed": actor.spec.max_restarts < 0
        or actor.restarts <= actor.spec.max_restarts,
        "is in the indexes exactly if it lives": (actor.actor_id in actors.by_job.get(actor.spec.job_id, ()))
        == (actor.actor_id in actors.by_owner.get(actor.spec.owner.worker_id, ()))
        == (not actor.is_dead),
        "does not run on a dead node": not on_node or not actors.nodes.by_id[actor.node_id or b""].is_dead,
    }
    broken = [rule for rule, holds in rules.items() if not holds]
    if broken:
        story = "".join(f"\n  {step}" for step in actor.history)
        raise InvariantViolation(f"actor {name} ({state}) breaks: {'; '.join(broken)}. Its history:{story}")
