"""What the store knows of one object, and which states may follow which.

An object's bytes lie in a `Block`. A block is counted by those who use it: the object itself, a thread that copies it
to disk, a transfer being received. So an object can be freed, replaced or lost at any moment, and its memory is
recycled exactly when the last of these is done with it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

__all__ = ["TABLE", "Block", "IllegalTransition", "Record", "State", "Trigger", "move"]


class State(StrEnum):
    """Where an object is in its life on this node."""

    EXPECTED = "expected"  # somebody waits for it, or released a pin of it, before its `SealObjects` came
    CREATED = "created"  # a process of this node is writing it
    PULLING = "pulling"  # another node is asked for it
    SEALED = "sealed"  # in memory, complete
    SPILLING = "spilling"  # in memory, complete, being copied to disk to make room
    SPILLED = "spilled"  # on disk only
    RESTORING = "restoring"  # on disk, on its way back
    FREED = "freed"  # not to be had any more; pinned or being written, or to be recognized when its seal comes late
    GONE = "gone"  # forgotten; no record has this state for longer than an event


class Trigger(StrEnum):
    """What moves an object from state to state."""

    CREATE = "create"
    ABORT = "abort"
    SEAL = "seal"
    PULL = "pull"
    PULLED = "pulled"
    SPILL = "spill"
    SPILLED = "spilled"
    KEPT = "kept"  # spilled, or not: it is in use or could not be written, and stays in memory
    EVICT = "evict"
    DROP = "drop"
    RESTORE = "restore"
    RESTORED = "restored"
    NO_ROOM = "no room"
    LOST = "lost"
    FREE = "free"
    FORGET = "forget"


TABLE: Final[dict[tuple[State, Trigger], State]] = {
    (State.EXPECTED, Trigger.CREATE): State.CREATED,
    (State.EXPECTED, Trigger.SEAL): State.SEALED,  # written into a slab
    (State.EXPECTED, Trigger.PULL): State.PULLING,
    (State.EXPECTED, Trigger.FREE): State.FREED,
    (State.EXPECTED, Trigger.LOST): State.EXPECTED,
    (State.EXPECTED, Trigger.FORGET): State.GONE,
    (State.CREATED, Trigger.CREATE): State.CREATED,  # a retry writes it too
    (State.CREATED, Trigger.SEAL): State.SEALED,
    (State.CREATED, Trigger.ABORT): State.EXPECTED,
    (State.CREATED, Trigger.FREE): State.FREED,
    (State.PULLING, Trigger.CREATE): State.PULLING,
    (State.PULLING, Trigger.SEAL): State.SEALED,
    (State.PULLING, Trigger.PULLED): State.SEALED,
    (State.PULLING, Trigger.LOST): State.EXPECTED,
    (State.PULLING, Trigger.FREE): State.FREED,
    (State.SEALED, Trigger.CREATE): State.SEALED,  # a retry writes it again; readable as it is until that is sealed
    (State.SEALED, Trigger.SEAL): State.SEALED,
    (State.SEALED, Trigger.SPILL): State.SPILLING,
    (State.SEALED, Trigger.EVICT): State.GONE,  # a copy, of which another node has the original
    (State.SEALED, Trigger.DROP): State.CREATED,  # such a copy, while a retry writes the object
    (State.SEALED, Trigger.SPILLED): State.SPILLED,  # it is on disk already
    (State.SEALED, Trigger.FREE): State.FREED,
    (State.SPILLING, Trigger.CREATE): State.SPILLING,
    (State.SPILLING, Trigger.SEAL): State.SEALED,
    (State.SPILLING, Trigger.SPILLED): State.SPILLED,
    (State.SPILLING, Trigger.KEPT): State.SEALED,
    (State.SPILLING, Trigger.FREE): State.FREED,
    (State.SPILLED, Trigger.CREATE): State.SPILLED,
    (State.SPILLED, Trigger.SEAL): State.SEALED,
    (State.SPILLED, Trigger.RESTORE): State.RESTORING,
    (State.SPILLED, Trigger.FREE): State.FREED,
    (State.RESTORING, Trigger.CREATE): State.RESTORING,
    (State.RESTORING, Trigger.SEAL): State.SEALED,
    (State.RESTORING, Trigger.RESTORED): State.SEALED,
    (State.RESTORING, Trigger.NO_ROOM): State.SPILLED,
    (State.RESTORING, Trigger.LOST): State.EXPECTED,  # its file cannot be read
    (State.RESTORING, Trigger.FREE): State.FREED,
    (State.FREED, Trigger.CREATE): State.CREATED,  # its owner has it made again
    (State.FREED, Trigger.SEAL): State.FREED,  # the seal that the free overtook
    (State.FREED, Trigger.ABORT): State.FREED,
    (State.FREED, Trigger.FREE): State.FREED,
    (State.FREED, Trigger.FORGET): State.GONE,
}
"""Every edge there is. Anything else is a fault of the store."""

_HISTORY: Final = 12  # an object's life has some six steps; a cycle of spilling and restoring shows twice


class IllegalTransition(AssertionError):
    """An event that the state of an object does not allow: a fault of the store, with the object's story."""

    def __init__(self, record: Record, trigger: Trigger, cause: str) -> None:
        story = "\n".join(f"  {state}: {why}" for state, why in record.history)
        super().__init__(
            f"object {record.object_id.hex()} is {record.state}, which does not allow {trigger!s} ({cause}). "
            f"Its story:\n{story}"
        )


class Block:
    """Memory of the arena, or a file on disk that stands in for it.

    Attributes
    ----------
    offset
        Where it begins in the arena; 0 in a file.
    path
        The file; empty for the arena.
    size
        Bytes reserved.
    length
        Bytes asked for.
    users
        How many use it; nobody writes to or recycles it before this is 0.
    """

    __slots__ = ("length", "offset", "path", "size", "users")

    def __init__(self, offset: int, size: int, length: int, path: str = "") -> None:
        self.offset = offset
        self.size = size
        self.length = length
        self.path = path
        self.users = 1

    def __repr__(self) -> str:
        where = self.path or "arena"
        return f"Block({self.size} bytes at {self.offset} of {where}, {self.users} users)"


class Record:
    """One object on this node.

    Attributes
    ----------
    size
        Bytes; 0 while unknown.
    block
        Its memory, when SEALED or SPILLING.
    primary
        Made here (spilled when memory is short), not a copy of another node's (dropped).
    pins
        Process to number of pins: none of them 0.
    waiters
        Processes that want it pinned, in order, once for each time.
    askers
        Nodes that want it sent, in order, each with its own number for that.
    early
        Process to number of pins that it released before they were made.
    kept
        Process to number of pins that it kept, for what it reads, when it freed the object before its seal came.
    writers
        Process to the block it writes; None while it waits for room.
    stale
        Blocks with earlier values, which those who pinned may still read.
    disk
        Where it is on disk; empty if not.
    job
        Number of the copy to or from disk under way; 0 for none.
    deadline
        When EXPECTED gives up, or FREED is forgotten; 0 for none.
    copies
        Nodes that fetched it from here.
    redirected
        Nodes that were sent on to one of the copies: each once.
    """

    __slots__ = (
        "askers",
        "block",
        "copies",
        "deadline",
        "disk",
        "early",
        "history",
        "job",
        "kept",
        "object_id",
        "pins",
        "primary",
        "redirected",
        "size",
        "stale",
        "state",
        "waiters",
        "writers",
    )

    def __init__(self, object_id: bytes, cause: str) -> None:
        self.object_id = object_id
        self.state = State.EXPECTED
        self.size = 0
        self.block: Block | None = None
        self.primary = True
        self.pins: dict[bytes, int] = {}
        self.waiters: list[bytes] = []
        self.askers: dict[bytes, int] = {}
        self.early: dict[bytes, int] = {}
        self.kept: dict[bytes, int] = {}
        self.writers: dict[bytes, Block | None] = {}
        self.stale: list[Block] = []
        self.disk = ""
        self.job = 0
        self.deadline = 0.0
        self.copies: set[bytes] = set()
        self.redirected: set[bytes] = set()
        self.history: list[tuple[State, str]] = [(State.EXPECTED, cause)]

    def block_at(self, offset: int) -> Block | None:
        """The block in the arena that holds the value, or an earlier one that is still read, if it begins there."""
        for block in (self.block, *self.stale):
            if block is not None and not block.path and block.offset == offset:
                return block
        return None

    @property
    def is_in_memory(self) -> bool:
        return self.state is State.SEALED or self.state is State.SPILLING


def move(record: Record, trigger: Trigger, cause: str) -> None:
    """Take one edge of the table, or raise `IllegalTransition`."""
    state = TABLE.get((record.state, trigger))
    if state is None:
        raise IllegalTransition(record, trigger, cause)
    record.state = state
    record.history.append((state, cause))
    if len(record.history) > _HISTORY:
        del record.history[1]  # the first says where it came from
