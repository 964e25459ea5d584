"""`init` and `shutdown`: from nothing to a core, and back to nothing.

Strategy: the node host is launched first; while it starts, this process prepares itself. A driver that starts a cluster
owns it: the cluster ends with the driver, however that ends. A driver that attaches leaves it running.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from ..launchers.boot import ConnectionInfo, NodeOptions, worker_ipc
from ..launchers.local import ClusterProcess, find_connection, head_options, launch
from ..protocol.common import Address
from ..protocol.gcs_messages import JobInfo, ReportJobEnd
from ..protocol.ids import process_id_from
from ..serialization import context
from . import current, failures
from .api_core import set_auto_init
from .engine import EngineFactory
from .options import encode_runtime_env
from .refs import set_drop_hook
from .runtime import Core, CoreOptions
from .script_output import ScriptOutput

if TYPE_CHECKING:
    from .progress.watching import Front, Watcher

__all__ = ["ClientContext", "cell_texts", "init", "is_initialized", "on_connect", "shutdown", "watcher_of"]

_log = logging.getLogger("himalia")


class Session:
    """What `init` made and `shutdown` ends."""

    def __init__(self, core: Core, connection: ConnectionInfo, cluster: ClusterProcess | None) -> None:
        self.core = core
        self.connection = connection
        self.cluster = cluster
        self.pidfds: list[int] = []


_session: Session | None = None
_lock = threading.RLock()
_forked_from = 0  # pid of the connected process that this one is a fork of

on_connect: list[Callable[[Core], None]] = []
"""Called with every new core of this process, before `init` returns: a front end routes output and names cells here."""

cell_texts: list[Callable[[int], str]] = []
"""Here a front end adds what tells the text of a cell by its number."""


class ClientContext:
    """What `init` returns: where the cluster is. Usable in a ``with`` statement, which shuts down at its end."""

    def __init__(self, info: dict[str, Any]) -> None:
        self.address_info = info
        self.dashboard_url: str | None = info.get("webui_url")

    def __getitem__(self, key: str) -> Any:
        return self.address_info[key]

    def keys(self) -> Any:
        """Names of the address information."""
        return self.address_info.keys()

    def disconnect(self) -> None:
        """Same as `shutdown`."""
        shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        shutdown()

    def __repr__(self) -> str:
        told = {"address": self.address_info["address"], "session": self.address_info["session_dir"]}
        if self.dashboard_url:
            told["dashboard"] = self.dashboard_url
        return f"ClientContext({', '.join(f'{name}={value!r}' for name, value in told.items())})"


def is_initialized() -> bool:
    """Whether this process is connected to a cluster."""
    return current.find_engine() is not None


def init_foreign(factory: EngineFactory, address: str, config: dict[str, Any]) -> ClientContext:
    """Connect by an engine that is not ours."""
    with _lock:
        current.set_engine(factory(address, config))
        atexit.register(shutdown)
    return ClientContext({"address": address, "session_dir": ""})


def init(options: NodeOptions | None, address: str | None, config: dict[str, Any]) -> ClientContext:
    """Start a local cluster (``address`` None or "local") or attach to a running one. See `himalia.init`."""
    global _session
    with _lock:
        if current.find_engine() is not None:
            raise RuntimeError("init was called twice; pass ignore_reinit_error=True to keep the first session")
        if address is None:
            address = os.environ.get("HIMALIA_ADDRESS") or "local"
        cluster: ClusterProcess | None = None
        if address == "local":
            cluster = launch(head_options(options or NodeOptions(owner_pid=os.getpid())))
            connection = cluster.wait_ready()
        else:
            connection = find_connection(address)
        worker_id = process_id_from(os.urandom(8))
        try:
            core = _make_core(connection, worker_id, config, cluster is not None)
        except BaseException:
            if cluster is not None:
                cluster.stop()
            raise
        session = Session(core, connection, cluster)
        current.set_core(core)
        try:
            _watch(session)
            core.connect()
            core.job_runtime_env = core.ship_working_dir(core.job_runtime_env)
        except BaseException:
            current.set_core(None)
            core.close()
            _unwatch(session)
            if cluster is not None:
                cluster.stop()
            raise
        core.start()
        core.watch = watcher_of(core)
        _session = session
        atexit.register(shutdown)
        if cluster is not None and connection.dashboard_url and "//127." not in connection.dashboard_url:
            _warn_of_dashboard(connection)
        for prepare in on_connect:
            prepare(core)
    return ClientContext(context_info(session))


def _warn_of_dashboard(connection: ConnectionInfo) -> None:
    from ..launchers.doorway import warnings_of

    for warning in warnings_of(connection):
        _log.warning("%s", warning)


def context_info(session: Session) -> dict[str, Any]:
    """What the context of a session tells."""
    connection = session.connection
    gcs = connection.gcs
    return {
        "address": (gcs.tcp.removeprefix("tcp://") or connection.session_dir),
        "gcs_address": gcs.tcp.removeprefix("tcp://") or gcs.ipc,
        "session_dir": connection.session_dir,
        "node_id": session.core.node_id.hex(),
        "node_ip_address": "127.0.0.1",
        "raylet_ip_address": "127.0.0.1",
        "object_store_address": session.core.welcome.arena_path if session.core.welcome else "",
        "raylet_socket_name": connection.raylet.ipc,
        "webui_url": connection.dashboard_url.partition("://")[2] or None,  # as Ray has it, without the scheme
    }


def _make_core(connection: ConnectionInfo, worker_id: bytes, config: dict[str, Any], owns: bool) -> Core:
    ipc = worker_ipc(connection.session_dir, worker_id)
    namespace = config.get("namespace") or f"anonymous-{worker_id.hex()}"
    job = JobInfo(
        b"",
        Address(worker_id, connection.node_id, ipc),
        os.getpid(),
        namespace,
        " ".join(sys.argv[:3])[:200] or "python",
        time.time(),
        None,
        job_config(config),
    )
    tcp_host = ""
    if connection.gcs.tcp:
        tcp_host = connection.raylet.tcp.removeprefix("tcp://").rpartition(":")[0] or "127.0.0.1"
    core = Core(
        CoreOptions(
            kind="driver",
            worker_id=worker_id,
            node_id=connection.node_id,
            ipc=ipc,
            raylet=connection.raylet,
            gcs=connection.gcs,
            session_dir=connection.session_dir,
            public_key=connection.public_key,
            secret_key=connection.secret_key,
            tcp_host=tcp_host,
            job=job,
            owns_cluster=owns,
            namespace=namespace,
        )
    )
    core.job_runtime_env = encode_runtime_env(config.get("runtime_env"))
    if config.get("log_to_driver", True):
        core.log_sink = ScriptOutput()
    return core


def job_config(config: dict[str, Any]) -> dict[str, object]:
    """What workers need to work as this driver would: import path, folder, environment."""
    return {
        "sys_path": [path or os.getcwd() for path in sys.path],
        "cwd": os.getcwd(),
        "env": dict(os.environ),
        "runtime_env": encode_runtime_env(config.get("runtime_env")),
    }


def watcher_of(core: Core, front: Front | None = None) -> Watcher:
    """What shows how far it is what takes long: on this front end, else in the terminal if there is one."""
    from .progress.terminal import terminal_front
    from .progress.watching import Watcher

    return Watcher(core, front or terminal_front())


def _watch(session: Session) -> None:
    """Learn at once when the node host, and with it the node, ends."""
    core, connection = session.core, session.connection
    if not connection.pid:
        return
    try:
        fd = os.pidfd_open(connection.pid)
    except (ProcessLookupError, OSError):
        return
    session.pidfds.append(fd)

    def ended() -> None:
        core.reactor.unwatch_fd(fd)
        why = session.cluster.end_reason() if session.cluster is not None else ""
        core.die(failures.session_over(f"the cluster ended{f': {why}' if why else ''}"))

    core.reactor.watch_fd(fd, ended)


def _unwatch(session: Session) -> None:
    for fd in session.pidfds:
        os.close(fd)
    session.pidfds.clear()


def shutdown() -> None:
    """Leave the cluster; end it if this process started it. Harmless when not connected."""
    global _session
    with _lock:
        session, _session = _session, None
        if session is None:
            engine = current.find_engine()
            if engine is not None and current.find_core() is None:
                current.set_engine(None)
                atexit.unregister(shutdown)
                engine.disconnect()
            return
        atexit.unregister(shutdown)
        core = session.core
        if core.pid != os.getpid():
            current.set_core(None)  # a forked child: nothing of this is ours
            return
        if session.cluster is None and core.fatal is None:
            try:
                core.gcs_call(ReportJobEnd(core.job_id), timeout=5.0)
            except Exception as error:  # noqa: BLE001 the cluster may be gone: then there is nothing to tell it
                _log.debug("the end of the job could not be reported: %s", error)
        current.set_core(None)
        core.close()
        _unwatch(session)
        if session.cluster is not None:
            session.cluster.stop()


def current_session() -> Session | None:
    """The session of this process."""
    return _session


def _after_fork() -> None:
    """A forked child has no session: sockets and threads are the parent's, also where that is a worker."""
    global _session, _lock, _forked_from
    _lock = threading.RLock()
    if current.find_core() is None:
        return
    _session = None
    _forked_from = os.getppid()
    current.set_core(None)
    set_drop_hook(None)
    context.set_ref_factory(None)
    context.set_out_of_band_hook(None)


os.register_at_fork(after_in_child=_after_fork)


def use_default_cluster() -> None:
    """What the API does when it is used before `init`."""
    if _forked_from:
        # A pool of forked children would start a cluster each, by a mere `get` of a reference that they inherited.
        raise RuntimeError(
            f"this process was forked from one that is connected to a cluster (pid {_forked_from}), whose connection "
            "it can not use: call himalia.init() for a session of its own, start it with spawn rather than fork, or "
            "let tasks do its work"
        )
    init(None, None, {})


set_auto_init(use_default_cluster)
