"""Clusters of several nodes on this machine, with this process as their driver."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import himalia
from himalia.cluster.testing.cluster import Cluster, ClusterNode

_LIMIT = 30.0
"""Seconds of one test: nodes start in less than one each."""

STORE = 128 << 20


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_LIMIT, method="signal"))


class Gate:
    """What tasks wait for."""

    def __init__(self) -> None:
        self.is_open = asyncio.Event()

    async def open(self) -> None:
        self.is_open.set()

    async def wait(self) -> None:
        await self.is_open.wait()


class Nodes:
    """A cluster and the driver's connection to its head node.

    The head has one CPU and the resource ``head``; further nodes have what the test gives them.
    """

    def __init__(self) -> None:
        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 1, "resources": {"head": 10}, "object_store_memory": STORE},
        )
        himalia.init(self.cluster.address, log_to_driver=False, namespace="tests")
        self.hv = himalia
        assert self.cluster.head_node is not None
        self.head: ClusterNode = self.cluster.head_node

    @property
    def other(self) -> ClusterNode:
        """The node that `two_nodes` added."""
        [node] = self.cluster.worker_nodes
        return node

    def add(self, **options: Any) -> ClusterNode:
        """Add a node, with two CPUs and the resource ``other`` unless told otherwise."""
        chosen = {"num_cpus": 2, "resources": {"other": 10}, "object_store_memory": STORE, **options}
        return self.cluster.add_node(**chosen)


@pytest.fixture
def one_node() -> Iterator[Nodes]:
    nodes = Nodes()
    try:
        yield nodes
    finally:
        himalia.shutdown()
        nodes.cluster.shutdown()


@pytest.fixture
def two_nodes(one_node: Nodes) -> Nodes:
    """The head node, and another one with two CPUs and the resource ``other``."""
    one_node.add()
    return one_node


@pytest.fixture
def on() -> Callable[..., dict[str, Any]]:
    """Options for a task or actor on the node with a resource: ``f.options(**on("other"))``."""
    return lambda resource, **more: {"num_cpus": 0, "resources": {resource: 1}, **more}
