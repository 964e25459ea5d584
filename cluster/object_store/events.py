"""What happens to the store (events) and what it wants done (commands). The server turns one into the other's causes.

Blocks ride in commands as they are: whoever carries a command out reads their place and nothing else.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ..protocol.raylet_messages import (
    Chunk,
    ChunkCredit,
    CreateObject,
    CreateSlab,
    FreeObjects,
    ObjectCreated,
    ObjectShared,
    ObjectsPinned,
    PinObjects,
    PullObject,
    ReleasePins,
    ReturnSlab,
    SealObjects,
    ShareObject,
    SlabCreated,
    StoreStats,
    StoreStatsRequest,
    UnpinObjects,
)
from .records import Block

__all__ = [
    "ChunkWritten",
    "Command",
    "DeleteFile",
    "Event",
    "Extend",
    "Extended",
    "FallbackMade",
    "MakeFallback",
    "NodeDied",
    "ProcessDied",
    "ReadSpill",
    "Received",
    "Restored",
    "Send",
    "SendChunk",
    "SendNode",
    "Spilled",
    "StoreReply",
    "StoreRequest",
    "Tick",
    "Warn",
    "WriteChunk",
    "WriteSpill",
]

StoreRequest: TypeAlias = (
    CreateObject
    | ShareObject
    | CreateSlab
    | ReturnSlab
    | SealObjects
    | PinObjects
    | UnpinObjects
    | FreeObjects
    | StoreStatsRequest
    | PullObject
    | ChunkCredit
    | Chunk
)
"""What the store is told by cores and other raylets."""

StoreReply: TypeAlias = ObjectCreated | ObjectShared | SlabCreated | ObjectsPinned | ReleasePins | StoreStats | Chunk
"""What it answers."""


# -- events ------------------------------------------------------------------------------------------------------------


class Received(msgspec.Struct, frozen=True):
    """A message of process or node ``peer``; ``data`` are the bytes of a `Chunk`."""

    peer: bytes
    message: StoreRequest
    data: bytes | memoryview = b""


class ProcessDied(msgspec.Struct, frozen=True):
    """A process is no more, here or on another node (then what it owned is freed here)."""

    peer: bytes


class NodeDied(msgspec.Struct, frozen=True):
    """A node is no more."""

    node: bytes


class Extended(msgspec.Struct, frozen=True):
    """The arena's first ``limit`` bytes exist now; with ``error``: no more could be had."""

    limit: int
    error: str = ""


class Spilled(msgspec.Struct, frozen=True):
    """`WriteSpill` ended."""

    job: int
    uri: str = ""
    error: str = ""


class Restored(msgspec.Struct, frozen=True):
    """`ReadSpill` ended."""

    job: int
    error: str = ""


class FallbackMade(msgspec.Struct, frozen=True):
    """`MakeFallback` ended."""

    job: int
    path: str = ""
    error: str = ""


class ChunkWritten(msgspec.Struct, frozen=True):
    """`WriteChunk` ended."""

    job: int
    size: int
    error: str = ""


class Tick(msgspec.Struct, frozen=True):
    """Time passed."""


Event: TypeAlias = (
    Received | ProcessDied | NodeDied | Extended | Spilled | Restored | FallbackMade | ChunkWritten | Tick
)


# -- commands ----------------------------------------------------------------------------------------------------------


class Send(msgspec.Struct, frozen=True):
    """To a process or raylet that connected to this raylet."""

    peer: bytes
    message: StoreReply


class SendNode(msgspec.Struct, frozen=True):
    """To another raylet's server socket."""

    node: bytes
    message: StoreRequest


class SendChunk(msgspec.Struct, frozen=True):
    """To a raylet: ``size`` bytes of an object from ``start`` on."""

    peer: bytes
    object_id: bytes
    block: Block
    start: int
    size: int
    total: int
    pull: int


class Extend(msgspec.Struct, frozen=True):
    """See to it that the arena's first ``limit`` bytes exist. Answered with `Extended`."""

    limit: int


class WriteSpill(msgspec.Struct, frozen=True):
    """Copy ``size`` bytes of a block to disk. Answered with `Spilled`."""

    job: int
    object_id: bytes
    block: Block
    size: int


class ReadSpill(msgspec.Struct, frozen=True):
    """Copy what was spilled back into a block. Answered with `Restored`."""

    job: int
    uri: str
    block: Block
    size: int


class MakeFallback(msgspec.Struct, frozen=True):
    """Make a file of ``size`` bytes on disk to be mapped in place of arena memory. Answered with `FallbackMade`."""

    job: int
    size: int


class WriteChunk(msgspec.Struct, frozen=True):
    """Write received bytes into a block. Answered with `ChunkWritten`."""

    job: int
    block: Block
    start: int
    data: bytes | memoryview


class DeleteFile(msgspec.Struct, frozen=True):
    """Delete a spilled object (a URI that `Spilled` named) or a fallback file (a path)."""

    place: str


class Warn(msgspec.Struct, frozen=True):
    """Tell whoever runs the node."""

    text: str


Command: TypeAlias = (
    Send | SendNode | SendChunk | Extend | WriteSpill | ReadSpill | MakeFallback | WriteChunk | DeleteFile | Warn
)
