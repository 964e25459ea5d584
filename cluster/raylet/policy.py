"""Which node a lease goes to: the cluster as this raylet knows it, and a choice without side effects.

Strategy: hybrid. This node first, as long as it has room (the arguments are probably here, and no message is needed);
else the least loaded node that has; else it waits here, where it can ever be met, or goes to where it can. SPREAD goes
round the nodes with room. What was sent away since the last view is counted as taken there, so that a burst does not
all go to the node that looked empty. Demand is passed on a few times at most: views are old, and two full nodes must
not play ball.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ..protocol.common import NodeInfo, Resources, from_units
from ..protocol.constraints import affinity, fits, matches_labels
from ..protocol.raylet_messages import LeaseSpec

__all__ = ["HERE", "WAIT", "Choice", "ClusterView"]


class Choice(NamedTuple):
    """``node``: to send it to; None: stay here. ``refused``: nowhere can it be met; ``fatal``: and never will.

    ``group_removed``: since its placement group is no more.
    """

    node: bytes | None = None
    wait: bool = False
    refused: str = ""
    fatal: bool = False
    group_removed: bool = False


HERE: Final = Choice()
WAIT: Final = Choice(wait=True)


class _Node:
    __slots__ = ("available", "info", "sent", "total")

    def __init__(self, info: NodeInfo) -> None:
        self.info = info
        self.total = info.total
        self.available = dict(info.total)
        self.sent: Resources = {}

    def has_room(self, request: Resources) -> bool:
        return all(self.available.get(name, 0) - self.sent.get(name, 0) >= units for name, units in request.items())

    def load(self, request: Resources) -> float:
        """The fullest share among what is asked for, and of CPUs."""
        names = [name for name in {*request, "CPU"} if self.total.get(name)]
        return max(
            (1 - (self.available.get(name, 0) - self.sent.get(name, 0)) / self.total[name] for name in names),
            default=0.0,
        )


class ClusterView:
    """The other nodes, and this one's name and labels."""

    def __init__(self, node_id: bytes, total: Resources, labels: dict[str, str], hops: int) -> None:
        self._node_id = node_id
        self._total = total
        self._labels = labels
        self._hops = hops
        self._others: dict[bytes, _Node] = {}
        self._turn = 0
        self.is_draining = False
        """Whether this node is about to leave: nothing new is for it."""
        self.is_known = False
        """Whether the GCS has told the nodes; before that nothing can be said to be infeasible."""

    # -- what the GCS says --------------------------------------------------------------------------------------------

    def node_changed(self, info: NodeInfo) -> None:
        """A node came, changed or died."""
        if info.node_id == self._node_id:
            return
        if not info.alive:
            self._others.pop(info.node_id, None)
            return
        known = self._others.get(info.node_id)
        if known is None:
            self._others[info.node_id] = _Node(info)
        else:
            known.info = info
            known.total = info.total

    def resources_changed(self, nodes: list[tuple[bytes, Resources, Resources]]) -> None:
        """What these nodes have free, as of a moment ago."""
        for node_id, available, total in nodes:
            node = self._others.get(node_id)
            if node is not None:
                node.available, node.total, node.sent = available, total, {}

    def find(self, node_id: bytes) -> NodeInfo | None:
        """Another node that lives."""
        node = self._others.get(node_id)
        return None if node is None else node.info

    def others(self) -> list[bytes]:
        """All other nodes that live."""
        return list(self._others)

    def note_sent(self, node_id: bytes, request: Resources) -> None:
        """Demand for this was passed on to that node."""
        sent = self._others[node_id].sent
        for name, units in request.items():
            sent[name] = sent.get(name, 0) + units

    # -- the choice ---------------------------------------------------------------------------------------------------

    def choose(self, spec: LeaseSpec, fits_here: bool, hops: int) -> Choice:
        """Where one lease of this class is to be had, ``fits_here`` saying whether this node has room now."""
        request = spec.resources
        may_be_here = matches_labels(spec.labels, self._labels) and not self.is_draining
        others = [node for node in self._others.values() if matches_labels(spec.labels, node.info.labels)]
        wish = affinity(spec.strategy)
        if wish is not None:
            node_id, hard = wish
            at_wish = self._at(node_id, spec, fits_here, may_be_here)
            if at_wish is not None:
                return at_wish
            if hard:
                return self._refuse_affinity(node_id, spec)
        if self._hops <= hops:  # it has travelled enough
            if may_be_here and fits(request, self._total):
                return HERE if fits_here else WAIT
        elif spec.strategy == "SPREAD" and hops == 0:
            spread = self._spread(request, others, fits_here and may_be_here)
            if spread is not None:
                return spread
        if fits_here and may_be_here:
            return HERE
        with_room = [node for node in others if node.has_room(request)]
        if with_room and hops < self._hops:
            return Choice(min(with_room, key=lambda node: (node.load(request), node.info.node_id)).info.node_id)
        if may_be_here and fits(request, self._total):
            return WAIT
        large_enough = [node for node in others if fits(request, node.total)]
        if large_enough and hops < self._hops:
            return Choice(min(large_enough, key=lambda node: (node.load(request), node.info.node_id)).info.node_id)
        if not self.is_known:
            return WAIT
        return Choice(wait=True, refused=self._why_infeasible(spec))

    def _at(self, node_id: bytes, spec: LeaseSpec, fits_here: bool, may_be_here: bool) -> Choice | None:
        """The choice if the wished node is there and could ever meet it."""
        if node_id == self._node_id:
            if not may_be_here or not fits(spec.resources, self._total):
                return None
            return HERE if fits_here else WAIT
        node = self._others.get(node_id)
        if node is None:
            return None if self.is_known else WAIT
        if not fits(spec.resources, node.total) or not matches_labels(spec.labels, node.info.labels):
            return None
        return Choice(node_id)

    def _refuse_affinity(self, node_id: bytes, spec: LeaseSpec) -> Choice:
        name = node_id.hex()
        if node_id == self._node_id and self.is_draining:
            text = f"node {name} was asked for and is leaving the cluster: choose another, or use soft=True"
            return Choice(wait=True, refused=text, fatal=True)
        if node_id == self._node_id or node_id in self._others:
            total = self._total if node_id == self._node_id else self._others[node_id].total
            return Choice(
                wait=True,
                refused=f"node {name} was asked for, with {_describe(spec)}, and has only {_quantities(total)} in all",
            )
        return Choice(
            wait=True,
            refused=f"node {name} was asked for and is not part of the cluster (any more): "
            "choose another, or use soft=True to let it run elsewhere",
            fatal=True,
        )

    def _spread(self, request: Resources, others: list[_Node], here: bool) -> Choice | None:
        """The next node in turn that has room; None if none has."""
        names = sorted([node.info.node_id for node in others if node.has_room(request)] + [self._node_id] * here)
        if not names:
            return None
        self._turn += 1
        chosen = names[self._turn % len(names)]
        return HERE if chosen == self._node_id else Choice(chosen)

    def _why_infeasible(self, spec: LeaseSpec) -> str:
        nodes = [(self._node_id, self._total, self._labels)]
        nodes += [(node.info.node_id, node.total, node.info.labels) for node in self._others.values()]
        there = "; ".join(
            f"node {node_id.hex()} has {_quantities({n: total.get(n, 0) for n in spec.resources} or total)}"
            + (f" and labels {labels}" if spec.labels else "")
            for node_id, total, labels in nodes[:8]
        )
        more = f"; and {len(nodes) - 8} nodes more" if len(nodes) > 8 else ""
        return (
            f"It asks for {_describe(spec)}, which no node has in all: {there}{more}. It waits until such a node "
            "joins: ask for less, add a node, or cancel it"
        )


def _quantities(resources: Resources) -> str:
    return ", ".join(f"{value:g} {name}" for name, value in sorted(from_units(resources).items())) or "nothing"


def _describe(spec: LeaseSpec) -> str:
    text = _quantities(spec.resources)
    return f"{text} on a node with labels {spec.labels}" if spec.labels else text
