"""The arena as drivers and workers use it: mapped once, written and read without a copy and without a message.

Strategy: a process maps the whole arena when it first touches a large object; address space costs nothing. Each object
that is read gets an exporter of its own, a numpy array over its bytes: everything made from it (slices of a memoryview,
arrays, Arrow buffers) keeps that exporter alive, and a weak reference tells when the last of these is gone. That is the
moment to release the pin, no sooner and no later. The memoryview handed out cannot be watched itself: its slices
refer to the exporter, not to it. An mmap slice or `memoryview.cast` have no exporter of their own; ctypes arrays would
need a new type for each size.

The weak reference's callback runs wherever the last buffer dies: in any thread, in the middle of anything, also in a
garbage collection. So all it does is call `on_release`, which may only append to a deque.

A value whose buffers are those of an object that is read here (a task that returns its argument, an array passed on) is
not copied: `source_of` recognizes it, and the raylet lets the new object share the memory.

Memory that this process has not mapped yet costs a page fault every 4 KB at the first write. For large ranges the
kernel is asked to do all at once (MADV_POPULATE_WRITE), which is a third faster; what was populated is remembered.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from ..serialization.layout import buffer_offsets, head_of
from ..serialization.values import Serialized
from .copying import Copier

__all__ = ["ArenaClient", "Source"]

_MADV_POPULATE_WRITE: Final = 23  # since Linux 5.14; not in the mmap module

_REGION: Final = 1 << 20
"""Bytes remembered together as populated; smaller writes fault their pages in, which costs them little."""

_POPULATE_STEP: Final = 16 << 20
"""Bytes populated in one call, in which the GIL is held: 3 ms."""


class Source(NamedTuple):
    """Memory of the arena that holds a value already, as that of an object."""

    object_id: bytes
    offset: int


class _Exporter(weakref.ref[Any]):
    """Watches an exporter; knows whom to tell when it is gone."""

    __slots__ = ("offset", "on_release")

    offset: int
    on_release: Callable[[], object]


class _Mapping:
    """One mapped file, with what of it this process has populated."""

    def __init__(self, path: str, size: int) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self.memory = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        self.view = memoryview(self.memory)
        self._populated = bytearray(size // _REGION + 1)

    def populate(self, offset: int, size: int) -> None:
        """Map the pages of a range that is about to be written, as far as it consists of whole regions."""
        first, last = -(-offset // _REGION), (offset + size) // _REGION
        region = self._populated.find(0, first, last)
        while region >= 0:
            end = self._populated.find(1, region, last)
            end = last if end < 0 else end
            end = min(end, region + _POPULATE_STEP // _REGION)
            self._populated[region:end] = b"\1" * (end - region)
            try:
                self.memory.madvise(_MADV_POPULATE_WRITE, region * _REGION, (end - region) * _REGION)
            except OSError:  # an older kernel: pages come one by one as they are written
                self._populated = bytearray(b"\1") * len(self._populated)
                return
            region = self._populated.find(0, end, last)


class ArenaClient:
    """The arena in one process. Methods may be called from any thread; none blocks or sends anything.

    Parameters
    ----------
    path, size
        Of the arena, from `CoreWelcome`.
    """

    def __init__(self, path: str, size: int) -> None:
        self._path = path
        self._size = size
        self._arena: _Mapping | None = None
        self._exporters: dict[int, _Exporter] = {}
        self._read: dict[int, bytes] = {}  # objects being read, by where they begin
        self.copier = Copier()
        self._frombuffer: Any = None
        self._uint8: Any = None

    def writer(self, offset: int, size: int, path: str = "") -> memoryview:
        """Writable bytes of the arena, or of the file ``path``, that this process was given for an object."""
        if path:
            return self._file(path, size).view[:size]
        arena = self._arena or self._map()
        if size >= _REGION:
            arena.populate(offset, size)
        return arena.view[offset : offset + size]

    def reader(
        self, offset: int, size: int, path: str, on_release: Callable[[], object], object_id: bytes = b""
    ) -> memoryview:
        """Read-only bytes of an object of which this process has a pin.

        ``on_release()`` is called when nothing made from the result is left. It is called by a destructor, in any
        thread: all it may do is to append to a deque.
        """
        if self._frombuffer is None:
            self._import_numpy()
        memory = (self._arena or self._map()).memory if not path else self._file(path, size).memory
        exporter = self._frombuffer(memory, self._uint8, size, offset)
        watch = _Exporter(exporter, self._gone)
        watch.on_release = on_release
        watch.offset = offset
        self._exporters[id(watch)] = watch
        if not path:
            self._read[offset] = object_id
        return memoryview(exporter).toreadonly()

    def source_of(self, value: Serialized) -> Source | None:
        """The object that holds exactly this value, if it is being read here and the value's buffers are its own."""
        if self._arena is None or not self._read or not value.buffers or not value.buffers[0].nbytes:
            return None
        base = self._address(self._arena.memory)
        within = buffer_offsets(value)
        offset = self._address(value.buffers[0]) - base - within[0]
        object_id = self._read.get(offset)
        if not object_id:
            return None
        starts = [self._address(buffer) - base - offset if buffer.nbytes else -1 for buffer in value.buffers]
        if any(start not in (-1, wanted) for start, wanted in zip(starts, within, strict=True)):
            return None
        head = head_of(value)
        return Source(object_id, offset) if self._arena.view[offset : offset + len(head)] == head else None

    def _address(self, memory: Any) -> int:
        address: int = self._frombuffer(memory, self._uint8, 1).__array_interface__["data"][0]
        return address

    @property
    def open_readers(self) -> int:
        """How many results of `reader` are in use."""
        return len(self._exporters)

    def in_use(self) -> list[tuple[int, int, Callable[[], object]]]:
        """First address, size and ``on_release`` of all that `reader` gave and something still refers to."""
        exporters = [(watch(), watch.on_release) for watch in list(self._exporters.values())]
        return [
            (exporter.__array_interface__["data"][0], exporter.nbytes, on_release)
            for exporter, on_release in exporters
            if exporter is not None
        ]

    def close(self) -> None:
        """Tell nobody of anything any more. Memory stays mapped for as long as somebody has a buffer of it."""
        self.copier.close()
        self._exporters.clear()
        self._read.clear()
        self._arena = None

    def _gone(self, watch: _Exporter) -> None:
        # Single dictionary operations, and the caller's single deque operation: atomic, whatever they interrupt. Of
        # several readers of an object the first that goes takes it off `_read`: then a copy is made, no harm done.
        if self._exporters.pop(id(watch), None) is not None:
            self._read.pop(watch.offset, None)
            watch.on_release()

    def _map(self) -> _Mapping:
        # Two threads may both get here; then both mappings are right and the later one is kept.
        self._arena = arena = _Mapping(self._path, self._size)
        return arena

    def _file(self, path: str, size: int) -> _Mapping:
        """What stands in for memory of the arena that there was not enough of."""
        return _Mapping(path, max(size, 1))

    def _import_numpy(self) -> None:
        import numpy as np

        self._uint8 = np.uint8
        self._frombuffer = np.frombuffer
