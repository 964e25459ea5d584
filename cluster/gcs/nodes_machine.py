"""Nodes: who is there, what each has free, and when one is dead.

Strategy: a node is heard or it is dead. Each message of its raylet renews its deadline, as does a connection to it that
is made; one that broke, or is refused, shortens it; the death of a raylet that its host reports ends it at once. A node
once declared dead stays dead: its actors run elsewhere, so a raylet that comes back from a partition is told to stop,
and its host may start a new one, with a new id.

What a node has free is what it reported, less what actors on their way to it will hold: a report that left before the
raylet heard of them says nothing about them. So a burst of actors is spread right without waiting for reports.

The resource view goes to raylets as differences, at most each 50 ms, and to each without itself: a cluster of one node
pays nothing for it.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import msgspec

from ..protocol.common import Death, NodeInfo, Resources
from ..protocol.gcs_messages import NodeReport, NodeUpdate, ResourceView
from ..protocol.group_messages import BundleRow
from ..protocol.raylet_messages import StopRaylet
from ..protocol.transitions import History, IllegalTransition, InvariantViolation, Step, new_history
from .commands import Connect, Disconnect, Outbox
from .config import GcsConfig

__all__ = ["Node", "NodeRecord", "NodeState", "Nodes"]

TABLE = "nodes"


class NodeState(enum.StrEnum):
    """ALIVE: takes work. DRAINING: was asked to leave, finishes what it has. DEAD: gone for good."""

    ALIVE = "ALIVE"
    DRAINING = "DRAINING"
    DEAD = "DEAD"


class NodeRecord(msgspec.Struct):
    """What outlives a restart of the GCS."""

    info: NodeInfo
    state: str
    peer: bytes
    joined: float
    died: float | None = None


class Node:
    """One node. Its fields beyond the record are what its raylet reported last, and what placement keeps about it."""

    __slots__ = (
        "available",
        "bundle_rows",
        "bundles",
        "deadline",
        "died",
        "free",
        "has_refused",
        "history",
        "info",
        "joined",
        "leave_by",
        "most",
        "peer",
        "pending",
        "pressing",
        "promised",
        "promises",
        "reports",
        "sent_before",
        "spread",
        "starting",
        "state",
        "store_used",
        "total",
        "uncounted",
        "workers",
    )

    def __init__(self, info: NodeInfo, peer: bytes, now: float, wall: float) -> None:
        self.info = info
        self.peer = peer
        self.state = NodeState.ALIVE
        self.deadline = now
        self.leave_by = math.inf
        self.history: History = new_history()
        self.total: Resources = info.total
        self.most: Resources = {}  # what it grows to while work waits
        self.available: Resources = dict(info.total)
        self.free: Resources = dict(info.total)
        self.starting: dict[bytes, Resources] = {}  # actors on their way here, with what they will hold
        self.uncounted: dict[bytes, Resources] = {}  # actors that are alive here, but in no report yet
        self.reports = 0
        self.sent_before: dict[bytes, int] = {}  # of an actor on its way: how many reports had come when it was sent
        self.pressing: bytes | None = None  # the actor that its raylet is to make room for
        self.promises: dict[bytes, Resources] = {}  # actors here, with what they asked for beyond what they hold
        self.promised: Resources = {}  # the sum of the above
        self.bundles: dict[bytes, Resources] = {}  # of placement groups, that are here or on their way
        self.bundle_rows: list[BundleRow] = []  # what its raylet said of them
        self.spread = 0
        self.has_refused = False
        self.pending: list[tuple[Resources, int]] = []
        self.store_used = 0
        self.workers: list[dict[str, object]] = []
        self.joined = wall
        self.died: float | None = None

    @property
    def node_id(self) -> bytes:
        return self.info.node_id

    @property
    def labels(self) -> dict[str, str]:
        return self.info.labels

    @property
    def is_dead(self) -> bool:
        return self.state is NodeState.DEAD

    @property
    def largest(self) -> Resources:
        """What it has, or can grow to."""
        return {**self.total, **self.most}

    def record(self) -> NodeRecord:
        return NodeRecord(self.info, self.state, self.peer, self.joined, self.died)

    def count_free(self) -> None:
        free = dict(self.available)
        for held in (*self.starting.values(), *self.uncounted.values()):
            for name, units in held.items():
                free[name] = free.get(name, 0) - units
        self.free = free


class Hello(NamedTuple):
    """Its raylet said who it is, again."""

    info: NodeInfo
    peer: bytes


class Drain(NamedTuple):
    """Somebody wants it to leave after its tasks."""

    reason: str


class Gone(NamedTuple):
    """It is no more, or must count as such."""

    death: Death


Fact = Hello | Drain | Gone


class Nodes:
    """All nodes, alive and dead."""

    def __init__(self, config: GcsConfig, out: Outbox, wall: Callable[[float], float]) -> None:
        self._config = config
        self._out = out
        self._wall = wall
        self.by_id: dict[bytes, Node] = {}
        self.by_peer: dict[bytes, Node] = {}
        self._dead: dict[bytes, None] = {}  # oldest first
        self.check_at: float | None = None  # no node's deadline is before this
        self.view_at: float | None = None  # when the view is to be sent
        self._view_sent = float("-inf")
        self._dirty: set[bytes] = set()
        self._now = 0.0

    # -- the table -----------------------------------------------------------------------------------------------------

    def _on_hello(self, node: Node, fact: Hello) -> NodeState:
        self.by_peer.pop(node.peer, None)
        node.info, node.peer, node.total = fact.info, fact.peer, fact.info.total
        self.by_peer[fact.peer] = node
        return node.state

    def _on_drain(self, node: Node, fact: Drain) -> NodeState:
        node.leave_by = self._now + self._config.drain_timeout
        self._out.raylet(node.node_id, StopRaylet(fact.reason, graceful=True))
        return NodeState.DRAINING

    def _on_drain_again(self, node: Node, _fact: Drain) -> NodeState:
        return node.state

    def _on_gone(self, node: Node, fact: Gone) -> NodeState:
        node.info = msgspec.structs.replace(node.info, alive=False, death=fact.death)
        node.died = self._wall(self._now)
        node.available, node.free, node.pending, node.bundle_rows = {}, {}, [], []
        node.starting.clear()
        node.uncounted.clear()
        node.sent_before.clear()
        node.pressing = None
        self.by_peer.pop(node.peer, None)
        self._out.commands.append(Disconnect(node.node_id))
        self._dirty.discard(node.node_id)
        return NodeState.DEAD

    _EDGES: ClassVar[dict[tuple[NodeState, type[Fact]], Callable[..., NodeState]]] = {
        (NodeState.ALIVE, Hello): _on_hello,
        (NodeState.ALIVE, Drain): _on_drain,
        (NodeState.ALIVE, Gone): _on_gone,
        (NodeState.DRAINING, Hello): _on_hello,
        (NodeState.DRAINING, Drain): _on_drain_again,
        (NodeState.DRAINING, Gone): _on_gone,
        # DEAD has no edge: whoever finds a dead node alive must not tell the machine, but the node.
    }

    def _take(self, node: Node, fact: Fact) -> None:
        edge = self._EDGES.get((node.state, type(fact)))
        if edge is None:
            raise IllegalTransition(f"node {node.node_id.hex()}", node.state, repr(fact), tuple(node.history))
        before = node.state
        node.state = edge(self, node, fact)
        node.history.append(Step(self._now, type(fact).__name__, before, node.state))
        self._out.persist(TABLE, node.node_id, node.record())

    # -- coming and going ----------------------------------------------------------------------------------------------

    def hello(self, info: NodeInfo, peer: bytes, now: float) -> bool:
        """A raylet joined or came back. False if it was declared dead before, and must stop."""
        self._now = now
        node = self.by_id.get(info.node_id)
        if node is not None and node.is_dead:
            return False
        if node is None:
            node = self.by_id[info.node_id] = Node(info, peer, now, self._wall(now))
            self.by_peer[peer] = node
            node.history.append(Step(now, "Hello", "(new)", node.state))
            self._out.persist(TABLE, node.node_id, node.record())
        else:
            self._take(node, Hello(info, peer))
        self._out.commands.append(Connect(info.node_id, info.raylet))
        self.heard(node, now)
        self._dirty.add(info.node_id)
        self._schedule_view(now)
        return True

    def drain(self, node: Node, reason: str, now: float) -> None:
        self._now = now
        self._take(node, Drain(reason))
        self._check_by(node.leave_by)

    def die(self, node: Node, death: Death, others: tuple[bytes, ...], now: float) -> None:
        """Declare a node dead and tell the other raylets and the cores (``others``)."""
        self._now = now
        self._take(node, Gone(death))
        self._out.send_many((*self.peers(), *others), NodeUpdate(node.info))
        self._dead[node.node_id] = None
        while len(self._dead) > self._config.dead_nodes_kept:
            oldest = next(iter(self._dead))
            del self._dead[oldest], self.by_id[oldest]
            self._out.persist(TABLE, oldest, None)

    def restore(self, record: NodeRecord, now: float) -> None:
        """Take over a node from before a restart. One that was alive has its usual time to say hello again."""
        node = self.by_id[record.info.node_id] = Node(record.info, record.peer, now, record.joined)
        node.state = NodeState(record.state)
        node.died = record.died
        node.history.append(Step(now, "restored", "(storage)", node.state))
        if node.is_dead:
            self._dead[node.node_id] = None
            node.available, node.free = {}, {}
        else:
            # Nothing counts as free there before it reported.
            node.available, node.free = {}, {}
            self._out.commands.append(Connect(node.node_id, record.info.raylet))
            self.heard(node, now)

    # -- time ----------------------------------------------------------------------------------------------------------

    def heard(self, node: Node, now: float) -> None:
        """Any message of a node says that it lives."""
        node.deadline = now + self._config.heartbeat_timeout
        self._check_by(node.deadline)

    def _check_by(self, at: float) -> None:
        if self.check_at is None or at < self.check_at:
            self.check_at = at

    def connected(self, peer: bytes, now: float) -> None:
        """A process listens where this peer's raylet is."""
        node = self.by_peer.get(peer)
        if node is not None:
            self.heard(node, now)

    def connection_lost(self, node: Node, now: float) -> None:
        node.deadline = min(node.deadline, now + self._config.reconnect_grace)
        self._check_by(node.deadline)

    def silent(self, now: float) -> list[Node]:
        """The nodes whose time is over: not heard for too long, or asked to leave long ago."""
        if self.check_at is None or now < self.check_at:
            return []
        living = self.living()
        late = now - self.check_at
        if late > self._config.late_tick:
            # The GCS itself did not run (stopped, swapped out): that silence was not the nodes'. Begin anew.
            for node in living:
                node.deadline = now + self._config.heartbeat_timeout
        ends = [(min(node.deadline, node.leave_by), node) for node in living]
        self.check_at = min((end for end, _ in ends if end > now), default=None)
        return [node for end, node in ends if end <= now]

    # -- resources -----------------------------------------------------------------------------------------------------

    def report(self, node: Node, report: NodeReport, now: float) -> bool:
        """Take what a raylet reported; True if what is free changed, so that waiting actors may fit now."""
        self.heard(node, now)
        node.pending = report.pending
        node.store_used = report.store_used
        if report.workers is not None:
            node.workers = report.workers
        changed = report.available != node.available or node.has_refused or bool(node.uncounted)
        node.has_refused = False
        node.reports += 1
        node.uncounted.clear()
        if report.most != node.most:
            node.most = report.most
            changed = True
        if report.total is not None and report.total != node.total:
            node.total = report.total
            node.info = msgspec.structs.replace(node.info, total=report.total)
            changed = True
        if report.bundles != node.bundle_rows:
            node.bundle_rows = report.bundles
            changed = True
        if changed:
            node.available = report.available
            node.count_free()
            self._dirty.add(node.node_id)
            self._schedule_view(now)
        return changed

    def reserve(self, node: Node, actor_id: bytes, held: Resources) -> None:
        """An actor was sent there, and what it will hold is not free any more, whatever reports say."""
        if held:
            node.starting[actor_id] = held
            node.sent_before[actor_id] = node.reports
            node.count_free()

    def unreserve(self, node: Node, actor_id: bytes) -> None:
        """It did not get there, or is gone again."""
        node.sent_before.pop(actor_id, None)
        if node.pressing == actor_id:
            node.pressing = None
        gone = [node.starting.pop(actor_id, None), node.uncounted.pop(actor_id, None)]
        if gone != [None, None]:
            node.count_free()

    def arrived(self, node: Node, actor_id: bytes) -> None:
        """It is alive there. Raylets report on change: a report since it was sent counts it, or the next one."""
        held = node.starting.get(actor_id)
        is_counted = node.sent_before.get(actor_id, 0) < node.reports
        self.unreserve(node, actor_id)
        if held is not None and not is_counted:
            node.uncounted[actor_id] = held
            node.count_free()

    def place_bundle(self, node: Node, key: bytes, held: Resources) -> None:
        """A bundle of a placement group is to be there."""
        node.bundles[key] = held
        self.reserve(node, key, held)

    def take_bundle(self, node: Node, key: bytes) -> None:
        """It is not there any more, or never got there."""
        self.unreserve(node, key)
        node.bundles.pop(key, None)

    def unpressed(self) -> list[Node]:
        """Nodes that take new actors and do not make room for one already."""
        return [node for node in self.open() if node.pressing is None]

    def press(self, node_id: bytes, actor_id: bytes) -> None:
        """The actor that is about to be sent there does not fit."""
        self.by_id[node_id].pressing = actor_id

    def promise(self, node: Node, actor_id: bytes, extra: Resources, *, spread: bool) -> None:
        """Count an actor as load of a node."""
        node.promises[actor_id] = extra
        for name, units in extra.items():
            node.promised[name] = node.promised.get(name, 0) + units
        node.spread += spread

    def withdraw(self, node: Node, actor_id: bytes, *, spread: bool) -> None:
        """It left the node, or never got there."""
        self.unreserve(node, actor_id)
        extra = node.promises.pop(actor_id, None)
        if extra is None:
            return
        for name, units in extra.items():
            node.promised[name] -= units
        node.spread -= spread

    def living(self) -> list[Node]:
        return [node for node in self.by_id.values() if not node.is_dead]

    def open(self) -> list[Node]:
        """Those that take new actors."""
        return [node for node in self.by_id.values() if node.state is NodeState.ALIVE and not node.has_refused]

    def refused(self, node: Node) -> None:
        """It could not take an actor, so what is known of it is out of date: ask others until it reports."""
        node.has_refused = True

    def peers(self) -> tuple[bytes, ...]:
        """The raylets' peer ids."""
        return tuple(node.peer for node in self.by_id.values() if not node.is_dead)

    # -- the view ------------------------------------------------------------------------------------------------------

    def _schedule_view(self, now: float) -> None:
        if self.view_at is None:
            self.view_at = max(now, self._view_sent + self._config.view_interval)

    def send_view(self, now: float) -> None:
        """Send what changed, if it is due; to each raylet without itself."""
        if self.view_at is None or now < self.view_at:
            return
        self.view_at = None
        self._view_sent = now
        dirty, self._dirty = self._dirty, set()
        living = self.living()
        changed = [node for node in living if node.node_id in dirty]
        if not changed:
            return
        others = tuple(node.peer for node in living if node.node_id not in dirty)
        self._out.send_many(others, _view_of(changed))
        for node in changed:
            rest = [other for other in changed if other is not node]
            if rest:
                self._out.send(node.peer, _view_of(rest))

    def full_view(self, peer: bytes) -> None:
        """Tell a raylet that just joined what all others have."""
        others = [node for node in self.living() if node.peer != peer]
        if others:
            self._out.send(peer, _view_of(others))

    # -- checks --------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        living = {node.peer: node for node in self.by_id.values() if not node.is_dead}
        for peer, node in self.by_peer.items():
            if living.get(peer) is not node:
                raise InvariantViolation(
                    f"peer {peer.hex()} leads to node {node.node_id.hex()}, which is not living there"
                )
        for node in self.by_id.values():
            sums: Resources = {}
            for extra in node.promises.values():
                for name, units in extra.items():
                    sums[name] = sums.get(name, 0) + units
            if {k: v for k, v in node.promised.items() if v} != {k: v for k, v in sums.items() if v}:
                raise InvariantViolation(f"node {node.node_id.hex()}: promises {sums} were summed as {node.promised}")
            if node.is_dead != (not node.info.alive) or node.is_dead != (node.node_id in self._dead):
                raise InvariantViolation(f"node {node.node_id.hex()} is {node.state}, but is shown or listed otherwise")
            on_way = {*node.starting, *node.uncounted, *([node.pressing] if node.pressing else [])}
            if (
                not on_way <= (node.promises.keys() | node.bundles.keys())
                or node.sent_before.keys() != node.starting.keys()
            ):
                raise InvariantViolation(f"node {node.node_id.hex()} reserves for what is not on it")
            if node.is_dead and (node.promises or node.bundles):
                raise InvariantViolation(f"node {node.node_id.hex()} is dead and still has actors or bundles")


def _view_of(nodes: list[Node]) -> ResourceView:
    """What these have free, and of the bundles there."""
    entries = [(node.node_id, node.available, node.total) for node in nodes]
    return ResourceView(entries, [(node.node_id, node.bundle_rows) for node in nodes if node.bundle_rows])
