"""A placement group as the GCS keeps it, its states, and the facts that move it from one to the next."""

from __future__ import annotations

import enum
from typing import NamedTuple

import msgspec

from ..protocol.common import Resources
from ..protocol.group_messages import GroupInfo, GroupSpec
from ..protocol.transitions import History, new_history
from .bundle_placement import Wanted

__all__ = [
    "Bundle",
    "BundlesLost",
    "Group",
    "GroupFact",
    "GroupRecord",
    "GroupState",
    "NodesChosen",
    "Prepared",
    "Refused",
    "Remove",
]


class GroupState(enum.StrEnum):
    """Where a group is in its life, finer than what its users are told (`Group.public_state`).

    WAITING: some bundles have no node, and none is asked. PREPARING: nodes were asked to hold those that had none.
    CREATED: all are in place. REMOVED: for good.
    """

    WAITING = "WAITING"
    PREPARING = "PREPARING"
    CREATED = "CREATED"
    REMOVED = "REMOVED"


class Bundle:
    """One bundle. ``node_id``: where it is, or is being prepared; ``is_held``: whether the node has said so.

    ``attempt`` is the placement that put it there. ``actors``: who holds what of it, as far as the GCS placed them.
    ``has_refused``: an actor found no room in it, and its node has not reported since.
    """

    __slots__ = ("actors", "attempt", "has_refused", "index", "is_held", "node_id", "resources")

    def __init__(self, index: int, resources: Resources) -> None:
        self.index = index
        self.resources = resources
        self.node_id: bytes | None = None
        self.attempt = 0
        self.is_held = False
        self.actors: dict[bytes, Resources] = {}
        self.has_refused = False

    def free_of_actors(self) -> Resources:
        free = dict(self.resources)
        for held in self.actors.values():
            for name, units in held.items():
                free[name] = free.get(name, 0) - units
        return free


class GroupRecord(msgspec.Struct):
    """What outlives a restart of the GCS, besides the specification, which is stored once."""

    state: str
    attempt: int
    bundles: list[tuple[bytes | None, int, bool]]  # node, attempt, whether it holds it
    creator_actor: bytes
    placements: int
    reason: str
    created: float
    placed: float | None
    removed: float | None


class Group:
    """One placement group.

    ``creator_actor``: it ends with this actor, which outlives its job; else with its job. ``attempt``: number of the
    last placement. ``placements``: how often all bundles came to be in place. ``lost``: when it lost some.
    ``is_warned``: the user was told that it fits nowhere.
    """

    __slots__ = (
        "attempt",
        "bundles",
        "created",
        "creator_actor",
        "group_id",
        "history",
        "is_warned",
        "lost",
        "placed",
        "placements",
        "reason",
        "removed",
        "spec",
        "state",
    )

    def __init__(self, group_id: bytes, spec: GroupSpec, creator_actor: bytes, created: float) -> None:
        self.group_id = group_id
        self.spec = spec
        self.creator_actor = creator_actor
        self.created = created
        self.state = GroupState.WAITING
        self.bundles = [Bundle(index, resources) for index, resources in enumerate(spec.bundles)]
        self.attempt = 0
        self.placements = 0
        self.reason = ""
        self.placed: float | None = None
        self.lost: float | None = None
        self.removed: float | None = None
        self.is_warned = False
        self.history: History = new_history()

    @property
    def is_removed(self) -> bool:
        return self.state is GroupState.REMOVED

    @property
    def public_state(self) -> str:
        """The word that its users are told."""
        if self.state in (GroupState.CREATED, GroupState.REMOVED):
            return str(self.state)
        return "RESCHEDULING" if self.placements else "PENDING"

    def in_place(self, bundle: Bundle) -> bool:
        """Whether tasks may use it: its placement is done."""
        if self.state is GroupState.REMOVED or bundle.node_id is None:
            return False
        return self.state is not GroupState.PREPARING or bundle.attempt != self.attempt

    def asked(self) -> list[Bundle]:
        """Those of the placement that is under way."""
        if self.state is not GroupState.PREPARING:
            return []
        return [bundle for bundle in self.bundles if bundle.node_id is not None and bundle.attempt == self.attempt]

    def wanted(self) -> Wanted:
        """What is to be placed."""
        labels = dict(enumerate(self.spec.labels))
        without = {bundle.index: bundle.resources for bundle in self.bundles if bundle.node_id is None}
        settled = {bundle.index: bundle.node_id for bundle in self.bundles if bundle.node_id is not None}
        return Wanted(without, self.spec.strategy, labels, settled)

    def shape(self) -> object:
        """Equal for groups that wait for the same: where one finds no room, the others find none."""
        wanted = self.wanted()
        return (
            wanted.strategy,
            tuple(sorted((index, *sorted(need.items())) for index, need in wanted.bundles.items())),
            tuple(sorted((index, *sorted(chosen.items())) for index, chosen in wanted.labels.items())),
            tuple(sorted(wanted.settled.items())),
        )

    def info(self) -> GroupInfo:
        nodes = [bundle.node_id or b"" if self.in_place(bundle) else b"" for bundle in self.bundles]
        return GroupInfo(self.group_id, self.public_state, self.spec.bundles, nodes, self.reason)

    def record(self) -> GroupRecord:
        return GroupRecord(
            state=self.state,
            attempt=self.attempt,
            bundles=[(bundle.node_id, bundle.attempt, bundle.is_held) for bundle in self.bundles],
            creator_actor=self.creator_actor,
            placements=self.placements,
            reason=self.reason,
            created=self.created,
            placed=self.placed,
            removed=self.removed,
        )

    @classmethod
    def from_record(cls, group_id: bytes, spec: GroupSpec, record: GroupRecord) -> Group:
        group = cls(group_id, spec, record.creator_actor, record.created)
        group.state = GroupState(record.state)
        group.attempt, group.placements, group.reason = record.attempt, record.placements, record.reason
        group.placed, group.removed = record.placed, record.removed
        for bundle, (node_id, attempt, is_held) in zip(group.bundles, record.bundles, strict=True):
            bundle.node_id, bundle.attempt, bundle.is_held = node_id, attempt, is_held
        return group


# -- facts ------------------------------------------------------------------------------------------------------------


class NodesChosen(NamedTuple):
    """There is room for all bundles that have no node: by index."""

    nodes: dict[int, bytes]


class Prepared(NamedTuple):
    """A node holds what it was asked to, for this placement."""

    node_id: bytes


class Refused(NamedTuple):
    """A node could not."""

    node_id: bytes


class BundlesLost(NamedTuple):
    """A node is gone, or no longer has these bundles."""

    node_id: bytes
    why: str


class Remove(NamedTuple):
    """It is to end, for this reason."""

    reason: str


GroupFact = NodesChosen | Prepared | Refused | BundlesLost | Remove
