"""The channel of the GCS: with raylets and with every core.

Strategy: whoever needs a view subscribes with its first message and is sent changes on the same connection. A request
that has one answer carries ``request`` (the sender's own number), which comes back in the answer. Task events are kept
as they came, undecoded: the GCS pays nothing for a task.
"""

from __future__ import annotations

import msgspec

from .cluster_events import ReportEvent
from .common import Address, Cell, Death, NodeInfo, Resources
from .failure_messages import ReportFailures
from .group_messages import (
    BundleRow,
    CreateGroup,
    GetGroup,
    GroupUpdate,
    RemoveGroup,
    ReportBundles,
    WatchGroup,
)
from .node_messages import NodeAnswer

__all__ = [
    "ActorInfo",
    "ActorSpec",
    "ActorUpdate",
    "Answer",
    "AskProcess",
    "CreateActor",
    "DriverHello",
    "EventsRead",
    "Failed",
    "GcsMessage",
    "GcsReply",
    "GetActor",
    "JobInfo",
    "KillActor",
    "KvDelete",
    "KvGet",
    "KvKeys",
    "KvPut",
    "ListState",
    "NodeHello",
    "NodeReport",
    "NodeUpdate",
    "Notice",
    "ProcessDead",
    "ReadTaskEvents",
    "RemoveNode",
    "ReplaceClass",
    "ReportActor",
    "ReportJobEnd",
    "ReportProcessDeath",
    "ResourceView",
    "SayHello",
    "Stop",
    "TaskEvents",
    "WatchActor",
    "Welcome",
]


class ActorSpec(msgspec.Struct):
    """Everything needed to start an actor, again and again.

    ``args`` is what a task's args are; the payload of the class is in the kv as ``fn:<hex>``.
    """

    class_hash: bytes
    class_name: str
    job_id: bytes
    owner: Address
    args: bytes = b""
    resources: Resources = {}  # held for life
    placement: Resources = {}  # needed only to choose the node (1 CPU where no num_cpus was given)
    name: str = ""
    namespace: str = ""
    detached: bool = False
    max_restarts: int = 0  # -1: always
    max_task_retries: int = 0
    max_concurrency: int = 1
    is_async: bool = False
    concurrency_groups: dict[str, int] = {}
    max_pending_calls: int = -1
    strategy: str = "DEFAULT"
    labels: dict[str, str] = {}
    runtime_env: str = ""
    cell: Cell | None = None
    methods: dict[str, dict[str, object]] = {}  # options that @method gave, for handles made by name
    deps: bytes = b""  # msgpack of the creation task's Dep list and RefInfo list
    site: str = ""
    unordered: bool = False  # calls may overtake those that wait for their arguments
    code: dict[str, tuple[int, str]] = {}  # edited modules that it is to run with: version and hash of the text
    root: Address | None = None  # the driver that sees what it prints, where that is not the owner
    events: bool = True  # its calls are recorded
    capture: bool = False  # what it submits runs in its placement group, too


class ActorInfo(msgspec.Struct, array_like=True):
    """An actor as its callers know it.

    ``state``: PENDING, ALIVE, RESTARTING or DEAD; ``restarts``: lives before this one.
    """

    actor_id: bytes
    state: str
    address: Address | None = None
    restarts: int = 0
    death: Death | None = None
    error: bytes = b""  # pickled, when the constructor raised


class JobInfo(msgspec.Struct):
    """What one driver submitted. Times are seconds since the epoch."""

    job_id: bytes
    driver: Address
    pid: int
    namespace: str
    entrypoint: str
    started: float
    ended: float | None = None
    config: dict[str, object] = {}


# -- raylet to GCS --------------------------------------------------------------------------------------------------


class NodeHello(msgspec.Struct, array_like=True, tag=1):
    """A raylet joins, or comes back after the GCS restarted (then ``actors`` lists those alive on it)."""

    protocol: int
    node: NodeInfo
    actors: list[tuple[bytes, Address]] = []
    bundles: list[tuple[bytes, int, list[int], bool]] = []  # group, attempt, indexes, whether they were committed


class NodeReport(msgspec.Struct, array_like=True, tag=2):
    """What a node has free, and what waits there; sent on change and as heartbeat."""

    available: Resources
    pending: list[tuple[Resources, int]] = []
    store_used: int = 0
    total: Resources | None = None
    workers: list[dict[str, object]] | None = None
    most: Resources = {}  # what it grows to while work waits
    bundles: list[BundleRow] = []  # of placement groups, to be used here


class ReportProcessDeath(msgspec.Struct, array_like=True, tag=3):
    """A worker or driver of this node is no more. ``ran``: the function that the worker noted last, and its cell."""

    worker_id: bytes
    death: Death
    job_id: bytes = b""  # of a driver: its job ends
    is_driver: bool = False
    ran: str = ""
    cell: int = 0


class ReportActor(msgspec.Struct, array_like=True, tag=4):
    """An actor of this node is alive at ``address``; or its constructor raised (``error``); or it died (``death``);
    or the node could not take it after all (``rejected``: choose another)."""

    actor_id: bytes
    address: Address | None = None
    error: bytes = b""
    death: Death | None = None
    rejected: bool = False
    restart: int = 0


# -- core (or tool) to GCS ------------------------------------------------------------------------------------------


class DriverHello(msgspec.Struct, array_like=True, tag=10):
    """A driver, worker or tool: who I am.

    A driver (``job`` set) starts a job. All are told of nodes and dead processes.
    """

    protocol: int
    address: Address
    job: JobInfo | None = None
    request: int = 0


class ReportJobEnd(msgspec.Struct, array_like=True, tag=11):
    """A driver's `shutdown`: its job ends, its actors (not the detached ones) too."""

    job_id: bytes
    request: int = 0


class CreateActor(msgspec.Struct, array_like=True, tag=12):
    """Owner: make this actor. Answered with `Answer` (``Failed`` when the name is taken: ``kind`` "name_taken").

    ``get_if_exists``: if the name is taken, the answer is the existing actor's info.
    """

    actor_id: bytes
    spec: ActorSpec
    get_if_exists: bool = False
    request: int = 0


class GetActor(msgspec.Struct, array_like=True, tag=13):
    """By name and namespace, or by id.

    Answered with `Answer` of `(ActorInfo, ActorSpec)` or `Failed` (kind "not_found").
    """

    name: str = ""
    namespace: str = ""
    actor_id: bytes = b""
    request: int = 0


class WatchActor(msgspec.Struct, array_like=True, tag=14):
    """Caller: tell me (`ActorUpdate`) where this actor is, now and whenever that changes."""

    actor_id: bytes


class KillActor(msgspec.Struct, array_like=True, tag=15):
    """`kill` (``force``), or the last handle went (``out_of_scope``: after the calls it has)."""

    actor_id: bytes
    no_restart: bool = True
    out_of_scope: bool = False
    request: int = 0


class ReplaceClass(msgspec.Struct, array_like=True, tag=24):
    """A caller: the actor is an instance of another class by now, which restarts and handles by name are to know."""

    actor_id: bytes
    class_hash: bytes
    class_name: str
    methods: dict[str, dict[str, object]] = {}
    code: dict[str, tuple[int, str]] = {}
    request: int = 0


class KvPut(msgspec.Struct, array_like=True, tag=16):
    """Store under (namespace, key). Answer: whether it was new."""

    key: bytes
    value: bytes
    namespace: str = ""
    overwrite: bool = True
    request: int = 0


class KvGet(msgspec.Struct, array_like=True, tag=17):
    """Answer: the value, or nil. ``wait``: answer when it is put, if it is not there yet."""

    key: bytes
    namespace: str = ""
    wait: bool = False
    request: int = 0


class KvDelete(msgspec.Struct, array_like=True, tag=18):
    """Answer: how many keys went."""

    key: bytes
    namespace: str = ""
    prefix: bool = False
    request: int = 0


class KvKeys(msgspec.Struct, array_like=True, tag=19):
    """Answer: the keys that begin with ``prefix``."""

    prefix: bytes
    namespace: str = ""
    request: int = 0


class TaskEvents(msgspec.Struct, array_like=True, tag=20):
    """A batch of task events (see cluster/telemetry/events.py), encoded by its sender, and how many it had to drop."""

    blob: bytes
    count: int
    dropped: int = 0


class ListState(msgspec.Struct, array_like=True, tag=21):
    """State API. The answer is plain data.

    ``what``: nodes, actors, placement_groups, jobs, workers, named_actors, task_events, resources, stats; or one of
    `NODE_QUESTIONS`, for which all nodes are asked: ``nodes`` are then the rows of each, ``missing`` the ids of those
    that did not answer.
    Of ``pending`` the answer is what waits and why: see `gcs/pending.py`.
    ``events`` are those after number ``after`` (0: the newest); see `gcs/event_log_machine.py`.
    """

    what: str
    limit: int = 10_000
    request: int = 0
    after: int = 0


class ReadTaskEvents(msgspec.Struct, array_like=True, tag=26):
    """The task events that came after batch ``after`` (0: all there are; -1: none), about ``limit`` bytes of them.

    Answer: `EventsRead`.
    """

    after: int = 0
    limit: int = 1 << 19
    request: int = 0


class EventsRead(msgspec.Struct):
    """Batches as they were sent, the oldest first.

    ``next`` is what to ask with for what follows, ``more`` whether there is something already. ``begin`` and ``end``:
    how many events came before the first of these batches, and up to the last; where ``begin`` is more than the
    ``end`` of the reader's last answer, it was too slow. ``unsent``: rows that senders dropped, ever.
    ``dead``: processes that are no more, the newest first, none of those missing that died since the last answer.
    """

    blobs: list[bytes]
    next: int
    begin: int
    end: int
    unsent: int
    more: bool = False
    dead: list[bytes] = []


class Stop(msgspec.Struct, array_like=True, tag=22):
    """End the whole cluster."""

    reason: str = ""
    request: int = 0


class RemoveNode(msgspec.Struct, array_like=True, tag=23):
    """Take a node out: ``graceful`` lets started tasks end."""

    node_id: bytes
    graceful: bool = True
    request: int = 0


class AskProcess(msgspec.Struct, array_like=True, tag=25):
    """Core: does this process live? Answered with `ProcessDead` if it does not; a later death everybody is told of."""

    worker_id: bytes


GcsMessage = (
    NodeHello
    | NodeReport
    | ReportProcessDeath
    | ReportActor
    | DriverHello
    | ReportJobEnd
    | CreateActor
    | GetActor
    | WatchActor
    | KillActor
    | ReplaceClass
    | KvPut
    | KvGet
    | KvDelete
    | KvKeys
    | TaskEvents
    | ListState
    | ReadTaskEvents
    | Stop
    | RemoveNode
    | AskProcess
    | NodeAnswer
    | ReportEvent
    | ReportFailures
    | CreateGroup
    | RemoveGroup
    | GetGroup
    | WatchGroup
    | ReportBundles
)
"""What the GCS receives. (It sends raylets `StartActor`, `StopActor`, `StopRaylet`, `NodeQuestion` and
those about bundles on its own connection to them.)"""


# -- GCS to its clients ---------------------------------------------------------------------------------------------


class Welcome(msgspec.Struct, array_like=True, tag=1):
    """Answer to `NodeHello` and `DriverHello`: the nodes there are, and the job id given to a driver."""

    cluster_id: str
    nodes: list[NodeInfo]
    job_id: bytes = b""
    error: str = ""
    request: int = 0


class NodeUpdate(msgspec.Struct, array_like=True, tag=2):
    """A node came, changed or died (``alive`` false)."""

    node: NodeInfo


class ResourceView(msgspec.Struct, array_like=True, tag=3):
    """To raylets: what is free where (node id, available, total), for spillback.

    Only nodes that changed since the last.
    """

    nodes: list[tuple[bytes, Resources, Resources]]
    bundles: list[tuple[bytes, list[BundleRow]]] = []  # by node, where there are any


class ProcessDead(msgspec.Struct, array_like=True, tag=4):
    """To every core: this worker or driver is no more (its borrows end; what it owned is lost)."""

    worker_id: bytes
    death: Death


class ActorUpdate(msgspec.Struct, array_like=True, tag=5):
    """To those who watch it."""

    info: ActorInfo


class Answer(msgspec.Struct, array_like=True, tag=6):
    """To a request: ``value`` is msgpack of what that request promises."""

    request: int
    value: msgspec.Raw


class Failed(msgspec.Struct, array_like=True, tag=7):
    """To a request that cannot be met: ``kind`` for programs, ``text`` for people."""

    request: int
    kind: str
    text: str


class Notice(msgspec.Struct, array_like=True, tag=8):
    """To a driver: something its user should know now (``kind``: "infeasible"), though nothing failed."""

    kind: str
    text: str


class SayHello(msgspec.Struct, array_like=True, tag=9):
    """To a raylet that reports and is not known: the GCS began anew. Answer with `NodeHello`."""


GcsReply = (
    Welcome | NodeUpdate | ResourceView | ProcessDead | ActorUpdate | Answer | Failed | Notice | SayHello | GroupUpdate
)
"""What the GCS sends to those who connected to it."""
