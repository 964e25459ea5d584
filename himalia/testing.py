"""Clusters of several nodes on one machine, for tests of programs that will run on many."""

from __future__ import annotations

from himalia.cluster.testing.cluster import Cluster

__all__ = ["Cluster"]
