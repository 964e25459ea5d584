"""Fork the GCS and the raylet of a node, and learn when they serve.

Strategy: all that both need (ZeroMQ, asyncio, the messages) is imported before, so that they share it; what each needs
alone it imports itself, on its own core, while the host imports what workers need. Their pipes are looked at between
those imports too: whoever waits for the node is answered at once, and no thread is needed.
"""

from __future__ import annotations

import asyncio as _asyncio  # noqa: F401 shared by the servers and the workers
import contextlib
import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.machinery import ModuleSpec
from typing import Final

import msgspec

from ..protocol.common import PROTOCOL_VERSION, Address
from ..protocol.ids import WORKER_ID_SIZE, process_id_from
from ..transport import loop as _loop  # noqa: F401 brings ZeroMQ and the messages
from . import boot, session, wire

__all__ = ["Fork", "Servers", "StartError"]

_START_SECONDS: Final = 20.0

Fork = Callable[[str, Callable[[], None], tuple[int, ...]], None]
"""``fork(role, main, keep)``: make the process of a server, which keeps these descriptors."""


class StartError(Exception):
    """The node cannot be made; the text is for the user."""


class Servers:
    """The servers of one node while they start.

    Attributes
    ----------
    raylet_fd
        The host's end of the socket pair with the raylet.
    addresses
        Of the servers that serve, by role.
    arena_path
        Of the raylet's arena, once it serves.
    """

    def __init__(self, options: boot.NodeOptions, record: session.SessionRecord, session_dir: str, fork: Fork) -> None:
        self._options = options
        self._record = record
        self._session_dir = session_dir
        self._fork = fork
        self._pipes: dict[int, str] = {}
        self._deadline = time.monotonic() + _START_SECONDS
        self.raylet_fd = -1
        self.addresses: dict[str, Address] = {}
        self.arena_path = ""

    def start(self, arena_bytes: int) -> None:
        """Fork them. They report on pipes, see `poll`."""
        gcs = self._start_gcs() if self._options.gcs is None else self._options.gcs
        self._start_raylet(gcs, arena_bytes)

    def _pipe(self, role: str) -> int:
        read, write = os.pipe()
        self._pipes[read] = role
        return write

    def _start_gcs(self) -> Address:
        """Fork the GCS; its address without the TCP port, which only those elsewhere need."""
        options = self._options
        ready = self._pipe("gcs")
        gcs_boot = boot.GcsBoot(
            cluster_id=self._record.cluster_id,
            process_id=process_id_from(os.urandom(WORKER_ID_SIZE)),
            node_id=self._record.node_id,
            ipc=boot.gcs_ipc(self._session_dir),
            session_dir=self._session_dir,
            storage=options.gcs_storage,
            tcp_host=options.tcp_host,
            tcp_port=options.tcp_port,
            public_key=options.public_key,
            secret_key=options.secret_key,
            log_level=options.log_level,
            ready_fd=ready,
        )
        self._fork("gcs", partial(_run_gcs, gcs_boot), (ready,))
        os.close(ready)
        return Address(gcs_boot.process_id, gcs_boot.node_id, gcs_boot.ipc)

    def _start_raylet(self, gcs: Address, arena_bytes: int) -> None:
        options = self._options
        ready = self._pipe("raylet")
        self.raylet_fd, theirs = wire.new_pair()
        raylet_boot = boot.RayletBoot(
            cluster_id=self._record.cluster_id,
            node_id=self._record.node_id,
            ipc=boot.raylet_ipc(self._session_dir),
            gcs=gcs,
            session_dir=self._session_dir,
            arena_bytes=arena_bytes,
            spill_dir=self._record.spill_dir,
            options=options,
            is_head=self._record.is_head,
            tcp_host=options.tcp_host,
            public_key=options.public_key,
            secret_key=options.secret_key,
            host_pid=self._record.pid,
            host_fd=theirs,
            ready_fd=ready,
        )
        self._fork("raylet", partial(_run_raylet, raylet_boot), (ready, theirs))
        os.close(ready)
        os.close(theirs)

    @property
    def waiting(self) -> tuple[int, ...]:
        """The pipes of those that do not serve yet; empty when all do."""
        return tuple(self._pipes)

    def poll(self) -> bool:
        """Take the reports that are there; whether all serve now.

        Raises
        ------
        StartError
            If one cannot serve, or takes too long.
        """
        for fd in select.select(self._pipes, [], [], 0)[0] if self._pipes else ():
            role = self._pipes.pop(fd)
            data = os.read(fd, 1 << 16)
            os.close(fd)
            self._take(role, data)
        if self._pipes and time.monotonic() > self._deadline:
            role = next(iter(self._pipes.values()))
            raise StartError(
                f"the {role} did not start within {_START_SECONDS:g} s{self._joins()}; its log: {self._tail(role)}"
            )
        return not self._pipes

    def _take(self, role: str, data: bytes) -> None:
        if not data:
            raise StartError(f"the {role} ended while it started; its log: {self._tail(role)}")
        ready = msgspec.msgpack.decode(data, type=boot.Ready)
        if ready.address is None:
            raise StartError(f"the {role} could not start: {ready.error}")
        self.addresses[role] = ready.address
        self.arena_path = self.arena_path or ready.arena_path

    @contextlib.contextmanager
    def polled_while_importing(self, on_all: Callable[[], None]) -> Iterator[None]:
        """Within, each import also looks at the pipes; ``on_all`` is called once when all serve."""
        watcher = _ImportWatcher(self, on_all)
        sys.meta_path.insert(0, watcher)
        try:
            yield
        finally:
            sys.meta_path.remove(watcher)

    def connection(self) -> boot.ConnectionInfo:
        """How to reach the node, once all serve."""
        return boot.ConnectionInfo(
            cluster_id=self._record.cluster_id,
            node_id=self._record.node_id,
            gcs=self._options.gcs or self.addresses["gcs"],
            raylet=self.addresses["raylet"],
            session_dir=self._session_dir,
            public_key=self._options.public_key,
            secret_key=self._options.secret_key,
            pid=self._record.pid,
            pid_started=self._record.pid_started,
            is_head=self._record.is_head,
            protocol=PROTOCOL_VERSION,
            dashboard_url=self._options.dashboard_url,
            dashboard_token=self._options.dashboard_token,
        )

    def _joins(self) -> str:
        """What a node needs that joins a cluster."""
        if self._options.gcs is None:
            return ""
        return f" (it joins the cluster at {self._options.gcs.tcp}: is that up, and can it be reached from here?)"

    def _tail(self, role: str) -> str:
        """The last lines of a server's log, which goes with the session folder."""
        with contextlib.suppress(OSError), open(f"{self._session_dir}/logs/{role}.log", errors="replace") as file:
            return "\n".join(file.read().splitlines()[-15:])
        return "(none)"


class _ImportWatcher:
    """Finds no module, and is asked for each: a moment in which the host is awake."""

    def __init__(self, servers: Servers, on_all: Callable[[], None]) -> None:
        self._servers = servers
        self._on_all = on_all

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if self._servers.waiting and self._servers.poll():
            self._on_all()
        return None


def _run_gcs(gcs_boot: boot.GcsBoot) -> None:
    from ..gcs.server import run_gcs

    run_gcs(gcs_boot)


def _run_raylet(raylet_boot: boot.RayletBoot) -> None:
    from ..raylet.server import run_raylet

    run_raylet(raylet_boot)
