"""What a worker notes about itself in the page that its raylet can read: what it runs, and memory by function.

Strategy: the worker writes at its tick, four times a second and only when something changed; the raylet reads when
somebody looks, or when the worker has died. So neither a message nor a task pays for it. The notes are msgpack behind
their length, which is 0 while they are written: who reads at that moment finds none, and the ones before in its memory.

Memory by function is sampled, too. The peak of a process is the kernel's own count (``ru_maxrss``), so a peak between
two samples is seen, and is that of the function that ran at the sample, or that ran longest since the last one.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

__all__ = [
    "PAGE_BYTES",
    "FunctionMemory",
    "Notes",
    "Running",
    "decode_notes",
    "encode_notes",
    "merge_memory",
    "write_notes",
]

PAGE_BYTES: Final = 16_384
"""Of the file: the counter of the task that began last, and the notes. As many pages as hold `FUNCTIONS` long names."""

NOTES_AT: Final = 8
_LENGTH: Final = struct.Struct("=I")

FUNCTIONS: Final = 64
"""Functions of a worker whose memory is known: those with the largest peaks."""

NAME_CUT: Final = 120
"""Characters of a function's name."""


class Running(msgspec.Struct, array_like=True):
    """What a worker runs: the task that began first, of ``count``. ``since`` is seconds since the epoch."""

    owner: bytes
    counter: int
    name: str
    cell: int = 0
    job_id: bytes = b""
    since: float = 0.0
    count: int = 1


class FunctionMemory(msgspec.Struct, array_like=True):
    """Of one function in one process, in bytes.

    ``peak``: the most that the process had while this ran. ``grown``: by how much that grew (or shrank) meanwhile, in
    all. ``samples``: how often it was looked at.
    """

    name: str
    peak: int = 0
    grown: int = 0
    samples: int = 0


class Notes(msgspec.Struct, array_like=True):
    """All that a worker notes."""

    running: Running | None = None
    memory: list[FunctionMemory] = []


_decoder: Final = msgspec.msgpack.Decoder(Notes)


def encode_notes(notes: Notes) -> bytes:
    """As the page holds them; fewer functions where they do not fit."""
    room = PAGE_BYTES - NOTES_AT - _LENGTH.size
    largest = sorted(notes.memory, key=lambda one: -one.peak)[:FUNCTIONS]
    while True:
        data = msgspec.msgpack.encode(Notes(notes.running, largest))
        if len(data) <= room:
            return _LENGTH.pack(len(data)) + data
        largest = largest[: len(largest) // 2]


def write_notes(page: memoryview, data: bytes) -> None:
    """Put encoded notes into the page (of bytes)."""
    begin = NOTES_AT + _LENGTH.size
    page[NOTES_AT:begin] = bytes(_LENGTH.size)
    page[begin : NOTES_AT + len(data)] = data[_LENGTH.size :]
    page[NOTES_AT:begin] = data[: _LENGTH.size]


def decode_notes(page: bytes) -> Notes | None:
    """The notes in a page; None if there are none, or they are being written."""
    begin = NOTES_AT + _LENGTH.size
    if len(page) < begin:
        return None
    (size,) = _LENGTH.unpack_from(page, NOTES_AT)
    if not size or begin + size > len(page):
        return None
    try:
        return _decoder.decode(memoryview(page)[begin : begin + size])
    except msgspec.DecodeError:
        return None


def merge_memory(known: dict[str, FunctionMemory], more: list[FunctionMemory], limit: int = 1_000) -> None:
    """Add what another process noted; of more functions than ``limit``, those with the smallest peaks are forgotten."""
    for one in more:
        before = known.get(one.name)
        if before is None:
            known[one.name] = FunctionMemory(one.name, one.peak, one.grown, one.samples)
        else:
            before.peak = max(before.peak, one.peak)
            before.grown += one.grown
            before.samples += one.samples
    while len(known) > limit:
        del known[min(known, key=lambda name: known[name].peak)]
