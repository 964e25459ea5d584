"""What waits on a node, and what holds its resources: plain rows for those who ask why. Reads only."""

from __future__ import annotations

from typing import Any

from ..protocol.common import Resources
from .lease_records import Demand
from .leases_machine import Kept
from .machine import RayletMachine

__all__ = ["waiting_row"]


def waiting_row(machine: RayletMachine, now: float) -> dict[str, Any]:
    """One row of a node: its demands that are not met, its actors that wait, and who holds what."""
    kept = machine.leases.kept_for_longest()
    return {
        "node_id": machine.config.node_id,
        "demands": [_demand(machine, demand, kept, now) for demand in machine.leases.waiting()],
        "actors": [
            {"actor_id": actor.actor_id, "state": actor.state, "waited": now - actor.waiting_since}
            for actor in machine.actors.unplaced()
        ],
        "holders": _holders(machine),
    }


def _demand(machine: RayletMachine, demand: Demand, kept: Kept | None, now: float) -> dict[str, Any]:
    spec = demand.spec
    state, text = _local(machine, demand, kept)
    return {
        "owner": demand.owner,
        "name": demand.name,
        "cell": demand.cell,
        "job_id": spec.job_id,
        "resources": spec.resources,
        "strategy": spec.strategy,
        "labels": spec.labels,
        "wanted": demand.unmet,
        "held": len(demand.held),
        "queued": demand.queued,
        "waited": now - demand.waiting_since if demand.waiting_since is not None else 0.0,
        "state": state,
        "text": text,
    }


def _local(machine: RayletMachine, demand: Demand, kept: Kept | None) -> tuple[str, str]:
    """Why this node gives it nothing at this moment, as far as only this node knows."""
    pool = machine.pool
    failure = pool.failure(demand.key)
    if failure:
        return "failed", f"no worker could be started for it: {failure}"
    if machine.bundles.source(demand.member, demand.spec.resources) is None:
        return "busy", ""
    if kept is not None and machine.leases.is_kept(demand, kept):
        name = kept[0].name or "another request" if kept[0] is not None else "a placement group"
        return "kept", f"what comes free is kept for {name}, which asks for more and waits longer"
    if pool.starting_count:
        return "starting", f"a worker is being started for it ({pool.starting_count} start at this moment)"
    if len(pool.workers) >= machine.config.max_workers:
        return "limit", f"the node has {len(pool.workers)} worker processes, which is its limit (max_workers)"
    return "granting", "it is about to get a worker"


def _holders(machine: RayletMachine) -> list[dict[str, Any]]:
    """What runs, summed by function or class: the most first."""
    found: dict[tuple[str, str], dict[str, Any]] = {}

    def add(kind: str, name: str, resources: Resources) -> None:
        row = found.setdefault((kind, name), {"kind": kind, "name": name, "count": 0, "resources": {}})
        row["count"] += 1
        for resource, units in resources.items():
            row["resources"][resource] = row["resources"].get(resource, 0) + units

    for lease in machine.leases.leases.values():
        if not lease.allocation.is_lent:
            add("task", lease.demand.name, lease.allocation.resources)
    for spec, allocation in machine.actors.holding():
        add("actor", spec.class_name, allocation.resources)
    return sorted(found.values(), key=lambda row: -row["count"])[:20]
