"""Placement groups: which nodes have their bundles, and that each is there as a whole or not at all.

Strategy: a group is a small state machine (`_EDGES`), as an actor is. A placement asks all nodes at once to hold their
bundles; the first that can not ends it, and what the others hold is given back before anything else is tried. Once all
hold theirs, that is the decision: a node that dies afterwards has lost bundles, which are placed anew around those that
are left. Messages about an earlier placement carry its number and are dropped before they become facts.

Groups without room wait in the order in which they came, those that lost bundles first. They are tried when something
comes free, of those alike only the first; if that took long, not again before a pause. One that fits nowhere now, but
would if tasks gave their leases back, is sent to nodes nevertheless, as an actor is: only raylets can ask for that.
They refuse it after some seconds.

Rejected: bundles as resources with made-up names (each would be in all totals, and everything that shows or adds up
resources would have to know of them), and holding what has been prepared while the rest waits (two groups could hold
what the other needs).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import ClassVar, Final

from ..protocol.common import Resources
from ..protocol.group_messages import (
    CommitBundles,
    GroupInfo,
    GroupSpec,
    GroupUpdate,
    PrepareBundles,
    ReportBundles,
    ReturnBundles,
)
from ..protocol.transitions import IllegalTransition, InvariantViolation, Step
from .bundle_placement import Room, explain_infeasible, place_bundles
from .commands import Outbox
from .config import GcsConfig
from .group_record import (
    Bundle,
    BundlesLost,
    Group,
    GroupFact,
    GroupRecord,
    GroupState,
    NodesChosen,
    Prepared,
    Refused,
    Remove,
)
from .nodes_machine import Node, Nodes

__all__ = ["Groups"]

TABLE = "groups"
SPEC_TABLE = "group_specs"


_LOOKS_FREE: Final = 1_000
_SECONDS_A_LOOK: Final = 1e-5
"""Looking at a node for a bundle takes microseconds. Below a thousand looks nothing is spared; above, the pause is some
times what the looks took, so that groups without room do not take all the time of the GCS."""


def bundle_key(group_id: bytes, index: int) -> bytes:
    """Names a bundle where nodes keep what is on its way to them."""
    return group_id + index.to_bytes(4, "big")


class Groups:
    """All groups there are, and the last ones that were removed.

    ``held_by_actors(node)`` is what actors there hold of the node itself. ``ended(group)`` is called before the bundles
    of a removed group are given back; ``changed(group, before)`` after each edge that its users are told of.
    """

    def __init__(self, config: GcsConfig, out: Outbox, nodes: Nodes, wall: Callable[[float], float]) -> None:
        self.config = config
        self._out = out
        self.nodes = nodes
        self._wall = wall
        self.held_by_actors: Callable[[Node], Resources] = lambda node: {}
        self.ended: Callable[[Group], None] = lambda group: None
        self.changed: Callable[[Group, GroupInfo], None] = lambda group, before: None
        self.infeasible: Callable[[Group, str], None] = lambda group, why: None
        self.by_id: dict[bytes, Group] = {}
        self.by_name: dict[tuple[str, str], bytes] = {}  # (namespace, name); never of a removed one
        self.waiting: dict[bytes, None] = {}  # in the order they came
        self.removed: OrderedDict[bytes, None] = OrderedDict()
        self.watchers: dict[bytes, set[bytes]] = {}
        self.everybody: Callable[[], tuple[bytes, ...]] | None = None  # set after a restart, as with actors
        self.try_at: float | None = None  # when those that wait are to be tried again
        self._pause_until = float("-inf")
        self._now = 0.0

    # -- the table -----------------------------------------------------------------------------------------------------

    def _on_chosen(self, group: Group, fact: NodesChosen) -> GroupState:
        group.attempt += 1
        by_node: dict[bytes, dict[int, Resources]] = {}
        for index, node_id in sorted(fact.nodes.items()):
            bundle = group.bundles[index]
            bundle.node_id, bundle.attempt, bundle.is_held = node_id, group.attempt, False
            self.nodes.place_bundle(self.nodes.by_id[node_id], bundle_key(group.group_id, index), bundle.resources)
            by_node.setdefault(node_id, {})[index] = bundle.resources
        for node_id, bundles in by_node.items():
            self._out.raylet(node_id, PrepareBundles(group.group_id, group.attempt, bundles))
        return GroupState.PREPARING

    def _on_prepared(self, group: Group, fact: Prepared) -> GroupState:
        asked = group.asked()
        for bundle in asked:
            if bundle.node_id == fact.node_id and not bundle.is_held:
                bundle.is_held = True
                self.nodes.arrived(self.nodes.by_id[fact.node_id], bundle_key(group.group_id, bundle.index))
        if not all(bundle.is_held for bundle in asked):
            return group.state
        for node_id in dict.fromkeys(bundle.node_id for bundle in asked):
            assert node_id is not None
            self._out.raylet(node_id, CommitBundles(group.group_id, group.attempt))
        group.placements += 1
        group.placed = self._wall(self._now)
        group.is_warned = False
        return GroupState.CREATED

    def _on_refused(self, group: Group, fact: Refused) -> GroupState:
        self.nodes.refused(self.nodes.by_id[fact.node_id])
        self._give_up(group, but=fact.node_id)
        return GroupState.WAITING

    def _on_lost(self, group: Group, fact: BundlesLost) -> GroupState:
        group.lost = self._wall(self._now)
        for bundle in group.bundles:
            if bundle.node_id == fact.node_id:
                self._vacate(group, bundle)
        return GroupState.WAITING

    def _on_lost_while_preparing(self, group: Group, fact: BundlesLost) -> GroupState:
        # What was chosen stood on what is lost, or next to it: choose anew.
        self._give_up(group, but=fact.node_id)
        return self._on_lost(group, fact)

    def _on_remove(self, group: Group, fact: Remove) -> GroupState:
        group.reason = fact.reason
        self.ended(group)
        for node_id in dict.fromkeys(bundle.node_id for bundle in group.bundles if bundle.node_id is not None):
            self._out.raylet(node_id, ReturnBundles(group.group_id, 0, fact.reason))
        for bundle in group.bundles:
            self._vacate(group, bundle)
        group.removed = self._wall(self._now)
        return GroupState.REMOVED

    _EDGES: ClassVar[dict[tuple[GroupState, type[GroupFact]], Callable[..., GroupState]]] = {
        (GroupState.WAITING, NodesChosen): _on_chosen,
        (GroupState.WAITING, BundlesLost): _on_lost,
        (GroupState.WAITING, Remove): _on_remove,
        (GroupState.PREPARING, Prepared): _on_prepared,
        (GroupState.PREPARING, Refused): _on_refused,
        (GroupState.PREPARING, BundlesLost): _on_lost_while_preparing,
        (GroupState.PREPARING, Remove): _on_remove,
        (GroupState.CREATED, BundlesLost): _on_lost,
        (GroupState.CREATED, Remove): _on_remove,
        # REMOVED has no edge: what arrives about a removed group is sorted out before it becomes a fact.
    }

    def take(self, group: Group, fact: GroupFact) -> None:
        """Follow the edge of a fact, store the group, and tell whom it concerns."""
        edge = self._EDGES.get((group.state, type(fact)))
        if edge is None:
            name = f"placement group {group.group_id.hex()}"
            raise IllegalTransition(name, group.state, repr(fact), tuple(group.history))
        before, told = group.state, group.info()
        group.state = edge(self, group, fact)
        group.history.append(Step(self._now, type(fact).__name__, before, group.state))
        self._out.persist(TABLE, group.group_id, group.record())
        if group.state is GroupState.WAITING:
            self.waiting[group.group_id] = None
        else:
            self.waiting.pop(group.group_id, None)
        info = group.info()
        if info != told:
            self.changed(group, told)
            self._tell(group.group_id, info)
        if group.is_removed:
            self._bury(group)

    # -- parts of edges ------------------------------------------------------------------------------------------------

    def _vacate(self, group: Group, bundle: Bundle) -> None:
        """It has no node any more."""
        if bundle.node_id is None:
            return
        node = self.nodes.by_id.get(bundle.node_id)
        if node is not None:
            self.nodes.take_bundle(node, bundle_key(group.group_id, bundle.index))
        bundle.node_id, bundle.is_held, bundle.has_refused = None, False, False
        bundle.actors = {}

    def _give_up(self, group: Group, *, but: bytes) -> None:
        """Take back what was asked for by the placement under way; of one node there is nothing to take."""
        asked = group.asked()
        for node_id in dict.fromkeys(bundle.node_id for bundle in asked):
            if node_id is not None and node_id != but:
                self._out.raylet(node_id, ReturnBundles(group.group_id, group.attempt))
        for bundle in asked:
            self._vacate(group, bundle)

    def _tell(self, group_id: bytes, info: GroupInfo) -> None:
        peers = self.watchers.get(group_id, set())
        if self.everybody is not None:
            peers = peers | set(self.everybody())
        self._out.send_many(tuple(sorted(peers)), GroupUpdate(info))

    def _bury(self, group: Group) -> None:
        key = (group.spec.namespace, group.spec.name)
        if self.by_name.get(key) == group.group_id:
            del self.by_name[key]
        self.watchers.pop(group.group_id, None)
        self.removed[group.group_id] = None
        while len(self.removed) > self.config.removed_groups_kept:
            oldest, _ = self.removed.popitem(last=False)
            del self.by_id[oldest]
            self._out.persist(TABLE, oldest, None)
            self._out.persist(SPEC_TABLE, oldest, None)

    # -- placement -----------------------------------------------------------------------------------------------------

    def try_waiting(self, now: float) -> None:
        """Something came free, or a node or a group came or went."""
        self._now = now
        if not self.waiting:
            self.try_at = None
            return
        if now < self._pause_until:
            self.try_at = self._pause_until
            return
        self.try_at = None
        without_room: set[object] = set()
        looks = 0  # at a node, for a bundle
        for group_id in sorted(self.waiting, key=lambda group_id: not self.by_id[group_id].placements):
            group = self.by_id[group_id]
            shape = group.shape()
            if shape in without_room:
                continue
            looks += len(group.bundles) * len(self.nodes.by_id)
            if not self._try(group):
                without_room.add(shape)
        if looks > _LOOKS_FREE:
            self._pause_until = now + looks * _SECONDS_A_LOOK

    def _try(self, group: Group) -> bool:
        wanted = group.wanted()
        nodes = self.nodes.open()
        chosen = place_bundles(wanted, [Room(n.node_id, n.labels, n.free, n.largest) for n in nodes])
        if chosen is None:
            # Where tasks could give their leases back: all that neither bundles nor actors hold.
            rooms = [self._without_tasks(node) for node in nodes if node.pressing is None]
            chosen = place_bundles(wanted, rooms)
            for index, node_id in (chosen or {}).items():
                self.nodes.press(node_id, bundle_key(group.group_id, index))
        if chosen is None:
            self._warn(group)
            return False
        self.take(group, NodesChosen(chosen))
        return True

    def _without_tasks(self, node: Node) -> Room:
        free = dict(node.largest)
        for held in (*node.bundles.values(), self.held_by_actors(node)):
            for name, units in held.items():
                free[name] = free.get(name, 0) - units
        return Room(node.node_id, node.labels, free, node.largest)

    def _warn(self, group: Group) -> None:
        """Say once that it fits nowhere, if so."""
        if not group.is_warned and (why := self.why_never(group)):
            group.is_warned = True
            self.infeasible(group, why)

    def why_never(self, group: Group) -> str:
        """Why the nodes there are could not have the group if they were empty; empty if they could."""
        rooms = [Room(n.node_id, n.labels, n.largest, n.largest) for n in self.nodes.living()]
        return explain_infeasible(group.wanted(), rooms)

    # -- what callers ask ----------------------------------------------------------------------------------------------

    def create(self, group_id: bytes, spec: GroupSpec, creator_actor: bytes, now: float) -> Group:
        """Take a new group; the caller has made sure of id, name and strategy."""
        self._now = now
        group = Group(group_id, spec, creator_actor, self._wall(now))
        group.history.append(Step(now, "created", "(new)", group.state))
        self.by_id[group_id] = group
        if spec.name:
            self.by_name[spec.namespace, spec.name] = group_id
        self._out.persist(SPEC_TABLE, group_id, spec)
        self._out.persist(TABLE, group_id, group.record())
        self.waiting[group_id] = None
        return group

    def restore(self, group_id: bytes, spec: GroupSpec, record: GroupRecord, now: float) -> None:
        """Take over a group from before a restart of the GCS, after its nodes."""
        group = Group.from_record(group_id, spec, record)
        group.history.append(Step(now, "restored", "(storage)", group.state))
        self.by_id[group_id] = group
        if group.is_removed:
            self.removed[group_id] = None
            return
        if spec.name:
            self.by_name[spec.namespace, spec.name] = group_id
        asked = group.asked()
        for bundle in group.bundles:
            node = self.nodes.by_id.get(bundle.node_id or b"")
            if node is not None and not node.is_dead:
                self.nodes.place_bundle(node, bundle_key(group_id, bundle.index), bundle.resources)
                if bundle.is_held:
                    self.nodes.arrived(node, bundle_key(group_id, bundle.index))
            elif bundle.node_id is not None:
                # The node's death was stored, the group's loss was not: storage ends between two records of one step.
                bundle.node_id, bundle.is_held = None, False
                group.state = GroupState.WAITING
        if group.state is GroupState.WAITING:
            group.attempt += 1  # one that was sent and not stored is not to be taken for the next
            for bundle in asked:  # what the nodes hold of it is given back when they say hello
                self._vacate(group, bundle)
            self.waiting[group_id] = None

    def named(self, name: str, namespace: str) -> Group | None:
        group_id = self.by_name.get((namespace, name))
        return None if group_id is None else self.by_id[group_id]

    def remove(self, group: Group, reason: str, now: float) -> None:
        self._now = now
        if not group.is_removed:
            self.take(group, Remove(reason))

    def watch(self, group_id: bytes, peer: bytes) -> None:
        """Tell a peer about a group now and on each change. One that is not known was removed long ago."""
        group = self.by_id.get(group_id)
        info = group.info() if group is not None else GroupInfo(group_id, "REMOVED", [], [], "it was removed long ago")
        if group is not None and not group.is_removed:
            self.watchers.setdefault(group_id, set()).add(peer)
        self._out.send(peer, GroupUpdate(info))

    def unwatch(self, peer: bytes) -> None:
        for group_id, peers in list(self.watchers.items()):
            peers.discard(peer)
            if not peers:
                del self.watchers[group_id]

    # -- what happened elsewhere ---------------------------------------------------------------------------------------

    def report(self, node: Node, message: ReportBundles, now: float) -> None:
        """A raylet says whether it holds what it was asked to."""
        self._now = now
        group = self.by_id.get(message.group_id)
        asked = group.asked() if group is not None else []
        if group is not None and group.attempt == message.attempt and node.node_id in {b.node_id for b in asked}:
            self.take(group, Refused(node.node_id) if message.refused else Prepared(node.node_id))
        elif not message.refused and not self._is_there(group, node.node_id, message.attempt):
            self._out.raylet(node.node_id, ReturnBundles(message.group_id, message.attempt))  # of an earlier placement

    @staticmethod
    def _is_there(group: Group | None, node_id: bytes, attempt: int) -> bool:
        return group is not None and any(b.node_id == node_id and b.attempt == attempt for b in group.bundles)

    def node_reported(self, node: Node) -> bool:
        """A node said what it has free; True if an actor that its bundles refused may be tried again."""
        again = False
        for key in node.bundles:
            bundle = self.by_id[key[:-4]].bundles[int.from_bytes(key[-4:], "big")]
            again = again or bundle.has_refused
            bundle.has_refused = False
        return again

    def node_died(self, node: Node, now: float) -> None:
        self._now = now
        for group_id in dict.fromkeys(key[:-4] for key in node.bundles):
            self.take(self.by_id[group_id], BundlesLost(node.node_id, "its node died"))

    def reconcile(self, node: Node, held: list[tuple[bytes, int, list[int], bool]], now: float) -> None:
        """A raylet said hello, and which bundles it has: (group, attempt, indexes, whether committed)."""
        self._now = now
        listed: set[tuple[bytes, int]] = set()
        for group_id, attempt, _, is_committed in held:
            listed.add((group_id, attempt))
            group = self.by_id.get(group_id)
            if group is None or not self._is_there(group, node.node_id, attempt):
                self._out.raylet(node.node_id, ReturnBundles(group_id, attempt, "it is not part of its group any more"))
            elif group.attempt == attempt and group.asked():
                self.take(group, Prepared(node.node_id))
            elif not is_committed:
                self._out.raylet(node.node_id, CommitBundles(group_id, attempt))
        for group_id in dict.fromkeys(key[:-4] for key in node.bundles):
            group = self.by_id[group_id]
            mine = [bundle for bundle in group.bundles if bundle.node_id == node.node_id]
            missing = [bundle for bundle in mine if (group_id, bundle.attempt) not in listed]
            if not missing:
                continue
            asked = group.asked()
            if all(bundle in asked for bundle in missing):
                bundles = {bundle.index: bundle.resources for bundle in missing}
                self._out.raylet(node.node_id, PrepareBundles(group_id, group.attempt, bundles))
            else:
                self._out.raylet(node.node_id, ReturnBundles(group_id, 0, "some of its bundles were lost"))
                self.take(group, BundlesLost(node.node_id, "its raylet no longer has them"))

    def job_ended(self, job_id: bytes, reason: str, now: float) -> None:
        for group in list(self.by_id.values()):
            if group.spec.job_id == job_id and not group.spec.detached and not group.creator_actor:
                self.remove(group, reason, now)

    def actor_ended(self, actor_id: bytes, now: float) -> None:
        """An actor that outlives its job is dead for good."""
        for group in list(self.by_id.values()):
            if group.creator_actor == actor_id and not group.spec.detached:
                self.remove(group, "the actor that made it is dead; make it detached to let it live longer", now)

    # -- checks --------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise where two parts of the state contradict each other. For tests."""
        places: dict[bytes, set[bytes]] = {}
        for group in self.by_id.values():
            self._check_group(group)
            for bundle in group.bundles:
                if bundle.node_id is not None:
                    places.setdefault(bundle.node_id, set()).add(bundle_key(group.group_id, bundle.index))
        for node in self.nodes.by_id.values():
            if node.bundles.keys() != places.pop(node.node_id, set()):
                raise InvariantViolation(f"node {node.node_id.hex()} and the groups disagree about its bundles")
        if places:
            raise InvariantViolation(f"bundles are on nodes {[node.hex() for node in places]}, which are not known")
        for (namespace, name), group_id in self.by_name.items():
            holder = self.by_id.get(group_id)
            if holder is None or holder.is_removed or (holder.spec.namespace, holder.spec.name) != (namespace, name):
                raise InvariantViolation(f"the name {name!r} leads to group {group_id.hex()}, which is not there")

    def _check_group(self, group: Group) -> None:
        placed = [bundle for bundle in group.bundles if bundle.node_id is not None]
        asked = group.asked()
        state = group.state
        rules = {
            "waits exactly if its state says so": (group.group_id in self.waiting) == (state is GroupState.WAITING),
            "is in the list of the removed exactly if it is": (group.group_id in self.removed) == group.is_removed,
            "has all bundles exactly if it is there or on its way": (len(placed) == len(group.bundles))
            == (state in (GroupState.CREATED, GroupState.PREPARING)),
            "has no bundle once it is removed": not (group.is_removed and placed),
            "has asked for bundles while it prepares": bool(asked) == (state is GroupState.PREPARING),
            "still waits for one while it prepares": not asked or not all(bundle.is_held for bundle in asked),
            "holds what is in place": all(bundle.is_held for bundle in placed if bundle not in asked),
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            story = "".join(f"\n  {step}" for step in group.history)
            name = group.group_id.hex()
            raise InvariantViolation(f"group {name} ({state}) breaks: {'; '.join(broken)}. Its history:{story}")
