"""Scheduling strategies: where a task or actor may run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..protocol.constraints import in_group

if TYPE_CHECKING:
    from .id_types import NodeID
    from .placement_groups import PlacementGroup

__all__ = ["NodeAffinitySchedulingStrategy", "PlacementGroupSchedulingStrategy", "encode_strategy"]


class NodeAffinitySchedulingStrategy:
    """Run on one node.

    Parameters
    ----------
    node_id
        A `NodeID`, or its hexadecimal digits as `nodes()` shows them.
    soft
        Whether another node may be taken when that one is gone or can not meet the request.
    """

    def __init__(self, node_id: str | NodeID, soft: bool) -> None:
        if not isinstance(node_id, str):
            node_id = node_id.hex()
        self.node_id: str = node_id
        self.soft = soft

    def __repr__(self) -> str:
        return f"NodeAffinitySchedulingStrategy(node_id={self.node_id!r}, soft={self.soft})"


class PlacementGroupSchedulingStrategy:
    """Run in a placement group.

    Parameters
    ----------
    placement_group
        Made by `himalia.util.placement_group`; None: in none.
    placement_group_bundle_index
        Of one bundle; -1: any.
    placement_group_capture_child_tasks
        Whether what the task or actor submits runs in the group, too, unless that has a strategy of its own. None: as
        it is for the one that submits it, which is not in a driver.
    """

    def __init__(
        self,
        placement_group: PlacementGroup | None,
        placement_group_bundle_index: int = -1,
        placement_group_capture_child_tasks: bool | None = None,
    ) -> None:
        self.placement_group = placement_group
        self.placement_group_bundle_index = placement_group_bundle_index
        self.placement_group_capture_child_tasks = placement_group_capture_child_tasks

    def __repr__(self) -> str:
        return (
            f"PlacementGroupSchedulingStrategy({self.placement_group!r}, {self.placement_group_bundle_index}, "
            f"{self.placement_group_capture_child_tasks})"
        )


def _encode_group(strategy: PlacementGroupSchedulingStrategy) -> str:
    from .placement_groups import PlacementGroup

    group, index = strategy.placement_group, strategy.placement_group_bundle_index
    if group is not None and not isinstance(group, PlacementGroup):
        raise ValueError(f"PlacementGroupSchedulingStrategy takes a PlacementGroup, got a {type(group).__name__}")
    if isinstance(index, bool) or not isinstance(index, int):
        raise ValueError(f"placement_group_bundle_index must be an integer, got {index!r}")
    if group is None or group.is_empty:
        if index != -1:
            raise ValueError(f"placement_group_bundle_index is {index}, but there is no placement group")
        return "DEFAULT"
    return in_group(group.id.binary(), index)


def encode_strategy(strategy: Any) -> str:
    """A strategy as the scheduler knows it.

    Raises
    ------
    ValueError
        It is unknown, or not supported in this version.
    """
    if strategy is None or strategy == "DEFAULT":
        return "DEFAULT"
    if strategy == "SPREAD":
        return "SPREAD"
    if isinstance(strategy, NodeAffinitySchedulingStrategy):
        return f"node{'~' if strategy.soft else ''}:{strategy.node_id}"
    if isinstance(strategy, PlacementGroupSchedulingStrategy):
        return _encode_group(strategy)
    name = strategy if isinstance(strategy, str) else type(strategy).__name__
    raise ValueError(
        f"scheduling strategy {name!r} is not supported: "
        'there are "DEFAULT", "SPREAD", NodeAffinitySchedulingStrategy(node_id, soft) and '
        "PlacementGroupSchedulingStrategy(placement_group, placement_group_bundle_index)"
    )
