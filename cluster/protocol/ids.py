"""Identifiers, and how they are made without a system call.

Strategy: a process draws eight random bytes once (its worker id) and counts from there. A task id is the worker id of
its owner and a counter; an object id is a task id and an index. So the owner of anything is readable from its id, ids
are unique without agreement, and the hot path moves plain integers (the counter) instead of bytes. Random ids for each
task were rejected: a system call or a random generator a task, and no owner in them.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ACTOR_ID_SIZE",
    "NODE_ID_SIZE",
    "OBJECT_ID_SIZE",
    "TASK_ID_SIZE",
    "WORKER_ID_SIZE",
    "make_object_id",
    "make_task_id",
    "object_counter",
    "object_index",
    "object_owner",
    "object_task",
    "process_id_from",
    "task_counter",
    "task_owner",
]

WORKER_ID_SIZE: Final = 8
NODE_ID_SIZE: Final = 8
TASK_ID_SIZE: Final = 16
ACTOR_ID_SIZE: Final = TASK_ID_SIZE  # an actor is named by the id of the task that creates it
OBJECT_ID_SIZE: Final = 20

_COUNTER_SIZE: Final = 8
_INDEX_SIZE: Final = 4


def process_id_from(random: bytes) -> bytes:
    """Make a worker or node id of eight random bytes; the first is never zero, which ZeroMQ keeps for itself."""
    if len(random) != WORKER_ID_SIZE:
        raise ValueError(f"a process id is made of {WORKER_ID_SIZE} random bytes, not {len(random)}")
    return bytes([random[0] | 1]) + random[1:]


def make_task_id(worker_id: bytes, counter: int) -> bytes:
    """Id of the `counter`-th task of a process."""
    return worker_id + counter.to_bytes(_COUNTER_SIZE, "big")


def make_object_id(worker_id: bytes, counter: int, index: int) -> bytes:
    """Id of an object: index 0 is a `put`, 1, 2, … are the returns of task `counter` in their order."""
    return worker_id + counter.to_bytes(_COUNTER_SIZE, "big") + index.to_bytes(_INDEX_SIZE, "big")


def task_owner(task_id: bytes) -> bytes:
    """Worker id of the process that submitted a task."""
    return task_id[:WORKER_ID_SIZE]


def task_counter(task_id: bytes) -> int:
    """Position of a task among those of its owner."""
    return int.from_bytes(task_id[WORKER_ID_SIZE:TASK_ID_SIZE], "big")


def object_owner(object_id: bytes) -> bytes:
    """Worker id of the process that owns an object."""
    return object_id[:WORKER_ID_SIZE]


def object_task(object_id: bytes) -> bytes:
    """Id of the task that made an object (of the `put`, for one that was put)."""
    return object_id[:TASK_ID_SIZE]


def object_counter(object_id: bytes) -> int:
    """Counter of the task that made an object."""
    return int.from_bytes(object_id[WORKER_ID_SIZE:TASK_ID_SIZE], "big")


def object_index(object_id: bytes) -> int:
    """Which return of its task an object is; 0 for a `put`."""
    return int.from_bytes(object_id[TASK_ID_SIZE:], "big")
