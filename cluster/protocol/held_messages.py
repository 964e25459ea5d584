"""Questions to a process about what it holds and owns, and their answers."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from .common import Cell, Resources

__all__ = [
    "DescribeObjects",
    "DescribeTask",
    "ExplainObject",
    "HeldObject",
    "KeptBy",
    "ObjectExplained",
    "ObjectsHeld",
    "ReferenceKind",
    "TaskArgument",
    "TaskDescribed",
]


class ReferenceKind(StrEnum):
    """What holds an object in a process: Ray's words."""

    PINNED_IN_MEMORY = "PINNED_IN_MEMORY"  # a value that was read from it is in use
    USED_BY_PENDING_TASK = "USED_BY_PENDING_TASK"  # an argument
    ACTOR_HANDLE = "ACTOR_HANDLE"  # it stands for an actor's life
    CAPTURED_IN_OBJECT = "CAPTURED_IN_OBJECT"  # another object contains it
    LOCAL_REFERENCE = "LOCAL_REFERENCE"  # a variable


class DescribeObjects(msgspec.Struct, array_like=True, tag=60):
    """Anyone: which objects do you hold? Answered with `ObjectsHeld`, the largest ``limit`` of them."""

    request: int
    limit: int = 10_000


class HeldObject(msgspec.Struct, array_like=True):
    """An object as one process knows it. ``size`` is -1 where it does not.

    ``status`` is that of the task that makes it: PENDING, FINISHED, FAILED; NIL of what was put; FREED. ``borrowers``
    are the processes that the owner knows to hold it.
    """

    object_id: bytes
    size: int
    status: str
    kinds: list[ReferenceKind]
    nodes: list[bytes] = []
    maker: str = ""
    cell: Cell | None = None
    site: str = ""
    borrowers: list[bytes] = []


class ObjectsHeld(msgspec.Struct, array_like=True, tag=61):
    """Answer to `DescribeObjects`. ``total``: how many there are."""

    request: int
    worker_id: bytes
    node_id: bytes
    pid: int
    objects: list[HeldObject]
    total: int


class DescribeTask(msgspec.Struct, array_like=True, tag=62):
    """Anyone, to its owner: what do you know of this task? Answered with `TaskDescribed`."""

    request: int
    counter: int


class TaskArgument(msgspec.Struct, array_like=True):
    """``slot``: position or keyword. ``text``: the value if it is plain, else its kind. ``object_id``: of a ref."""

    slot: str
    text: str
    object_id: bytes = b""
    maker: str = ""


class TaskDescribed(msgspec.Struct, array_like=True, tag=63):
    """Answer to `DescribeTask`. ``known`` is false of a task that is over and whose results nobody needs any more.

    ``missing``: arguments that are not ready. ``site``: the line of the program that first called the function.
    """

    request: int
    known: bool
    is_pending: bool = False
    missing: int = 0
    retries: int = 0  # left; -1: without end
    resources: Resources = {}
    site: str = ""
    arguments: list[TaskArgument] = []
    results: list[HeldObject] = []
    traceback: str = ""  # of its error, if somebody holds that


class ExplainObject(msgspec.Struct, array_like=True, tag=64):
    """Anyone: what keeps this object alive in your process? Answered with `ObjectExplained`."""

    object_id: bytes
    request: int = 0


class KeptBy(msgspec.Struct, array_like=True):
    """One thing that keeps an object alive.

    ``keeper`` is what it is: a `Keeper` of the census (task, lineage, …), or ``name``, of which ``name`` is what the
    process itself calls it, for a sentence. ``cell`` submitted the task; ``process`` borrows, or is the actor.
    """

    keeper: str
    name: str = ""
    cell: Cell | None = None
    process: bytes = b""


class ObjectExplained(msgspec.Struct, array_like=True, tag=65):
    """Answer to `ExplainObject`. ``is_held``: the process has a reference, or a value that was read from the object.

    ``is_whole`` is false where the process holds so much that not all of its names were looked at.
    """

    request: int
    worker_id: bytes
    is_held: bool
    kept: list[KeptBy] = []
    is_whole: bool = True
    error: str = ""
