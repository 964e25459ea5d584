"""The frames of a failed task, as far as they were kept: what `%rdebug` walks when the worker is long at other work."""

from __future__ import annotations

import msgspec

__all__ = ["FrameSnapshot", "Variable", "pack_frames", "unpack_frames"]


class Variable(msgspec.Struct, array_like=True, frozen=True):
    """A variable of a frame.

    Attributes
    ----------
    name
        In the code.
    text
        Its `repr`, shortened.
    data
        Its pickle; empty if it was not kept, and ``reason`` says why.
    reason
        Why there is no ``data``.
    """

    name: str
    text: str
    data: bytes = b""
    reason: str = ""


class FrameSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """One frame, outermost first in a list of them.

    Attributes
    ----------
    function, filename, line
        Where it stood.
    source_from, source
        Lines of its source around that one, and the number of the first; none if they are not known there.
    variables
        Its local variables.
    names
        Those of its module that the function uses.
    """

    function: str
    filename: str
    line: int
    source_from: int = 0
    source: list[str] = []
    variables: list[Variable] = []
    names: list[Variable] = []


_decoder = msgspec.msgpack.Decoder(list[FrameSnapshot])


def pack_frames(frames: list[FrameSnapshot]) -> bytes:
    """Frames as bytes; nothing for no frames."""
    return msgspec.msgpack.encode(frames) if frames else b""


def unpack_frames(data: bytes) -> list[FrameSnapshot]:
    """Frames again."""
    return _decoder.decode(data) if data else []
