"""A cluster of several nodes on this machine, with the interface of Ray's ``ray.cluster_utils.Cluster``.

Strategy: the nodes are real: each has its own host, raylet, workers, object store and session folder, and they talk
over TCP with CURVE as nodes of different machines do. Only the address is this machine's own.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import time
from typing import Any, Final

import msgspec

from ..launchers.boot import ConnectionInfo, NodeOptions
from ..launchers.local import ClusterNotFoundError, ClusterProcess, start_head, start_node
from ..launchers.query import list_state

__all__ = ["Cluster", "ClusterNode"]

_HOST: Final = "127.0.0.1"

_NODE_ARGUMENTS: Final = frozenset(
    {
        "num_cpus",
        "num_gpus",
        "memory",
        "resources",
        "labels",
        "object_store_memory",
        "log_level",
        "prestart_workers",
        "idle_worker_seconds",
        "max_workers",
        "memory_usage_threshold",
        "spill_dir",
        "gcs_storage",
        "worker_module",
    }
)


class ClusterNode:
    """One node of a `Cluster`.

    Attributes
    ----------
    node_id
        Hexadecimal.
    connection
        How a driver joins the cluster at this node.
    """

    def __init__(self, process: ClusterProcess, *, is_head: bool) -> None:
        self.process = process
        self.connection: ConnectionInfo = process.connection
        self.node_id = self.connection.node_id.hex()
        self.is_head = is_head

    @property
    def unique_id(self) -> str:
        """The same as ``node_id``."""
        return self.node_id

    @property
    def node_ip_address(self) -> str:
        return _HOST

    @property
    def address(self) -> str:
        """``host:port`` of the cluster."""
        return self.connection.gcs.tcp.removeprefix("tcp://")

    def is_alive(self) -> bool:
        """Whether its host lives."""
        return self.process.is_running()

    def kill(self) -> None:
        """End it as a power failure would: nobody gets a chance to say goodbye."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.stop()

    def __repr__(self) -> str:
        return f"ClusterNode({self.node_id}{', head' if self.is_head else ''})"


class Cluster:
    """Several nodes on this machine.

    Parameters
    ----------
    initialize_head
        Start the head node at once, with ``head_node_args`` (see `add_node`).
    connect
        And connect this process to it.
    shutdown_at_exit
        End the nodes when this process ends without `shutdown`.
    """

    def __init__(
        self,
        initialize_head: bool = False,
        connect: bool = False,
        head_node_args: dict[str, Any] | None = None,
        shutdown_at_exit: bool = True,
    ) -> None:
        self.head_node: ClusterNode | None = None
        self.worker_nodes: set[ClusterNode] = set()
        self.connected = False
        self._owner_pid = os.getpid() if shutdown_at_exit else 0
        if shutdown_at_exit:
            atexit.register(self.shutdown)
        if not initialize_head and connect:
            raise RuntimeError("Cluster(connect=True) needs initialize_head=True: there is nothing to connect to")
        if head_node_args and not initialize_head:
            raise ValueError("head_node_args are used with initialize_head=True only: give them to add_node instead")
        if initialize_head:
            self.add_node(**(head_node_args or {}))
            if connect:
                self.connect()

    @property
    def address(self) -> str:
        """``host:port``, for ``init(address=…)``."""
        return self._head().address

    gcs_address = address

    @property
    def connection(self) -> ConnectionInfo:
        """How to reach the head node."""
        return self._head().connection

    def _head(self) -> ClusterNode:
        if self.head_node is None:
            raise RuntimeError("the cluster has no node yet: call add_node() first")
        return self.head_node

    def connect(self, namespace: str | None = None) -> Any:
        """Connect this process as a driver; returns what ``init`` returns."""
        from ..core.api import init

        info = init(address=self.address, namespace=namespace)
        self.connected = True
        return info

    def add_node(self, wait: bool = True, **node_args: Any) -> ClusterNode:
        """Start a node: the head node first, then others.

        Parameters
        ----------
        wait
            Return when the cluster knows the node (else when the node serves).
        node_args
            ``num_cpus`` (1 if left out), ``num_gpus`` (0), ``memory``, ``resources``, ``labels``,
            ``object_store_memory`` (150 MB), and further fields of `NodeOptions`.
        """
        unknown = sorted(set(node_args) - _NODE_ARGUMENTS)
        if unknown:
            raise TypeError(f"add_node() takes no {', '.join(unknown)}; it takes {', '.join(sorted(_NODE_ARGUMENTS))}")
        given = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 150 * 1024 * 1024, **node_args}
        options = NodeOptions(tcp_host=_HOST, owner_pid=self._owner_pid, **given)
        if self.head_node is None:
            node = self.head_node = ClusterNode(start_head(options), is_head=True)
        else:
            head = self.head_node.connection
            elsewhere = msgspec.structs.replace(head, gcs=msgspec.structs.replace(head.gcs, ipc=""))
            node = ClusterNode(start_node(elsewhere, options), is_head=False)
            self.worker_nodes.add(node)
        if wait:
            self._wait_until(lambda alive: node.node_id in alive, f"node {node.node_id} to join", 30.0)
        return node

    def remove_node(self, node: ClusterNode, allow_graceful: bool = True) -> None:
        """End a node, and return when the rest of the cluster knows.

        Parameters
        ----------
        allow_graceful
            Let its processes clean up and say goodbye; else kill them.
        """
        if node not in self.list_all_nodes():
            raise ValueError(f"{node} is not a node of this cluster")
        if allow_graceful:
            node.process.stop()
        else:
            node.kill()
        if node is self.head_node:
            self.head_node = None
            for other in list(self.worker_nodes):  # without a head there is no cluster
                other.process.stop()
            self.worker_nodes.clear()
            return
        self.worker_nodes.discard(node)
        self._wait_until(lambda alive: node.node_id not in alive, f"the cluster to notice the end of {node}", 30.0)

    def list_all_nodes(self) -> list[ClusterNode]:
        """The head node first."""
        return [*([self.head_node] if self.head_node else []), *self.worker_nodes]

    def wait_for_nodes(self, timeout: float = 30.0) -> None:
        """Wait until the cluster consists of exactly the nodes that were added and not removed.

        Raises
        ------
        TimeoutError
            If that takes longer.
        """
        wanted = {node.node_id for node in self.list_all_nodes()}
        self._wait_until(lambda alive: alive == wanted, f"nodes {sorted(wanted)}", timeout)

    def _wait_until(self, condition: Any, what: str, timeout: float) -> None:
        connection = self._head().connection
        deadline = time.monotonic() + timeout
        alive: set[str] = set()
        while True:
            with contextlib.suppress(ClusterNotFoundError):  # a slow answer; the deadline counts
                rows = list_state(connection, "nodes")
                alive = {row["node_id"].hex() for row in rows if row["state"] == "ALIVE"}
                if condition(alive):
                    return
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {timeout:g} s for {what}; alive are {sorted(alive)}")
            time.sleep(0.01)

    def remaining_processes_alive(self) -> bool:
        """Whether all nodes that were not removed live."""
        return all(node.is_alive() for node in self.list_all_nodes())

    def shutdown(self) -> None:
        """End all nodes, and the connection of this process if `connect` made one."""
        if self.connected:
            from ..core.api import shutdown

            shutdown()
            self.connected = False
        for node in list(self.worker_nodes):
            node.process.stop()
        self.worker_nodes.clear()
        if self.head_node is not None:
            self.head_node.process.stop()
            self.head_node = None
        atexit.unregister(self.shutdown)
