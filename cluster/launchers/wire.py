"""Between the raylet and the node host: a Unix socket pair that keeps message boundaries, one msgpack value a message.

Strategy: only the parent of a process can end it without a race (a process id is taken again once it is reaped), so the
raylet asks the host to signal by worker id. Both ends are plain descriptors without Python objects around them: a
forked child closes what it inherited by number, and no finalizer may later close a number that is in use again.
"""

from __future__ import annotations

import os
import socket
from typing import Final

import msgspec

__all__ = [
    "EndNode",
    "Exited",
    "ForHost",
    "ForRaylet",
    "Fork",
    "ForkFailed",
    "Forked",
    "Kill",
    "NodeEnds",
    "decode_for_host",
    "decode_for_raylet",
    "encode",
    "new_pair",
    "receive",
]

_MAX_MESSAGE: Final = 1 << 20
"""Bytes of one message. Only `Fork` can be large, by the variables it carries, which the kernel limits as well."""


class Fork(msgspec.Struct, array_like=True, tag=1):
    """Raylet: make a worker, with ``env`` on top of the host's variables, in the folder ``cwd`` (empty: the host's)."""

    worker_id: bytes
    token: bytes
    env: dict[str, str] = {}
    cwd: str = ""
    job_id: bytes = b""
    runtime_env: str = ""


class Kill(msgspec.Struct, array_like=True, tag=2):
    """Raylet: send ``signal`` to a worker, and with SIGKILL to the processes it started too."""

    worker_id: bytes
    signal: int


class EndNode(msgspec.Struct, array_like=True, tag=3):
    """Raylet: end everything."""

    reason: str


class Forked(msgspec.Struct, array_like=True, tag=1):
    """Host: the worker runs as process ``pid``."""

    worker_id: bytes
    pid: int


class ForkFailed(msgspec.Struct, array_like=True, tag=2):
    """Host: there is no such worker (``text``: why)."""

    worker_id: bytes
    text: str


class Exited(msgspec.Struct, array_like=True, tag=3):
    """Host: the worker ended, with ``code`` or by ``signal`` (the other is None)."""

    worker_id: bytes
    pid: int
    code: int | None
    signal: int | None


class NodeEnds(msgspec.Struct, array_like=True, tag=4):
    """Host: all is about to end; tell those who should know why."""

    reason: str


ForHost = Fork | Kill | EndNode
ForRaylet = Forked | ForkFailed | Exited | NodeEnds

encode = msgspec.msgpack.Encoder().encode
decode_for_host = msgspec.msgpack.Decoder(ForHost).decode
decode_for_raylet = msgspec.msgpack.Decoder(ForRaylet).decode


def new_pair() -> tuple[int, int]:
    """Two connected descriptors: the host's, which does not block, and the raylet's."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        # Room for some large environments and for the exits of all workers at once; the kernel may grant less.
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MAX_MESSAGE)
        end.setblocking(False)
    return ends[0].detach(), ends[1].detach()


def receive(fd: int) -> bytes | None:
    """The next message; None if there is none now. Empty when the other end is closed."""
    try:
        return os.read(fd, _MAX_MESSAGE)
    except BlockingIOError:
        return None
    except ConnectionResetError:
        return b""
