"""A whole cluster on one virtual clock and a seeded network: see `cluster` for how, `scenario` for what is played."""

from .cluster import SimulatedCluster, Trouble
from .scenario import Scenario, play

__all__ = ["Scenario", "SimulatedCluster", "Trouble", "play"]
