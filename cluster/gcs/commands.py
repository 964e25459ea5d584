"""What the machine of the GCS is told (events) and what it asks for (commands).

Strategy: a command names a peer, a node or a record, never a socket or a file, so the same machine runs under the
real server, in tests and in a simulation. `Persist` carries the live record rather than its bytes: the server writes
a batch after it has sent the answers, so several changes of one record cost one encoding, and a GCS without storage
none.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..protocol.common import Address
from ..protocol.gcs_messages import Answer, Failed, GcsMessage, GcsReply
from ..protocol.group_messages import CommitBundles, PrepareBundles, ReturnBundles
from ..protocol.node_messages import NodeQuestion
from ..protocol.raylet_messages import StartActor, StopActor, StopRaylet

__all__ = [
    "Command",
    "Connect",
    "Disconnect",
    "End",
    "Event",
    "Log",
    "Outbox",
    "PeerBack",
    "PeerLost",
    "Persist",
    "RayletCommand",
    "Received",
    "Send",
    "SendRaylet",
    "Tick",
]

RayletCommand = StartActor | StopActor | StopRaylet | NodeQuestion | PrepareBundles | CommitBundles | ReturnBundles


# -- events -----------------------------------------------------------------------------------------------------------


class Received(msgspec.Struct, frozen=True):
    """A message of the peer with this id (its transport proved the id)."""

    peer: bytes
    message: GcsMessage


class PeerLost(msgspec.Struct, frozen=True):
    """The connection to this peer ended, or could not be made; it may come back. Said again while it cannot."""

    peer: bytes


class PeerBack(msgspec.Struct, frozen=True):
    """There is a connection to this peer (again)."""

    peer: bytes


class Tick(msgspec.Struct, frozen=True):
    """Time passed; see `GcsMachine.next_deadline`."""


Event = Received | PeerLost | PeerBack | Tick


# -- commands ---------------------------------------------------------------------------------------------------------


class Send(msgspec.Struct, frozen=True):
    """Send to each of these peers, encoded once. One that is not connected any more is skipped."""

    peers: tuple[bytes, ...]
    message: GcsReply


class SendRaylet(msgspec.Struct, frozen=True):
    """Send to the raylet of a node, on the connection that `Connect` made."""

    node_id: bytes
    message: RayletCommand


class Connect(msgspec.Struct, frozen=True):
    """This node's raylet is reached at ``raylet``."""

    node_id: bytes
    raylet: Address


class Disconnect(msgspec.Struct, frozen=True):
    """Nothing more is sent to this node, once what was sent before is on its way."""

    node_id: bytes


class Persist(msgspec.Struct, frozen=True):
    """Keep ``record`` under (table, key) for the next life of the GCS; None: forget it."""

    table: str
    key: bytes
    record: Any


class Log(msgspec.Struct, frozen=True):
    """One line for the log of the GCS. ``level`` is a name of `logging`'s."""

    level: str
    text: str


class End(msgspec.Struct, frozen=True):
    """The cluster has ended: leave."""

    reason: str


Command = Send | SendRaylet | Connect | Disconnect | Persist | Log | End


class Outbox:
    """Collects the commands of one step, in the order in which they are to be carried out."""

    __slots__ = ("commands",)

    def __init__(self) -> None:
        self.commands: list[Command] = []

    def take(self) -> list[Command]:
        """Hand over what was collected, and begin anew."""
        commands, self.commands = self.commands, []
        return commands

    def send(self, peer: bytes, message: GcsReply) -> None:
        self.commands.append(Send((peer,), message))

    def send_many(self, peers: tuple[bytes, ...], message: GcsReply) -> None:
        if peers:
            self.commands.append(Send(peers, message))

    def raylet(self, node_id: bytes, message: RayletCommand) -> None:
        self.commands.append(SendRaylet(node_id, message))

    def persist(self, table: str, key: bytes, record: Any) -> None:
        self.commands.append(Persist(table, key, record))

    def log(self, level: str, text: str) -> None:
        self.commands.append(Log(level, text))

    def answer(self, peer: bytes, request: int, value: Any) -> None:
        """Answer a request; who asked with number 0 wants no answer."""
        if request:
            self.send(peer, Answer(request, msgspec.Raw(msgspec.msgpack.encode(value))))

    def fail(self, peer: bytes, request: int, kind: str, text: str) -> None:
        """Refuse a request. With number 0 there is nobody to tell, so it is logged."""
        if request:
            self.send(peer, Failed(request, kind, text))
        else:
            self.log("warning", f"refused, and the sender wants no answer: {text}")
