"""What the machine of a raylet is told (events) and what it asks for (commands).

Strategy: an event is a fact with its cause, a command names processes by id; neither knows of sockets, processes or
clocks, so the same machine runs under the real server, in tests and in a simulation.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ..protocol.cluster_events import ClusterEvent, ReportEvent
from ..protocol.common import Address, CancelCell, NodeInfo, Resources
from ..protocol.gcs_messages import GcsMessage, GcsReply
from ..protocol.raylet_messages import RayletMessage, RayletReply

__all__ = [
    "Candidate",
    "Command",
    "Context",
    "DriverGone",
    "EndNode",
    "Event",
    "FromGcs",
    "Log",
    "MemoryPressure",
    "NodeConfig",
    "NodeEnding",
    "NodeLost",
    "ProcessEnded",
    "Received",
    "Reply",
    "ResetStarted",
    "SignalWorker",
    "StartWorker",
    "TellGcs",
    "TellNode",
    "Tick",
    "WatchDriver",
    "WorkerExited",
    "WorkerForked",
    "WorkerNotForked",
]


# -- events -----------------------------------------------------------------------------------------------------------


class Received(msgspec.Struct, frozen=True, gc=False):
    """A message on the raylet's server socket, of the peer with this id."""

    peer: bytes
    message: RayletMessage


class FromGcs(msgspec.Struct, frozen=True, gc=False):
    """News of the GCS, on our connection to it."""

    message: GcsReply


class WorkerForked(msgspec.Struct, frozen=True, gc=False):
    """The node host made the process; the worker in it will say hello."""

    worker_id: bytes
    pid: int


class WorkerNotForked(msgspec.Struct, frozen=True, gc=False):
    """The node host could not."""

    worker_id: bytes
    text: str


class WorkerExited(msgspec.Struct, frozen=True, gc=False):
    """A worker's process ended. ``by_kernel``: the kernel killed it for want of memory.

    ``ran``, ``cell``: what it noted last.
    """

    worker_id: bytes
    code: int | None
    signal: int | None
    by_kernel: bool = False
    ran: str = ""
    cell: int = 0


class DriverGone(msgspec.Struct, frozen=True, gc=False):
    """A driver's process ended."""

    driver_id: bytes


class MemoryPressure(msgspec.Struct, frozen=True, gc=False):
    """This worker has to go before memory is exhausted; ``detail`` has the numbers."""

    worker_id: bytes
    detail: str


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A worker that runs something, and might be ended when memory is short.

    ``since``: when its lease was granted or its actor assigned. ``memory``: bytes of its own, as measured.
    """

    worker_id: bytes
    pid: int
    is_actor: bool
    since: float
    memory: int = 0


class NodeEnding(msgspec.Struct, frozen=True, gc=False):
    """The node host ends the node."""

    reason: str


class Tick(msgspec.Struct, frozen=True, gc=False):
    """Time passed; see `RayletMachine.next_deadline`."""


Event = (
    Received | FromGcs | WorkerForked | WorkerNotForked | WorkerExited | DriverGone | MemoryPressure | NodeEnding | Tick
)


# -- commands ---------------------------------------------------------------------------------------------------------


class Reply(msgspec.Struct, frozen=True, gc=False):
    """Tell a process that connected to us."""

    peer: bytes
    message: RayletReply


class TellGcs(msgspec.Struct, frozen=True, gc=False):
    """Tell the GCS."""

    message: GcsMessage


class TellNode(msgspec.Struct, frozen=True, gc=False):
    """Tell another raylet."""

    node_id: bytes
    message: CancelCell


class StartWorker(msgspec.Struct, frozen=True, gc=False):
    """Have the node host make a worker; answered by `WorkerForked` or `WorkerNotForked`."""

    worker_id: bytes
    token: bytes
    env: dict[str, str]
    cwd: str
    job_id: bytes
    runtime_env: str


class SignalWorker(msgspec.Struct, frozen=True, gc=False):
    """Have the node host signal a worker."""

    worker_id: bytes
    signal: int


class ResetStarted(msgspec.Struct, frozen=True, gc=False):
    """Forget which task a worker began last: it was another owner's, whose counters mean nothing to the next."""

    worker_id: bytes


class WatchDriver(msgspec.Struct, frozen=True, gc=False):
    """Say `DriverGone` when this process ends."""

    driver_id: bytes
    pid: int


class ProcessEnded(msgspec.Struct, frozen=True, gc=False):
    """A process, of this node or another, is no more: its pins and connections go."""

    process_id: bytes


class NodeLost(msgspec.Struct, frozen=True, gc=False):
    """Another node is no more."""

    node_id: bytes


class EndNode(msgspec.Struct, frozen=True, gc=False):
    """Have the node host end the node."""

    reason: str


class Log(msgspec.Struct, frozen=True, gc=False):
    """One line for the raylet's log; ``level`` is a name of `logging`'s."""

    level: str
    text: str


Command = (
    Reply
    | TellGcs
    | TellNode
    | StartWorker
    | SignalWorker
    | ResetStarted
    | WatchDriver
    | ProcessEnded
    | NodeLost
    | EndNode
    | Log
)


# -- what the parts of the machine share ------------------------------------------------------------------------------


class NodeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What is fixed about the node. Times are seconds.

    ``prestart``: workers made at start. ``reserve``: workers kept that belong to no job yet, so that an actor or a new
    job starts at once. ``starting_limit``: workers that start at a time; more would only share the CPUs.
    ``reclaim_after``: an owner may wait so long before others are asked to give up leases; a class of short tasks
    returns them by itself in that time. ``slice_seconds``: a lease is not reclaimed younger where that only turns the
    tables. ``report_interval``: at most one report in that time; ``heartbeat``: and at least one in that.
    ``stop_grace``: from `Exit` to SIGKILL. ``hello_timeout``: from a fork to `CoreHello`, on a busy machine. ``hops``:
    how often demand is passed on before it waits where it is. ``actor_wait``, ``bundle_wait``: so long an actor or a
    placement group's bundles wait for room before they are refused.
    """

    node_id: bytes
    raylet: Address
    gcs: Address
    total: Resources
    labels: dict[str, str] = {}
    arena_path: str = ""
    arena_bytes: int = 0
    session_dir: str = ""
    prestart: int = 0
    reserve: int = 0
    starting_limit: int = 2
    max_workers: int = 1_000
    idle_worker_seconds: float = 10.0
    start_attempts: int = 3
    reclaim_after: float = 0.010
    slice_seconds: float = 0.1
    report_interval: float = 0.05
    heartbeat: float = 1.0
    stop_grace: float = 1.0
    hello_timeout: float = 60.0
    refill_after: float = 0.05
    actor_wait: float = 1.0
    bundle_wait: float = 4.0
    hops: int = 3


class Context:
    """Commands of the present step, in order, and what all parts need: configuration, randomness, the time."""

    __slots__ = ("commands", "config", "draw", "nodes", "now", "report_due")

    def __init__(self, config: NodeConfig, draw: Callable[[int], bytes]) -> None:
        self.config = config
        self.draw = draw
        self.now = 0.0
        self.commands: list[Command] = []
        self.nodes: dict[bytes, NodeInfo] = {}
        self.report_due = True

    def reply(self, peer: bytes, message: RayletReply) -> None:
        self.commands.append(Reply(peer, message))

    def tell_gcs(self, message: GcsMessage) -> None:
        self.commands.append(TellGcs(message))

    def log(self, level: str, text: str) -> None:
        self.commands.append(Log(level, text))

    def event(self, event: ClusterEvent) -> None:
        """Something happened that belongs into the cluster's log."""
        self.commands.append(TellGcs(ReportEvent(event)))

    def add(self, command: Command) -> None:
        self.commands.append(command)

    def take(self) -> list[Command]:
        commands, self.commands = self.commands, []
        return commands
