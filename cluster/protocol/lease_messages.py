"""Demand and leases: what owners and raylets say to each other about workers.

Strategy: demand is declarative. An owner says how many leases of a class it wants in all (`SetDemand`); the raylet
grants, spills to another node, or says why not. Saying the same again is harmless, so no request has to be matched to
an answer.
"""

from __future__ import annotations

import msgspec

from .common import Address, Resources

__all__ = [
    "LeaseGranted",
    "LeaseReclaim",
    "LeaseRefused",
    "LeaseSpec",
    "LeaseSpill",
    "ReturnLeases",
    "SetDemand",
]


class LeaseSpec(msgspec.Struct, array_like=True, frozen=True):
    """What a worker must have: resources, a strategy, a runtime environment. Equal specs are one scheduling class.

    ``strategy``: "DEFAULT", "SPREAD", "node:<hex id>" / "node~:<hex id>" (hard / soft affinity), or
    "group:<hex id>:<i>" (bundle ``i`` of a placement group, -1: any).
    ``runtime_env`` is JSON text, empty for none; ``env_hash`` names it.
    """

    resources: Resources
    job_id: bytes
    strategy: str = "DEFAULT"
    runtime_env: str = ""
    labels: dict[str, str] = {}


class SetDemand(msgspec.Struct, array_like=True, tag=2):
    """Owner: of class ``class_id`` (its own number) I want ``want`` leases in all, those I hold counted in.

    ``spec`` is given with the first message of a class. ``hops`` counts how often the demand was spilled on. ``name``
    and ``cell`` are of the task that waits first, for people who ask why it does.
    """

    class_id: int
    want: int
    spec: LeaseSpec | None = None
    hops: int = 0
    queued: int = 0  # tasks waiting, for the resource view and the autoscaler
    name: str = ""
    cell: int = 0


class ReturnLeases(msgspec.Struct, array_like=True, tag=3):
    """Owner: done with these. ``broken``: the worker must not be used again."""

    lease_ids: list[int]
    broken: bool = False


class LeaseGranted(msgspec.Struct, array_like=True, tag=2):
    """Use this worker until you return the lease. ``accelerators``: instance numbers held, e.g. GPU → [0, 1]."""

    class_id: int
    lease_id: int
    worker: Address
    accelerators: dict[str, list[int]] = {}
    pid: int = 0


class LeaseSpill(msgspec.Struct, array_like=True, tag=3):
    """Ask ``raylet`` for ``count`` leases of this class, rather than me (I lower your demand here by as many)."""

    class_id: int
    count: int
    raylet: Address
    hops: int = 0


class LeaseRefused(msgspec.Struct, array_like=True, tag=4):
    """No node can meet this now (``infeasible``: a warning, the demand stays) or ever (``fatal``: tasks must fail)."""

    class_id: int
    text: str
    fatal: bool = False
    group_removed: bool = False  # that is why


class LeaseReclaim(msgspec.Struct, array_like=True, tag=5):
    """Others wait: push no more tasks on this lease, and return it when those already started are done."""

    lease_id: int
