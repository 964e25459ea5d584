"""A process's connections: one ROUTER socket that serves, one that asks.

Strategy: every process has a `server` socket (bound; requests come in and are answered on it) and a `client` socket
(connected to many peers, each named by its process id). Two sockets rather than one, because a ROUTER that is both
bound and connected drops one of two connections when two peers dial each other at once. Order holds per direction of
one connection, and only there: nothing may rely on the order of a request against an answer on the other socket.

A Bus belongs to one thread at a time; whoever drives it holds its lock elsewhere. It is not usable after a fork.
Queues are unbounded (HWM 0): backpressure is a matter of the machines above, which know what may wait.

Same-node peers are reached by `ipc://` in a folder of mode 0700, others by `tcp://` with CURVE and the ZAP rule.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import zmq

from ..protocol.common import Address
from .keys import CurveKeys, zap_reply

__all__ = ["Bus", "Frames"]

Frames = list[bytes]

_HEARTBEAT_MS = 2_000  # TCP peers that went silent are found by ZeroMQ's own heartbeats; ipc peers are watched by pid
_HANDSHAKE_MS = 5_000
# Who connects while so many others wait is refused and tries again after 0.1 s: as many as the kernel lets wait.
_BACKLOG = 4_096


class Bus:
    """Sockets of one process. ``identity`` is its worker, raylet or GCS id (8 bytes, first one not zero)."""

    def __init__(self, identity: bytes, keys: CurveKeys, *, io_threads: int = 1) -> None:
        self.identity = identity
        self.keys = keys
        self.context = zmq.Context(io_threads)
        self.server = self._router()
        self.client = self._router()
        self.client.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.client.setsockopt(zmq.ROUTING_ID, identity)
        self.zap: zmq.Socket[bytes] | None = None
        self._peers: dict[bytes, str] = {}
        # libzmq aborts the process when a routing id is given to a new connection while the one it had before is still
        # being closed, which goes on in its own time. So who is connected again gets another routing id each time.
        self._ended: dict[bytes, int] = {}  # by peer: how many connections were closed
        self._routes: dict[bytes, bytes] = {}  # by peer: its routing id, where that is not the peer's own
        self.aliases: dict[bytes, bytes] = {}
        """Routing ids that are not their peer's own, as first frames of what comes: the peer."""
        self._ipc_path = ""
        self._pid = os.getpid()

    def _router(self) -> zmq.Socket[bytes]:
        sock: zmq.Socket[bytes] = self.context.socket(zmq.ROUTER)
        sock.setsockopt(zmq.LINGER, 0)
        sock.setsockopt(zmq.BACKLOG, _BACKLOG)
        sock.setsockopt(zmq.SNDHWM, 0)
        sock.setsockopt(zmq.RCVHWM, 0)
        sock.setsockopt(zmq.ROUTER_HANDOVER, 1)
        return sock

    # -- addresses --------------------------------------------------------------------------------------------------

    def bind_ipc(self, path: str) -> str:
        """Serve at a Unix socket; returns its ``ipc://`` endpoint. The folder must be of mode 0700."""
        endpoint = f"ipc://{path}"
        if self.zap is not None:
            # A listener keeps the options it was bound with, and those of TCP cannot all be taken back.
            raise RuntimeError(
                "bind the Unix socket before the TCP port: it would ask for a key, which nobody sends there"
            )
        self.server.bind(endpoint)
        self._ipc_path = path
        return endpoint

    def bind_tcp(self, host: str, port: int = 0) -> str:
        """Serve at a TCP port (0: any free one) with CURVE; returns its ``tcp://`` endpoint."""
        if not self.keys.secret:
            raise ValueError("a TCP port needs the cluster's CURVE keys: none is ever opened without")
        from zmq.utils import z85

        self.zap = self.context.socket(zmq.REP)
        self.zap.setsockopt(zmq.LINGER, 0)
        self.zap.bind("inproc://zeromq.zap.01")
        self._zap_key = z85.decode(self.keys.public.encode())
        self.server.setsockopt(zmq.CURVE_SERVER, 1)
        self.server.setsockopt(zmq.CURVE_SECRETKEY, self.keys.secret.encode())
        self.server.setsockopt(zmq.CURVE_PUBLICKEY, self.keys.public.encode())
        self.server.setsockopt(zmq.ZAP_DOMAIN, b"himalia")
        self._tcp_options(self.server)
        self.server.bind(f"tcp://{host}:{port}" if port else f"tcp://{host}:*")
        return self.server.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")

    @staticmethod
    def _tcp_options(sock: zmq.Socket[bytes]) -> None:
        sock.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
        sock.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3 * _HEARTBEAT_MS)
        sock.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)

    def connect(self, peer: Address, *, must_exist: bool = True) -> None:
        """Open the way to a peer, once; messages may be sent at once and wait for the connection.

        Where its Unix socket is not and it has no TCP address, either this raises `ConnectionError`, or, without
        ``must_exist``, the way is opened all the same and ZeroMQ tries again and again.
        """
        if peer.worker_id in self._peers:
            return
        endpoint = peer.ipc if peer.ipc and os.path.exists(peer.ipc[len("ipc://") :]) else peer.tcp
        if not endpoint and not must_exist:
            endpoint = peer.ipc
        if not endpoint:
            raise ConnectionError(
                f"no way to {peer.worker_id.hex()}: it has no TCP address and {peer.ipc!r} is not here"
            )
        if endpoint.startswith("tcp:"):
            self.client.setsockopt(zmq.CURVE_SERVERKEY, self.keys.public.encode())
            self.client.setsockopt(zmq.CURVE_PUBLICKEY, self.keys.public.encode())
            self.client.setsockopt(zmq.CURVE_SECRETKEY, self.keys.secret.encode())
            self._tcp_options(self.client)
        else:
            self.client.setsockopt(zmq.CURVE_SERVER, 0)  # back to the NULL mechanism for a Unix socket
        route = peer.worker_id
        ended = self._ended.get(route)
        if ended is not None:
            route += ended.to_bytes(4, "little")
            self._routes[peer.worker_id] = route
            self.aliases[route] = peer.worker_id
        self.client.setsockopt(zmq.CONNECT_ROUTING_ID, route)
        self.client.connect(endpoint)
        self._peers[peer.worker_id] = endpoint

    def connected(self, peer_id: bytes) -> bool:
        """Whether `connect` was called for this peer."""
        return peer_id in self._peers

    def disconnect(self, peer_id: bytes) -> None:
        """Close the way to a peer that is gone; what was not sent is dropped."""
        endpoint = self._peers.pop(peer_id, None)
        if endpoint is not None:
            self._ended[peer_id] = self._ended.get(peer_id, 0) + 1
            route = self._routes.pop(peer_id, None)
            if route is not None:
                del self.aliases[route]
            try:
                self.client.disconnect(endpoint)
            except zmq.ZMQError as error:
                if error.errno != zmq.ENOTCONN and error.errno != zmq.EINVAL:
                    raise

    # -- messages ---------------------------------------------------------------------------------------------------

    def send(self, peer_id: bytes, frames: Sequence[bytes | memoryview]) -> bool:
        """Send to the server socket of a connected peer; False if the way is gone."""
        try:
            self.client.send_multipart([self._routes.get(peer_id, peer_id), *frames], zmq.NOBLOCK, copy=True)
        except zmq.ZMQError as error:
            if error.errno in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                return False
            raise
        return True

    def reply(self, peer_id: bytes, frames: Sequence[bytes | memoryview]) -> None:
        """Answer on the server socket; dropped by ZeroMQ if the peer is gone, whose death is told otherwise."""
        self.server.send_multipart([peer_id, *frames], zmq.NOBLOCK, copy=True)

    def handle_zap(self) -> None:
        """Decide all waiting requests for admission."""
        assert self.zap is not None
        while True:
            try:
                frames = self.zap.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self.zap.send_multipart(zap_reply(frames, self._zap_key))

    def close_gently(self, milliseconds: int = 500) -> None:
        """Close, but give what was sent this long to leave."""
        for sock in (self.server, self.client):
            sock.setsockopt(zmq.LINGER, milliseconds)
            sock.close(milliseconds)
        if self.zap is not None:
            self.zap.close(0)
        self.context.term()

    def close(self) -> None:
        """Close all sockets and remove the Unix socket; in a forked child only forget them."""
        if os.getpid() != self._pid:
            return
        for sock in (self.server, self.client, self.zap):
            if sock is not None:
                sock.close(0)
        self.context.destroy(0)
        if self._ipc_path:
            try:
                os.unlink(self._ipc_path)
            except FileNotFoundError:
                return
