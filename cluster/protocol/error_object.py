"""Errors of objects: lost, freed, not fetched, not rebuilt, or without room in the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from .error_base import HimaliaError, Origin
from .error_system import format_bytes

__all__ = [
    "ObjectFetchTimedOutError",
    "ObjectFreedError",
    "ObjectLostError",
    "ObjectReconstructionFailedError",
    "ObjectRefStreamEndOfStreamError",
    "ObjectStoreFullError",
    "OwnerDiedError",
    "ReferenceCountingAssertionError",
]


class ObjectStoreFullError(HimaliaError):
    """The object store has no room, and eviction and spilling could not make any.

    Attributes
    ----------
    requested
        Bytes asked for.
    capacity, used
        Bytes that the node's store has, and of these in use.
    holders
        The largest holders, as (who, bytes), largest first.
    """

    default_hint: ClassVar[str] = (
        "Drop references (in a notebook also Out[] and variables), give init a larger object_store_memory, "
        "or a spill directory with room."
    )

    def __init__(
        self,
        message: str = "",
        *,
        requested: int = 0,
        capacity: int = 0,
        used: int = 0,
        holders: Sequence[tuple[str, int]] = (),
        origin: Origin | None = None,
        hint: str | None = None,
    ) -> None:
        self.requested = requested
        self.capacity = capacity
        self.used = used
        self.holders = tuple(holders)
        if not message:
            message = "The object store is full"
            if capacity:
                message += (
                    f": {format_bytes(requested)} asked for, {format_bytes(used)} of {format_bytes(capacity)} in use"
                )
            message += "."
        if self.holders:
            listed = ", ".join(f"{who} {format_bytes(size)}" for who, size in self.holders[:5])
            message += f" The largest holders: {listed}."
        super().__init__(message, origin=origin, hint=hint)


class ObjectLostError(HimaliaError):
    """No copy of the object is left.

    Attributes
    ----------
    object_ref_hex
        Hexadecimal id of the object.
    owner_address
        Address of its owner, None where unknown.
    call_site
        Where it was made, where that was recorded.
    """

    reason: ClassVar[str] = "is lost: every copy of it is gone"
    default_hint: ClassVar[str] = (
        "Results of tasks with max_retries are rebuilt; an object made by put can not be. Make it again."
    )

    def __init__(
        self,
        object_ref_hex: str = "",
        owner_address: Any = None,
        call_site: str = "",
        *,
        message: str = "",
        origin: Origin | None = None,
        hint: str | None = None,
    ) -> None:
        self.object_ref_hex = object_ref_hex
        self.owner_address = owner_address
        self.call_site = call_site
        if not message:
            made = f" (made at {call_site})" if call_site else ""
            message = f"Object {object_ref_hex}{made} {self.reason}."
        super().__init__(message, origin=origin, hint=hint)


class ObjectFetchTimedOutError(ObjectLostError):
    """The object exists on another node, and could not be fetched from there in time."""

    reason: ClassVar[str] = "could not be fetched from another node in time"
    default_hint: ClassVar[str] = "Check the network between the nodes, and that they are not overloaded."


class ReferenceCountingAssertionError(ObjectLostError, AssertionError):
    """The object was deleted although a reference to it exists."""

    reason: ClassVar[str] = "was deleted although a reference to it exists"
    default_hint: ClassVar[str] = (
        "Was the reference pickled outside of Himalia? If not, this is a fault: please report it."
    )


class ObjectFreedError(ObjectLostError):
    """The object was freed on purpose."""

    reason: ClassVar[str] = "was freed"
    default_hint: ClassVar[str] = "Free an object only when nothing uses it any more."


class OwnerDiedError(ObjectLostError):
    """The process that owned the object is gone, and the object with it."""

    reason: ClassVar[str] = "is lost because its owner, the process that submitted its task or put it, died"
    default_hint: ClassVar[str] = (
        "Keep the owner alive (an actor that holds its refs), or return values instead of refs."
    )


class ObjectReconstructionFailedError(ObjectLostError):
    """The object was lost and could not be rebuilt by running its task again.

    Attributes
    ----------
    reason_message
        Why not.
    """

    default_hint: ClassVar[str] = "Raise max_retries of the task, or make the object again."

    def __init__(
        self,
        object_ref_hex: str = "",
        reason: Any = None,
        reason_message: str | None = None,
        owner_address: Any = None,
        call_site: str = "",
        *,
        origin: Origin | None = None,
        hint: str | None = None,
    ) -> None:
        self.reason_message = reason_message or "its task can not run again"
        made = f" (made at {call_site})" if call_site else ""
        message = f"Object {object_ref_hex}{made} was lost and could not be rebuilt: {self.reason_message.rstrip('.')}."
        super().__init__(object_ref_hex, owner_address, call_site, message=message, origin=origin, hint=hint)
        self.__dict__["reason"] = reason


class ObjectRefStreamEndOfStreamError(HimaliaError):
    """The stream of a generator task has no further object."""

    default_message: ClassVar[str] = "The generator task has ended: there is no further object."
