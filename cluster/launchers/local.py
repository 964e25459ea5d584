"""Start and stop nodes on this machine, and find the clusters that run on it.

Strategy: a node is one process for whoever starts it, the node host, in a session of its own so that an interrupt at
the terminal does not reach it. It is told its options over stdin and answers on stdout; what it says at its end is kept
for the error a user sees. `launch` returns at once, so that the caller can prepare itself meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from ..protocol.common import PROTOCOL_VERSION
from ..transport.keys import new_keys
from . import session
from .boot import ConnectionInfo, NodeOptions

__all__ = [
    "ClusterNotFoundError",
    "ClusterProcess",
    "NodeStartError",
    "find_connection",
    "is_reached",
    "launch",
    "machine_address",
    "start_head",
    "start_node",
    "stop_all",
]

_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 5.0
"""The host itself kills its children after one second; this is for a machine that is very busy."""

# `himalia/__init__` is the public API, which the host's servers neither need nor should hold in memory: it is a package
# without content until the host imports what workers need.
_ENTRY: Final = (
    "import sys; from importlib.util import find_spec, module_from_spec; "
    "sys.modules['himalia'] = module_from_spec(find_spec('himalia')); "
    "from himalia.cluster.launchers.node_host import main; main()"
)


class NodeStartError(RuntimeError):
    """A node could not be started; the text says why."""


class ClusterNotFoundError(ConnectionError):
    """No cluster runs where it was looked for."""


class _Line(msgspec.Struct):
    """What the host writes: `Started` or `Ended`."""

    connection: ConnectionInfo | None = None
    error: str = ""
    ended: str | None = None


class ClusterProcess:
    """A node host that this process started.

    Attributes
    ----------
    pid
        Of the host: while it lives, so does the node.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._connection: ConnectionInfo | None = None
        self._buffer = b""
        self.pid = process.pid

    @property
    def connection(self) -> ConnectionInfo:
        """How to reach the node; waits until it is ready."""
        return self.wait_ready()

    def wait_ready(self, timeout: float = _START_SECONDS) -> ConnectionInfo:
        """Wait until the node can be used.

        Raises
        ------
        NodeStartError
            If it could not be made; says why.
        """
        if self._connection is not None:
            return self._connection
        line = self._read_line(timeout)
        if line is None or line.connection is None:
            with contextlib.suppress(subprocess.TimeoutExpired):  # having said so, it cleans up and leaves
                self._process.wait(_STOP_SECONDS if line is not None else 0)
            self._kill()
            what = line.error if line is not None else f"its host (pid {self.pid}) said nothing within {timeout:g} s"
            raise NodeStartError(f"The node could not be started: {what}")
        self._connection = line.connection
        return line.connection

    def is_running(self) -> bool:
        """Whether the node host lives."""
        return self._process.poll() is None

    def end_reason(self) -> str:
        """Why the node ended, empty if it was asked to, or runs."""
        if self.is_running() or self._process.stdout is None:
            return ""
        while (line := self._read_line(0.1)) is not None:
            if line.ended is not None or line.error:
                return line.ended or line.error
        code = self._process.returncode
        return f"its host was killed by {signal.Signals(-code).name}" if code < 0 else ""

    def detach(self) -> None:
        """Let the node live on when this process ends, and forget it."""
        if self._process.stdout is not None:
            self._process.stdout.close()
            self._process.stdout = None
        self._process.returncode = 0  # not ours to wait for any more: no warning when this object goes

    def stop(self, timeout: float = _STOP_SECONDS) -> None:
        """End the node with all its processes, and return when they are gone. Harmless if it ended before."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self._kill()
        if self._process.stdout is not None:
            self._process.stdout.close()
            self._process.stdout = None
        if self._connection is not None and os.path.isdir(self._connection.session_dir):
            session.remove_session(self._connection.session_dir)

    def _kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
            self._process.stdout = None

    def _read_line(self, timeout: float) -> _Line | None:
        """One line of the host's output; None if it did not come in time or at all."""
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        deadline = time.monotonic() + timeout
        while b"\n" not in self._buffer:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([fd], [], [], left)[0]:
                return None
            data = os.read(fd, 1 << 16)
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return msgspec.json.decode(line, type=_Line)


def launch(options: NodeOptions) -> ClusterProcess:
    """Start a node host and return at once; `ClusterProcess.wait_ready` tells when the node can be used."""
    process = subprocess.Popen(
        # -P: a file in the current folder must not pass for a module of ours; workers get the driver's path anyway.
        [sys.executable, "-P", "-c", _ENTRY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin:  # it ended at once: the read says so
        process.stdin.write(msgspec.json.encode(options))
    process.stdin = None
    return ClusterProcess(process)


def machine_address(towards: str = "192.0.2.1") -> str:
    """This machine's address on the route to another, by default to any; 127.0.0.1 if there is no such route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((towards, 9))  # nothing is sent; the default is an address for documentation
        except OSError:
            return "127.0.0.1"
        host: str = probe.getsockname()[0]
        return host


def _one_address(options: NodeOptions) -> NodeOptions:
    """Name one address to listen on: others are told it, so "all" would mean nothing to them."""
    if options.tcp_host not in ("0.0.0.0", "*"):
        return options
    return msgspec.structs.replace(options, tcp_host=machine_address())


def _with_certificate(options: NodeOptions) -> NodeOptions:
    """The dashboard's certificate from the environment, where none was given."""
    if options.dashboard_certificate or options.include_dashboard is False:
        return options
    return msgspec.structs.replace(
        options,
        dashboard_certificate=os.environ.get("HIMALIA_DASHBOARD_CERTIFICATE", ""),
        dashboard_key=options.dashboard_key or os.environ.get("HIMALIA_DASHBOARD_KEY", ""),
    )


def head_options(options: NodeOptions) -> NodeOptions:
    """The options of a head node, with keys where it listens on TCP."""
    if options.gcs is not None:
        raise ValueError("a head node has its own GCS: use start_node to join a cluster")
    options = _with_certificate(_one_address(options))
    if not options.tcp_host or options.secret_key:
        return options
    keys = new_keys()
    return msgspec.structs.replace(options, public_key=keys.public, secret_key=keys.secret)


def start_head(options: NodeOptions) -> ClusterProcess:
    """Start the first node of a new cluster and wait until it can be used."""
    process = launch(head_options(options))
    process.wait_ready()
    return process


def start_node(connection: ConnectionInfo, options: NodeOptions) -> ClusterProcess:
    """Start a further node, on this machine, of a cluster that listens on TCP.

    Raises
    ------
    NodeStartError
        If the cluster has no TCP port, or the node could not be made or was refused.
    """
    if not connection.gcs.tcp or not connection.secret_key:
        raise NodeStartError(
            "The cluster can be reached from its own node only: start it with `himalia start --head`, "
            "which listens on TCP, to add nodes"
        )
    head = urlsplit(connection.gcs.tcp).hostname or ""
    # Of several networks the one that leads to the head: there are the others, too.
    here = _one_address(options).tcp_host or machine_address(towards=head)
    shows = is_reached(connection.dashboard_url, head, here)
    process = launch(
        msgspec.structs.replace(
            options,
            cluster_id=connection.cluster_id,
            # The Unix socket is used by who finds it in place, so it is of no harm on another machine.
            gcs=connection.gcs,
            public_key=connection.public_key,
            secret_key=connection.secret_key,
            dashboard_url=connection.dashboard_url if shows else "",
            dashboard_token=connection.dashboard_token if shows else "",
            tcp_host=here,
        )
    )
    process.wait_ready()
    return process


def is_reached(dashboard_url: str, head: str, here: str) -> bool:
    """Whether a node reaches its cluster's dashboard: on another machine not, if that listens on the head's loopback.

    Parameters
    ----------
    dashboard_url
        As the head has it; empty if there is none.
    head, here
        Addresses of the head and of the node.
    """
    place = urlsplit(dashboard_url).hostname or ""
    return bool(place) and (head == here or not (place == "localhost" or place.startswith("127.") or place == "::1"))


def find_connection(address: str = "auto") -> ConnectionInfo:
    """Find a running cluster.

    Parameters
    ----------
    address
        ``"auto"``: the newest that runs on this machine (``HIMALIA_ADDRESS`` if that is set). A connection file or
        session folder. ``"host:port"`` or ``"tcp://host:port"`` of a cluster that has a node of this user on this
        machine.

    Raises
    ------
    ClusterNotFoundError
        If there is none; says where was looked.
    """
    if address in ("", "auto"):
        address = os.environ.get("HIMALIA_ADDRESS", "auto") or "auto"
    running = session.running_sessions()
    if address == "auto":
        if not running:
            raise ClusterNotFoundError(
                f"No cluster of yours runs on this machine (looked in {session.session_root()}): "
                "start one with `himalia start --head`, or call init() without an address"
            )
        found = running[0]
    elif Path(address).exists():
        found = session.read_connection_file(address)
        if os.path.isdir(found.session_dir) and not session.is_alive(found.pid, found.pid_started):
            raise ClusterNotFoundError(f"The cluster of {address} has ended")
    else:
        tcp = address if address.startswith("tcp://") else f"tcp://{address}"
        matching = [info for info in running if info.gcs.tcp == tcp or info.cluster_id == address]
        if not matching:
            there = ", ".join(sorted({info.gcs.tcp or info.session_dir for info in running})) or "none"
            raise ClusterNotFoundError(
                f"No cluster {address!r} is known on this machine; running here: {there}. One of another machine is "
                "joined by a copy of its head's cluster.json: himalia start --address FILE"
            )
        found = matching[0]
    if found.protocol != PROTOCOL_VERSION:
        raise ClusterNotFoundError(
            f"The cluster in {found.session_dir} speaks version {found.protocol} of the protocol, this process "
            f"{PROTOCOL_VERSION}: use the same release of Himalia for both"
        )
    return found


def stop_all(address: str | None = None, timeout: float = _STOP_SECONDS) -> int:
    """Stop the nodes of this user on this machine (of the cluster at ``address`` only, if given).

    Returns how many were stopped.
    """
    if address is None:
        nodes = session.running_sessions()
    else:
        cluster = find_connection(address).cluster_id
        nodes = [info for info in session.running_sessions() if info.cluster_id == cluster]
    # The head last: its end tells the others to end, which would be reported as a loss.
    for info in sorted(nodes, key=lambda info: info.is_head):
        if session.is_alive(info.pid, info.pid_started):
            with contextlib.suppress(ProcessLookupError):
                os.kill(info.pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    for info in nodes:
        while session.is_alive(info.pid, info.pid_started):
            if time.monotonic() > deadline:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(info.pid, signal.SIGKILL)
            time.sleep(0.01)
        if os.path.isdir(info.session_dir):
            session.remove_session(info.session_dir)
    session.sweep_stale_sessions()
    return len(nodes)
