"""What an owner keeps of a task until it ends, and of a worker while it leases it. Data only.

Sizes matter here: a million queued tasks are a million `Record`s (under 1 KB each with everything they refer to).
"""

from __future__ import annotations

import weakref
from collections import deque
from typing import Any

import msgspec

from ..protocol.common import Address, Cell
from ..protocol.core_messages import Task, Template
from ..protocol.raylet_messages import LeaseSpec
from .refs import ObjectRef
from .sites import Site

__all__ = ["LeasedWorker", "Plan", "Record", "SchedulingClass", "Stream"]


class Plan(msgspec.Struct, eq=False):
    """A function (or an actor's method) with its options and the cell: what all its tasks share at their owner."""

    template: Template
    name: str
    scheduling: SchedulingClass | None  # None for actor calls
    max_retries: int = 3
    retry_exceptions: bool | tuple[type[BaseException], ...] = False
    num_returns: int = 1  # -1: streaming
    actor: Any = None  # ActorCalls' client, for a method
    estimate: float = -1.0  # seconds a task takes, learnt; negative: unknown
    backpressure: int = -1
    cell: Cell | None = None
    function: Any = None  # keeps the function's payload alive for later workers
    slow: bool = False  # needs the careful path: refs in args, large args, several returns
    site: Site | None = None  # the line that first called it


class Stream(msgspec.Struct, eq=False):
    """Items of a streaming generator as they come; ``total`` is known once it ended."""

    items: dict[int, ObjectRef]
    arrived: int = 0  # items 1 … arrived are here
    taken: int = 0
    total: int = -1
    waiters: list[Any] | None = None
    stored: dict[int, weakref.ref[ObjectRef]] = {}  # items that lie in a store, for a retry that makes them again
    peer: bytes = b""  # worker that produces
    closed: bool = False


class Record(msgspec.Struct, eq=False):
    """A task from its submission to its end."""

    task: Task
    plan: Plan
    ref: ObjectRef | None = None  # its only return …
    refs: list[ObjectRef] | None = None  # … or all of several
    retries: int = 0  # left
    holds: list[ObjectRef] | None = None  # arguments, kept alive; the first len(task.deps) are those of the deps
    waiting: int = 0  # dependencies that are not ready
    local: int = 0  # of these, how many are in flight at worker `at`
    at: LeasedWorker | None = None
    worker: Any = None  # where it is in flight: LeasedWorker or ActorClient
    cancelled: bool = False
    stream: Stream | None = None
    submitted: float = 0.0
    weak: list[weakref.ref[ObjectRef]] | None = None  # its returns, once it is only lineage: these hold it
    create: Any = None  # an actor's creation waits for its arguments: what to send then

    def rest(self) -> None:
        """Become lineage: the returns hold the record now, so it must not hold them."""
        refs = self.refs if self.refs is not None else [self.ref] if self.ref is not None else []
        self.weak = [weakref.ref(ref) for ref in refs]
        self.ref, self.refs = None, None if self.refs is None else []

    def revive(self) -> list[ObjectRef]:
        """Be a task again; returns its references, new ones in place of those that nobody holds any more."""
        assert self.weak is not None
        alive = [watch() for watch in self.weak]
        known = next(ref for ref in alive if ref is not None)
        made = [ref if ref is not None else ObjectRef(known._w, known._n, index) for index, ref in enumerate(alive, 1)]
        if self.refs is None:
            self.ref = made[0]
        else:
            self.refs = made
        self.weak = None
        return made


class LeasedWorker(msgspec.Struct, eq=False, dict=False):
    """A worker while this owner holds its lease."""

    worker_id: bytes
    address: Address
    lease_id: int
    scheduling: SchedulingClass
    accelerators: dict[str, list[int]]
    inflight: dict[int, Record]  # by counter, in the order pushed
    templates: set[int]  # it has seen
    functions: set[bytes]
    queued_time: float = 0.0  # estimated seconds of work in flight
    reclaim: bool = False
    blocked: bool = False
    stealing: bool = False
    idle_since: float = 0.0
    pid: int = 0
    raylet: bytes = b""
    greeted: bool = False  # told accelerators and our address


class SchedulingClass(msgspec.Struct, eq=False):
    """Tasks that any worker of one kind of lease can run."""

    class_id: int
    spec: LeaseSpec
    queue: deque[Record]
    workers: dict[int, LeasedWorker]  # by lease id
    asked: dict[bytes, int]  # leases wanted, as last told to each raylet
    dirty: bool = False
    has_arguments: bool = False  # some of its tasks, that are references
    refused: str = ""
    waiting_since: float = 0.0
