"""A page of the tests that is shown what a played cluster has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from himalia.dashboard.hub import Hub
from tests.dashboard.cluster import PlayedCluster
from tests.dashboard.viewing import Looker

__all__ = ["NODE", "Shown", "actor_row", "node_row"]

NODE = b"\x01node___".hex()


class Shown:
    """A page, and the cluster that it shows: `bring` has it ask and draw."""

    def __init__(self, page: str, params: Mapping[str, str] | None = None, **rows: list[dict[str, Any]]) -> None:
        self.played = PlayedCluster()
        self.played.rows_of.update({"nodes": [node_row()], "actors": [], "workers": [], "placement_groups": [], **rows})
        self.hub = Hub(self.played.feed())
        self.looker = Looker(self.hub, page, params)
        self.bring()

    def bring(self, **rows: list[dict[str, Any]]) -> Looker:
        """The cluster has these rows now, and five seconds went by."""
        self.played.rows_of.update(rows)
        self.played.now += 5
        self.hub.feed.apply(self.hub.feed.read(self.hub.needs()))
        self.hub.step()
        return self.looker


def node_row(**fields: Any) -> dict[str, Any]:
    """A row of ``list_nodes``."""
    row = {
        "node_id": NODE, "node_name": "here", "state": "ALIVE", "is_head_node": True, "state_message": "",
        "resources_total": {},
    }  # fmt: skip
    return {**row, **fields}


def actor_row(actor_id: str = "a1", **fields: Any) -> dict[str, Any]:
    """A row of ``list_actors``."""
    row = {
        "actor_id": actor_id, "class_name": "Counter", "state": "ALIVE", "job_id": "01", "name": "", "node_id": NODE,
        "pid": 7, "required_resources": {"CPU": 1.0}, "death_cause": None, "is_detached": False, "num_restarts": 0,
        "max_restarts": 0, "call_site": "x.py:3", "worker_id": "w1", "cell": 3, "start_time_ms": 900_000,
        "end_time_ms": None, "placement_group_id": None,
    }  # fmt: skip
    return {**row, **fields}
