"""Which nodes the bundles of a placement group go to: pure functions over what nodes have.

Strategy: first by rules that give a good answer at once, bundle by bundle, the largest first. Where these find no room
for the last ones, a search that is bounded in steps looks whether another order has, so that a group is not left
waiting for an unlucky first choice. STRICT_SPREAD needs no search: who may go where is a matching, which is found
exactly. Bundles that are in place stay there: the others are placed around them.

Rejected: a solver, since the groups of practice have few bundles, and most of these are alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ..protocol.common import Resources, from_units
from ..protocol.constraints import fits, matches_labels

__all__ = ["STRATEGIES", "Room", "Wanted", "explain_infeasible", "place_bundles"]

STRATEGIES: Final = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")

_STEPS: Final = 2_000  # of the search: some milliseconds


@dataclass(slots=True)
class Room:
    """A node, with what bundles may take of it."""

    node_id: bytes
    labels: dict[str, str]
    free: Resources
    total: Resources


@dataclass(slots=True)
class Wanted:
    """The bundles to place, by index, and the nodes of those that are in place."""

    bundles: Mapping[int, Resources]
    strategy: str
    labels: Mapping[int, dict[str, str]] = field(default_factory=dict)
    settled: Mapping[int, bytes] = field(default_factory=dict)

    def order(self, rooms: Iterable[Room]) -> list[int]:
        """The largest first, measured by the largest share of what any node has; those with labels before others."""
        most: Resources = {}
        for room in rooms:
            for name, units in room.total.items():
                most[name] = max(units, most.get(name, 0))

        def size(index: int) -> float:
            return max((units / most[name] for name, units in self.bundles[index].items() if most.get(name)), default=0)

        return sorted(self.bundles, key=lambda index: (not self.labels.get(index), -size(index), index))

    def may_go(self, index: int, room: Room) -> bool:
        return matches_labels(self.labels.get(index, {}), room.labels)


def place_bundles(wanted: Wanted, rooms: list[Room]) -> dict[int, bytes] | None:
    """The node of each bundle, or None where not all have room now."""
    if wanted.strategy == "STRICT_PACK":
        return _on_one(wanted, rooms)
    if wanted.strategy == "STRICT_SPREAD":
        return _on_different(wanted, rooms)
    if not _could_suffice(wanted, rooms):
        return None
    found = _packed(wanted, rooms) if wanted.strategy == "PACK" else _spread(wanted, rooms)
    return found if found is not None else _searched(wanted, rooms)


def _could_suffice(wanted: Wanted, rooms: list[Room]) -> bool:
    """Whether all nodes together have enough, and one has for each bundle: else nothing needs to be tried."""
    need = _sum(wanted.bundles.values())
    if any(sum(max(0, room.free.get(name, 0)) for room in rooms) < units for name, units in need.items()):
        return False
    return all(any(fits(bundle, room.free) for room in rooms) for bundle in wanted.bundles.values())


def _on_one(wanted: Wanted, rooms: list[Room]) -> dict[int, bytes] | None:
    """All on the fullest node that has room: the larger ones are left for those who need them."""
    here = set(wanted.settled.values())
    need = _sum(wanted.bundles.values())
    able = [
        room
        for room in rooms
        if (not here or room.node_id in here)
        and fits(need, room.free)
        and all(wanted.may_go(index, room) for index in wanted.bundles)
    ]
    if not able:
        return None
    chosen = min(able, key=lambda room: (_left(room, need), room.node_id))
    return dict.fromkeys(wanted.bundles, chosen.node_id)


def _on_different(wanted: Wanted, rooms: list[Room]) -> dict[int, bytes] | None:
    """A matching by augmenting paths: each bundle has a node of its own, if that is possible at all."""
    used = set(wanted.settled.values())
    emptiest = sorted(rooms, key=lambda room: (-_share_free(room), room.node_id))
    taken: dict[bytes, int] = {}

    def seat(index: int, seen: set[bytes]) -> bool:
        for room in emptiest:
            node_id = room.node_id
            if node_id in used or node_id in seen or not wanted.may_go(index, room):
                continue
            if not fits(wanted.bundles[index], room.free):
                continue
            seen.add(node_id)
            if node_id not in taken or seat(taken[node_id], seen):
                taken[node_id] = index
                return True
        return False

    for index in wanted.order(rooms):
        if not seat(index, set()):
            return None
    return {index: node_id for node_id, index in taken.items()}


def _packed(wanted: Wanted, rooms: list[Room]) -> dict[int, bytes] | None:
    """Fill the node that takes most of what is left, then the next; nodes that have some of the group come first."""
    here = set(wanted.settled.values())
    left = wanted.order(rooms)
    open_rooms = list(rooms)
    found: dict[int, bytes] = {}
    while left:
        best: tuple[tuple[float, ...], Room, list[int]] | None = None
        for room in open_rooms:
            taken, free = _fill(wanted, left, room)
            # The most bundles; among equals where the group is already, and then where least is left.
            rank = (-len(taken), room.node_id not in here, _left(Room(b"", {}, free, room.total), {}))
            if taken and (best is None or (rank, room.node_id) < (best[0], best[1].node_id)):
                best = rank, room, taken
        if best is None:
            return None
        found.update(dict.fromkeys(best[2], best[1].node_id))
        left = [index for index in left if index not in found]
        open_rooms.remove(best[1])
    return found


def _fill(wanted: Wanted, order: list[int], room: Room) -> tuple[list[int], Resources]:
    """The bundles that a node takes, in this order, and what it has left."""
    free = dict(room.free)
    taken = []
    for index in order:
        if wanted.may_go(index, room) and fits(wanted.bundles[index], free):
            _take(free, wanted.bundles[index])
            taken.append(index)
    return taken, free


def _spread(wanted: Wanted, rooms: list[Room]) -> dict[int, bytes] | None:
    """Each to the node with fewest of the group, and of these to the emptiest."""
    count: dict[bytes, int] = {}
    for node_id in wanted.settled.values():
        count[node_id] = count.get(node_id, 0) + 1
    free = {room.node_id: dict(room.free) for room in rooms}
    found: dict[int, bytes] = {}
    for index in wanted.order(rooms):
        need = wanted.bundles[index]
        able = [room for room in rooms if wanted.may_go(index, room) and fits(need, free[room.node_id])]
        if not able:
            return None
        chosen = min(
            able,
            key=lambda room: (
                count.get(room.node_id, 0),
                -_share_free(Room(b"", {}, free[room.node_id], room.total)),
                room.node_id,
            ),
        )
        found[index] = chosen.node_id
        count[chosen.node_id] = count.get(chosen.node_id, 0) + 1
        _take(free[chosen.node_id], need)
    return found


def _searched(wanted: Wanted, rooms: list[Room]) -> dict[int, bytes] | None:
    """Any assignment at all, by trying: bounded, and of equal nodes only the first is tried."""
    order = wanted.order(rooms)
    free = {room.node_id: dict(room.free) for room in rooms}
    found: dict[int, bytes] = {}
    steps = _STEPS

    def seat(position: int) -> bool:
        nonlocal steps
        if position == len(order):
            return True
        index = order[position]
        need = wanted.bundles[index]
        tried: set[object] = set()
        for room in rooms:
            mine = free[room.node_id]
            alike = frozenset(mine.items()), frozenset(room.labels.items())
            if alike in tried or not wanted.may_go(index, room) or not fits(need, mine):
                continue
            tried.add(alike)
            steps -= 1
            if steps <= 0:
                return False
            _take(mine, need)
            found[index] = room.node_id
            if seat(position + 1):
                return True
            for name, units in need.items():
                mine[name] += units
            del found[index]
        return False

    # Each bundle is a level of the recursion: groups larger than this are left to the rules above.
    return found if len(order) <= 200 and seat(0) else None


def explain_infeasible(wanted: Wanted, rooms: list[Room]) -> str:
    """Why a group could not even be placed on empty nodes (``rooms`` with all that they have); empty if it could."""
    if place_bundles(wanted, rooms) is not None:
        return ""
    if not rooms:
        return "there is no node"
    for index in sorted(wanted.bundles):
        need = wanted.bundles[index]
        allowed = [room for room in rooms if wanted.may_go(index, room)]
        if not allowed:
            return f"bundle {index} is to be on a node with the labels {wanted.labels[index]}, and no node has them"
        if not any(fits(need, room.total) for room in allowed):
            return f"bundle {index} asks for {_text(need)}, and {_largest(need, allowed)}"
    everything = _sum(wanted.bundles.values())
    if wanted.strategy == "STRICT_PACK":
        if wanted.settled:
            return (
                f"all bundles are to be on one node, and the one that has some has no room for {_text(everything)} more"
            )
        return f"all bundles are to be on one node, which takes {_text(everything)}, and {_largest(everything, rooms)}"
    if wanted.strategy == "STRICT_SPREAD":
        count = len(wanted.bundles) + len(set(wanted.settled.values()))
        return (
            f"each of {count} bundles is to be on a node of its own, and {_nodes(rooms)}, not all of them large enough"
        )
    return f"the bundles ask for {_text(everything)} in all, and {_nodes(rooms)} with {_text(_both(everything, rooms))}"


def _nodes(rooms: list[Room]) -> str:
    return f"there {'is' if len(rooms) == 1 else 'are'} {len(rooms)} node{'s' if len(rooms) != 1 else ''}"


def _largest(need: Resources, rooms: list[Room]) -> str:
    """What the node that comes nearest has of it."""

    def nearest(room: Room) -> float:
        return min(min(1.0, room.total.get(name, 0) / units) for name, units in need.items())

    room = max(rooms, key=nearest)
    return f"no node has so much: the nearest has {_text({name: room.total.get(name, 0) for name in need})}"


def _both(need: Resources, rooms: list[Room]) -> Resources:
    return {name: sum(room.total.get(name, 0) for room in rooms) for name in need}


def _text(resources: Resources) -> str:
    return ", ".join(f"{value:g} {name}" for name, value in sorted(from_units(resources).items())) or "nothing"


def _sum(parts: Iterable[Resources]) -> Resources:
    total: Resources = {}
    for part in parts:
        for name, units in part.items():
            total[name] = total.get(name, 0) + units
    return total


def _take(free: Resources, need: Resources) -> None:
    for name, units in need.items():
        free[name] -= units


def _left(room: Room, need: Resources) -> float:
    """The share of a node that is free after this, over all that it has."""
    shares = [(room.free.get(name, 0) - need.get(name, 0)) / total for name, total in room.total.items() if total]
    return sum(shares) / len(shares) if shares else 0.0


def _share_free(room: Room) -> float:
    return _left(room, {})
