"""Types that several channels share: addresses, cells, resources, reasons of death."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

import msgspec

__all__ = [
    "PROTOCOL_VERSION",
    "RESOURCE_UNIT",
    "Address",
    "CancelCell",
    "Cell",
    "Death",
    "DeathKind",
    "NodeInfo",
    "Resources",
    "SetCapacity",
    "from_units",
    "to_units",
]

PROTOCOL_VERSION: Final = 1

RESOURCE_UNIT: Final = 10_000
"""Quantities travel and are added as integers of 1/10,000.

Sums of fractions are exact that way, so nothing leaks by rounding.
"""

Resources = dict[str, int]
"""Resource name to quantity in units of 1/10,000. Zero quantities are left out."""


def to_units(resources: dict[str, float]) -> Resources:
    """Turn what a user wrote (``{"CPU": 0.5}``) into exact units; zeros are left out."""
    out: Resources = {}
    for name, quantity in resources.items():
        if quantity < 0:
            raise ValueError(f"resource {name!r} must not be negative, got {quantity}")
        units = round(quantity * RESOURCE_UNIT)
        if units == 0 and quantity > 0:
            raise ValueError(f"resource {name!r}: {quantity} is finer than the smallest share, {1 / RESOURCE_UNIT}")
        if units:
            out[name] = units
    return out


def from_units(resources: Resources) -> dict[str, float]:
    """Turn exact units into the floats that users see."""
    return {name: units / RESOURCE_UNIT for name, units in resources.items()}


class Address(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a process (driver, worker, raylet or GCS) serves requests.

    ``ipc`` is valid on the node's machine (same ``node_id`` or same host), ``tcp`` (with CURVE) from anywhere; either
    may be empty. For raylet and GCS ``worker_id`` is the process id of that server.
    """

    worker_id: bytes
    node_id: bytes = b""
    ipc: str = ""
    tcp: str = ""


class Cell(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The notebook cell that submitted a task; child tasks inherit it. ``execution`` is 0 outside a notebook.

    ``generation`` counts how often it was cancelled before: a name that was cancelled is over for good, so what the
    cell's threads submit afterwards, and what is made again of its results, goes by the next one.
    """

    job_id: bytes
    execution: int = 0
    message_id: str = ""
    generation: int = 0


class CancelCell(msgspec.Struct, array_like=True, tag=40):
    """This cell is over, with all its generations up to this one: end its tasks, and refuse those still to come.

    Driver to raylet to raylets (``forwarded``) to all cores of the job; and an owner to the workers that have such
    tasks. Saying it twice is harmless. See `core/cells.py`.
    """

    cell: Cell
    forwarded: bool = False


class SetCapacity(msgspec.Struct, array_like=True, tag=41):
    """Driver or tool to a raylet: its node has ``cpus`` units of CPU from now on.

    What runs goes on, also if it holds more than that. With ``most``, it grows up to that while work waits, and shrinks
    to ``cpus`` again when less was enough for ``idle`` seconds.
    """

    cpus: int
    most: int = 0
    idle: float = 0.0


class DeathKind(IntEnum):
    """Why a worker, actor or node is no more."""

    EXITED = 0  # left on purpose, and said so (idle, max_calls, exit_actor)
    CRASHED = 1  # left without a word, or by a signal
    KILLED = 2  # on request: kill, force cancel
    OUT_OF_MEMORY = 3  # by the memory monitor, before the kernel does it
    NODE_DIED = 4
    OUT_OF_SCOPE = 5  # an actor whose last handle went
    CREATION_FAILED = 6  # an actor whose constructor raised
    OWNER_DIED = 7
    UNSCHEDULABLE = 8
    SHUTDOWN = 9
    GROUP_REMOVED = 10  # the placement group that it was in


class Death(msgspec.Struct, frozen=True, array_like=True):
    """Why something died: ``detail`` is one sentence for the user, with what to do next."""

    kind: DeathKind
    detail: str = ""
    exit_code: int | None = None
    signal: int | None = None
    pid: int = 0


class NodeInfo(msgspec.Struct, frozen=True):
    """One node as the GCS knows it and `nodes()` shows it."""

    node_id: bytes
    raylet: Address
    host: str
    pid: int
    total: Resources
    labels: dict[str, str]
    object_store_bytes: int
    alive: bool = True
    is_head: bool = False
    death: Death | None = None
    session_dir: str = ""
    extra: dict[str, Any] = {}
