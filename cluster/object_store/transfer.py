"""Objects on their way between nodes: whom to ask, when to ask another, how much to send.

Strategy: the receiver pulls. It asks one node, which answers with the object's size; when the receiver has room it
gives credit, and gets as many chunks of `CHUNK` bytes; each chunk written gives credit for the next. So a slow
receiver, or one that waits for memory, holds nobody up and nothing piles up in between. However many processes want
an object, a node pulls it once.

A hot object spreads as a tree: a node serves an object to `SENDS` others at a time and sends further ones on to nodes
that have fetched it, each at most once; later it takes them in turn. Each puller also begins with another of the
nodes it knows.

If the sender dies, loses the object or falls silent, the pull starts again with the next node, from the beginning: the
other copy may be of another run of the task, and no two halves of different runs may ever be joined.
Rejected: pushing (the sender cannot know who still wants it), striping over several senders (one already fills the
network card; helps only where links are uneven), resuming in the middle.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .records import Block

__all__ = ["CHUNK", "CREDIT", "SENDS", "STALL", "Outgoing", "Pull", "in_order_for"]

CHUNK: Final = 4 << 20
"""Bytes: large enough that a message's cost does not count, small enough not to delay other messages by much."""

CREDIT: Final = 4
"""Chunks under way for one object: 16 MB fill a link of 10 Gbit/s with 13 ms of delay."""

SENDS: Final = 3
"""Receivers of one object served at a time."""

STALL: Final = 30.0
"""Seconds of silence until another node is asked. The asked node may have to bring the object back from disk first."""


def in_order_for(node_id: bytes, object_id: bytes, nodes: Iterable[bytes]) -> list[bytes]:
    """The nodes to ask, each once and without oneself, beginning with one that differs from puller to puller."""
    listed = [node for node in dict.fromkeys(nodes) if node != node_id]
    if not listed:
        return listed
    first = (int.from_bytes(node_id, "big") ^ int.from_bytes(object_id[-12:], "big")) % len(listed)
    return listed[first:] + listed[:first]


class Pull:
    """An object being fetched.

    Attributes
    ----------
    attempt
        Number of the request to the source, in all messages about it.
    source
        The node asked; empty when there is none.
    total
        Bytes; 0 until a node has said so.
    block
        Where it is written; None until there is room.
    has_requested_room
        A request for the block is in the queue.
    received, written
        Bytes of this attempt that came, and that are in the block.
    writing
        Writes of chunks under way, also of attempts given up: a new attempt gives no credit before they ended.
    ordered
        Chunks of this attempt for which credit was given.
    heard
        When the source was last heard of.
    """

    __slots__ = (
        "_candidates",
        "_tried",
        "attempt",
        "block",
        "has_requested_room",
        "heard",
        "ordered",
        "received",
        "source",
        "total",
        "writing",
        "written",
    )

    def __init__(self, nodes: list[bytes]) -> None:
        self.attempt = 0
        self.source = b""
        self.total = 0
        self.block: Block | None = None
        self.has_requested_room = False
        self.received = 0
        self.written = 0
        self.writing = 0
        self.ordered = 0
        self.heard = 0.0
        self._candidates = nodes
        self._tried: set[bytes] = set()

    def add_nodes(self, nodes: Iterable[bytes]) -> None:
        """Further nodes that may have it."""
        for node in nodes:
            if node not in self._tried and node not in self._candidates:
                self._candidates.append(node)

    def remove_node(self, node: bytes) -> None:
        """A node that need not be asked any more."""
        self._tried.add(node)
        if node in self._candidates:
            self._candidates.remove(node)

    def next_source(self, attempt: int, now: float) -> bytes:
        """Turn to the next node, from the beginning; empty if none is left."""
        self.source = self._candidates.pop(0) if self._candidates else b""
        if self.source:
            self._tried.add(self.source)
        self.attempt = attempt
        self.received = self.written = self.ordered = 0
        self.heard = now
        return self.source

    def sent_on(self, nodes: Iterable[bytes]) -> None:
        """The source names others to ask first; it is asked again when these do not have it."""
        first = [node for node in nodes if node not in self._tried]
        self._candidates = first + [node for node in self._candidates if node not in first]
        self._tried.discard(self.source)
        self._candidates.append(self.source)

    def offered(self, total: int) -> bool:
        """The source has it, with so many bytes; whether a block at hand is of another size, so of no use."""
        misfit = self.total not in (0, total)
        self.total = total
        return misfit

    def accept(self, start: int, size: int) -> bool:
        """Whether a chunk is the next one of this attempt; counts it if so."""
        if self.block is None or start != self.received or start + size > self.total or not size:
            return False
        self.received += size
        self.writing += 1
        return True

    def more_credit(self) -> int:
        """How many more chunks to order now."""
        if self.block is None or self.has_requested_room:
            return 0
        chunks = -(-self.total // CHUNK)
        done = self.written // CHUNK
        if self.ordered == 0 and self.writing:
            return 0  # writes of an earlier attempt may still land
        count = min(chunks, done + CREDIT) - self.ordered
        self.ordered += max(count, 0)
        return max(count, 0)

    @property
    def is_complete(self) -> bool:
        return self.total > 0 and self.written == self.total and not self.writing


class Outgoing:
    """An object being sent to one node, as its request ``pull``.

    ``sent`` bytes of ``total``; ``credit`` chunks may follow at once.
    """

    __slots__ = ("credit", "pull", "sent", "total")

    def __init__(self, total: int, pull: int) -> None:
        self.pull = pull
        self.sent = 0
        self.total = total
        self.credit = 0

    def next_chunks(self) -> list[tuple[int, int]]:
        """Start and size of the chunks that the credit allows."""
        chunks = []
        while self.credit > 0 and self.sent < self.total:
            size = min(CHUNK, self.total - self.sent)
            chunks.append((self.sent, size))
            self.sent += size
            self.credit -= 1
        return chunks
