"""One class for each kind of row. Field names are those of Ray's state API; what Himalia adds comes last."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import field
from typing import Any, ClassVar

__all__ = [
    "ActorState",
    "ClusterEventState",
    "ErrorGroupState",
    "FunctionMemory",
    "GpuStats",
    "JobState",
    "NodeState",
    "NodeStats",
    "ObjectState",
    "PendingState",
    "PlacementGroupState",
    "StateRecord",
    "TaskState",
    "WorkerState",
    "WorkerStats",
]


#: Of a field that tables show only when detail was asked for.
_DETAIL = {"detail": True}


@dataclasses.dataclass(kw_only=True)
class StateRecord:
    """A row: ``row.name`` and ``row["name"]`` are the same."""

    #: What `ray.util.state` calls the kind, and the field that names a row.
    kind: ClassVar[str] = ""
    id_field: ClassVar[str] = ""

    def __getitem__(self, key: str) -> Any:
        if key not in self.columns():
            raise KeyError(f"{type(self).__name__} has no field {key!r}, but {', '.join(self.columns())}")
        return getattr(self, key)

    def get(self, key: str, default: Any = None) -> Any:
        """A field, or `default` if there is none of that name."""
        return getattr(self, key) if key in self.columns() else default

    def __contains__(self, key: object) -> bool:
        return key in self.columns()

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns())

    def keys(self) -> list[str]:
        """Names of the fields."""
        return self.columns()

    def items(self) -> list[tuple[str, Any]]:
        """Names and values."""
        return [(name, getattr(self, name)) for name in self.columns()]

    def asdict(self) -> dict[str, Any]:
        """A plain dictionary."""
        return dict(self.items())

    @classmethod
    def columns(cls) -> list[str]:
        """Names of all fields."""
        return [column.name for column in dataclasses.fields(cls)]

    @classmethod
    def base_columns(cls) -> list[str]:
        """Names of the fields that a table shows without detail."""
        return [column.name for column in dataclasses.fields(cls) if not column.metadata.get("detail")]


@dataclasses.dataclass(kw_only=True)
class TaskState(StateRecord):
    """One attempt of a task. Times are milliseconds since the epoch."""

    kind: ClassVar[str] = "tasks"
    id_field: ClassVar[str] = "task_id"

    task_id: str
    attempt_number: int
    name: str
    state: str
    job_id: str
    actor_id: str | None
    type: str
    func_or_class_name: str
    parent_task_id: str
    node_id: str | None
    worker_id: str | None
    worker_pid: int | None
    error_type: str | None
    cell: int | None = None
    creation_time_ms: int | None = field(default=None, metadata=_DETAIL)
    start_time_ms: int | None = field(default=None, metadata=_DETAIL)
    end_time_ms: int | None = field(default=None, metadata=_DETAIL)
    duration_ms: float | None = field(default=None, metadata=_DETAIL)
    events: list[dict[str, Any]] | None = field(default=None, metadata=_DETAIL)
    owner_id: str = field(default="", metadata=_DETAIL)
    error_message: str | None = field(default=None, metadata=_DETAIL)


@dataclasses.dataclass(kw_only=True)
class ActorState(StateRecord):
    """An actor that lives, or died not too long ago."""

    kind: ClassVar[str] = "actors"
    id_field: ClassVar[str] = "actor_id"

    actor_id: str
    class_name: str
    state: str
    job_id: str
    name: str
    node_id: str | None
    pid: int | None
    ray_namespace: str
    serialized_runtime_env: str = field(default="", metadata=_DETAIL)
    required_resources: dict[str, float] | None = field(default=None, metadata=_DETAIL)
    death_cause: dict[str, Any] | None = field(default=None, metadata=_DETAIL)
    is_detached: bool = field(default=False, metadata=_DETAIL)
    placement_group_id: str | None = field(default=None, metadata=_DETAIL)
    repr_name: str = field(default="", metadata=_DETAIL)
    num_restarts: int = field(default=0, metadata=_DETAIL)
    max_restarts: int = field(default=0, metadata=_DETAIL)
    call_site: str = field(default="", metadata=_DETAIL)
    worker_id: str | None = field(default=None, metadata=_DETAIL)
    cell: int | None = field(default=None, metadata=_DETAIL)
    start_time_ms: int | None = field(default=None, metadata=_DETAIL)
    end_time_ms: int | None = field(default=None, metadata=_DETAIL)


@dataclasses.dataclass(kw_only=True)
class NodeState(StateRecord):
    """A node."""

    kind: ClassVar[str] = "nodes"
    id_field: ClassVar[str] = "node_id"

    node_id: str
    node_ip: str
    is_head_node: bool
    state: str
    state_message: str
    node_name: str
    resources_total: dict[str, float]
    labels: dict[str, str]
    start_time_ms: int | None = field(default=None, metadata=_DETAIL)
    end_time_ms: int | None = field(default=None, metadata=_DETAIL)
    resources_available: dict[str, float] | None = field(default=None, metadata=_DETAIL)
    object_store_bytes: int = field(default=0, metadata=_DETAIL)
    object_store_used: int = field(default=0, metadata=_DETAIL)
    pid: int = field(default=0, metadata=_DETAIL)


@dataclasses.dataclass(kw_only=True)
class WorkerState(StateRecord):
    """A worker or driver process."""

    kind: ClassVar[str] = "workers"
    id_field: ClassVar[str] = "worker_id"

    worker_id: str
    is_alive: bool
    worker_type: str
    exit_type: str | None
    node_id: str
    ip: str
    pid: int
    exit_detail: str | None = field(default=None, metadata=_DETAIL)
    job_id: str = field(default="", metadata=_DETAIL)
    actor_id: str | None = field(default=None, metadata=_DETAIL)
    state: str = field(default="", metadata=_DETAIL)


@dataclasses.dataclass(kw_only=True)
class ObjectState(StateRecord):
    """An object, as one process holds it; or one that lies in a store, and nobody who answered holds it.

    ``type`` is DRIVER or WORKER, as ``pid``, ``ip`` and ``node_id`` of the holder. ``stored`` is empty where the value
    is small and lies in its owner.
    """

    kind: ClassVar[str] = "objects"
    id_field: ClassVar[str] = "object_id"

    object_id: str
    object_size: int
    task_status: str
    reference_type: str
    call_site: str
    type: str
    pid: int
    ip: str
    node_id: str = ""
    stored: str = ""
    function: str = ""
    cell: int | None = None
    owner_id: str = field(default="", metadata=_DETAIL)
    holder_id: str = field(default="", metadata=_DETAIL)
    origin: str = field(default="", metadata=_DETAIL)
    stored_on: list[str] | None = field(default=None, metadata=_DETAIL)
    pins: int = field(default=0, metadata=_DETAIL)


@dataclasses.dataclass(kw_only=True)
class JobState(StateRecord):
    """What one driver submitted."""

    kind: ClassVar[str] = "jobs"
    id_field: ClassVar[str] = "job_id"

    job_id: str
    submission_id: str | None
    entrypoint: str
    type: str
    status: str
    message: str | None
    error_type: str | None
    driver_info: dict[str, Any] | None
    start_time: int | None = field(default=None, metadata=_DETAIL)
    end_time: int | None = field(default=None, metadata=_DETAIL)
    metadata: dict[str, Any] | None = field(default=None, metadata=_DETAIL)
    namespace: str = field(default="", metadata=_DETAIL)


@dataclasses.dataclass(kw_only=True)
class NodeStats(StateRecord):
    """How a node is at this moment. Sizes are bytes, rates bytes a second, over the last ``interval`` seconds."""

    kind: ClassVar[str] = "node_stats"
    id_field: ClassVar[str] = "node_id"

    node_id: str
    node_ip: str
    cpu_percent: float
    cpus: int
    memory_used: int
    memory_total: int
    disk_read: float
    disk_written: float
    net_received: float
    net_sent: float
    store_used: int
    store_capacity: int
    workers: int
    busy_workers: int
    at: float = field(default=0.0, metadata=_DETAIL)
    interval: float = field(default=0.0, metadata=_DETAIL)
    cpu_percents: list[float] | None = field(default=None, metadata=_DETAIL)
    load: list[float] | None = field(default=None, metadata=_DETAIL)
    swap_used: int = field(default=0, metadata=_DETAIL)
    swap_total: int = field(default=0, metadata=_DETAIL)
    limit_name: str = field(default="", metadata=_DETAIL)
    limit_used: int = field(default=0, metadata=_DETAIL)
    limit_total: int = field(default=0, metadata=_DETAIL)
    disks: list[dict[str, Any]] | None = field(default=None, metadata=_DETAIL)
    store_objects: int = field(default=0, metadata=_DETAIL)
    spilled: int = field(default=0, metadata=_DETAIL)
    restored: int = field(default=0, metadata=_DETAIL)


@dataclasses.dataclass(kw_only=True)
class WorkerStats(StateRecord):
    """How a process of the cluster is at this moment, and what it runs. Sizes are bytes.

    ``process`` is worker, driver, raylet, gcs or host. ``function``, ``cell`` and ``task_id`` are of the task that runs
    (the first to begin of ``task_count``), as of the last quarter of a second.
    """

    kind: ClassVar[str] = "worker_stats"
    id_field: ClassVar[str] = "worker_id"

    worker_id: str
    pid: int
    process: str
    state: str
    cpu_percent: float
    rss: int
    uss: int | None
    function: str
    cell: int | None
    node_id: str
    task_id: str | None = field(default=None, metadata=_DETAIL)
    task_count: int = field(default=0, metadata=_DETAIL)
    task_start_time_ms: int | None = field(default=None, metadata=_DETAIL)
    threads: int = field(default=0, metadata=_DETAIL)
    job_id: str = field(default="", metadata=_DETAIL)
    actor_id: str | None = field(default=None, metadata=_DETAIL)
    resources: dict[str, float] | None = field(default=None, metadata=_DETAIL)
    devices: dict[str, dict[int, float]] | None = field(default=None, metadata=_DETAIL)


@dataclasses.dataclass(kw_only=True)
class FunctionMemory(StateRecord):
    """Memory of the workers of one node while they ran a function, in bytes, from samples.

    ``peak``: the most that one of them had. ``grown``: by how much they grew meanwhile, in all: what a function leaves
    behind each time adds up here.
    """

    kind: ClassVar[str] = "function_memory"
    id_field: ClassVar[str] = "function"

    function: str
    peak: int
    grown: int
    samples: int
    node_id: str


@dataclasses.dataclass(kw_only=True)
class GpuStats(StateRecord):
    """A GPU at this moment; None is what its driver does not tell.

    Memory is bytes, power watts, temperature degrees Celsius, clocks MHz, utilization percent. ``held_by`` says which
    workers have which share of it, ``processes`` which use it now: dictionaries with ``pid``, ``worker_id``,
    ``function``, ``cell``, ``task_id``, ``actor_id``, and ``share`` or ``memory``.
    """

    kind: ClassVar[str] = "gpu_stats"
    id_field: ClassVar[str] = "uuid"

    node_id: str
    index: int
    name: str
    utilization: int | None
    memory_used: int | None
    memory_total: int | None
    power: float | None
    temperature: int | None
    share: float
    held_by: list[dict[str, Any]]
    uuid: str = field(default="", metadata=_DETAIL)
    power_limit: float | None = field(default=None, metadata=_DETAIL)
    clock: int | None = field(default=None, metadata=_DETAIL)
    memory_clock: int | None = field(default=None, metadata=_DETAIL)
    processes: list[dict[str, Any]] | None = field(default=None, metadata=_DETAIL)
    at: float = field(default=0.0, metadata=_DETAIL)


@dataclasses.dataclass(kw_only=True)
class ClusterEventState(StateRecord):
    """Something that happened in the cluster. ``custom_fields``: the numbers of its reason.

    ``event_id`` counts from 1 since the GCS started; ``event_type`` is a word for programs, such as NODE_DIED.
    """

    kind: ClassVar[str] = "cluster_events"
    id_field: ClassVar[str] = "event_id"

    event_id: int
    time: str
    severity: str
    event_type: str
    message: str
    source_type: str
    cell: int | None = None
    node_id: str | None = field(default=None, metadata=_DETAIL)
    worker_id: str | None = field(default=None, metadata=_DETAIL)
    actor_id: str | None = field(default=None, metadata=_DETAIL)
    job_id: str | None = field(default=None, metadata=_DETAIL)
    time_ms: int = field(default=0, metadata=_DETAIL)
    custom_fields: dict[str, Any] | None = field(default=None, metadata=_DETAIL)


@dataclasses.dataclass(kw_only=True)
class PendingState(StateRecord):
    """Work that waits, and why. ``kind_of_work`` is tasks, actor or placement group.

    ``wanted``: how many workers were asked for; of a group, the bundles that are not in place.

    Actors of one class that wait for the same are one row, with the id of the first and those of all.

    ``verdict``: NEVER (no node of this cluster could ever run it), BUSY (what it needs is in use), STARTING (a worker
    starts), KEPT (others that wait longer come first), LIMIT (of worker processes), FAILED (no worker can be started),
    GRANTING and MOVING (it is about to run), GROUP (its placement group is not in place), ARGUMENTS (tasks that make
    its arguments have not ended). ``nodes``: what each node lacks, by the keys ``node_id``, ``host``, ``verdict`` and
    ``reason``.
    """

    kind: ClassVar[str] = "pending"
    id_field: ClassVar[str] = "owner_id"

    kind_of_work: str
    name: str
    cell: int | None
    tasks: int
    waited_s: float
    verdict: str
    reason: str
    resources: dict[str, float] = field(default_factory=dict, metadata=_DETAIL)
    wanted: int = field(default=0, metadata=_DETAIL)
    strategy: str = field(default="", metadata=_DETAIL)
    labels: dict[str, str] | None = field(default=None, metadata=_DETAIL)
    node_id: str | None = field(default=None, metadata=_DETAIL)
    job_id: str = field(default="", metadata=_DETAIL)
    owner_id: str = field(default="", metadata=_DETAIL)
    actor_id: str | None = field(default=None, metadata=_DETAIL)
    actor_ids: list[str] | None = field(default=None, metadata=_DETAIL)
    placement_group_id: str | None = field(default=None, metadata=_DETAIL)
    nodes: list[dict[str, Any]] | None = field(default=None, metadata=_DETAIL)


@dataclasses.dataclass(kw_only=True)
class PlacementGroupState(StateRecord):
    """A placement group.

    ``state`` is PENDING, CREATED, RESCHEDULING or REMOVED; ``reason`` says why it waits or was removed. ``bundles``:
    dictionaries with ``bundle_id``, ``unit_resources``, ``available_resources`` (as its node said last; None where it
    is not in place), ``node_id``, ``host``, ``state`` (WAITING, PREPARING, CREATED, REMOVED), ``label_selector`` and
    ``actors`` (how many are in it). ``stats``: ``scheduling_state`` (CREATED, REMOVED, PREPARING, BUSY, or NEVER where
    these nodes could not have it), ``scheduling_attempt``, ``placements`` (how often all bundles came to be in place)
    and ``end_to_end_creation_latency_ms``.
    """

    kind: ClassVar[str] = "placement_groups"
    id_field: ClassVar[str] = "placement_group_id"

    placement_group_id: str
    name: str
    creator_job_id: str
    state: str
    strategy: str
    bundle_count: int
    node_count: int
    reason: str
    cell: int | None = None
    bundles: list[dict[str, Any]] | None = field(default=None, metadata=_DETAIL)
    is_detached: bool | None = field(default=None, metadata=_DETAIL)
    stats: dict[str, Any] | None = field(default=None, metadata=_DETAIL)
    ray_namespace: str = field(default="", metadata=_DETAIL)
    creator_worker_id: str = field(default="", metadata=_DETAIL)
    creator_actor_id: str | None = field(default=None, metadata=_DETAIL)
    call_site: str = field(default="", metadata=_DETAIL)
    creation_time_ms: int | None = field(default=None, metadata=_DETAIL)
    placement_time_ms: int | None = field(default=None, metadata=_DETAIL)
    end_time_ms: int | None = field(default=None, metadata=_DETAIL)


@dataclasses.dataclass(kw_only=True)
class ErrorGroupState(StateRecord):
    """Attempts of tasks that failed alike: same error, function and line of the user's code.

    ``message``, ``task_id`` and ``worker_id`` are those of the last one, ``traceback`` is that of one of them. ``file``
    and ``line`` say where the user's code was, in the function ``frame``; they are empty where a worker died. ``place``
    is the same for reading: ``In [5], line 3`` for code of a notebook.
    """

    kind: ClassVar[str] = "errors"
    id_field: ClassVar[str] = "task_id"

    error: str
    function: str
    count: int
    cells: list[int]
    last_time: str
    message: str
    file: str
    line: int
    frame: str = field(default="", metadata=_DETAIL)
    first_time_ms: int = field(default=0, metadata=_DETAIL)
    last_time_ms: int = field(default=0, metadata=_DETAIL)
    job_id: str = field(default="", metadata=_DETAIL)
    task_id: str = field(default="", metadata=_DETAIL)
    worker_id: str = field(default="", metadata=_DETAIL)
    node_ids: list[str] | None = field(default=None, metadata=_DETAIL)
    traceback: str | None = field(default=None, metadata=_DETAIL)
    place: str = field(default="", metadata=_DETAIL)
