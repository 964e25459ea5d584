"""Slabs: memory that a process got in one piece, out of which it makes objects without asking.

A slab is a list of blocks that are not objects yet. Sealing cuts an object's block out of one; returning gives a part
back. Objects are sealed in any order, as several threads of the process write at once. A slab of which nothing is left
is forgotten.
"""

from __future__ import annotations

from .allocator import LINE, rounded
from .records import Block
from .room import Room

__all__ = ["Slabs"]


class Slabs:
    """All slabs of the node, by process and the process's own number."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._slabs: dict[bytes, dict[int, list[Block]]] = {}

    def add(self, peer: bytes, slab: int, block: Block) -> None:
        """A process gets a slab."""
        self._slabs.setdefault(peer, {})[slab] = [block]

    def carve(self, peer: bytes, slab: int, offset: int, size: int) -> Block | None:
        """Cut out the block of an object; None if the process holds no such memory."""
        block = self._cut(peer, slab, offset, rounded(size)) if size > 0 else None
        if block is not None:
            block.length = size
        return block

    def _cut(self, peer: bytes, slab: int, offset: int, length: int) -> Block | None:
        if length <= 0 or offset % LINE or length % LINE:
            return None
        blocks = self._slabs.get(peer, {}).get(slab, [])
        found = (b for b in blocks if b.offset <= offset and offset + length <= b.offset + b.size)
        block = next(found, None)
        if block is None:
            return None
        blocks.remove(block)
        if offset > block.offset:
            before = block
            block = self._split(before, offset - before.offset)
            blocks.append(before)
        if block.size > length:
            blocks.append(self._split(block, length))
        if not blocks:
            del self._slabs[peer][slab]
            if not self._slabs[peer]:
                del self._slabs[peer]
        return block

    def _split(self, block: Block, size: int) -> Block:
        """Shorten a block to ``size`` bytes; returns the rest."""
        length = block.size - size
        rest = Block(self._room.allocator.split(block.offset, size), length, length)
        block.size = size
        return rest

    def give_back(self, peer: bytes, slab: int, offset: int, size: int) -> bool:
        """A process will not write a part of its slab; False if it holds no such memory."""
        block = self._cut(peer, slab, offset, size)
        if block is None:
            return False
        self._room.release(block)
        return True

    def drop(self, peer: bytes) -> None:
        """A process is no more."""
        for blocks in self._slabs.pop(peer, {}).values():
            for block in blocks:
                self._room.release(block)

    def holders(self) -> list[bytes]:
        """Processes that have slabs."""
        return list(self._slabs)

    def bytes_of(self) -> dict[bytes, int]:
        """Process to bytes that it holds and has made no objects of."""
        return {
            peer: sum(block.size for blocks in slabs.values() for block in blocks)
            for peer, slabs in self._slabs.items()
        }

    def blocks(self) -> list[Block]:
        """Every block of every slab."""
        return [block for slabs in self._slabs.values() for blocks in slabs.values() for block in blocks]
