"""Which node an actor goes to: pure functions over what the nodes have.

Strategy, as users of Ray know it: pack up to half of a node, then spread. Among nodes below half, the owner's own
comes first (its arguments are there), then the emptier. An actor that holds nothing for its life (the default) asks
for its placement (1 CPU) only to be put where CPUs are idle: it counts as load, but it never waits for a CPU it would
not hold.

Rejected: a random choice among the best, which hides imbalance in tests; and the bin packing of whole batches, since
actors come one at a time and a started one does not move.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from ..protocol.common import Resources
from ..protocol.constraints import affinity, fits, matches_labels

__all__ = ["NodeLoad", "choose_busy_node", "choose_node", "is_feasible", "needed"]

_PACK_UNTIL: Final = 0.5


class NodeLoad(Protocol):
    """What placement asks of a node."""

    @property
    def node_id(self) -> bytes: ...
    @property
    def labels(self) -> dict[str, str]: ...
    @property
    def total(self) -> Resources: ...
    @property
    def largest(self) -> Resources:
        """The total that it can grow to."""
        ...

    @property
    def free(self) -> Resources:
        """Available, less what actors on their way there will hold."""
        ...

    @property
    def promised(self) -> Resources:
        """What the actors there asked for their placement but do not hold: counts as load, never as taken."""
        ...

    @property
    def spread(self) -> int:
        """Actors there that asked for SPREAD."""
        ...


class Placeable(Protocol):
    """What placement asks of an actor's specification."""

    resources: Resources
    placement: Resources
    strategy: str
    labels: dict[str, str]


def needed(spec: Placeable) -> Resources:
    """What a node must have in all: for each resource, the larger of what is held and what is asked for placement."""
    need = dict(spec.placement)
    for name, units in spec.resources.items():
        need[name] = max(units, need.get(name, 0))
    return need


def is_feasible(spec: Placeable, nodes: Iterable[NodeLoad]) -> bool:
    """Whether some node could take it if it were empty."""
    need = needed(spec)
    return any(fits(need, node.largest) for node in _candidates(spec, list(nodes)))


def _candidates(spec: Placeable, nodes: list[NodeLoad]) -> list[NodeLoad]:
    """The nodes that strategy and labels allow. A soft affinity is hard while its node is there and large enough."""
    allowed = [node for node in nodes if matches_labels(spec.labels, node.labels)]
    wish = affinity(spec.strategy)
    if wish is None:
        return allowed
    node_id, hard = wish
    wished = [node for node in allowed if node.node_id == node_id]
    if hard or (wished and fits(needed(spec), wished[0].largest)):
        return wished
    return allowed


def choose_node(spec: Placeable, nodes: Iterable[NodeLoad], home: bytes) -> bytes | None:
    """The node to start an actor on now, or None where none has room.

    Parameters
    ----------
    nodes
        Those that take new actors.
    home
        The owner's node.
    """
    need = needed(spec)
    large_enough = [node for node in _candidates(spec, list(nodes)) if fits(need, node.largest)]
    room = [node for node in large_enough if fits(spec.resources, node.free)]
    if not room:
        return None
    idle = [node for node in room if fits(need, node.free)]
    chosen = min(idle or room, key=lambda node: _cost(node, need, home, spec.strategy == "SPREAD"))
    return chosen.node_id


def choose_busy_node(spec: Placeable, nodes: Iterable[NodeLoad], home: bytes) -> bytes | None:
    """The node whose raylet is to make room for an actor that fits nowhere now, or None where none could."""
    need = needed(spec)
    able = [node for node in _candidates(spec, list(nodes)) if fits(need, node.largest)]
    if not able:
        return None
    return min(able, key=lambda node: _cost(node, need, home, spec.strategy == "SPREAD")).node_id


def _cost(node: NodeLoad, need: Resources, home: bytes, spread: bool) -> tuple[float, float, bytes]:
    load = _load_after(node, need)
    if spread:
        return node.spread, load, node.node_id
    if load <= _PACK_UNTIL:
        return 0.0, 0.0 if node.node_id == home else 1.0 + load, node.node_id
    return load, 0.0 if node.node_id == home else 1.0, node.node_id


def _load_after(node: NodeLoad, need: Resources) -> float:
    """The fullest share of a node's resources once it had this actor; over 1 where promises exceed what there is."""
    shares = [0.0]
    for name, total in node.total.items():
        if total and (name in need or name == "CPU"):
            used = total - node.free.get(name, 0) + node.promised.get(name, 0)
            shares.append((used + need.get(name, 0)) / total)
    return max(shares)
