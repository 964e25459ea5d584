"""Clusters of several nodes on one machine, for tests; the names are those of ``ray.cluster_utils``."""

from __future__ import annotations

from himalia.cluster.testing.cluster import Cluster

__all__ = ["Cluster"]
