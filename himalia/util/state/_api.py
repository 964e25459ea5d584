"""The functions of the state API, with Ray's signatures."""

# ruff: noqa: A002 - `id` is the name in Ray's signatures

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, cast

from himalia.util.state._filters import Filter, make_filter
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
    StateRecord,
    TaskState,
    WorkerState,
    WorkerStats,
)
from himalia.util.state._source import ROWS, open_source

__all__ = [
    "StateApiError",
    "get_actor",
    "get_job",
    "get_node",
    "get_objects",
    "get_placement_group",
    "get_task",
    "get_worker",
    "list_actors",
    "list_cluster_events",
    "list_errors",
    "list_function_memory",
    "list_gpu_stats",
    "list_jobs",
    "list_node_stats",
    "list_nodes",
    "list_objects",
    "list_pending",
    "list_placement_groups",
    "list_tasks",
    "list_worker_stats",
    "list_workers",
    "summarize_actors",
    "summarize_objects",
    "summarize_placement_groups",
    "summarize_tasks",
]

_log = logging.getLogger("himalia.state")

DEFAULT_LIMIT = 100
DEFAULT_TIMEOUT = 30


class StateApiError(Exception):
    """Part of the cluster did not answer. Ray's name is `RayStateApiException`."""


def query(
    what: str,
    address: str | None,
    filters: Sequence[Filter] | None,
    limit: int | None,
    timeout: float,
    detail: bool = True,
    complete: bool = True,
) -> list[StateRecord]:
    """Rows of one kind.

    Parameters
    ----------
    complete
        Raise if a node did not answer, rather than leave out what it knows.

    Raises
    ------
    StateApiError
        See `complete`.
    ValueError
        A filter or limit that makes no sense.
    """
    kind, rows_of = ROWS[what]
    accepts = make_filter(filters, kind)
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}")
    with open_source(address, timeout) as source:
        rows = [row for row in rows_of(source) if accepts(row)]
    if source.missing and complete:
        raise StateApiError("; ".join(source.missing) + " (raise_on_missing_output=False lists the rest)")
    for warning in (*source.warnings, *source.missing):
        _log.warning("%s", warning)
    if limit is not None and len(rows) > limit:
        _log.info("%d of %d %s are shown: give a larger limit to see more", limit, len(rows), what)
        rows = rows[:limit]
    if not detail:
        hidden = set(kind.columns()) - set(kind.base_columns())
        for row in rows:
            for name in hidden:
                setattr(row, name, None)
    return rows


def list_actors(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> list[ActorState]:
    """Actors that live, and the last that died.

    Parameters
    ----------
    address
        Of a cluster; None: the one this process is connected to, or the newest on this machine.
    filters
        ``[("state", "=", "ALIVE")]``: rows that all of them accept.
    limit
        Rows at most.
    timeout
        Seconds to wait for each answer.
    detail
        Fill in the fields that a table leaves out, too.
    raise_on_missing_output
        Raise if a node did not answer, rather than warn.
    """
    return cast(list[ActorState], query("actors", address, filters, limit, timeout, detail, raise_on_missing_output))


def list_tasks(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> list[TaskState]:
    """Attempts of tasks, out of the newest hundred thousand events. Parameters as of `list_actors`."""
    return cast(list[TaskState], query("tasks", address, filters, limit, timeout, detail, raise_on_missing_output))


def list_objects(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> list[ObjectState]:
    """Objects, the largest first: a row for each process that holds one. Parameters as of `list_actors`.

    Processes are asked for it, so this takes longer than other lists.
    """
    return cast(list[ObjectState], query("objects", address, filters, limit, timeout, detail, raise_on_missing_output))


def list_nodes(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> list[NodeState]:
    """Nodes, also dead ones. Parameters as of `list_actors`."""
    return cast(list[NodeState], query("nodes", address, filters, limit, timeout, detail, raise_on_missing_output))


def list_workers(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> list[WorkerState]:
    """Workers and drivers, also dead ones. Parameters as of `list_actors`."""
    return cast(list[WorkerState], query("workers", address, filters, limit, timeout, detail, raise_on_missing_output))


def list_jobs(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> list[JobState]:
    """Jobs: one for each driver. Parameters as of `list_actors`."""
    return cast(list[JobState], query("jobs", address, filters, limit, timeout, detail, raise_on_missing_output))


def list_cluster_events(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> list[ClusterEventState]:
    """What happened to nodes, jobs, actors and workers, the newest first. Parameters as of `list_actors`."""
    rows = query("cluster_events", address, filters, limit, timeout, detail, raise_on_missing_output)
    return cast(list[ClusterEventState], rows)


def list_errors(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> list[ErrorGroupState]:
    """Failed tasks by error, function and line of the user's code. Parameters as of `list_actors`.

    What failed last comes first. With `detail`, each has the whole traceback of one of them.
    """
    rows = query("errors", address, filters, limit, timeout, detail, raise_on_missing_output)
    return cast(list[ErrorGroupState], rows)


def list_node_stats(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> list[NodeStats]:
    """CPU, memory, disk and network of each node at this moment. Parameters as of `list_actors`.

    Nodes measure when they are asked, and remember it for a second.
    """
    return cast(list[NodeStats], query("node_stats", address, filters, limit, timeout, detail, raise_on_missing_output))


def list_worker_stats(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> list[WorkerStats]:
    """CPU and memory of each process of the cluster, and what it runs. Parameters as of `list_actors`."""
    return cast(
        list[WorkerStats], query("worker_stats", address, filters, limit, timeout, detail, raise_on_missing_output)
    )


def list_gpu_stats(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> list[GpuStats]:
    """GPUs at this moment, with who holds which share of them. Parameters as of `list_actors`.

    NVIDIA's, if `nvidia-ml-py` is installed where their nodes run (extra ``dashboard``); else there are none.
    """
    return cast(list[GpuStats], query("gpu_stats", address, filters, limit, timeout, detail, raise_on_missing_output))


def list_function_memory(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> list[FunctionMemory]:
    """Memory of workers by the function that they ran, the largest peak first. Parameters as of `list_actors`.

    From samples, four a second of what runs; the peak is the kernel's count.
    """
    return cast(
        list[FunctionMemory],
        query("function_memory", address, filters, limit, timeout, detail, raise_on_missing_output),
    )


def list_pending(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> list[PendingState]:
    """Tasks and actors that wait, and why, the longest wait first. Parameters as of `list_actors`."""
    return cast(list[PendingState], query("pending", address, filters, limit, timeout, detail, raise_on_missing_output))


def list_placement_groups(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> list[PlacementGroupState]:
    """Placement groups, the newest first, also those that were removed. Parameters as of `list_actors`."""
    rows = query("placement_groups", address, filters, limit, timeout, detail, raise_on_missing_output)
    return cast(list[PlacementGroupState], rows)


def _get(what: str, id: str, address: str | None, timeout: float) -> list[StateRecord]:
    kind = ROWS[what][0]
    return query(what, address, [(kind.id_field, "=", id)], None, timeout)


def get_actor(id: str, address: str | None = None, timeout: float = DEFAULT_TIMEOUT) -> ActorState | None:
    """One actor by its id in hexadecimal; None if it is not known."""
    rows = cast(list[ActorState], _get("actors", id, address, timeout))
    return rows[0] if rows else None


def get_task(
    id: str | Any, address: str | None = None, timeout: float = DEFAULT_TIMEOUT
) -> TaskState | list[TaskState] | None:
    """One task by its id, or by a reference to its result; a list if it was tried more than once."""
    text = id if isinstance(id, str) else id.task_id().hex()
    rows = cast(list[TaskState], _get("tasks", text, address, timeout))
    return (rows[0] if len(rows) == 1 else rows) if rows else None


def get_node(id: str, address: str | None = None, timeout: float = DEFAULT_TIMEOUT) -> NodeState | None:
    """One node by its id; None if it is not known."""
    rows = cast(list[NodeState], _get("nodes", id, address, timeout))
    return rows[0] if rows else None


def get_worker(id: str, address: str | None = None, timeout: float = DEFAULT_TIMEOUT) -> WorkerState | None:
    """One worker by its id; None if it is not known."""
    rows = cast(list[WorkerState], _get("workers", id, address, timeout))
    return rows[0] if rows else None


def get_job(id: str, address: str | None = None, timeout: float = DEFAULT_TIMEOUT) -> JobState | None:
    """One job by its id; None if it is not known."""
    rows = cast(list[JobState], _get("jobs", id, address, timeout))
    return rows[0] if rows else None


def get_placement_group(
    id: str, address: str | None = None, timeout: float = DEFAULT_TIMEOUT
) -> PlacementGroupState | None:
    """One placement group by its id; None if it is not known."""
    rows = cast(list[PlacementGroupState], _get("placement_groups", id, address, timeout))
    return rows[0] if rows else None


def get_objects(id: str, address: str | None = None, timeout: float = DEFAULT_TIMEOUT) -> list[ObjectState]:
    """An object by its id: a row for each process that holds it."""
    return cast(list[ObjectState], _get("objects", id, address, timeout))


# -- summaries --------------------------------------------------------------------------------------------------------


def _summary(groups: dict[str, dict[str, Any]], **totals: Any) -> dict[str, Any]:
    """In the shape of Ray's summaries; there is one cluster, so one entry."""
    return {"cluster": {"summary": groups, "summary_by": totals.pop("by"), **totals}}


def _count(states: dict[str, int], state: str) -> None:
    states[state] = states.get(state, 0) + 1


def summarize_tasks(
    address: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    raise_on_missing_output: bool = True,
) -> dict[str, Any]:
    """Tasks by name and state: ``["cluster"]["summary"][name]["state_counts"][state]``."""
    rows = cast(list[TaskState], query("tasks", address, None, None, timeout, True, raise_on_missing_output))
    groups: dict[str, dict[str, Any]] = {}
    kinds = {"NORMAL_TASK": 0, "ACTOR_TASK": 0, "ACTOR_CREATION_TASK": 0}
    for row in rows:
        group = groups.setdefault(
            row.name, {"func_or_class_name": row.func_or_class_name, "type": row.type, "state_counts": {}}
        )
        _count(group["state_counts"], row.state)
        kinds[row.type] += 1
    return _summary(
        groups,
        by="func_name",
        total_tasks=kinds["NORMAL_TASK"],
        total_actor_tasks=kinds["ACTOR_TASK"],
        total_actor_scheduled=kinds["ACTOR_CREATION_TASK"],
    )


def summarize_actors(
    address: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    raise_on_missing_output: bool = True,
) -> dict[str, Any]:
    """Actors by class and state: ``["cluster"]["summary"][class]["state_counts"][state]``."""
    rows = cast(list[ActorState], query("actors", address, None, None, timeout, True, raise_on_missing_output))
    groups: dict[str, dict[str, Any]] = {}
    for row in rows:
        group = groups.setdefault(row.class_name, {"class_name": row.class_name, "state_counts": {}})
        _count(group["state_counts"], row.state)
    return _summary(groups, by="class", total_actors=len(rows))


def summarize_placement_groups(
    address: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    raise_on_missing_output: bool = True,
) -> dict[str, Any]:
    """Placement groups by strategy and state: ``["cluster"]["summary"][strategy]["state_counts"][state]``."""
    found = query("placement_groups", address, None, None, timeout, True, raise_on_missing_output)
    rows = cast(list[PlacementGroupState], found)
    groups: dict[str, dict[str, Any]] = {}
    for row in rows:
        group = groups.setdefault(row.strategy, {"strategy": row.strategy, "state_counts": {}, "total_bundles": 0})
        _count(group["state_counts"], row.state)
        group["total_bundles"] += row.bundle_count
    return _summary(groups, by="strategy", total_placement_groups=len(rows))


def summarize_objects(
    address: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    raise_on_missing_output: bool = True,
) -> dict[str, Any]:
    """Objects by what made them: how many, how large, in which states, held how."""
    rows = cast(list[ObjectState], query("objects", address, None, None, timeout, True, raise_on_missing_output))
    groups: dict[str, dict[str, Any]] = {}
    size = 0
    counted: set[str] = set()  # an object that several processes hold is there once
    for row in rows:
        empty: dict[str, Any] = {
            "total_objects": 0,
            "total_size_mb": 0.0,
            "task_state_counts": {},
            "ref_type_counts": {},
        }
        group = groups.setdefault(row.call_site or row.function or f"{row.origin} by pid {row.pid}", empty)
        if row.object_id not in counted:
            group["total_objects"] += 1
            group["total_size_mb"] += max(row.object_size, 0) / 1e6
            size += max(row.object_size, 0)
            counted.add(row.object_id)
        _count(group["task_state_counts"], row.task_status)
        _count(group["ref_type_counts"], row.reference_type)
    return _summary(groups, by="callsite", total_objects=len(counted), total_size_mb=size / 1e6, callsite_enabled=True)
