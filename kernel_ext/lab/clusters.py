"""The clusters of this user on this machine, for the Jupyter server: listed, started, stopped, scaled.

Strategy: they are found by their session folders each time, as the command line finds them, so nothing is remembered
that could be stale, and a cluster that a notebook, a shell or another server started is there like any other. What
blocks runs in threads. However many pages ask, a cluster is asked once in `_FRESH` seconds, and not at all when
nobody looks.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

import psutil

from ...cluster.gcs.client import GcsClient, GcsRefusedError, GcsUnreachableError
from ...cluster.launchers import session
from ...cluster.launchers.boot import ConnectionInfo, NodeOptions
from ...cluster.launchers.local import ClusterProcess, start_head, stop_all
from ...cluster.protocol.common import PROTOCOL_VERSION, RESOURCE_UNIT
from ...cluster.protocol.gcs_messages import ListState
from ...cluster.telemetry.feed import TaskFeed
from ...dashboard.model import Model
from ..status import NAME_LABEL
from .listing import QUESTIONS, ClusterEntry, Tasks, describe, match_kernels, unanswered

__all__ = ["Clusters", "ScaleError", "UnknownClusterError", "find"]

_FRESH: Final = 0.7  # seconds: less than pages wait between two questions
_ANSWER: Final = 2.0  # seconds that a cluster has to answer
_SCALED: Final = 5.0  # seconds until it shows another number of CPUs; it takes some 50 ms
_POLL: Final = 0.02


class UnknownClusterError(LookupError):
    """No cluster of this user that runs on this machine has this id."""

    def __init__(self, cluster_id: str) -> None:
        super().__init__(cluster_id)
        self.cluster_id = cluster_id

    def __str__(self) -> str:
        return f"No cluster {self.cluster_id} of yours runs on this machine: it may have ended"


class ScaleError(RuntimeError):
    """A cluster can not have another number of CPUs; the text says why."""


class Clusters:
    """What the handlers ask. Belongs to the server's loop."""

    def __init__(self) -> None:
        self._started: dict[str, ClusterProcess] = {}
        self._watched: dict[str, _Watched] = {}
        self._lock = asyncio.Lock()
        self._entries: list[ClusterEntry] = []
        self._listed = float("-inf")
        self._listed_for: dict[int, str] = {}

    async def entries(self, kernels: Mapping[int, str]) -> list[ClusterEntry]:
        """All of them, in the order in which a driver would choose one.

        Parameters
        ----------
        kernels
            Ids of the server's kernels by process id.
        """
        async with self._lock:
            if time.monotonic() > self._listed + _FRESH or kernels != self._listed_for:
                await self._list(dict(kernels))
                self._reap()
            return self._entries

    async def _list(self, kernels: dict[int, str]) -> None:
        found = await asyncio.to_thread(_connections)
        # By what names a node for good: a cluster may be started again under its id.
        self._watched = {one.session_dir: self._watched.get(one.session_dir) or _Watched(one) for one in found}
        asked = [asyncio.to_thread(watched.ask, kernels) for watched in self._watched.values()]
        self._entries = list(await asyncio.gather(*asked))
        self._listed, self._listed_for = time.monotonic(), kernels

    async def start(self, options: NodeOptions, *, keep: bool) -> str:
        """Start a cluster; its id.

        Parameters
        ----------
        keep
            It outlives the Jupyter server, which else takes it along.

        Raises
        ------
        NodeStartError
            It could not be started; says why.
        """
        options.owner_pid = 0 if keep else os.getpid()
        process = await asyncio.to_thread(start_head, options)
        cluster_id = process.connection.cluster_id
        self._started[cluster_id] = process
        self._forget()
        return cluster_id

    async def stop(self, cluster_id: str) -> int:
        """End a cluster's nodes on this machine; how many there were.

        Raises
        ------
        UnknownClusterError
            There is none.
        """
        connection = find(cluster_id)
        count = await asyncio.to_thread(stop_all, connection.session_dir)
        self._reap()
        self._forget()
        return count

    async def scale(self, cluster_id: str, cpus: int) -> None:
        """Give a cluster of one node this many CPUs.

        Raises
        ------
        UnknownClusterError
            There is none.
        ScaleError
            It has several nodes, or does not do it.
        """
        await asyncio.to_thread(_scale, find(cluster_id), cpus)
        self._forget()

    def _reap(self) -> None:
        """Take note of what ended of our own children: nobody else can."""
        for cluster_id in [name for name, process in self._started.items() if not process.is_running()]:
            self._started.pop(cluster_id).stop()

    def _forget(self) -> None:
        self._listed = float("-inf")


def find(cluster_id: str) -> ConnectionInfo:
    """The running cluster with this id; its head if that is here.

    Raises
    ------
    UnknownClusterError
        There is none.
    """
    for connection in _connections():
        if connection.cluster_id == cluster_id:
            return connection
    raise UnknownClusterError(cluster_id)


def _connections() -> list[ConnectionInfo]:
    """One for each cluster: that of its head, if it is on this machine."""
    found: dict[str, ConnectionInfo] = {}
    for connection in session.running_sessions():
        if connection.is_head or connection.cluster_id not in found:
            found[connection.cluster_id] = connection
    return list(found.values())


class _Watched:
    """What is remembered of a cluster while pages ask: how far its tasks are. One thread at a time uses it."""

    def __init__(self, connection: ConnectionInfo) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._client: GcsClient | None = None
        self._feed = TaskFeed(self._read)
        self._model = Model(tasks_kept=1, bars_kept=1, samples_kept=1)  # counts only

    def ask(self, kernels: Mapping[int, str]) -> ClusterEntry:
        """The cluster as it is now."""
        if self._connection.protocol != PROTOCOL_VERSION:
            versions = f"version {self._connection.protocol} of the protocol, and the Jupyter server {PROTOCOL_VERSION}"
            return unanswered(self._connection, f"It speaks {versions}: restart the one whose Himalia is older")
        with self._lock:
            try:
                with GcsClient(self._connection) as self._client:
                    answers = {what: self._client.call(ListState(what), _ANSWER) for what in QUESTIONS}
                    tasks = self._count()
            except (GcsUnreachableError, GcsRefusedError) as error:
                return unanswered(self._connection, str(error))
            finally:
                self._client = None
        pids = [job["pid"] for job in answers["jobs"] if not job["ended"]]
        record = session.read_record(self._connection.session_dir)
        return describe(
            self._connection,
            answers,
            match_kernels(pids, kernels, _ancestors),
            tasks,
            name_label=NAME_LABEL,
            owner=record.owner_pid if record is not None else 0,
            server=os.getpid(),
        )

    def _count(self) -> Tasks:
        now = time.monotonic()
        self._model.take(self._feed.read_all(), self._feed, now)
        self._model.tick(now)
        progress = self._model.progress()
        return Tasks(progress.running, progress.waiting, progress.rate)

    def _read(self, message: Any) -> Any:
        assert self._client is not None
        return self._client.call(message, _ANSWER)


def _scale(connection: ConnectionInfo, cpus: int) -> None:
    try:
        with GcsClient(connection) as client:
            if (count := len(_living(client))) > 1:
                raise ScaleError(
                    f"It has {count} nodes, and this is for a cluster of one machine: "
                    "himalia start --address adds a node, himalia stop ends one"
                )
            client.set_capacity(connection.raylet, cpus)
            deadline = time.monotonic() + _SCALED
            while time.monotonic() < deadline:
                if any(_has(node, cpus) for node in _living(client)):
                    return
                time.sleep(_POLL)
    except (GcsUnreachableError, GcsRefusedError) as error:
        raise ScaleError(str(error)) from error
    raise ScaleError(f"The node did not take the change within {_SCALED:g} s")


def _living(client: GcsClient) -> list[dict[str, Any]]:
    return [node for node in client.call(ListState("nodes"), _ANSWER) if node["alive"]]


def _has(node: dict[str, Any], cpus: int) -> bool:
    return node["total"].get("CPU") == cpus * RESOURCE_UNIT and not node["most"]


def _ancestors(pid: int) -> list[int]:
    try:
        return [parent.pid for parent in psutil.Process(pid).parents()]
    except psutil.Error:  # it ended, or is another user's
        return []
