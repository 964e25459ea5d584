"""What the state API asks of the GCS: plain rows out of the live state. Reads only.

Ids stay bytes and quantities stay units; `himalia.util.state` makes of them what people read.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..protocol.common import RESOURCE_UNIT, Death, Resources
from ..protocol.gcs_messages import EventsRead, ListState, ReadTaskEvents
from .actor_record import Actor, ActorState
from .group_rows import group_rows
from .nodes_machine import Node
from .pending import explain_pending
from .pending_groups import GroupReasons

if TYPE_CHECKING:
    from .machine import GcsMachine

__all__ = ["QUERIES", "pending", "query", "read_events"]

_DEATHS_BETWEEN: Final = 256  # of processes that who asks again for what is new may have missed: a node full of them


def read_events(gcs: GcsMachine, message: ReadTaskEvents) -> EventsRead:
    """The answer to a `ReadTaskEvents`."""
    answer = gcs.events.since(message.after, message.limit)
    is_first = message.after == 0 or message.after > answer.next
    answer.dead = list(islice(reversed(gcs.processes.dead), None if is_first else _DEATHS_BETWEEN))
    return answer


def query(gcs: GcsMachine, message: ListState) -> Any:
    """The answer to a `ListState`.

    Raises
    ------
    KeyError
        If there is no such list.
    """
    return QUERIES[message.what](gcs, message)


def _death(death: Death | None) -> dict[str, Any] | None:
    if death is None:
        return None
    return {
        "kind": death.kind.name,
        "detail": death.detail,
        "exit_code": death.exit_code,
        "signal": death.signal,
        "pid": death.pid,
    }


def _nodes(gcs: GcsMachine, message: ListState) -> list[dict[str, Any]]:
    return [_node(node) for node in list(gcs.nodes.by_id.values())[: message.limit]]


def _node(node: Node) -> dict[str, Any]:
    """All of `NodeInfo` by its own names (readers convert it back), and what the node reported last."""
    info = node.info
    return {
        "node_id": info.node_id,
        "state": str(node.state),
        "host": info.host,
        "pid": info.pid,
        "is_head": info.is_head,
        "total": node.total,
        "most": node.most,
        "available": node.available,
        "labels": info.labels,
        "object_store_bytes": info.object_store_bytes,
        "store_used": node.store_used,
        "pending": node.pending,
        "session_dir": info.session_dir,
        "raylet": info.raylet,
        "alive": info.alive,
        "death": info.death,
        "joined": node.joined,
        "died": node.died,
        "extra": info.extra,
    }


def _actors(gcs: GcsMachine, message: ListState) -> list[dict[str, Any]]:
    newest = list(gcs.actors.by_id.values())[-message.limit :]
    return [_actor(actor) for actor in newest]


def _actor(actor: Actor) -> dict[str, Any]:
    spec = actor.spec
    return {
        "actor_id": actor.actor_id,
        "class_name": spec.class_name,
        "state": actor.public_state,
        "name": spec.name,
        "namespace": spec.namespace,
        "job_id": spec.job_id,
        "node_id": actor.node_id,
        "address": actor.address,
        "owner": spec.owner.worker_id,
        "detached": spec.detached,
        "restarts": actor.restarts,
        "max_restarts": spec.max_restarts,
        "resources": spec.resources,
        "placement": spec.placement,
        "strategy": spec.strategy,
        "death": _death(actor.death or actor.old_death),
        "cell": spec.cell,
        "site": spec.site,
        "runtime_env": spec.runtime_env,
        "created": actor.created,
        "started": actor.started,
        "ended": actor.ended,
    }


def _named_actors(gcs: GcsMachine, message: ListState) -> list[dict[str, Any]]:
    named = list(gcs.actors.by_name.items())[: message.limit]
    return [{"name": name, "namespace": space, "actor_id": actor_id} for (space, name), actor_id in named]


def _errors(gcs: GcsMachine, message: ListState) -> dict[str, Any]:
    return gcs.failures.list(message.limit)


def _events(gcs: GcsMachine, message: ListState) -> dict[str, Any]:
    return gcs.log.since(message.after, message.limit)


def _jobs(gcs: GcsMachine, message: ListState) -> list[dict[str, Any]]:
    return [
        {
            "job_id": job.info.job_id,
            "state": str(job.state),
            "driver": job.info.driver,
            "pid": job.info.pid,
            "namespace": job.info.namespace,
            "entrypoint": job.info.entrypoint,
            "started": job.info.started,
            "ended": job.info.ended,
            # Not its environment, which may hold secrets and is only for the workers of the job.
            "config": {key: value for key, value in job.info.config.items() if key != "env"},
            "death": _death(job.death),
        }
        for job in list(gcs.jobs.by_id.values())[-message.limit :]
    ]


def _workers(gcs: GcsMachine, message: ListState) -> list[dict[str, Any]]:
    """Living ones as their raylets reported them, and those that only said hello; then the dead, newest first."""
    rows: dict[bytes, dict[str, Any]] = {}
    for node in gcs.nodes.living():
        for worker in node.workers:
            worker_id = worker.get("worker_id")
            if isinstance(worker_id, bytes):
                rows[worker_id] = {**worker, "node_id": node.node_id, "is_alive": True}
    for worker_id, core in gcs.processes.by_worker.items():
        row = rows.setdefault(worker_id, {"worker_id": worker_id, "node_id": core.address.node_id, "is_alive": True})
        row["is_driver"] = core.is_driver
        row["address"] = core.address
        row.setdefault("job_id", core.job_id)
    for worker_id, actor in gcs.actors.by_worker.items():
        if worker_id in rows:
            rows[worker_id]["actor_id"] = actor.actor_id
    for worker_id, (dead, death) in reversed(gcs.processes.dead.items()):
        if len(rows) >= message.limit:
            break
        rows[worker_id] = {
            "worker_id": worker_id,
            "node_id": dead.address.node_id if dead is not None else b"",
            "job_id": dead.job_id if dead is not None else b"",
            "is_driver": dead is not None and dead.is_driver,
            "is_alive": False,
            "pid": death.pid,
            "death": _death(death),
        }
    return list(rows.values())[: message.limit]


def _task_events(gcs: GcsMachine, message: ListState) -> dict[str, object]:
    # What a dead process submitted is over, and nobody is left who could say so.
    return {**gcs.events.newest(message.limit), "dead": list(gcs.processes.dead)}


def _sum(parts: list[Resources]) -> Resources:
    out: Resources = {}
    for part in parts:
        for name, units in part.items():
            out[name] = out.get(name, 0) + units
    return out


def pending(gcs: GcsMachine, rows: list[msgspec.Raw], missing: list[bytes]) -> dict[str, Any]:
    """The answer to ``ListState("pending")``, of what raylets said: what waits, and why."""
    told = [row for part in rows for row in msgspec.msgpack.decode(part)]
    waiting = [actor for actor in gcs.actors.by_id.values() if actor.state in (ActorState.WAITING, ActorState.STARTING)]
    groups = GroupReasons(gcs)
    return {"pending": explain_pending(told, gcs.nodes.living(), waiting, gcs.wall(), groups), "missing": missing}


def _resources(gcs: GcsMachine, message: ListState) -> dict[str, Resources]:
    nodes = gcs.nodes.living()
    available = _sum([node.available for node in nodes])
    if "object_store_memory" in available:  # not leased, but filled: what is in the stores is not free
        available["object_store_memory"] -= sum(node.store_used for node in nodes) * RESOURCE_UNIT
    return {"total": _sum([node.total for node in nodes]), "available": available}


def _stats(gcs: GcsMachine, message: ListState) -> dict[str, Any]:
    states: dict[str, int] = {}
    for actor in gcs.actors.by_id.values():
        states[actor.public_state] = states.get(actor.public_state, 0) + 1
    return {
        "cluster_id": gcs.cluster_id,
        "nodes": len(gcs.nodes.living()),
        "actors": states,
        "actors_waiting": gcs.actors.queue.demand(),
        "pending": [entry for node in gcs.nodes.living() for entry in node.pending],
        "jobs_running": len(gcs.jobs.by_driver),
        "processes": len(gcs.processes.by_worker),
        "keys": sum(len(space) for space in gcs.kv.spaces.values()),
        "task_events": gcs.events.tasks,
        "task_event_bytes": gcs.events.bytes,
        "task_events_dropped": gcs.events.dropped,
        "task_events_unsent": gcs.events.unsent,
        "messages": gcs.messages,
    }


QUERIES = {
    "actors": _actors,
    "placement_groups": lambda gcs, message: group_rows(gcs, message.limit),
    "errors": _errors,
    "events": _events,
    "jobs": _jobs,
    "named_actors": _named_actors,
    "nodes": _nodes,
    "resources": _resources,
    "stats": _stats,
    "task_events": _task_events,
    "workers": _workers,
}
