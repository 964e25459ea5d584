"""What the side bar is told about a cluster, out of what the cluster answers. Pure: no IO."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import msgspec

from ...cluster.launchers.boot import ConnectionInfo
from ...cluster.protocol.common import RESOURCE_UNIT, Address, from_units

__all__ = ["QUESTIONS", "ClusterEntry", "Driver", "Tasks", "Use", "describe", "match_kernels", "unanswered"]

QUESTIONS: Final = ("nodes", "resources", "stats", "jobs")
"""What a cluster is asked."""


class Use(msgspec.Struct, frozen=True):
    """How much of a resource is in use. ``most`` is what it grows to while work waits, 0 if it does not."""

    used: float = 0.0
    total: float = 0.0
    most: float = 0.0


class Driver(msgspec.Struct, frozen=True):
    """A process that submits work. ``kernel`` is the id of the Jupyter kernel that it is, if it is one."""

    pid: int
    program: str
    kernel: str = ""


class Tasks(msgspec.Struct, frozen=True):
    """How many tasks run and wait, and how many ended in a second of late."""

    running: int = 0
    waiting: int = 0
    rate: float = 0.0


class ClusterEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One cluster. ``id`` is also what ``%cluster connect`` takes on this machine.

    ``owner`` is the driver whose end ends it, 0 if it lives until it is stopped; ``ends_with_server`` if that driver is
    the Jupyter server. ``problem`` says why the rest is unknown.
    """

    id: str
    name: str = ""
    started: float = 0.0  # seconds since the epoch
    nodes: int = 0
    cpus: Use = Use()
    gpus: Use = Use()
    memory: Use = Use()  # of the object store, bytes
    tasks: Tasks = Tasks()
    drivers: list[Driver] = []
    owner: int = 0
    ends_with_server: bool = False
    has_dashboard: bool = False
    problem: str = ""


def match_kernels(
    pids: Collection[int], kernels: Mapping[int, str], ancestors: Callable[[int], Collection[int]]
) -> dict[int, str]:
    """Which of these processes are kernels: the kernel's id by process id.

    Parameters
    ----------
    kernels
        Ids of the server's kernels by the process id that it started them with.
    ancestors
        The parents of a process and theirs. A kernel that was started by way of another program (``conda run``) has
        not the process id that the server knows; a process that a kernel started is not that kernel, where that has
        itself a connection.
    """
    found = {pid: kernels[pid] for pid in pids if pid in kernels}
    taken = set(found.values())
    for pid in pids:
        if pid in found or not kernels:
            continue
        above = next((kernels[parent] for parent in ancestors(pid) if parent in kernels), None)
        if above is not None and above not in taken:
            found[pid] = above
    return found


def describe(
    connection: ConnectionInfo,
    answers: Mapping[str, Any],
    kernels: Mapping[int, str],
    tasks: Tasks,
    *,
    name_label: str,
    owner: int = 0,
    server: int = 0,
) -> ClusterEntry:
    """A cluster that answered.

    Parameters
    ----------
    answers
        By question of `QUESTIONS`.
    kernels
        Kernel ids by the process ids of drivers.
    name_label
        The label of a node that has the cluster's name.
    owner, server
        Process ids: of the driver that owns the cluster, and of the Jupyter server.
    """
    nodes = [node for node in answers["nodes"] if node["alive"]]
    running = [job for job in answers["jobs"] if not job["ended"]]
    return ClusterEntry(
        id=connection.cluster_id,
        name=next((node["labels"][name_label] for node in nodes if name_label in node["labels"]), ""),
        started=min((node["joined"] for node in nodes), default=0.0),
        nodes=len(nodes),
        cpus=_use(answers, nodes, "CPU"),
        gpus=_use(answers, nodes, "GPU"),
        memory=_use(answers, nodes, "object_store_memory"),
        tasks=tasks,
        drivers=[Driver(job["pid"], job["entrypoint"], _kernel(job, connection, kernels)) for job in running],
        owner=0 if owner == server else owner,
        ends_with_server=owner != 0 and owner == server,
        has_dashboard=bool(connection.dashboard_url),
    )


def unanswered(connection: ConnectionInfo, problem: str) -> ClusterEntry:
    """A cluster that runs, and does not answer."""
    return ClusterEntry(id=connection.cluster_id, problem=problem)


def _kernel(job: Mapping[str, Any], connection: ConnectionInfo, kernels: Mapping[int, str]) -> str:
    # Process ids of another machine mean nothing here.
    driver = msgspec.convert(job["driver"], Address)
    return kernels.get(job["pid"], "") if driver.node_id == connection.node_id else ""


def _use(answers: Mapping[str, Any], nodes: list[Any], resource: str) -> Use:
    total = from_units(answers["resources"]["total"]).get(resource, 0.0)
    free = from_units(answers["resources"]["available"]).get(resource, 0.0)
    most = sum(node["most"].get(resource, node["total"].get(resource, 0)) for node in nodes) / RESOURCE_UNIT
    return Use(total - free, total, most if most > total else 0.0)
