"""What there is in a cluster and what it does: tasks, actors, objects, nodes, workers, jobs.

The names are those of `ray.util.state`:

    from himalia.util.state import list_tasks, summarize_tasks
    list_tasks(filters=[("state", "=", "RUNNING")])

Works in a driver or task (which then asks its own cluster) and in any other process of the same user.
"""

from __future__ import annotations

from himalia.cluster.gcs.client import GcsRefusedError, GcsUnreachableError
from himalia.cluster.protocol.stack_messages import Profile, Stacks
from himalia.util.state._api import (
    StateApiError,
    get_actor,
    get_job,
    get_node,
    get_objects,
    get_placement_group,
    get_task,
    get_worker,
    list_actors,
    list_cluster_events,
    list_errors,
    list_function_memory,
    list_gpu_stats,
    list_jobs,
    list_node_stats,
    list_nodes,
    list_objects,
    list_pending,
    list_placement_groups,
    list_tasks,
    list_worker_stats,
    list_workers,
    summarize_actors,
    summarize_objects,
    summarize_placement_groups,
    summarize_tasks,
)
from himalia.util.state._events import follow_cluster_events
from himalia.util.state._log_search import LogPage, search_logs
from himalia.util.state._logs import get_log, list_logs, logs
from himalia.util.state._pending import why
from himalia.util.state._schemas import (
    ActorState,
    ClusterEventState,
    ErrorGroupState,
    FunctionMemory,
    GpuStats,
    JobState,
    NodeState,
    NodeStats,
    ObjectState,
    PendingState,
    PlacementGroupState,
    TaskState,
    WorkerState,
    WorkerStats,
)
from himalia.util.state._stacks import Profiling, StackError, get_stack, profile

__all__ = [
    "ActorState",
    "ClusterEventState",
    "ErrorGroupState",
    "FunctionMemory",
    "GcsRefusedError",
    "GcsUnreachableError",
    "GpuStats",
    "JobState",
    "LogPage",
    "NodeState",
    "NodeStats",
    "ObjectState",
    "PendingState",
    "PlacementGroupState",
    "Profile",
    "Profiling",
    "StackError",
    "Stacks",
    "StateApiError",
    "TaskState",
    "WorkerState",
    "WorkerStats",
    "follow_cluster_events",
    "get_actor",
    "get_job",
    "get_log",
    "get_node",
    "get_objects",
    "get_placement_group",
    "get_stack",
    "get_task",
    "get_worker",
    "list_actors",
    "list_cluster_events",
    "list_errors",
    "list_function_memory",
    "list_gpu_stats",
    "list_jobs",
    "list_logs",
    "list_node_stats",
    "list_nodes",
    "list_objects",
    "list_pending",
    "list_placement_groups",
    "list_tasks",
    "list_worker_stats",
    "list_workers",
    "logs",
    "profile",
    "search_logs",
    "summarize_actors",
    "summarize_objects",
    "summarize_placement_groups",
    "summarize_tasks",
    "why",
]
