"""What the state API shows of placement groups, and why one waits. Reads only."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from ..protocol.common import Resources, from_units
from .group_record import Bundle, Group, GroupState

if TYPE_CHECKING:
    from .machine import GcsMachine

__all__ = ["explain_group", "group_rows"]


def group_rows(gcs: GcsMachine, limit: int) -> list[dict[str, Any]]:
    """The newest groups, the oldest of them first."""
    newest = list(islice(reversed(gcs.groups.by_id.values()), limit))
    free: dict[tuple[bytes, int], Resources] = {}
    for node in gcs.nodes.living():
        free.update({(group_id, index): available for group_id, index, available in node.bundle_rows})
    return [_row(gcs, group, free) for group in reversed(newest)]


def _row(gcs: GcsMachine, group: Group, free: dict[tuple[bytes, int], Resources]) -> dict[str, Any]:
    spec = group.spec
    verdict, reason = explain_group(gcs, group)
    return {
        "group_id": group.group_id,
        "name": spec.name,
        "namespace": spec.namespace,
        "state": group.public_state,
        "strategy": spec.strategy,
        "job_id": spec.job_id,
        "creator": spec.creator.worker_id,
        "creator_actor": group.creator_actor,
        "detached": spec.detached,
        "verdict": verdict,
        "reason": reason,
        "bundles": [_bundle(gcs, group, bundle, free) for bundle in group.bundles],
        "attempts": group.attempt,
        "placements": group.placements,
        "cell": spec.cell,
        "site": spec.site,
        "created": group.created,
        "placed": group.placed,
        "removed": group.removed,
    }


def _bundle(gcs: GcsMachine, group: Group, bundle: Bundle, free: dict[tuple[bytes, int], Resources]) -> dict[str, Any]:
    in_place = group.in_place(bundle)
    node = gcs.nodes.by_id.get(bundle.node_id or b"")
    state = "CREATED" if in_place else "PREPARING" if bundle.node_id is not None else "WAITING"
    return {
        "resources": bundle.resources,
        "available": free.get((group.group_id, bundle.index), bundle.resources) if in_place else None,
        "node_id": bundle.node_id or b"",
        "host": node.info.host if node is not None else "",
        "state": "REMOVED" if group.is_removed else state,
        "labels": group.spec.labels[bundle.index] if group.spec.labels else {},
        "actors": len(bundle.actors),
    }


def explain_group(gcs: GcsMachine, group: Group) -> tuple[str, str]:
    """A word for programs (created, removed, preparing, never, busy), and a sentence."""
    if group.state is GroupState.CREATED:
        return "created", ""
    if group.is_removed:
        return "removed", f"It was removed: {group.reason}."
    if group.state is GroupState.PREPARING:
        waits = [bundle for bundle in group.asked() if not bundle.is_held]
        nodes = ", ".join(sorted({(bundle.node_id or b"").hex() for bundle in waits}))
        return "preparing", (
            f"Node{'s' if ',' in nodes else ''} {nodes} {'were' if ',' in nodes else 'was'} asked to hold "
            f"{len(waits)} of its bundles, where tasks may have to give back what they lease first."
        )
    why = gcs.groups.why_never(group)
    if why:
        return "never", (
            f"It can never be placed on this cluster as it is: {why}. Ask for less, add nodes, or remove it."
        )
    asked = [bundle.resources for bundle in group.bundles if bundle.node_id is None]
    need: Resources = {}
    for resources in asked:
        for name, units in resources.items():
            need[name] = need.get(name, 0) + units
    free = {name: sum(max(0, node.free.get(name, 0)) for node in gcs.nodes.open()) for name in need}
    count, nodes = _counted(len(asked), "bundle"), _counted(len(gcs.nodes.open()), "node")
    return "busy", (
        f"It waits for room for {count} ({group.spec.strategy}) with {_text(need)} in all; free are {_text(free)} on "
        f"{nodes}, but not so that all bundles fit."
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def _text(resources: Resources) -> str:
    return ", ".join(f"{value:g} {name}" for name, value in sorted(from_units(resources).items())) or "nothing"
