"""The channel of a raylet: with the cores of its node, owners elsewhere, other raylets, and the GCS.

Strategy: demand for workers is in `lease_messages`. Objects are named by id; a process that may be reading memory
holds a pin in its own name, so that its death releases it.
"""

from __future__ import annotations

import msgspec

from .common import Address, CancelCell, Death, Resources, SetCapacity
from .gcs_messages import ActorSpec
from .group_messages import CommitBundles, PrepareBundles, ReturnBundles
from .lease_messages import (
    LeaseGranted,
    LeaseReclaim,
    LeaseRefused,
    LeaseSpec,
    LeaseSpill,
    ReturnLeases,
    SetDemand,
)
from .log_messages import FoundLines, LogAnswer, LogQuestion, LogSearch
from .node_messages import NodeQuestion
from .stack_messages import ListProcesses, Processes, StackAnswer, StackQuestion, StackStop

__all__ = [
    "ActorStarted",
    "AssignActor",
    "Blocked",
    "Chunk",
    "ChunkCredit",
    "CoreHello",
    "CoreWelcome",
    "CreateObject",
    "CreateSlab",
    "Exit",
    "FreeObjects",
    "KillWorker",
    "LeaseGranted",
    "LeaseReclaim",
    "LeaseRefused",
    "LeaseSpec",
    "LeaseSpill",
    "ObjectCreated",
    "ObjectPinned",
    "ObjectShared",
    "ObjectsPinned",
    "PinObjects",
    "PullObject",
    "RayletMessage",
    "RayletReply",
    "ReleasePins",
    "ReturnLeases",
    "ReturnSlab",
    "SealObjects",
    "SealedObject",
    "SetDemand",
    "ShareObject",
    "SlabCreated",
    "StartActor",
    "StopActor",
    "StopRaylet",
    "StoreStats",
    "StoreStatsRequest",
    "UnpinObjects",
    "WorkerDied",
    "WorkerExiting",
]


# -- core to raylet -------------------------------------------------------------------------------------------------


class CoreHello(msgspec.Struct, array_like=True, tag=1):
    """First message of a driver or worker of this node. ``token``: what the raylet gave a worker that it started."""

    protocol: int
    address: Address
    pid: int
    kind: str  # "driver" | "worker"
    job_id: bytes = b""
    token: bytes = b""
    owns_cluster: bool = False  # a driver whose end ends the cluster


class Blocked(msgspec.Struct, array_like=True, tag=4):
    """Worker: its task waits in `get` (``blocked``), so its CPU can be lent; or goes on."""

    blocked: bool


class KillWorker(msgspec.Struct, array_like=True, tag=5):
    """Owner: end this worker at once (force cancel), if the task that it began last is ``counter`` (0: any)."""

    worker_id: bytes
    reason: str = ""
    counter: int = 0


class CreateObject(msgspec.Struct, array_like=True, tag=6):
    """Core: room for ``size`` bytes, please. Answered with `ObjectCreated` (perhaps after making room)."""

    object_id: bytes
    size: int
    owner: Address


class ShareObject(msgspec.Struct, array_like=True, tag=16):
    """Core: an object is, byte for byte, what lies at ``offset`` of the arena as the value of ``source``.

    The sender holds that value in place, by a pin of its own or of the task that it runs. Answered with `ObjectShared`.
    ``pin_for`` is that of `SealedObject`.
    """

    object_id: bytes
    source: bytes
    offset: int
    pin_for: bytes = b""


class SealedObject(msgspec.Struct, array_like=True, gc=False):
    """An object whose bytes are written. ``pin_for``: process in whose name it stays pinned at first (empty: nobody).

    ``slab`` is 0 for memory that `CreateObject` gave; else the object is ``size`` bytes at ``offset`` of the arena, in
    that slab of the sender.
    """

    object_id: bytes
    pin_for: bytes = b""
    slab: int = 0
    offset: int = -1
    size: int = 0


class SealObjects(msgspec.Struct, array_like=True, tag=7):
    """Core: these are complete and may be read."""

    objects: list[SealedObject]


class PinObjects(msgspec.Struct, array_like=True, tag=8):
    """Core: have these here (pull, restore) and pin each for me; answered as each is ready with `ObjectsPinned`.

    ``nodes[i]`` are nodes known to hold ``object_ids[i]``.
    """

    object_ids: list[bytes]
    nodes: list[list[bytes]]


class UnpinObjects(msgspec.Struct, array_like=True, tag=9):
    """Core: release ``counts[i]`` of my pins of ``object_ids[i]``. May overtake another process's `SealObjects`."""

    object_ids: list[bytes]
    counts: list[int]


class FreeObjects(msgspec.Struct, array_like=True, tag=10):
    """Owner: nobody refers to these any more; forget them on this node and on ``nodes``.

    Memory goes with the last pin. May overtake the `SealObjects` of another process. A process that sends this for an
    object it is writing gives the writing up. ``forwarded``: from a raylet, to those it sent copies.

    ``pins[i]``: so many pins of ``object_ids[i]`` the owner keeps, for buffers in use. Others in its name it never
    heard of: they came with a seal of a worker that died before it could tell.
    """

    object_ids: list[bytes]
    nodes: list[bytes] = []
    forwarded: bool = False
    pins: list[int] = []


class StoreStatsRequest(msgspec.Struct, array_like=True, tag=11):
    """Anyone: what is in the store? Answered with `StoreStats`."""

    detail: bool = False


class ActorStarted(msgspec.Struct, array_like=True, tag=12):
    """Worker to raylet, which tells the GCS: the constructor of ``actor_id`` returned.

    Or it raised ``error`` (pickled).
    """

    actor_id: bytes
    address: Address
    error: bytes = b""
    detail: str = ""


class CreateSlab(msgspec.Struct, array_like=True, tag=14):
    """Core: ``size`` bytes in one piece, please, to write objects into without asking. ``slab``: my own number."""

    slab: int
    size: int


class ReturnSlab(msgspec.Struct, array_like=True, tag=15):
    """Core: I shall not write these bytes of my slab (its rest, or a part given up): multiples of 64, as all blocks."""

    slab: int
    offset: int
    size: int


class WorkerExiting(msgspec.Struct, array_like=True, tag=13):
    """Worker: I am about to leave on purpose (max_calls, exit_actor, idle)."""

    reason: str = ""
    intended: bool = True


# -- GCS to raylet --------------------------------------------------------------------------------------------------


class StartActor(msgspec.Struct, array_like=True, tag=20):
    """GCS: start this actor here. ``restart`` counts its lives before this one."""

    actor_id: bytes
    spec: ActorSpec
    restart: int = 0
    bundle: int = -1  # of its placement group, if it is in one


class StopActor(msgspec.Struct, array_like=True, tag=21):
    """GCS: end this actor's worker: at once (``force``), or after the calls it has."""

    actor_id: bytes
    death: Death
    force: bool = True


class StopRaylet(msgspec.Struct, array_like=True, tag=22):
    """GCS: end your workers and leave; ``graceful``: after the tasks that have started."""

    reason: str = ""
    graceful: bool = False


# -- raylet to raylet -----------------------------------------------------------------------------------------------


class PullObject(msgspec.Struct, array_like=True, tag=30):
    """I want this object. Answered with a `Chunk` that has the ``total`` and no bytes; these follow for credit.

    ``pull`` is my own number for this attempt: every message about it carries it.
    """

    object_id: bytes
    pull: int = 0


class ChunkCredit(msgspec.Struct, array_like=True, tag=31):
    """I have room: send ``credit`` more chunks of this object; -1: stop, I need no more."""

    object_id: bytes
    credit: int
    pull: int = 0


RayletMessage = (
    CancelCell
    | CoreHello
    | SetDemand
    | ReturnLeases
    | Blocked
    | KillWorker
    | CreateObject
    | ShareObject
    | SealObjects
    | PinObjects
    | UnpinObjects
    | FreeObjects
    | StoreStatsRequest
    | ActorStarted
    | WorkerExiting
    | SetCapacity
    | CreateSlab
    | ReturnSlab
    | StartActor
    | StopActor
    | StopRaylet
    | PrepareBundles
    | CommitBundles
    | ReturnBundles
    | PullObject
    | ChunkCredit
    | LogQuestion
    | LogSearch
    | NodeQuestion
    | StackQuestion
    | StackStop
    | ListProcesses
)
"""What a raylet receives on its server socket."""


# -- raylet to its clients ------------------------------------------------------------------------------------------


class CoreWelcome(msgspec.Struct, array_like=True, tag=1):
    """Answer to `CoreHello`."""

    node_id: bytes
    arena_path: str
    arena_bytes: int
    session_dir: str
    gcs: Address
    raylet: Address
    resources: Resources
    job_id: bytes = b""
    error: str = ""


class WorkerDied(msgspec.Struct, array_like=True, tag=6):
    """To the holder of a lease: its worker is no more.

    ``last_started`` is the counter of the last task that it began (0: none since the lease; -1: unknown), read from the
    page that a worker writes it to, so that only what may have run counts as tried.
    """

    worker_id: bytes
    death: Death
    lease_id: int = 0
    last_started: int = -1


class ObjectCreated(msgspec.Struct, array_like=True, tag=7):
    """Write at ``offset`` of the arena, or of the file ``path`` when the arena is full.

    ``error``: there is no room at all. ``holders``: who keeps most of what is there (its name, bytes), largest first.
    """

    object_id: bytes
    offset: int
    size: int
    path: str = ""
    error: str = ""
    holders: list[tuple[str, int]] = []
    capacity: int = 0  # of the arena; given with an error, as is ``used``
    used: int = 0


class ObjectShared(msgspec.Struct, array_like=True, tag=14):
    """The object is sealed, in memory that it shares; ``offset`` is -1 if the raylet knows of no such memory any more.

    Not an `ObjectCreated`, so that nobody ever takes shared memory for memory to write to.
    """

    object_id: bytes
    offset: int
    size: int


class ObjectPinned(msgspec.Struct, array_like=True, gc=False):
    """Where a pinned object lies. ``status``: 0 pinned, 1 lost (nobody has it), 2 freed, 3 no room here (``error``)."""

    object_id: bytes
    status: int
    offset: int = -1
    size: int = 0
    path: str = ""
    error: str = ""


class ObjectsPinned(msgspec.Struct, array_like=True, tag=8):
    """Answer to `PinObjects`, as objects become ready."""

    objects: list[ObjectPinned]


class ReleasePins(msgspec.Struct, array_like=True, tag=9):
    """Memory is short: release at once pins you keep only for speed."""


class Exit(msgspec.Struct, array_like=True, tag=10):
    """Raylet to worker or driver: leave (``graceful``: after the calls you have)."""

    reason: str = ""
    graceful: bool = False


class AssignActor(msgspec.Struct, array_like=True, tag=11):
    """Raylet to worker: become this actor."""

    actor_id: bytes
    spec: ActorSpec
    accelerators: dict[str, list[int]] = {}
    restart: int = 0


class StoreStats(msgspec.Struct, array_like=True, tag=12):
    """Numbers in bytes and objects; ``objects`` when detail was asked: id, size, state, pins, owner."""

    capacity: int
    used: int
    spilled: int
    restored: int
    fallback: int
    count: int
    objects: list[tuple[bytes, int, str, int, bytes]] = []
    pinned_by: list[list[bytes]] = []  # place by place the processes that have those pins
    shares: list[bytes] = []  # place by place the object in whose memory it lies; empty for its own


class SlabCreated(msgspec.Struct, array_like=True, tag=13):
    """Answer to `CreateSlab`: it begins at ``offset`` of the arena; -1: no room for it, ask object by object."""

    slab: int
    offset: int
    size: int


class Chunk(msgspec.Struct, array_like=True, tag=30):
    """Raylet to raylet: bytes ``start`` … of an object; they ride as the next frame. ``total`` -1: I do not have it.

    ``nodes``: busy with others; ask one of these, which have it too.
    """

    object_id: bytes
    start: int
    total: int
    nodes: list[bytes] = []
    pull: int = 0


RayletReply = (
    CancelCell
    | CoreWelcome
    | LeaseGranted
    | LeaseSpill
    | LeaseRefused
    | LeaseReclaim
    | WorkerDied
    | ObjectCreated
    | ObjectShared
    | ObjectsPinned
    | ReleasePins
    | Exit
    | AssignActor
    | StoreStats
    | SlabCreated
    | Chunk
    | LogAnswer
    | FoundLines
    | StackAnswer
    | Processes
)
"""What a raylet sends to those who connected to it."""
