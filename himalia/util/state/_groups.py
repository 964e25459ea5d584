"""Rows of placement groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from himalia.cluster.protocol.common import Cell, from_units
from himalia.util.state._schemas import PlacementGroupState, StateRecord

if TYPE_CHECKING:
    from himalia.util.state._source import Source

__all__ = ["group_table", "placement_groups"]


def _milliseconds(seconds: float | None) -> int | None:
    return round(seconds * 1000) if seconds else None


def placement_groups(source: Source) -> list[StateRecord]:
    """The newest first."""
    return [_row(row) for row in reversed(source.ask("placement_groups"))]


def _row(row: dict[str, Any]) -> PlacementGroupState:
    bundles = [
        {
            "bundle_id": {"placement_group_id": row["group_id"].hex(), "bundle_index": index},
            "unit_resources": from_units(bundle["resources"]),
            "available_resources": from_units(bundle["available"]) if bundle["available"] is not None else None,
            "node_id": bundle["node_id"].hex() or None,
            "host": bundle["host"],
            "state": bundle["state"],
            "label_selector": bundle["labels"],
            "actors": bundle["actors"],
        }
        for index, bundle in enumerate(row["bundles"])
    ]
    cell = msgspec.convert(row["cell"], Cell | None)
    return PlacementGroupState(
        placement_group_id=row["group_id"].hex(),
        name=row["name"],
        creator_job_id=row["job_id"].hex(),
        state=row["state"],
        strategy=row["strategy"],
        bundle_count=len(bundles),
        node_count=len({bundle["node_id"] for bundle in bundles if bundle["node_id"]}),
        reason=row["reason"],
        cell=(cell.execution or None) if cell is not None else None,
        bundles=bundles,
        stats={
            "scheduling_state": row["verdict"].upper(),
            "scheduling_attempt": row["attempts"],
            "placements": row["placements"],
            "end_to_end_creation_latency_ms": _latency(row),
        },
        is_detached=row["detached"],
        ray_namespace=row["namespace"],
        creator_worker_id=row["creator"].hex(),
        creator_actor_id=row["creator_actor"].hex() or None,
        call_site=row["site"],
        creation_time_ms=_milliseconds(row["created"]),
        placement_time_ms=_milliseconds(row["placed"]),
        end_time_ms=_milliseconds(row["removed"]),
    )


def _latency(row: dict[str, Any]) -> float | None:
    return round((row["placed"] - row["created"]) * 1000, 3) if row["placed"] and row["placements"] == 1 else None


def group_table(group_id: str | None) -> dict[str, Any]:
    """In the shape of `ray.util.placement_group_table`."""
    from himalia.util.state._source import open_source

    with open_source(None, 30.0) as source:
        table = {}
        for row in source.ask("placement_groups"):
            shown = _row(row)
            table[shown.placement_group_id] = {
                "placement_group_id": shown.placement_group_id,
                "name": shown.name,
                "bundles": {index: bundle["unit_resources"] for index, bundle in enumerate(shown.bundles or ())},
                "bundles_to_node_id": {index: one["node_id"] or "" for index, one in enumerate(shown.bundles or ())},
                "strategy": shown.strategy,
                "state": shown.state,
                "stats": shown.stats,
            }
    return table if group_id is None else table.get(group_id, {})
