"""Why tasks and actors wait: what the cluster says of its demand, and what telemetry says of arguments."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from himalia.cluster.core.placement_groups import PlacementGroup
from himalia.cluster.protocol.common import from_units
from himalia.cluster.protocol.constraints import membership
from himalia.cluster.protocol.ids import task_owner
from himalia.cluster.telemetry.events import TaskState as Phase
from himalia.cluster.telemetry.records import TaskRecord
from himalia.cluster.telemetry.waiting import WaitingTasks
from himalia.util.state._measured import surveyed
from himalia.util.state._schemas import PendingState, StateRecord

if TYPE_CHECKING:
    from himalia.util.state._source import Source

__all__ = ["explain_task", "pending", "why"]

_WORDS = {
    Phase.PENDING_ARGS: "waiting for arguments",
    Phase.PENDING_NODE: "waiting for a worker",
    Phase.SUBMITTED_TO_WORKER: "at a worker",
}

_UNKNOWN = (
    "No task, actor or placement group of this id is recorded. A new one is known within two seconds, and of a long "
    "queue only the first two thousand are; records of one that ended long ago are gone."
)
_NOT_YET = "No task of this id is recorded (yet). This is what its owner waits for:"


def pending(source: Source) -> list[StateRecord]:
    """The longest wait first."""
    waiting = source.waiting()
    rows: list[StateRecord] = [*_placed(source, waiting), *_arguments(waiting)]
    return sorted(rows, key=lambda row: -row["waited_s"])


def _placed(source: Source, waiting: WaitingTasks) -> list[PendingState]:
    answer = source.ask("pending")
    source.missing += [f"node {node_id.hex()} is missing: it did not answer in time" for node_id in answer["missing"]]
    return [_row(row, *_tasks_of(row, answer["pending"], waiting)) for row in answer["pending"]]


def _tasks_of(row: dict[str, Any], rows: list[dict[str, Any]], waiting: WaitingTasks) -> tuple[str, int]:
    """Names of the functions that wait by this demand, and how many tasks: as their owner counted them last."""
    if row["kind"] != "tasks":
        return row["name"], row["wanted"]
    counts: dict[str, int] = {}
    for source, state, count in waiting.counts.get(row["owner"], ()):
        if state is Phase.PENDING_NODE:
            counts[source.name] = counts.get(source.name, 0) + count
    alone = sum(other["owner"] == row["owner"] and other["kind"] == "tasks" for other in rows) == 1
    if alone and counts:  # all that its owner has in the queue waits for this
        return ", ".join(sorted(counts, key=lambda name: -counts[name])), sum(counts.values())
    return row["name"], counts.get(row["name"], max(row["queued"], row["wanted"]))


def _row(row: dict[str, Any], name: str, tasks: int) -> PendingState:
    return PendingState(
        kind_of_work=row["kind"],
        name=name,
        cell=row["cell"] or None,
        tasks=tasks,
        waited_s=round(row["waited"], 3),
        verdict=row["verdict"].upper().replace(" ", "_"),
        reason=row["reason"],
        resources=from_units(row["resources"]),
        wanted=row["wanted"],
        strategy=_strategy(row["strategy"]),
        labels=row["labels"],
        node_id=row["node_id"].hex() or None,
        job_id=row["job_id"].hex(),
        owner_id=row["owner"].hex(),
        actor_id=row["actor_ids"][0].hex() if row["actor_ids"] else None,
        actor_ids=[actor_id.hex() for actor_id in row["actor_ids"]],
        placement_group_id=row["group_id"].hex() or None,
        nodes=[{**node, "node_id": node["node_id"].hex()} for node in row["nodes"]],
    )


def _strategy(text: str) -> str:
    """In words, where it names a placement group."""
    member = membership(text)
    if member is None:
        return text
    return "any bundle of its placement group" if member[1] < 0 else f"bundle {member[1]} of its placement group"


def _arguments(waiting: WaitingTasks) -> list[PendingState]:
    """Tasks whose arguments are not ready, by function."""
    rows: list[PendingState] = []
    for owner, counted in waiting.counts.items():
        for source, state, count in counted:
            if state is not Phase.PENDING_ARGS:
                continue
            since = waiting.oldest.get((owner, source.name))
            rows.append(
                PendingState(
                    kind_of_work="tasks",
                    name=source.name,
                    cell=source.cell.execution or None if source.cell is not None else None,
                    tasks=count,
                    waited_s=round(time.time() - since, 3) if since is not None else 0.0,
                    verdict="ARGUMENTS",
                    reason=_for_arguments(source.name, waiting),
                    resources={},
                    wanted=0,
                    strategy="",
                    labels={},
                    node_id=None,
                    job_id=source.job_id.hex(),
                    owner_id=owner.hex(),
                    actor_id=source.actor_id.hex() or None,
                    actor_ids=[],
                    nodes=[],
                )
            )
    return rows


def _for_arguments(name: str, waiting: WaitingTasks) -> str:
    makers = sorted(waiting.makers.get(name, ()))
    if not makers:
        return "It waits for its arguments, which are results of tasks that have not ended."
    told = []
    for maker in makers:
        states = waiting.by_state(maker)
        if states:
            told.append(f"{maker} ({', '.join(f'{count} {_WORDS[state]}' for state, count in sorted(states.items()))})")
    return f"It waits for its arguments: results of {', '.join(told or makers)}."


# -- one task ----------------------------------------------------------------------------------------------------------


def why(task: str | Any, address: str | None = None, timeout: float = 30.0) -> str:
    """Why a task, an actor or a placement group waits, in a few sentences.

    Parameters
    ----------
    task
        The id of one of these in hexadecimal, a reference to a result, an actor's handle, or a placement group.
    address
        Of a cluster; None: the one this process is connected to, or the newest on this machine.
    timeout
        Seconds to wait for each answer.
    """
    from himalia.util.state._source import open_source

    with open_source(address, timeout) as source:
        return explain_task(source, bytes.fromhex(_id_of(task)))


def _id_of(task: str | Any) -> str:
    if isinstance(task, str):
        return task
    if isinstance(task, PlacementGroup):
        return task.id.hex()
    actor_id = getattr(task, "_actor_id", None)
    return str(actor_id.hex() if actor_id is not None else task.task_id().hex())


def explain_task(source: Source, task_id: bytes) -> str:
    """The text of `why`."""
    table, waiting = source.records(), source.waiting()
    rows = _placed(source, waiting)
    for row in rows:
        if task_id.hex() in (row.actor_ids or ()):
            return _paragraph(row)
    for actor in source.ask("actors"):
        if actor["actor_id"] == task_id:
            detail = f": {actor['death']['detail']}" if actor["death"] is not None else ""
            return f"Actor {actor['class_name']} is {actor['state']}{detail}"
    for group in source.ask("placement_groups"):
        if group["group_id"] == task_id:
            return f"Placement group {group['name'] or task_id.hex()} is {group['state']}. {group['reason']}".rstrip()
    attempts = table.of(task_id)
    if not attempts:
        told = [_paragraph(row) for row in rows if row.owner_id == task_owner(task_id).hex()]
        return "\n".join([_NOT_YET, *told]) if told else _UNKNOWN
    record = attempts[-1]
    if record.state is Phase.PENDING_ARGS:
        return f"{record.name}: {_for_arguments(record.name, waiting)}"
    if record.state is Phase.PENDING_NODE:
        return _in_queue(record, rows)
    if record.state is Phase.SUBMITTED_TO_WORKER:
        return _behind(record, surveyed(source, "worker_stats"))
    if record.state is Phase.RUNNING:
        return f"{record.name} runs since {time.time() - record.started:.1f} s (pid {record.pid})."
    error = f": {record.error}" if record.error else ""
    return f"{record.name} is over: {record.state.name}{error}."


def _in_queue(record: TaskRecord, rows: Iterable[PendingState]) -> str:
    mine = [row for row in rows if row.owner_id == record.owner.hex() and row.kind_of_work == "tasks"]
    named = [row for row in mine if record.name in row.name.split(", ")] or mine
    if not named:
        return (
            f"{record.name} is in its owner's queue: it waits for the next of the workers that run such tasks at this "
            "moment, and no more of these are asked for."
        )
    return "\n".join(_paragraph(row) for row in named)


def _paragraph(row: PendingState) -> str:
    several = len(row.nodes or ()) > 1  # of one, the reason has said it
    nodes = [f"  node {node['node_id']} ({node['host']}): {node['reason']}" for node in row.nodes or () if several]
    return "\n".join([f"{row.name} waits since {row.waited_s:.1f} s. {row.reason}", *nodes])


def _behind(record: TaskRecord, workers: list[dict[str, Any]]) -> str:
    for worker in workers:
        if worker["worker_id"] == record.worker_id and worker["function"]:
            since = time.time() - worker["task_started"]
            return (
                f"{record.name} was sent to a worker (pid {worker['pid']}) and is next in its queue, behind "
                f"{worker['function']}, which runs since {since:.1f} s. A worker that comes free sooner gets it."
            )
    return f"{record.name} was sent to a worker, and is about to begin."
