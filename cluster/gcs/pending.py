"""Why something waits: what it needs, and what each node lacks of it. Pure functions over what is known anyway.

Strategy: a node is looked at as the placement does (labels, affinity, totals, what is free), in this order, and the
first thing that is wrong is its verdict; what only the node's raylet knows (a worker is being started, resources are
kept for another) comes with the row of the demand. What no node could ever give is "never", which is the one thing a
user has to know: everything else passes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ..protocol.common import Resources, from_units
from ..protocol.constraints import affinity, matches_labels, membership
from .actor_record import Actor
from .nodes_machine import Node, NodeState
from .pending_groups import GroupReasons
from .placement import needed

__all__ = ["explain_pending", "look_at"]

_SHOWN: Final = 32  # nodes of a row: the others are counted
_FULL: Final = 0.95  # of a store: less than that is lost between objects
_NAMED: Final = 1_000  # actors of a row
_NEVER: Final = frozenset({"leaving", "affinity", "labels", "too small"})


def explain_pending(
    rows: list[dict[str, Any]], nodes: list[Node], actors: Iterable[Actor], wall: float, groups: GroupReasons
) -> list[dict[str, Any]]:
    """What waits in a cluster, each with its reason: the longest wait first.

    Parameters
    ----------
    rows
        What raylets answered (`raylet/waiting_rows.py`).
    nodes
        Those that live.
    actors
        Those that are not alive yet; the ones on their way to a node are explained by its row. Those of one class that
        wait for the same, oldest first, are one row: ``wanted`` says how many.
    wall
        Seconds since the epoch.
    groups
        Those of placement groups, which wait themselves, or for which something else does.
    """
    found = groups.rows()
    on_way: dict[bytes, dict[str, Any]] = {}
    holders = {row["node_id"]: row["holders"] for row in rows}
    for row in rows:
        found += [_of_demand(demand, row["node_id"], nodes, holders, groups) for demand in row["demands"]]
        for actor in row["actors"]:
            on_way[actor["actor_id"]] = {**actor, "node_id": row["node_id"]}
    alike: dict[object, list[Actor]] = {}
    for waiting in actors:
        alike.setdefault(_class_of(waiting, on_way.get(waiting.actor_id)), []).append(waiting)
    for members in alike.values():
        first = members[0]
        one = _of_actor(first, on_way.get(first.actor_id), nodes, holders, groups)
        one["waited"] = one["waited"] or (0.0 if first.restarts else wall - first.created)
        one["wanted"], one["actor_ids"] = len(members), [actor.actor_id for actor in members[:_NAMED]]
        found.append(one)
    return sorted(found, key=lambda one: -one["waited"])


def look_at(node: Node, need: Resources, strategy: str, labels: dict[str, str]) -> tuple[str, str]:
    """What a node lacks for this: a word for programs, and a text."""
    if node.state is not NodeState.ALIVE:
        return "leaving", "it is about to leave the cluster"
    wish = affinity(strategy)
    if wish is not None and wish[1] and wish[0] != node.node_id:
        return "affinity", f"only node {wish[0].hex()} is allowed"
    if not matches_labels(labels, node.labels):
        wrong = {key: value for key, value in labels.items() if not matches_labels({key: value}, node.labels)}
        has = {key: node.labels.get(key) for key in wrong}
        return "labels", f"it is to have the labels {wrong}, and has {has}"
    small = {name: units for name, units in need.items() if node.largest.get(name, 0) < units}
    if small:
        return "too small", "it has in all " + _compare(small, node.largest)
    short = {name: units for name, units in need.items() if node.free.get(name, 0) < units}
    if short:
        return "busy", "it has free " + _compare(short, node.free)
    # GPUs are counted one by one as well: two halves on two devices are no whole one.
    return "room", "it has room"


def _of_demand(
    demand: dict[str, Any],
    node_id: bytes,
    nodes: list[Node],
    holders: dict[bytes, list[dict[str, Any]]],
    groups: GroupReasons,
) -> dict[str, Any]:
    need, member = demand["resources"], membership(demand["strategy"])
    verdicts: list[dict[str, Any]] = []
    if member is not None:
        verdict, reason = groups.member(*member, need, demand["state"], demand["text"])
    else:
        verdicts = _look_at_all(nodes, need, demand["strategy"], demand["labels"], holders)
        verdict, reason = _judge(verdicts, need, node_id, demand["state"], demand["text"])
    return {
        "kind": "tasks",
        "group_id": member[0] if member is not None else b"",
        "actor_ids": [],
        **{name: demand[name] for name in ("owner", "name", "cell", "job_id", "resources", "strategy", "labels")},
        **{name: demand[name] for name in ("wanted", "queued", "waited")},
        **_result(node_id, verdict, reason, verdicts),
    }


def _class_of(actor: Actor, on_way: dict[str, Any] | None) -> object:
    """Equal for actors that wait for the same: of a thousand, one is looked at."""
    spec, cell = actor.spec, actor.spec.cell
    return (
        spec.class_name,
        spec.job_id,
        spec.owner.worker_id,
        cell.execution if cell is not None else 0,
        spec.strategy,
        frozenset(needed(spec).items()),
        frozenset(spec.resources.items()),
        frozenset(spec.labels.items()),
        actor.node_id,
        on_way["state"] if on_way is not None else "",
    )


def _of_actor(
    actor: Actor,
    on_way: dict[str, Any] | None,
    nodes: list[Node],
    holders: dict[bytes, list[dict[str, Any]]],
    groups: GroupReasons,
) -> dict[str, Any]:
    spec, member = actor.spec, actor.member
    need = needed(spec)
    verdicts = _look_at_all(nodes, need, spec.strategy, spec.labels, holders) if member is None else []

    def judge(node_id: bytes, state: str, text: str) -> tuple[str, str]:
        if member is not None:
            return groups.member(*member, spec.resources, state, text)
        return _judge(verdicts, need, node_id, state, text)

    node_id, waited = b"", 0.0
    if on_way is not None:
        node_id, waited = on_way["node_id"], on_way["waited"]
        state = "busy" if on_way["state"] == "waiting" else "starting"
        text = "" if state == "busy" else "it has its resources, and a worker is being started for it"
        verdict, reason = judge(node_id, state, text)
    elif actor.node_id is not None:
        node_id = actor.node_id
        verdict, reason = "starting", "Its constructor runs, or its worker starts"
    else:
        verdict, reason = judge(b"", "granting", "it is about to be sent to a node")
    return {
        "kind": "actor",
        "group_id": member[0] if member is not None else b"",
        "actor_ids": [],
        "owner": spec.owner.worker_id,
        "name": spec.class_name,
        "cell": spec.cell.execution if spec.cell is not None else 0,
        "job_id": spec.job_id,
        "resources": need,
        "strategy": spec.strategy,
        "labels": spec.labels,
        "wanted": 1,
        "queued": 0,
        "waited": waited,
        **_result(node_id, verdict, reason, verdicts),
    }


def _result(node_id: bytes, verdict: str, reason: str, verdicts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "node_id": node_id,
        "verdict": verdict,
        "reason": reason + ".",
        "nodes": verdicts[:_SHOWN],
        "more_nodes": max(0, len(verdicts) - _SHOWN),
    }


def _look_at_all(
    nodes: list[Node],
    need: Resources,
    strategy: str,
    labels: dict[str, str],
    holders: dict[bytes, list[dict[str, Any]]],
) -> list[dict[str, Any]]:
    found = []
    for node in nodes:
        verdict, text = look_at(node, need, strategy, labels)
        if verdict == "busy":
            text += _held_by(holders.get(node.node_id, []), need)
        if verdict not in _NEVER and node.store_used >= _FULL * node.info.object_store_bytes > 0:
            text += "; its object store is full, so what writes large values there waits, too"
        found.append({"node_id": node.node_id, "host": node.info.host, "verdict": verdict, "reason": text})
    return found


def _held_by(holders: list[dict[str, Any]], need: Resources) -> str:
    """Who holds what is asked for."""
    names = [
        f"{holder['count']} × {holder['name'] or 'a task'}" + (" (actor)" if holder["kind"] == "actor" else "")
        for holder in holders
        if need.keys() & holder["resources"].keys()
    ]
    return f"; held by {', '.join(names[:4])}{' and others' if len(names) > 4 else ''}" if names else ""


def _judge(verdicts: list[dict[str, Any]], need: Resources, node_id: bytes, state: str, text: str) -> tuple[str, str]:
    """The verdict of a row, and one sentence (without its full stop)."""
    asked = _quantities(need)
    if not verdicts:
        return "never", f"It asks for {asked}, and there is no node"
    if all(one["verdict"] in _NEVER for one in verdicts):
        why = "; ".join(f"node {one['node_id'].hex()}: {one['reason']}" for one in verdicts[:4])
        more = f"; and {len(verdicts) - 4} nodes more" if len(verdicts) > 4 else ""
        return "never", (
            f"It can never run on this cluster as it is. It asks for {asked}. {why[:1].upper()}{why[1:]}{more}. "
            "Ask for less, add a node that has it, or cancel it"
        )
    here = next((one for one in verdicts if one["node_id"] == node_id), None)
    if state == "failed":
        return "failed", text[:1].upper() + text[1:]
    with_room = [one for one in verdicts if one["verdict"] == "room"]
    if with_room and state != "busy":
        return state, text[:1].upper() + text[1:]
    if any(one is not here for one in with_room):
        name = next(one["node_id"].hex() for one in with_room if one is not here)
        return "moving", f"Node {name} has room, and the request is on its way there"
    able = [one for one in verdicts if one["verdict"] in ("busy", "room")]
    shown = here if here is not None and here["verdict"] == "busy" else able[0]
    others = f"; {len(able) - 1} more are busy, too" if len(able) > 1 else ""
    detail = shown["reason"] if shown["verdict"] == "busy" else "what is free is kept, or lies on several devices"
    return "busy", f"It waits for {asked} to come free. Node {shown['node_id'].hex()}: {detail}{others}"


def _compare(wanted: Resources, have: Resources) -> str:
    asked, there = from_units(wanted), from_units(have)
    # Less than nothing is free where tasks that waited for others go on before their slots are.
    return ", ".join(
        f"{max(0.0, there.get(name, 0)):g} {name} of the {asked[name]:g} asked for" for name in sorted(asked)
    )


def _quantities(need: Resources) -> str:
    return ", ".join(f"{value:g} {name}" for name, value in sorted(from_units(need).items())) or "no resources"
