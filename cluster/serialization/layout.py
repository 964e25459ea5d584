"""How a serialized value lies in the object store: one flat region, read without copying.

::

    header   magic, version, kind, number of buffers, length of the stream     24 bytes
    lengths  of each buffer                                                    8 bytes each
    stream   the pickle
    buffers  each from the next multiple of 64 on

All numbers are little-endian. The region itself has to start at a multiple of 64 for the buffers to be aligned (a cache
line, and what AVX-512 loads want). Offsets follow from the lengths, so they are not stored.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Final

from .values import Serialized

__all__ = [
    "ALIGNMENT",
    "Kind",
    "LayoutError",
    "buffer_offsets",
    "copy_bytes",
    "head_of",
    "kind_of",
    "pack",
    "pack_into",
    "pack_size",
    "unpack",
]

ALIGNMENT: Final = 64
PICKLE: Final = 0x80
"""First byte of a pickle stream; a region begins otherwise."""
_MAGIC: Final = b"HIMV"
_VERSION: Final = 1
_HEADER: Final = struct.Struct("<4sHBxIxxxxQ")  # ends at a multiple of 8, where the lengths start
_LENGTH_SIZE: Final = 8

# One slice assignment holds the interpreter's lock for its whole length; into pages never touched, 4 MB take about
# 6 ms, which is as long as any other thread (the IO thread) should wait.
_COPY_CHUNK: Final = 4 * 1024 * 1024


CopyBytes = Callable[[memoryview, int, bytes | memoryview], int]
"""Copies flat bytes to a place in a region, and returns where they end there."""


class Kind(IntEnum):
    """What the stream is: a value, or an error to raise."""

    VALUE = 0
    ERROR = 1


class LayoutError(ValueError):
    """The region does not hold a value in this layout: not sealed, damaged, or written by another version."""


def _aligned(offset: int) -> int:
    return (offset + ALIGNMENT - 1) & -ALIGNMENT


def pack_size(value: Serialized) -> int:
    """Bytes that `pack_into` needs for a value."""
    end = _HEADER.size + _LENGTH_SIZE * len(value.buffers) + len(value.data)
    for buffer in value.buffers:
        end = _aligned(end) + buffer.nbytes
    return end


def head_of(value: Serialized, kind: Kind = Kind.VALUE) -> bytes:
    """What stands before the buffers of a value: header, lengths and stream."""
    count = len(value.buffers)
    lengths = struct.pack(f"<{count}Q", *(buffer.nbytes for buffer in value.buffers))
    return b"".join((_HEADER.pack(_MAGIC, _VERSION, kind, count, len(value.data)), lengths, value.data))


def buffer_offsets(value: Serialized) -> list[int]:
    """Where in its region each buffer of a value begins."""
    end = _HEADER.size + _LENGTH_SIZE * len(value.buffers) + len(value.data)
    offsets = []
    for buffer in value.buffers:
        offsets.append(_aligned(end))
        end = offsets[-1] + buffer.nbytes
    return offsets


def copy_bytes(target: memoryview, start: int, source: bytes | memoryview) -> int:
    """Copy flat bytes to `start`, letting other threads run between chunks; returns where they end."""
    length = len(source)
    if length <= _COPY_CHUNK:
        target[start : start + length] = source
        return start + length
    view = memoryview(source)
    for offset in range(0, length, _COPY_CHUNK):
        end = min(offset + _COPY_CHUNK, length)
        target[start + offset : start + end] = view[offset:end]
    return start + length


def pack_into(target: memoryview, value: Serialized, kind: Kind = Kind.VALUE, copy: CopyBytes = copy_bytes) -> int:
    """Write a value into a region; returns the bytes used, which are `pack_size` of it.

    Parameters
    ----------
    target
        Writable and flat (format ``B``).
    copy
        Copies the buffers: called as `copy_bytes`.
    """
    count = len(value.buffers)
    _HEADER.pack_into(target, 0, _MAGIC, _VERSION, kind, count, len(value.data))
    end = _HEADER.size
    if count:
        struct.pack_into(f"<{count}Q", target, end, *(buffer.nbytes for buffer in value.buffers))
        end += _LENGTH_SIZE * count
    end = copy_bytes(target, end, value.data)
    for buffer in value.buffers:
        start = _aligned(end)
        target[end:start] = bytes(start - end)  # pages are recycled: no other value's bytes stay between ours
        end = copy(target, start, buffer)
    return end


def pack(value: Serialized, kind: Kind = Kind.VALUE) -> bytearray:
    """Write a value into a region of its own."""
    region = bytearray(pack_size(value))
    pack_into(memoryview(region), value, kind)
    return region


def _header(view: memoryview) -> tuple[int, int, int]:
    """Read and check the header: kind, number of buffers, length of the stream."""
    if view.nbytes < _HEADER.size:
        raise LayoutError(f"a stored value has at least {_HEADER.size} bytes, this region has {view.nbytes}")
    magic, version, kind, count, length = _HEADER.unpack_from(view, 0)
    if magic != _MAGIC:
        raise LayoutError(f"this region holds no value: it starts with {magic!r} instead of {_MAGIC!r}")
    if version != _VERSION:
        raise LayoutError(f"the value has layout version {version}, this process knows {_VERSION}")
    return kind, count, length


def kind_of(view: memoryview) -> Kind:
    """Tell a value from an error without reading it."""
    kind, _, _ = _header(view)
    try:
        return Kind(kind)
    except ValueError:
        raise LayoutError(f"the value is of the unknown kind {kind}") from None


def parts_of(data: bytes) -> tuple[bytes | memoryview, Sequence[memoryview]]:
    """Stream and buffers of a small value as it travels: the bare stream if it has no buffers, else a region."""
    return (data, ()) if data[0] == PICKLE else unpack(memoryview(data))


def unpack(view: memoryview) -> tuple[memoryview, Sequence[memoryview]]:
    """Find stream and buffers in a region.

    Parameters
    ----------
    view
        Flat (format ``B``); may be longer than the value.

    Returns
    -------
    data, buffers
        Views of `view`: they keep it alive, and are read-only where it is.

    Raises
    ------
    LayoutError
        The region holds something else, or less than its header promises.
    """
    _, count, length = _header(view)
    start = _HEADER.size + _LENGTH_SIZE * count
    end = start + length
    if end > view.nbytes:
        raise LayoutError(f"the value ends at byte {end} of a region of {view.nbytes}")
    data = view[start:end]
    if not count:
        return data, ()
    buffers = []
    for size in struct.unpack_from(f"<{count}Q", view, _HEADER.size):
        start = _aligned(end)
        end = start + size
        if end > view.nbytes:
            raise LayoutError(f"the value ends at byte {end} of a region of {view.nbytes}")
        buffers.append(view[start:end])
    return data, buffers
