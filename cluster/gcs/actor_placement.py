"""Where a waiting actor goes: to a node, into a bundle of its placement group, or nowhere ever.

Strategy: on nodes as `placement` chooses. In a group, to a bundle that is in place and has room as far as actors take
it, which only the GCS places; what tasks take of it changes at any moment, so of those bundles first one that had room
for it when its node reported last, and else the raylet makes the actor wait there while leases are asked back.
"""

from __future__ import annotations

from ..protocol.common import Death, DeathKind, Resources, from_units
from ..protocol.constraints import affinity, fits
from .actor_record import Actor, End, Placed
from .group_record import Bundle, Group
from .groups_machine import Groups
from .nodes_machine import Nodes, NodeState
from .placement import choose_busy_node, choose_node, needed

__all__ = ["ActorPlacement", "group_removed"]


def group_removed(group_id: bytes, reason: str) -> Death:
    """Why actors of a group end with it."""
    return Death(DeathKind.GROUP_REMOVED, f"its placement group {group_id.hex()} was removed: {reason}")


class ActorPlacement:
    """Decides for one actor after the other."""

    def __init__(self, nodes: Nodes, groups: Groups) -> None:
        self._nodes = nodes
        self._groups = groups

    def decide(self, actor: Actor) -> Placed | End | None:
        """Where it goes, or why it never can; None if it is to wait."""
        if actor.member is not None:
            return self._in_group(actor, *actor.member)
        spec = actor.spec
        wish = affinity(spec.strategy)
        if wish is not None and wish[1]:
            wanted = self._nodes.by_id.get(wish[0])
            if wanted is None or wanted.is_dead:
                name = wish[0].hex()
                text = (
                    f"it may run on node {name} only, which is dead or was never there; use soft=True, or another node"
                )
                return End(Death(DeathKind.UNSCHEDULABLE, text))
        home = spec.owner.node_id
        chosen = choose_node(spec, self._nodes.open(), home)
        if chosen is None:
            chosen = choose_busy_node(spec, self._nodes.unpressed(), home)
            if chosen is not None:
                self._nodes.press(chosen, actor.actor_id)
        return None if chosen is None else Placed(chosen)

    def _in_group(self, actor: Actor, group_id: bytes, index: int) -> Placed | End | None:
        group = self._groups.by_id.get(group_id)
        if group is None or group.is_removed:
            reason = group.reason if group is not None else "that was long ago, or it never was"
            return End(group_removed(group_id, reason))
        bundles = group.bundles if index < 0 else group.bundles[index : index + 1]
        need = needed(actor.spec)
        large_enough = [bundle for bundle in bundles if fits(need, bundle.resources)]
        if not large_enough:
            which = "no bundle has so much" if index < 0 else f"bundle {index} has less, or is not there"
            text = f"it asks for {from_units(need)} of placement group {group_id.hex()}, of which {which}"
            return End(Death(DeathKind.UNSCHEDULABLE, text))
        held = actor.spec.resources
        room = [b for b in large_enough if self._is_open(group, b) and fits(held, b.free_of_actors())]
        if not room:
            return None
        chosen = min(room, key=lambda b: (not fits(held, self._reported(group, b)), len(b.actors), b.index))
        assert chosen.node_id is not None
        return Placed(chosen.node_id, chosen.index)

    def _is_open(self, group: Group, bundle: Bundle) -> bool:
        if bundle.has_refused or not group.in_place(bundle):
            return False
        return self._nodes.by_id[bundle.node_id or b""].state is NodeState.ALIVE

    def _reported(self, group: Group, bundle: Bundle) -> Resources:
        """What its node said is free of it."""
        rows = self._nodes.by_id[bundle.node_id or b""].bundle_rows
        mine = (free for group_id, index, free in rows if group_id == group.group_id and index == bundle.index)
        return next(mine, bundle.resources)

    # -- what it holds ------------------------------------------------------------------------------------------------

    def hold(self, actor: Actor) -> None:
        """It has been sent to its bundle."""
        bundle = self._bundle_of(actor)
        if bundle is not None:
            bundle.actors[actor.actor_id] = actor.spec.resources

    def release(self, actor: Actor) -> None:
        """It left its node, or never got there."""
        bundle = self._bundle_of(actor)
        if bundle is not None:
            bundle.actors.pop(actor.actor_id, None)
        actor.bundle = -1

    def refused(self, actor: Actor) -> None:
        """Its node could not take it: what is known of that is out of date until it reports."""
        bundle = self._bundle_of(actor)
        if bundle is not None:
            bundle.has_refused = True
        elif actor.node_id is not None:
            self._nodes.refused(self._nodes.by_id[actor.node_id])

    def _bundle_of(self, actor: Actor) -> Bundle | None:
        if actor.member is None or actor.bundle < 0:
            return None
        group = self._groups.by_id.get(actor.member[0])
        return None if group is None else group.bundles[actor.bundle]
