"""Ids as the public API shows them: values with ``hex()`` and ``binary()``."""

from __future__ import annotations

from typing import ClassVar, Self

__all__ = ["ActorID", "BaseID", "JobID", "NodeID", "ObjectID", "PlacementGroupID", "TaskID", "UniqueID", "WorkerID"]


class BaseID:
    """An immutable id."""

    __slots__ = ("_id",)
    _size: ClassVar[int] = 0

    def __init__(self, id: bytes) -> None:  # noqa: A002 programs written for Ray may name it
        if len(id) != self._size:
            raise ValueError(f"a {type(self).__name__} has {self._size} bytes, got {len(id)}")
        self._id = id

    @classmethod
    def from_hex(cls, hex_id: str) -> Self:
        """Make one of its hexadecimal digits."""
        return cls(bytes.fromhex(hex_id))

    @classmethod
    def from_binary(cls, id_bytes: bytes) -> Self:
        """Make one of its bytes."""
        return cls(id_bytes)

    @classmethod
    def nil(cls) -> Self:
        """The id that names nothing."""
        return cls(b"\xff" * cls._size)

    @classmethod
    def size(cls) -> int:
        """Length in bytes."""
        return cls._size

    def is_nil(self) -> bool:
        """Whether it names nothing."""
        return self._id == b"\xff" * self._size

    def binary(self) -> bytes:
        """Its bytes."""
        return self._id

    def hex(self) -> str:
        """Its hexadecimal digits."""
        return self._id.hex()

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._id == self._id

    def __hash__(self) -> int:
        return hash(self._id)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.hex()})"

    def __reduce__(self) -> tuple[type[Self], tuple[bytes]]:
        return type(self), (self._id,)


class UniqueID(BaseID):
    """Any id of eight bytes."""

    __slots__ = ()
    _size = 8


class JobID(BaseID):
    """Names a job: what one driver submits."""

    __slots__ = ()
    _size = 4

    @classmethod
    def from_int(cls, value: int) -> JobID:
        """The job of a number."""
        return cls(value.to_bytes(4, "big"))

    def int(self) -> int:
        """Its number."""
        return int.from_bytes(self._id, "big")


class NodeID(UniqueID):
    """Names a node."""

    __slots__ = ()


class WorkerID(UniqueID):
    """Names a worker or driver process."""

    __slots__ = ()


class TaskID(BaseID):
    """Names a task: its owner and a counter."""

    __slots__ = ()
    _size = 16


class ActorID(BaseID):
    """Names an actor: the task that created it."""

    __slots__ = ()
    _size = 16


class ObjectID(BaseID):
    """Names an object: its task and an index."""

    __slots__ = ()
    _size = 20


class PlacementGroupID(BaseID):
    """Names a placement group."""

    __slots__ = ()
    _size = 16
