"""Placement groups as this raylet knows them: where their bundles are, and which node a request of one goes to.

Strategy: a raylet learns of a group when somebody first asks for a lease in it; it watches it from then on. A request
waits here while its group has no bundle for it. It is taken here where a bundle has room; else it goes to a node whose
bundles had room when it reported last, less what was sent there since; else it waits where a bundle is. What can never
be, because the group was removed or no bundle of it is large enough, is refused for good.
"""

from __future__ import annotations

from typing import Final

from ..protocol.common import Resources, from_units
from ..protocol.constraints import fits
from ..protocol.gcs_messages import ResourceView
from ..protocol.group_messages import GroupInfo, WatchGroup
from .events import Context
from .policy import HERE, WAIT, Choice, ClusterView

__all__ = ["GroupView"]

_REMOVED_KEPT: Final = 1_000  # who asks for one of before is told by the GCS


class GroupView:
    """What the GCS said of the groups that processes of this node use."""

    def __init__(self, context: Context, view: ClusterView) -> None:
        self._context = context
        self._view = view
        self._known: dict[bytes, GroupInfo] = {}
        self._removed: dict[bytes, None] = {}  # of the known, in the order in which that was told
        self._asked: set[bytes] = set()
        self._free: dict[bytes, dict[tuple[bytes, int], Resources]] = {}  # by node: of (group, index)
        self._sent: dict[bytes, dict[bytes, int]] = {}  # by node and group: requests since its report

    # -- what the GCS says --------------------------------------------------------------------------------------------

    def update(self, info: GroupInfo) -> None:
        """A group is so now."""
        self._asked.discard(info.group_id)
        self._known[info.group_id] = info
        if info.state == "REMOVED":
            self._removed[info.group_id] = None
            if len(self._removed) > _REMOVED_KEPT:
                oldest = next(iter(self._removed))
                del self._removed[oldest], self._known[oldest]

    def resources_changed(self, message: ResourceView) -> None:
        """What is free of bundles on other nodes."""
        rows = dict(message.bundles)
        for node_id, _, _ in message.nodes:
            self._sent.pop(node_id, None)
            self._free.pop(node_id, None)
            if node_id in rows:
                self._free[node_id] = {(group_id, index): free for group_id, index, free in rows[node_id]}

    def welcomed(self) -> None:
        """The GCS may be a new one, which does not know who watches."""
        for group_id in [*self._known, *self._asked]:
            self._context.tell_gcs(WatchGroup(group_id))

    # -- the choice ---------------------------------------------------------------------------------------------------

    def choose(
        self, member: tuple[bytes, int], request: Resources, *, fits_here: bool, could_here: bool, hops: int
    ) -> Choice:
        """Where one lease of a group is to be had: ``could_here`` says that a bundle of this node is large enough."""
        group_id, index = member
        info = self._known.get(group_id)
        if info is None:
            if group_id not in self._asked:
                self._asked.add(group_id)
                self._context.tell_gcs(WatchGroup(group_id))
            return WAIT
        refusal = _refuse(info, index, request)
        if refusal is not None:
            return refusal
        if fits_here and not self._view.is_draining:
            return HERE
        able = self._able(info, index, request)
        with_room = [node_id for node_id in able if self._has_room(node_id, group_id, able[node_id], request)]
        if with_room and hops < self._context.config.hops:
            return Choice(min(with_room, key=lambda node_id: (self._sent_to(node_id, group_id), node_id)))
        if could_here or not able:
            return WAIT
        return Choice(min(able, key=lambda node_id: (self._sent_to(node_id, group_id), node_id)))

    def _able(self, info: GroupInfo, index: int, request: Resources) -> dict[bytes, list[int]]:
        """Other nodes with bundles that are large enough."""
        found: dict[bytes, list[int]] = {}
        for number, node_id in enumerate(info.nodes):
            is_meant = index in (-1, number) and fits(request, info.bundles[number])
            if is_meant and self._view.find(node_id) is not None:
                found.setdefault(node_id, []).append(number)
        return found

    def _has_room(self, node_id: bytes, group_id: bytes, indexes: list[int], request: Resources) -> bool:
        free = self._free.get(node_id, {})
        # As many requests as were sent there since its report are taken to have filled it.
        slots = sum(_slots(free.get((group_id, index), {}), request) for index in indexes)
        return slots > self._sent_to(node_id, group_id)

    def _sent_to(self, node_id: bytes, group_id: bytes) -> int:
        return self._sent.get(node_id, {}).get(group_id, 0)

    def note_sent(self, node_id: bytes, group_id: bytes) -> None:
        """A request was passed on to that node."""
        sent = self._sent.setdefault(node_id, {})
        sent[group_id] = sent.get(group_id, 0) + 1


def _slots(free: Resources, request: Resources) -> int:
    """How many such requests fit; of one that asks for nothing, enough where there is a bundle at all."""
    if not request:
        return 1_000
    return max(0, min(free.get(name, 0) // units for name, units in request.items()))


def _refuse(info: GroupInfo, index: int, request: Resources) -> Choice | None:
    name = info.group_id.hex()
    if info.state == "REMOVED":
        text = f"Its placement group {name} was removed: {info.reason}"
        return Choice(wait=True, refused=text, fatal=True, group_removed=True)
    if index >= len(info.bundles):
        text = f"placement group {name} has {len(info.bundles)} bundles, and bundle {index} was asked for"
        return Choice(wait=True, refused=text, fatal=True)
    if not any(index in (-1, number) and fits(request, bundle) for number, bundle in enumerate(info.bundles)):
        lack = "no bundle has so much" if index < 0 else f"bundle {index} has {from_units(info.bundles[index])}"
        text = f"It asks for {from_units(request)} of placement group {name}, and {lack}"
        return Choice(wait=True, refused=text, fatal=True)
    return None
