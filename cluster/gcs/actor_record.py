"""An actor as the GCS keeps it, its states, and the facts that move it from one to the next."""

from __future__ import annotations

import enum
from typing import NamedTuple

import msgspec

from ..protocol.common import Address, Death, Resources
from ..protocol.constraints import membership
from ..protocol.gcs_messages import ActorInfo, ActorSpec
from ..protocol.transitions import History, new_history

__all__ = [
    "ON_NODE",
    "Actor",
    "ActorRecord",
    "ActorState",
    "CallsEnd",
    "ConstructorRaised",
    "End",
    "Fact",
    "Lost",
    "Placed",
    "Rejected",
    "Restart",
    "Started",
]


class ActorState(enum.StrEnum):
    """Where an actor is in its life, finer than what callers are told (`Actor.public_state`).

    WAITING: no node has room, or none was chosen yet. ``node_id`` is None.
    STARTING: sent to ``node_id``, whose answer is awaited.
    ALIVE: takes calls at ``address``.
    ENDING: its last handle went; it finishes the calls it has at ``address``.
    STOPPING: it was killed and has a life left; ``node_id`` is to say that the old worker is gone.
    DEAD: for good, for the reason ``death``.
    """

    WAITING = "WAITING"
    STARTING = "STARTING"
    ALIVE = "ALIVE"
    ENDING = "ENDING"
    STOPPING = "STOPPING"
    DEAD = "DEAD"


ON_NODE = frozenset({ActorState.STARTING, ActorState.ALIVE, ActorState.ENDING, ActorState.STOPPING})
"""States in which an actor has a node."""


class ActorRecord(msgspec.Struct):
    """What outlives a restart of the GCS, besides the specification, which is stored once."""

    state: str
    node_id: bytes | None
    address: Address | None
    restarts: int
    death: Death | None
    error: bytes
    rooted: bool
    end_asked: bool
    created: float
    started: float | None
    ended: float | None
    bundle: int = -1


class Actor:
    """One actor. ``rooted``: a detached actor made it, directly or not, so it outlives its job.

    ``end_asked``: its last handle went while its constructor ran. ``old_death``: why its life before this one ended.

    ``bundle``: of its placement group, while it has a node.
    """

    __slots__ = (
        "actor_id",
        "address",
        "bundle",
        "created",
        "death",
        "end_asked",
        "ended",
        "error",
        "history",
        "member",
        "node_id",
        "old_death",
        "restarts",
        "rooted",
        "spec",
        "started",
        "state",
    )

    def __init__(self, actor_id: bytes, spec: ActorSpec, *, rooted: bool, created: float) -> None:
        self.actor_id = actor_id
        self.spec = spec
        self.rooted = rooted
        self.created = created
        self.state = ActorState.WAITING
        self.member = membership(spec.strategy)  # of a placement group
        self.bundle = -1
        self.node_id: bytes | None = None
        self.address: Address | None = None
        self.restarts = 0
        self.death: Death | None = None
        self.old_death: Death | None = None
        self.error = b""
        self.end_asked = False
        self.started: float | None = None
        self.ended: float | None = None
        self.history: History = new_history()

    @property
    def is_dead(self) -> bool:
        return self.state is ActorState.DEAD

    @property
    def outlives_job(self) -> bool:
        return self.spec.detached or self.rooted

    @property
    def lives_left(self) -> bool:
        return self.spec.max_restarts < 0 or self.restarts < self.spec.max_restarts

    @property
    def public_state(self) -> str:
        """The word that callers are told: PENDING, ALIVE, RESTARTING or DEAD."""
        if self.state in (ActorState.WAITING, ActorState.STARTING):
            return "RESTARTING" if self.restarts else "PENDING"
        if self.state is ActorState.STOPPING:
            return "RESTARTING"
        return "DEAD" if self.state is ActorState.DEAD else "ALIVE"

    def info(self) -> ActorInfo:
        death = self.death if self.is_dead else self.old_death
        return ActorInfo(self.actor_id, self.public_state, self.address, self.restarts, death, self.error)

    def record(self) -> ActorRecord:
        return ActorRecord(
            state=self.state,
            node_id=self.node_id,
            address=self.address,
            restarts=self.restarts,
            death=self.death,
            error=self.error,
            rooted=self.rooted,
            end_asked=self.end_asked,
            created=self.created,
            started=self.started,
            ended=self.ended,
            bundle=self.bundle,
        )

    @classmethod
    def from_record(cls, actor_id: bytes, spec: ActorSpec, record: ActorRecord) -> Actor:
        actor = cls(actor_id, spec, rooted=record.rooted, created=record.created)
        actor.state = ActorState(record.state)
        actor.node_id, actor.address, actor.restarts = record.node_id, record.address, record.restarts
        actor.death, actor.error, actor.end_asked = record.death, record.error, record.end_asked
        actor.started, actor.ended, actor.bundle = record.started, record.ended, record.bundle
        return actor

    def taken(self) -> Resources:
        """What it holds of its node: nothing where that is of a bundle."""
        return self.spec.resources if self.member is None else {}

    def promised(self) -> Resources:
        """What it asked for beyond what it holds, which counts as load of its node; a bundle does that for its own."""
        if self.member is not None:
            return {}
        held = self.spec.resources
        extra = {name: units - held.get(name, 0) for name, units in self.spec.placement.items()}
        return {name: units for name, units in extra.items() if units > 0}


# -- facts ------------------------------------------------------------------------------------------------------------


class Placed(NamedTuple):
    """A node was chosen, and a bundle of its placement group if it is in one."""

    node_id: bytes
    bundle: int = -1


class Rejected(NamedTuple):
    """The node could not take it after all."""


class Started(NamedTuple):
    """Its constructor returned."""

    address: Address


class ConstructorRaised(NamedTuple):
    """``error`` is what its constructor raised, pickled."""

    error: bytes
    death: Death


class Lost(NamedTuple):
    """Its worker or node is gone."""

    death: Death


class CallsEnd(NamedTuple):
    """Nobody has a handle any more: no call follows those it has."""

    death: Death


class End(NamedTuple):
    """It is to end at once and for good (killed, owner or job gone, no node possible)."""

    death: Death


class Restart(NamedTuple):
    """It was killed, but may begin a new life."""

    death: Death


Fact = Placed | Rejected | Started | ConstructorRaised | Lost | CallsEnd | End | Restart
