"""Actors: where each one lives, and whether it lives again.

Strategy: each actor is a small state machine (`_EDGES`); what happens elsewhere (a node died, a job ended, a resource
came free) is turned into facts about single actors. Every hop of a creation follows at once from a message: no timer,
no poll. Messages about an earlier life carry its ``restart`` number and are dropped before they become facts.

Actors without room wait by class (resources, strategy, labels): when something comes free, one actor a class is
tried, and the rest of a class only after it fitted. So a thousand equal actors that wait cost one check a report, not
a thousand. One actor at a time is sent to a node that has no room now: only its raylet can ask owners to give leases
back, so that tasks without end do not keep an actor out for ever. A raylet that cannot make room within a moment
refuses it.

A caller may ask for an actor before its creation has arrived here (the handle travelled faster): it is told when it
has, or that it never will, once the process that would have made it is dead.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import ClassVar

import msgspec

from ..protocol.common import Death, DeathKind
from ..protocol.gcs_messages import ActorInfo, ActorSpec, ActorUpdate, ReportActor
from ..protocol.ids import task_owner
from ..protocol.raylet_messages import StartActor, StopActor
from ..protocol.transitions import IllegalTransition, Step
from .actor_checks import check_actors
from .actor_placement import ActorPlacement, group_removed
from .actor_record import (
    ON_NODE,
    Actor,
    ActorState,
    CallsEnd,
    ConstructorRaised,
    End,
    Fact,
    Lost,
    Placed,
    Rejected,
    Restart,
    Started,
)
from .commands import Outbox
from .config import GcsConfig
from .groups_machine import Groups
from .nodes_machine import Node, Nodes
from .placement import is_feasible
from .waiting import WaitingActors

__all__ = ["Actors"]

TABLE = "actors"
SPEC_TABLE = "actor_specs"


def _no_handle() -> Death:
    return Death(DeathKind.OUT_OF_SCOPE, "the last handle to it went; keep one, or make it detached, to keep it alive")


def unknown_here() -> Death:
    return Death(DeathKind.KILLED, "the GCS knows no such actor (any more)")


def _never(actor_id: bytes) -> ActorInfo:
    text = "it died long ago, or the process that was to make it is gone"
    return ActorInfo(actor_id, "DEAD", death=Death(DeathKind.OWNER_DIED, text))


def _drop(index: dict[bytes, dict[bytes, None]], key: bytes, actor_id: bytes) -> None:
    members = index.get(key)
    if members is not None:
        members.pop(actor_id, None)
        if not members:
            del index[key]


class Actors:
    """All actors that live, and the last ones that died."""

    def __init__(
        self,
        config: GcsConfig,
        out: Outbox,
        nodes: Nodes,
        groups: Groups,
        wall: Callable[[float], float],
    ) -> None:
        self.config = config
        self._out = out
        self.nodes = nodes
        self.place = ActorPlacement(nodes, groups)
        self._wall = wall
        self.by_id: dict[bytes, Actor] = {}
        self.by_name: dict[tuple[str, str], bytes] = {}  # (namespace, name); never of a dead one
        self.by_worker: dict[bytes, Actor] = {}  # by the worker it lives in
        self.by_job: dict[bytes, dict[bytes, None]] = {}  # the living ones
        self.by_owner: dict[bytes, dict[bytes, None]] = {}  # by the worker that made them; the living ones
        self.by_group: dict[bytes, dict[bytes, None]] = {}  # by placement group; the living ones
        self.watchers: dict[bytes, set[bytes]] = {}  # peers; also of actors not yet known
        self.queue = WaitingActors()
        self.dead: OrderedDict[bytes, None] = OrderedDict()
        self._forgotten: OrderedDict[bytes, None] = OrderedDict()
        self.everybody: Callable[[], tuple[bytes, ...]] | None = (
            None  # set after a restart: who watched what is not known
        )
        self.changed: Callable[[Actor, ActorState, int], None] = lambda actor, before, restarts: None
        """Told of each edge: the actor, the state before, and how often it had restarted."""
        self.infeasible: Callable[[Actor], None] = lambda actor: None
        """Called once for each class of actors that no node could ever take."""
        self._now = 0.0

    # -- the table -----------------------------------------------------------------------------------------------------

    def _on_placed(self, actor: Actor, fact: Placed) -> ActorState:
        node = self.nodes.by_id[fact.node_id]
        actor.node_id, actor.bundle = fact.node_id, fact.bundle
        self.place.hold(actor)
        self.nodes.reserve(node, actor.actor_id, actor.taken())
        self.nodes.promise(node, actor.actor_id, actor.promised(), spread=actor.spec.strategy == "SPREAD")
        self._out.raylet(fact.node_id, StartActor(actor.actor_id, actor.spec, actor.restarts, fact.bundle))
        return ActorState.STARTING

    def _on_rejected(self, actor: Actor, _fact: Rejected) -> ActorState:
        self.place.refused(actor)
        self._leave_node(actor)
        if actor.end_asked:
            return self._dead_of(actor, _no_handle())
        self.queue.add(actor)
        return ActorState.WAITING

    def _on_started(self, actor: Actor, fact: Started) -> ActorState:
        actor.address = fact.address
        actor.started = self._wall(self._now)
        self.by_worker[fact.address.worker_id] = actor
        self.nodes.arrived(self._node_of(actor), actor.actor_id)
        if actor.end_asked:
            self._stop(actor, _no_handle(), force=False)
            return ActorState.ENDING
        return ActorState.ALIVE

    def _on_constructor_raised(self, actor: Actor, fact: ConstructorRaised) -> ActorState:
        actor.error = fact.error
        self._leave_node(actor)
        return self._dead_of(actor, fact.death)

    def _on_lost(self, actor: Actor, fact: Lost) -> ActorState:
        self._leave_node(actor)
        if actor.end_asked:
            return self._dead_of(actor, _no_handle())
        if fact.death.kind is DeathKind.EXITED or not actor.lives_left:
            return self._dead_of(actor, fact.death)
        return self._live_again(actor, fact.death)

    def _on_lost_while_ending(self, actor: Actor, _fact: Lost) -> ActorState:
        self._leave_node(actor)
        return self._dead_of(actor, _no_handle())

    def _on_lost_as_asked(self, actor: Actor, fact: Lost) -> ActorState:
        self._leave_node(actor)
        return self._live_again(actor, actor.old_death or fact.death)

    def _on_calls_end_while_waiting(self, actor: Actor, fact: CallsEnd) -> ActorState:
        self.queue.remove(actor)
        return self._dead_of(actor, fact.death)

    def _on_calls_end_while_starting(self, actor: Actor, _fact: CallsEnd) -> ActorState:
        actor.end_asked = True
        self._release_name(actor)
        return actor.state

    def _on_calls_end(self, actor: Actor, fact: CallsEnd) -> ActorState:
        self._release_name(actor)
        self._stop(actor, fact.death, force=False)
        return ActorState.ENDING

    def _on_calls_end_again(self, actor: Actor, _fact: CallsEnd) -> ActorState:
        return actor.state

    def _on_end_while_waiting(self, actor: Actor, fact: End) -> ActorState:
        self.queue.remove(actor)
        return self._dead_of(actor, fact.death)

    def _on_end(self, actor: Actor, fact: End) -> ActorState:
        self._stop(actor, fact.death, force=True)
        self._leave_node(actor)
        return self._dead_of(actor, fact.death)

    def _on_restart_while_waiting(self, actor: Actor, _fact: Restart) -> ActorState:
        return actor.state  # nothing runs that could be killed

    def _on_restart(self, actor: Actor, fact: Restart) -> ActorState:
        if not actor.lives_left:
            return self._on_end(actor, End(fact.death))
        self._stop(actor, fact.death, force=True)
        actor.old_death = fact.death
        self._forget_worker(actor)
        return ActorState.STOPPING

    def _on_restart_again(self, actor: Actor, _fact: Restart) -> ActorState:
        return actor.state

    def _on_started_while_stopping(self, actor: Actor, _fact: Started) -> ActorState:
        return actor.state

    def _on_rejected_while_stopping(self, actor: Actor, _fact: Rejected) -> ActorState:
        self._leave_node(actor)
        self.queue.add(actor)
        return ActorState.WAITING

    _EDGES: ClassVar[dict[tuple[ActorState, type[Fact]], Callable[..., ActorState]]] = {
        (ActorState.WAITING, Placed): _on_placed,
        (ActorState.WAITING, CallsEnd): _on_calls_end_while_waiting,
        (ActorState.WAITING, End): _on_end_while_waiting,
        (ActorState.WAITING, Restart): _on_restart_while_waiting,
        (ActorState.STARTING, Started): _on_started,
        (ActorState.STARTING, Rejected): _on_rejected,
        (ActorState.STARTING, ConstructorRaised): _on_constructor_raised,
        (ActorState.STARTING, Lost): _on_lost,
        (ActorState.STARTING, CallsEnd): _on_calls_end_while_starting,
        (ActorState.STARTING, End): _on_end,
        (ActorState.STARTING, Restart): _on_restart,
        (ActorState.ALIVE, Lost): _on_lost,
        (ActorState.ALIVE, CallsEnd): _on_calls_end,
        (ActorState.ALIVE, End): _on_end,
        (ActorState.ALIVE, Restart): _on_restart,
        (ActorState.ENDING, Lost): _on_lost_while_ending,
        (ActorState.ENDING, CallsEnd): _on_calls_end_again,
        (ActorState.ENDING, End): _on_end,
        (ActorState.ENDING, Restart): _on_end,  # who has nobody to call it is not begun again
        (ActorState.STOPPING, Lost): _on_lost_as_asked,
        (ActorState.STOPPING, CallsEnd): _on_end,  # nothing waits for its next life
        (ActorState.STOPPING, End): _on_end,
        (ActorState.STOPPING, Restart): _on_restart_again,
        # The raylet's word crossed ours: it started, or did not, what we had asked it to stop.
        (ActorState.STOPPING, Started): _on_started_while_stopping,
        (ActorState.STOPPING, Rejected): _on_rejected_while_stopping,
        (ActorState.STOPPING, ConstructorRaised): _on_constructor_raised,
        # DEAD has no edge: what arrives about a dead actor is sorted out before it becomes a fact.
    }

    def take(self, actor: Actor, fact: Fact) -> None:
        """Follow the edge of a fact, store the actor, and tell whom it concerns."""
        edge = self._EDGES.get((actor.state, type(fact)))
        if edge is None:
            raise IllegalTransition(f"actor {actor.actor_id.hex()}", actor.state, repr(fact), tuple(actor.history))
        before, restarts, told = actor.state, actor.restarts, actor.info()
        actor.state = edge(self, actor, fact)
        self.changed(actor, before, restarts)
        actor.history.append(Step(self._now, type(fact).__name__, before, actor.state))
        self._out.persist(TABLE, actor.actor_id, actor.record())
        info = actor.info()
        if info != told:
            self._tell(actor, info)
        if actor.state is ActorState.WAITING:
            self._try(actor)
        elif actor.state is ActorState.DEAD:
            self._bury(actor)

    def _tell(self, actor: Actor, info: ActorInfo) -> None:
        peers = self.watchers.get(actor.actor_id, set())
        if self.everybody is not None:
            peers = peers | set(self.everybody())
        self._out.send_many(tuple(sorted(peers)), ActorUpdate(info))

    # -- parts of edges ------------------------------------------------------------------------------------------------

    def _node_of(self, actor: Actor) -> Node:
        assert actor.node_id is not None
        return self.nodes.by_id[actor.node_id]

    def _stop(self, actor: Actor, death: Death, *, force: bool) -> None:
        node = self._node_of(actor)
        if not node.is_dead:
            self._out.raylet(node.node_id, StopActor(actor.actor_id, death, force))

    def _forget_worker(self, actor: Actor) -> None:
        if actor.address is not None:
            self.by_worker.pop(actor.address.worker_id, None)
            actor.address = None

    def _leave_node(self, actor: Actor) -> None:
        self.nodes.withdraw(self._node_of(actor), actor.actor_id, spread=actor.spec.strategy == "SPREAD")
        self.place.release(actor)
        self._forget_worker(actor)
        actor.node_id = None

    def _live_again(self, actor: Actor, death: Death) -> ActorState:
        actor.restarts += 1
        actor.old_death = death
        self.queue.add(actor)
        return ActorState.WAITING

    def _dead_of(self, actor: Actor, death: Death) -> ActorState:
        actor.death = death
        actor.ended = self._wall(self._now)
        return ActorState.DEAD

    def _release_name(self, actor: Actor) -> None:
        key = (actor.spec.namespace, actor.spec.name)
        if self.by_name.get(key) == actor.actor_id:
            del self.by_name[key]

    def _bury(self, actor: Actor) -> None:
        """Take a dead actor out of every index but the list of the dead; what only a living one needs goes."""
        actor_id = actor.actor_id
        self._release_name(actor)
        _drop(self.by_job, actor.spec.job_id, actor_id)
        _drop(self.by_owner, actor.spec.owner.worker_id, actor_id)
        if actor.member is not None:
            _drop(self.by_group, actor.member[0], actor_id)
        self.watchers.pop(actor_id, None)
        self.dead[actor_id] = None
        actor.spec = msgspec.structs.replace(actor.spec, args=b"", deps=b"")
        self._out.persist(SPEC_TABLE, actor_id, actor.spec)
        while len(self.dead) > self.config.dead_actors_kept:
            oldest, _ = self.dead.popitem(last=False)
            del self.by_id[oldest]
            self._out.persist(TABLE, oldest, None)
            self._out.persist(SPEC_TABLE, oldest, None)
            self._forgotten[oldest] = None
            if len(self._forgotten) > self.config.forgotten_actors_kept:
                self._forgotten.popitem(last=False)

    def enter(self, actor: Actor) -> None:
        """Put a living actor into the indexes."""
        self.by_id[actor.actor_id] = actor
        self.by_job.setdefault(actor.spec.job_id, {})[actor.actor_id] = None
        self.by_owner.setdefault(actor.spec.owner.worker_id, {})[actor.actor_id] = None
        if actor.member is not None:
            self.by_group.setdefault(actor.member[0], {})[actor.actor_id] = None
        if actor.spec.name and not actor.end_asked and actor.state is not ActorState.ENDING:
            self.by_name[actor.spec.namespace, actor.spec.name] = actor.actor_id

    # -- placement -----------------------------------------------------------------------------------------------------

    def _try(self, actor: Actor) -> bool:
        """Find a node for a waiting actor; False if it goes on waiting."""
        decided = self.place.decide(actor)
        if decided is None:
            is_new = actor.member is None and not self.queue.is_warned(actor)
            if is_new and not is_feasible(actor.spec, self.nodes.living()):
                self.queue.set_warned(actor)
                self.infeasible(actor)
            return False
        if isinstance(decided, Placed):
            self.queue.remove(actor)
        self.take(actor, decided)
        return True

    def at(self, now: float) -> None:
        """The time of the facts that follow."""
        self._now = now

    def try_waiting(self, now: float) -> None:
        """Something came free, or a node came or went."""
        self._now = now
        for actor_id in self.queue.heads():
            waiting: Actor | None = self.by_id[actor_id]
            while waiting is not None and self._try(waiting):
                following = self.queue.following(waiting)
                waiting = self.by_id[following] if following is not None else None

    # -- what callers ask ----------------------------------------------------------------------------------------------

    def replace_class(
        self,
        actor: Actor,
        class_hash: bytes,
        name: str,
        methods: dict[str, dict[str, object]],
        code: dict[str, tuple[int, str]],
    ) -> None:
        """An actor is an instance of another class from now on, and will be when it restarts."""
        actor.spec = msgspec.structs.replace(
            actor.spec, class_hash=class_hash, class_name=name, methods=methods, code=code
        )
        self._out.persist(SPEC_TABLE, actor.actor_id, actor.spec)

    def create(self, actor_id: bytes, spec: ActorSpec, now: float) -> Actor:
        """Take a new actor; the caller has made sure of id, name and strategy."""
        self._now = now
        parent = self.by_worker.get(spec.owner.worker_id)
        rooted = parent is not None and parent.outlives_job
        actor = Actor(actor_id, spec, rooted=rooted, created=self._wall(now))
        actor.history.append(Step(now, "created", "(new)", actor.state))
        self.enter(actor)
        self._out.persist(SPEC_TABLE, actor_id, spec)
        self._out.persist(TABLE, actor_id, actor.record())
        self.queue.add(actor)
        self._try(actor)
        return actor

    def named(self, name: str, namespace: str) -> Actor | None:
        actor_id = self.by_name.get((namespace, name))
        return None if actor_id is None else self.by_id[actor_id]

    def end(self, actor: Actor, death: Death, now: float) -> None:
        self._now = now
        if not actor.is_dead:
            self.take(actor, End(death))

    def restart(self, actor: Actor, death: Death, now: float) -> None:
        self._now = now
        if not actor.is_dead:
            self.take(actor, Restart(death))

    def calls_end(self, actor: Actor, now: float) -> None:
        """Its last handle went. A detached actor needs none."""
        self._now = now
        if not actor.is_dead and not actor.spec.detached:
            self.take(actor, CallsEnd(_no_handle()))

    def watch(self, actor_id: bytes, peer: bytes, *, owner_is_dead: bool) -> None:
        """Tell a peer about an actor now and on each change; see the top of this file for one not known yet."""
        actor = self.by_id.get(actor_id)
        if actor is not None:
            self._out.send(peer, ActorUpdate(actor.info()))
        if actor is not None and actor.is_dead:
            return
        if actor is None and (owner_is_dead or actor_id in self._forgotten):
            self._out.send(peer, ActorUpdate(_never(actor_id)))
            return
        self.watchers.setdefault(actor_id, set()).add(peer)

    def unwatch(self, peer: bytes) -> None:
        for actor_id, peers in list(self.watchers.items()):
            peers.discard(peer)
            if not peers:
                del self.watchers[actor_id]

    # -- what happened elsewhere ---------------------------------------------------------------------------------------

    def report(self, node: Node, message: ReportActor, now: float) -> None:
        """A raylet says how one of its actors is."""
        self._now = now
        actor = self.by_id.get(message.actor_id)
        if actor is None or actor.is_dead:
            if message.address is not None:
                death = actor.death if actor is not None and actor.death is not None else unknown_here()
                self._out.raylet(node.node_id, StopActor(message.actor_id, death))
            return
        if message.restart != actor.restarts or actor.node_id != node.node_id or actor.state not in ON_NODE:
            return  # of an earlier life
        if message.rejected:
            self.take(actor, Rejected())
        elif message.error or (message.death is not None and message.death.kind is DeathKind.CREATION_FAILED):
            text = f"the constructor of {actor.spec.class_name} raised an exception"
            self.take(actor, ConstructorRaised(message.error, message.death or Death(DeathKind.CREATION_FAILED, text)))
        elif message.death is not None:
            self.take(actor, Lost(message.death))
        elif message.address is not None and message.address != actor.address:
            self.take(actor, Started(message.address))

    def process_died(self, worker_id: bytes, death: Death, now: float) -> None:
        """A worker or driver is gone: the actor in it, the actors it made, and those it will never make."""
        self._now = now
        actor = self.by_worker.get(worker_id)
        if actor is not None:
            self.take(actor, Lost(death))
        owned = [self.by_id[actor_id] for actor_id in self.by_owner.get(worker_id, ())]
        text = "the process that made it is gone; make it detached to let it live longer"
        for child in owned:
            if not child.spec.detached and not child.is_dead:
                self.take(child, End(Death(DeathKind.OWNER_DIED, text)))
        for actor_id in [a for a in self.watchers if task_owner(a) == worker_id and a not in self.by_id]:
            self._out.send_many(tuple(sorted(self.watchers.pop(actor_id))), ActorUpdate(_never(actor_id)))

    def node_died(self, node: Node, death: Death, now: float) -> None:
        self._now = now
        for actor_id in list(node.promises):
            self.take(self.by_id[actor_id], Lost(death))

    def job_ended(self, job_id: bytes, death: Death, now: float) -> None:
        self._now = now
        for actor_id in list(self.by_job.get(job_id, ())):
            actor = self.by_id[actor_id]
            if not actor.is_dead and not actor.outlives_job:
                self.take(actor, End(death))

    def group_removed(self, group_id: bytes, reason: str, now: float) -> None:
        self._now = now
        for actor_id in list(self.by_group.get(group_id, ())):
            self.take(self.by_id[actor_id], End(group_removed(group_id, reason)))

    def check(self) -> None:
        """Raise where two parts of the state contradict each other."""
        check_actors(self)
