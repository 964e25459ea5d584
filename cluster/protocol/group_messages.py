"""Placement groups: what those who make and use them, the GCS and raylets say to each other.

Strategy: a group is reserved in two steps, so that it is there as a whole or not at all. The GCS asks raylets to
prepare bundles (`PrepareBundles`), and only when all have said that they hold them (`ReportBundles`) it says that they
are to be used (`CommitBundles`); else it gives back what was prepared (`ReturnBundles`). Each placement has a number,
``attempt``, so that what was said of an earlier one is told apart. Who uses a group watches it as actors are watched.
"""

from __future__ import annotations

import msgspec

from .common import Address, Cell, Resources

__all__ = [
    "BundleRow",
    "CommitBundles",
    "CreateGroup",
    "GetGroup",
    "GroupInfo",
    "GroupSpec",
    "GroupUpdate",
    "PrepareBundles",
    "RemoveGroup",
    "ReportBundles",
    "ReturnBundles",
    "WatchGroup",
]

BundleRow = tuple[bytes, int, Resources]
"""A bundle that tasks and actors may use: its group, its index, and what of it is free."""


class GroupSpec(msgspec.Struct):
    """What somebody asked for. ``labels[i]`` is what the node of bundle ``i`` must have; empty: nothing of any."""

    bundles: list[Resources]
    strategy: str  # PACK, SPREAD, STRICT_PACK or STRICT_SPREAD
    job_id: bytes
    creator: Address
    name: str = ""
    namespace: str = ""
    detached: bool = False
    labels: list[dict[str, str]] = []
    cell: Cell | None = None
    site: str = ""


class GroupInfo(msgspec.Struct, array_like=True):
    """A group as those who use it know it.

    ``state``: PENDING, CREATED, RESCHEDULING (bundles were lost with their node) or REMOVED. ``nodes[i]`` is where
    bundle ``i`` is to be used, empty where it cannot be. ``reason``: why it waits, or why it was removed.
    """

    group_id: bytes
    state: str
    bundles: list[Resources]
    nodes: list[bytes]
    reason: str = ""


# -- core to GCS ----------------------------------------------------------------------------------------------------


class CreateGroup(msgspec.Struct, array_like=True, tag=70):
    """Make this group; the sender watches it. Answered with `Answer` of `GroupInfo`, or `Failed` ("name_taken")."""

    group_id: bytes
    spec: GroupSpec
    request: int = 0


class RemoveGroup(msgspec.Struct, array_like=True, tag=71):
    """End this group, with all that runs in it. Answer: whether it was still there."""

    group_id: bytes
    request: int = 0


class GetGroup(msgspec.Struct, array_like=True, tag=72):
    """By name and namespace, or by id. Answered with `Answer` of `GroupInfo`, or `Failed` (kind "not_found")."""

    name: str = ""
    namespace: str = ""
    group_id: bytes = b""
    request: int = 0


class WatchGroup(msgspec.Struct, array_like=True, tag=73):
    """Core or raylet: tell me (`GroupUpdate`) how this group is, now and whenever that changes."""

    group_id: bytes


# -- raylet to GCS --------------------------------------------------------------------------------------------------


class ReportBundles(msgspec.Struct, array_like=True, tag=74):
    """What `PrepareBundles` asked for is held; or it can not be (``refused``)."""

    group_id: bytes
    attempt: int
    refused: bool = False


# -- GCS to raylet --------------------------------------------------------------------------------------------------


class PrepareBundles(msgspec.Struct, array_like=True, tag=75):
    """Hold these bundles (by index) of a group, all or none, for nobody yet. Answered with `ReportBundles`."""

    group_id: bytes
    attempt: int
    bundles: dict[int, Resources]


class CommitBundles(msgspec.Struct, array_like=True, tag=76):
    """What was prepared is to be used."""

    group_id: bytes
    attempt: int


class ReturnBundles(msgspec.Struct, array_like=True, tag=77):
    """Give back what this attempt holds (0: all of the group), and end what runs in it."""

    group_id: bytes
    attempt: int = 0
    reason: str = ""


# -- GCS to those who watch -----------------------------------------------------------------------------------------


class GroupUpdate(msgspec.Struct, array_like=True, tag=10):
    """To those who watch a group."""

    info: GroupInfo
