"""What a process is told when it begins: plain data, from its parent, over a pipe or across a fork.

Strategy: whoever starts a process decides every address, path and key beforehand, so that no process has to ask another
for them and all can start at the same time. The one thing that cannot be known beforehand is a TCP port that the system
chooses: a server reports it with `Ready` on the pipe it was given.
"""

from __future__ import annotations

import os

import msgspec

from ..protocol.common import Address

__all__ = [
    "ConnectionInfo",
    "DashboardBoot",
    "GcsBoot",
    "NodeOptions",
    "RayletBoot",
    "Ready",
    "WorkerBoot",
    "dashboard_link",
    "gcs_ipc",
    "raylet_ipc",
    "report_ready",
    "worker_ipc",
]


class ConnectionInfo(msgspec.Struct, kw_only=True):
    """How to reach a running cluster; what the connection file holds (mode 0600, since it holds the key).

    ``raylet`` and ``session_dir`` are those of the node on this machine that a local driver joins. One key pair serves
    a cluster: who has it belongs to it. Keys are empty for a cluster without TCP, which its folder's mode protects.
    """

    cluster_id: str
    node_id: bytes
    gcs: Address
    raylet: Address
    session_dir: str
    public_key: str = ""
    secret_key: str = ""
    pid: int = 0  # of the node host, and its start time in clock ticks, which tells it from a later process of that id
    pid_started: int = 0
    is_head: bool = True
    protocol: int = 0
    dashboard_url: str = ""  # without a path; empty where there is none
    dashboard_token: str = ""


class NodeOptions(msgspec.Struct, kw_only=True):
    """What a node shall be. None means: find out from the machine.

    ``include_dashboard``: true has it run from the beginning and fails if it cannot, false goes without, None starts it
    when somebody looks. ``dashboard_url`` and ``dashboard_token`` are for a node that joins: those of its cluster.

    ``memory`` and ``object_store_memory`` are bytes. ``tcp_host`` is the address to listen on, empty for a node that
    only this machine's processes of this user can reach. ``gcs`` is set for a node that joins a cluster, None for a
    head. ``owner_pid`` is the driver whose end ends this node; 0 for a node that lives until it is stopped.
    """

    num_cpus: float | None = None
    num_gpus: float | None = None
    memory: int | None = None
    resources: dict[str, float] = {}
    labels: dict[str, str] = {}
    object_store_memory: int | None = None
    tcp_host: str = ""
    tcp_port: int = 0  # of the GCS on a head node; 0: the system chooses
    log_level: str = "INFO"
    prestart_workers: int | None = None  # None: as many as CPUs
    idle_worker_seconds: float = 10.0
    max_workers: int | None = None  # a limit to processes, not to resources; None: by the machine's memory
    memory_usage_threshold: float = 0.95  # of the memory limit; the monitor ends a worker above it
    spill_dir: str = ""  # a folder or an fsspec URL; empty: a folder of the session, on disk
    gcs_storage: str = ""  # URL; empty: SQLite in the session folder
    owner_pid: int = 0
    worker_module: str = "himalia.cluster.worker.main"  # has `run_worker(boot: WorkerBoot)`
    include_dashboard: bool | None = None
    dashboard_host: str = "127.0.0.1"
    dashboard_port: int | None = None  # None: 8265, or the first after it that is free; 0: the system chooses
    dashboard_certificate: str = ""  # a PEM file: the dashboard speaks TLS then
    dashboard_key: str = ""  # empty: in the file of the certificate
    dashboard_idle_seconds: float = 600.0  # without a look, after which one that nobody asked for ends; 0: never
    dashboard_module: str = "himalia.dashboard.server.main"  # has `run_dashboard(boot: DashboardBoot)`
    dashboard_url: str = ""
    dashboard_token: str = ""
    cluster_id: str = ""
    public_key: str = ""
    secret_key: str = ""
    gcs: Address | None = None


class GcsBoot(msgspec.Struct, kw_only=True):
    """For `gcs.server.run_gcs`. It binds ``ipc``, and TCP with CURVE if ``tcp_host`` is given, then reports `Ready`."""

    cluster_id: str
    process_id: bytes
    node_id: bytes
    ipc: str
    session_dir: str
    storage: str = ""
    tcp_host: str = ""
    tcp_port: int = 0
    public_key: str = ""
    secret_key: str = ""
    log_level: str = "INFO"
    ready_fd: int = -1


class RayletBoot(msgspec.Struct, kw_only=True):
    """For `raylet.server.run_raylet`. ``host_fd`` is its end of the socket pair to the node host (see `wire`).

    A node has one raylet, whose process id is the node's id: who knows one knows the other.
    """

    cluster_id: str
    node_id: bytes
    ipc: str
    gcs: Address
    session_dir: str
    arena_bytes: int
    spill_dir: str
    options: NodeOptions
    is_head: bool = True
    tcp_host: str = ""
    public_key: str = ""
    secret_key: str = ""
    host_pid: int = 0
    host_fd: int = -1
    ready_fd: int = -1


class DashboardBoot(msgspec.Struct, kw_only=True):
    """For `dashboard.server.main.run_dashboard`, which serves on the listening socket ``fd`` until it is ended.

    ``url`` is where the socket is bound, without a path. When nobody has looked for ``idle_seconds`` (0: it does not
    matter) it ends by itself: the next connection has it started again.
    """

    fd: int
    url: str
    token: str
    connection: ConnectionInfo
    certificate: str = ""
    key: str = ""
    idle_seconds: float = 0.0
    log_level: str = "INFO"


class WorkerBoot(msgspec.Struct, kw_only=True):
    """For `worker.main.run_worker`, which binds ``ipc`` and says `CoreHello` with ``token`` to the raylet.

    ``env`` and ``cwd`` are in force already when it is called, as are its log files as stdout and stderr. ``job_id`` is
    empty for a worker that no job has yet: it takes the job of the first lease or actor it is given. ``runtime_env`` is
    the JSON of the environment it was made for; its variables and working directory are in force as well.
    """

    worker_id: bytes
    node_id: bytes
    token: bytes
    ipc: str
    raylet: Address
    gcs: Address
    session_dir: str
    arena_path: str
    arena_bytes: int
    stdout_path: str
    stderr_path: str
    public_key: str = ""
    secret_key: str = ""
    tcp_host: str = ""
    env: dict[str, str] = {}
    cwd: str = ""
    job_id: bytes = b""
    runtime_env: str = ""
    log_level: str = "INFO"


class Ready(msgspec.Struct, kw_only=True):
    """A server to its node host: it serves at ``address``; or it cannot (``error``, one sentence for the user)."""

    address: Address | None = None
    error: str = ""
    arena_path: str = ""  # of a raylet


def dashboard_link(url: str, token: str, page: str = "") -> str:
    """The URL of a page of a dashboard, for a person: it logs in."""
    return f"{url}/{f'page/{page}' if page else ''}?token={token}"


def report_ready(fd: int, ready: Ready) -> None:
    """Tell the node host, once, and close the pipe."""
    if fd < 0:
        return
    try:
        os.write(fd, msgspec.msgpack.encode(ready))
    finally:
        os.close(fd)


def gcs_ipc(session_dir: str) -> str:
    """Endpoint of the GCS of a head node."""
    return f"ipc://{session_dir}/gcs"


def raylet_ipc(session_dir: str) -> str:
    """Endpoint of a node's raylet."""
    return f"ipc://{session_dir}/raylet"


def worker_ipc(session_dir: str, worker_id: bytes) -> str:
    """Endpoint of a worker or driver of a node."""
    return f"ipc://{session_dir}/{worker_id.hex()}"
