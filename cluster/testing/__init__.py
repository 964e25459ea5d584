"""Clusters for tests: several nodes on one machine."""

from .cluster import Cluster, ClusterNode

__all__ = ["Cluster", "ClusterNode"]
