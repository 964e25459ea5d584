"""What the machines of a core want done; the core carries it out after each event."""

from __future__ import annotations

from typing import Any

import msgspec

from ..protocol.common import Address

__all__ = ["Command", "Connect", "Disconnect", "Reply", "Send"]


class Send(msgspec.Struct, array_like=True):
    """A message to the server socket of a connected peer."""

    peer: bytes
    message: Any


class Reply(msgspec.Struct, array_like=True):
    """A message to a peer that asked us, on the way it came."""

    peer: bytes
    message: Any


class Connect(msgspec.Struct, array_like=True):
    """Open the way to a process."""

    address: Address


class Disconnect(msgspec.Struct, array_like=True):
    """The process is gone: close the way to it."""

    peer: bytes


Command = Send | Reply | Connect | Disconnect
