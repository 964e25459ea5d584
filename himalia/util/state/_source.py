"""Rows of the state API out of what the GCS and the raylets answer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec

from himalia.cluster.core.current import find_core
from himalia.cluster.gcs.client import GcsClient, GcsUnreachableError, Reachable
from himalia.cluster.launchers.local import find_connection
from himalia.cluster.protocol.common import Address, Cell, NodeInfo, from_units
from himalia.cluster.protocol.constraints import membership
from himalia.cluster.protocol.core_messages import ObjectsHeld
from himalia.cluster.protocol.gcs_messages import ListState
from himalia.cluster.protocol.ids import object_task
from himalia.cluster.telemetry.events import TaskKind
from himalia.cluster.telemetry.events import TaskState as Phase
from himalia.cluster.telemetry.objects import ObjectRow, Stored, merge_reports
from himalia.cluster.telemetry.records import TaskRecord, TaskTable
from himalia.cluster.telemetry.waiting import WaitingTasks
from himalia.util.state._events import cluster_events, error_groups
from himalia.util.state._groups import placement_groups
from himalia.util.state._measured import function_memory, gpu_stats, node_stats, worker_stats
from himalia.util.state._pending import pending
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

__all__ = ["ROWS", "Source", "open_source", "reachable"]

_EVERYTHING = 1_000_000  # rows: the GCS's own bounds are lower
_TASKS = 100_000  # events, the newest ones: rows of a second; the GCS may remember more

#: Ray's names, where they differ from ours.
_PHASES = {Phase.PENDING_ARGS: "PENDING_ARGS_AVAIL", Phase.PENDING_NODE: "PENDING_NODE_ASSIGNMENT"}
_KINDS = {
    TaskKind.NORMAL: "NORMAL_TASK",
    TaskKind.ACTOR_CREATION: "ACTOR_CREATION_TASK",
    TaskKind.ACTOR_METHOD: "ACTOR_TASK",
}
#: Ray's words for what our errors are named; what a task raised itself is TASK_EXECUTION_EXCEPTION.
_ERRORS = {
    "ActorDiedError": "ACTOR_DIED",
    "ActorUnavailableError": "ACTOR_UNAVAILABLE",
    "LocalRayletDiedError": "LOCAL_RAYLET_DIED",
    "NodeDiedError": "NODE_DIED",
    "ObjectLostError": "OBJECT_LOST",
    "OutOfMemoryError": "OUT_OF_MEMORY",
    "OwnerDiedError": "OWNER_DIED",
    "TaskPlacementGroupRemoved": "TASK_PLACEMENT_GROUP_REMOVED",
    "RuntimeEnvSetupError": "RUNTIME_ENV_SETUP_FAILED",
    "TaskCancelledError": "TASK_CANCELLED",
    "TaskUnschedulableError": "TASK_UNSCHEDULABLE_ERROR",
    "WorkerCrashedError": "WORKER_DIED",
}
_JOB_STATUS = {"RUNNING": "RUNNING", "FINISHED": "SUCCEEDED", "FAILED": "FAILED"}


class _Caller(Protocol):
    def call(self, message: Any, timeout: float = ...) -> Any: ...


class _CoreCaller:
    """Asks through the connection that this process has."""

    def __init__(self, core: Any) -> None:
        self._core = core

    def call(self, message: Any, timeout: float = 30.0) -> Any:
        return self._core.gcs_call(message, timeout)


class Source:
    """Where rows come from: the cluster at ``where``. ``timeout`` is for each question, in seconds."""

    def __init__(self, caller: _Caller, where: Reachable, timeout: float) -> None:
        self._caller = caller
        self.where = where
        self._timeout = timeout
        self.warnings: list[str] = []  # what is incomplete by design
        self.missing: list[str] = []  # who did not answer

    def ask(self, what: str, limit: int = _EVERYTHING) -> Any:
        """What the GCS answers to `ListState`."""
        return self._caller.call(ListState(what, limit), self._timeout)

    def call(self, message: Any) -> Any:
        """Any other question to the GCS."""
        return self._caller.call(message, self._timeout)

    def records(self) -> TaskTable:
        """The merged task events."""
        table = TaskTable(2 * _TASKS)
        answer = self.ask("task_events", _TASKS)
        table.add_answer(answer)
        if answer["older"]:
            self.warnings.append(f"{answer['older']} older task events are left out")
        if table.dropped:
            self.warnings.append(f"{table.dropped} task events were dropped: what follows is incomplete")
        return table

    def waiting(self) -> WaitingTasks:
        """What owners say of tasks that have not begun."""
        answer = self.ask("task_events", _TASKS)
        waiting = WaitingTasks()
        waiting.take(answer["blobs"], answer["dead"])
        return waiting

    def nodes(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.ask("nodes")
        return rows

    def holdings(self) -> list[ObjectsHeld]:
        """What each living process holds."""
        asked = {
            row["worker_id"]: msgspec.convert(row["address"], Address)
            for row in self.ask("workers")
            if row["is_alive"] and row.get("address") is not None
        }

        def living() -> set[bytes]:
            return {row["worker_id"] for row in self.ask("workers") if row["is_alive"]}

        with GcsClient(self.where) as client:
            answers, silent = client.holdings(asked.values(), living, timeout=self._timeout)
        self.missing += [f"process {one.worker_id.hex()} is missing: it did not answer" for one in silent]
        for answer in answers:
            if answer.total > len(answer.objects):
                self.warnings.append(f"process {answer.pid} holds {answer.total} objects: its largest are listed")
        return answers

    def stores(self) -> Iterator[tuple[NodeInfo, Any]]:
        """The object store of each living node, with its objects."""
        with GcsClient(self.where) as client:
            for row in self.nodes():
                node = msgspec.convert(row, NodeInfo)
                if node.alive:
                    try:
                        yield node, client.store_stats(node.raylet, timeout=self._timeout)
                    except GcsUnreachableError as error:
                        self.missing.append(f"node {node.node_id.hex()} is missing: {error}")


@contextlib.contextmanager
def open_source(address: str | Reachable | None, timeout: float) -> Iterator[Source]:
    """The cluster at an address, or the one that this process is connected to.

    Raises
    ------
    ClusterNotFoundError
        There is none.
    GcsUnreachableError
        It does not answer.
    """
    core = find_core()
    if core is not None and address in (None, "auto"):
        yield Source(_CoreCaller(core), core.options, timeout)
        return
    where = reachable(address)
    with GcsClient(where) as client:
        yield Source(client, where, timeout)


def reachable(address: str | Reachable | None) -> Reachable:
    """Where the cluster at an address is, or the one that this process is connected to.

    Raises
    ------
    ClusterNotFoundError
        There is none.
    """
    if address is not None and not isinstance(address, str):
        return address
    core = find_core()
    return core.options if core is not None and address in (None, "auto") else find_connection(address or "auto")


# -- rows -------------------------------------------------------------------------------------------------------------


def _milliseconds(seconds: float | None) -> int | None:
    return round(seconds * 1000) if seconds else None


def _hex(value: bytes | None) -> str | None:
    return value.hex() if value else None


def _group(strategy: str) -> str | None:
    found = membership(strategy)
    return None if found is None else found[0].hex()


def _cell(value: Any) -> int | None:
    if value is None:
        return None
    cell = msgspec.convert(value, Cell) if not isinstance(value, Cell) else value
    return cell.execution or None


def _host_names(source: Source) -> dict[bytes, str]:
    return {row["node_id"]: row["host"] for row in source.nodes()}


def _pids(source: Source) -> dict[bytes, int]:
    """Process ids of workers, as their nodes say, and of drivers, which only their jobs know."""
    pids = {row["worker_id"]: row["pid"] for row in source.ask("workers") if row.get("pid")}
    for row in source.ask("jobs"):
        pids[msgspec.convert(row["driver"], Address).worker_id] = row["pid"]
    return pids


def _error_type(record: TaskRecord) -> str | None:
    name = record.error.partition(":")[0]
    if record.state is Phase.CANCELLED:
        return "TASK_CANCELLED"
    if record.state is not Phase.FAILED:
        return None
    return "TASK_EXECUTION_EXCEPTION" if record.by_worker else _ERRORS.get(name, name or None)


def task_row(record: TaskRecord, parent: bytes) -> TaskState:
    """One attempt of a task as the state API shows it."""
    times = sorted(record.times.items(), key=lambda item: (item[1], item[0]))
    return TaskState(
        task_id=record.task_id.hex(),
        attempt_number=record.attempt,
        name=record.name,
        state=_PHASES.get(record.state, record.state.name),
        job_id=record.job_id.hex(),
        actor_id=_hex(record.actor_id),
        type=_KINDS[record.kind],
        func_or_class_name=record.source.function or record.name,
        parent_task_id=parent.hex(),
        node_id=_hex(record.node_id),
        worker_id=_hex(record.worker_id),
        worker_pid=record.pid or None,
        error_type=_error_type(record),
        cell=_cell(record.cell),
        creation_time_ms=_milliseconds(record.submitted),
        start_time_ms=_milliseconds(record.started),
        end_time_ms=_milliseconds(record.ended),
        duration_ms=record.duration * 1000 if record.duration else None,
        events=[{"state": _PHASES.get(state, state.name), "created_ms": _milliseconds(at)} for state, at in times],
        owner_id=record.owner.hex(),
        error_message=record.error or None,
    )


def _tasks(source: Source) -> list[StateRecord]:
    table = source.records()
    job_of = _job_of_owner(source) if any(not record.job_id for record in table) else {}
    rows: list[StateRecord] = []
    for record in table:
        row = task_row(record, table.parent_of(record))
        row.job_id = row.job_id or job_of.get(record.owner, "")
        rows.append(row)
    return rows


def _job_of_owner(source: Source) -> dict[bytes, str]:
    """By process, living or dead: a worker that was started before any job came may not know its own."""
    jobs = {row["worker_id"]: (row.get("job_id") or b"").hex() for row in source.ask("workers")}
    for row in source.ask("jobs"):
        jobs[msgspec.convert(row["driver"], Address).worker_id] = row["job_id"].hex()
    return jobs


def _actors(source: Source) -> list[StateRecord]:
    pids = _pids(source)
    rows: list[StateRecord] = []
    for row in source.ask("actors"):
        address = msgspec.convert(row["address"], Address | None)
        rows.append(
            ActorState(
                actor_id=row["actor_id"].hex(),
                class_name=row["class_name"],
                state="PENDING_CREATION" if row["state"] == "PENDING" else row["state"],
                job_id=row["job_id"].hex(),
                name=row["name"],
                node_id=_hex(row["node_id"]),
                pid=pids.get(address.worker_id) if address is not None else None,
                ray_namespace=row["namespace"],
                serialized_runtime_env=row["runtime_env"],
                required_resources=from_units(row["resources"]),
                death_cause=row["death"],
                is_detached=row["detached"],
                placement_group_id=_group(row["strategy"]),
                repr_name="",
                num_restarts=row["restarts"],
                max_restarts=row["max_restarts"],
                call_site=row["site"],
                worker_id=_hex(address.worker_id) if address is not None else None,
                cell=_cell(row["cell"]),
                start_time_ms=_milliseconds(row["started"]),
                end_time_ms=_milliseconds(row["ended"]),
            )
        )
    return rows


def _nodes(source: Source) -> list[StateRecord]:
    rows: list[StateRecord] = []
    for row in source.nodes():
        node = msgspec.convert(row, NodeInfo)
        rows.append(
            NodeState(
                node_id=node.node_id.hex(),
                node_ip=node.host,
                is_head_node=node.is_head,
                state="ALIVE" if node.alive else "DEAD",
                state_message=node.death.detail if node.death is not None else "",
                node_name=str(node.extra.get("hostname", node.host)),
                resources_total=from_units(node.total),
                labels=node.labels,
                start_time_ms=_milliseconds(row["joined"]),
                end_time_ms=_milliseconds(row["died"]),
                resources_available=from_units(row["available"]),
                object_store_bytes=node.object_store_bytes,
                object_store_used=row["store_used"],
                pid=node.pid,
            )
        )
    return rows


def _workers(source: Source) -> list[StateRecord]:
    hosts = _host_names(source)
    pids = _pids(source)
    rows: list[StateRecord] = []
    for row in source.ask("workers"):
        death = row.get("death") or {}
        rows.append(
            WorkerState(
                worker_id=row["worker_id"].hex(),
                is_alive=row["is_alive"],
                worker_type="DRIVER" if row.get("is_driver") else "WORKER",
                exit_type=death.get("kind"),
                node_id=row["node_id"].hex(),
                ip=hosts.get(row["node_id"], ""),
                pid=pids.get(row["worker_id"], 0),
                exit_detail=death.get("detail"),
                job_id=(row.get("job_id") or b"").hex(),
                actor_id=_hex(row.get("actor_id")),
                state=row.get("state", ""),
            )
        )
    return rows


def object_rows(source: Source) -> list[ObjectRow]:
    """What every process holds, and what lies in the stores."""
    stored = [
        Stored(node.node_id, object_id, size, state, pins, owner)
        for node, stats in source.stores()
        for object_id, size, state, pins, owner in stats.objects
    ]
    rows = merge_reports(source.holdings(), stored)
    nameless = {object_task(row.object_id) for row in rows if not row.is_put and not row.maker}
    if nameless:  # results that are small do not know their task: telemetry may
        known = {record.task_id: record for record in source.records() if record.task_id in nameless}
        for row in rows:
            record = known.get(object_task(row.object_id))
            if record is not None and not row.is_put and not row.maker:
                row.maker, row.cell = record.name, row.cell or record.cell
    return rows


def _objects(source: Source) -> list[StateRecord]:
    processes = {row["worker_id"]: row for row in source.ask("workers")}
    hosts = _host_names(source)
    rows: list[StateRecord] = []
    for row in object_rows(source):
        process = processes.get(row.holder or row.owner, {})
        rows.append(
            ObjectState(
                object_id=row.object_id.hex(),
                object_size=row.size,
                task_status=row.status,
                reference_type=str(row.kinds[0]) if row.kinds else "UNKNOWN_STATUS",
                call_site=row.site,
                type="DRIVER" if process.get("is_driver") else "WORKER",
                pid=row.holder_pid or process.get("pid") or 0,
                ip=hosts.get(row.holder_node, ""),
                node_id=row.holder_node.hex(),
                owner_id=row.owner.hex(),
                holder_id=row.holder.hex(),
                origin="PUT" if row.is_put else "RETURN",
                function=row.maker,
                cell=_cell(row.cell),
                stored=", ".join(sorted({state.upper() for state in row.stored.values()})),
                stored_on=[node.hex() for node in row.stored],
                pins=row.pins,
            )
        )
    return rows


def _jobs(source: Source) -> list[StateRecord]:
    hosts = _host_names(source)
    rows: list[StateRecord] = []
    for row in source.ask("jobs"):
        driver = msgspec.convert(row["driver"], Address)
        death = row["death"] or {}
        rows.append(
            JobState(
                job_id=row["job_id"].hex(),
                submission_id=None,
                entrypoint=row["entrypoint"],
                type="DRIVER",
                status=_JOB_STATUS[row["state"]],
                message=death.get("detail"),
                error_type=death.get("kind") if row["state"] == "FAILED" else None,
                driver_info={
                    "id": driver.worker_id.hex(),
                    "node_ip_address": hosts.get(driver.node_id, ""),
                    "pid": str(row["pid"]),
                },
                start_time=_milliseconds(row["started"]),
                end_time=_milliseconds(row["ended"]),
                metadata=row["config"],
                namespace=row["namespace"],
            )
        )
    return rows


ROWS: dict[str, tuple[type[StateRecord], Callable[[Source], list[StateRecord]]]] = {
    "actors": (ActorState, _actors),
    "cluster_events": (ClusterEventState, cluster_events),
    "errors": (ErrorGroupState, error_groups),
    "function_memory": (FunctionMemory, function_memory),
    "gpu_stats": (GpuStats, gpu_stats),
    "jobs": (JobState, _jobs),
    "node_stats": (NodeStats, node_stats),
    "nodes": (NodeState, _nodes),
    "objects": (ObjectState, _objects),
    "pending": (PendingState, pending),
    "placement_groups": (PlacementGroupState, placement_groups),
    "tasks": (TaskState, _tasks),
    "worker_stats": (WorkerStats, worker_stats),
    "workers": (WorkerState, _workers),
}
