"""Where a task or actor may run, for the option ``scheduling_strategy``.

Beside the classes here, the strings ``"DEFAULT"`` (fill a node before the next) and ``"SPREAD"`` (over all nodes) are
strategies.
"""

from __future__ import annotations

from himalia.cluster.core.strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

__all__ = ["NodeAffinitySchedulingStrategy", "PlacementGroupSchedulingStrategy"]
