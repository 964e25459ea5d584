"""Scheduling strategies: where a task or actor may run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .id_types import NodeID

__all__ = ["NodeAffinitySchedulingStrategy", "encode_strategy"]


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
    name = strategy if isinstance(strategy, str) else type(strategy).__name__
    raise ValueError(
        f"scheduling strategy {name!r} is not supported: "
        'there are "DEFAULT", "SPREAD" and NodeAffinitySchedulingStrategy(node_id, soft)'
    )
