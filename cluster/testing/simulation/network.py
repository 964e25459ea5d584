"""Connections between the processes of a simulation, as ZeroMQ gives them.

Strategy: a message is bytes. Whoever connected sends requests; who is connected to sends answers on the same
connection. Each direction of a connection keeps its order; nothing else does: two directions, or two connections,
overtake each other by what delay chance gives. Nothing is lost but with a process: what it had not yet sent when it
died, and what was on its way to it. A cut between two groups of nodes holds messages back until it is healed, as TCP
does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from ...protocol.common import Address
from .kernel import Kernel

__all__ = ["Endpoint", "Network", "SimulatedBus"]

Frames = list[bytes]
Channel = tuple[bytes, bytes, bool]


class Endpoint(Protocol):
    """A process as the network sees it."""

    identity: bytes
    node_id: bytes

    def take_request(self, peer: bytes, frames: Frames) -> None:
        """A message on the server socket."""

    def take_answer(self, peer: bytes, frames: Frames) -> None:
        """A message on the client socket."""

    def connection_lost(self, peer: bytes) -> None:
        """A process that this one had connected to is gone."""


class Network:
    """All connections.

    Parameters
    ----------
    delay
        ``delay(is_local)``: seconds that the next message takes.
    """

    def __init__(self, kernel: Kernel, delay: Callable[[bool], float]) -> None:
        self._kernel = kernel
        self._delay = delay
        self.endpoints: dict[bytes, Endpoint] = {}
        self.connections: set[tuple[bytes, bytes]] = set()  # who connected, to whom
        self._last: dict[Channel, float] = {}
        self._silent_from: dict[bytes, float] = {}  # dead processes: what would arrive later was never sent
        self._cuts: list[tuple[frozenset[bytes], float]] = []
        self.sent = 0
        self.watch: Callable[[bytes, bytes, bool, Frames], None] | None = None

    # -- processes ----------------------------------------------------------------------------------------------------

    def join(self, endpoint: Endpoint) -> None:
        self.endpoints[endpoint.identity] = endpoint
        self._silent_from.pop(endpoint.identity, None)

    def leave(self, identity: bytes, last_words: float) -> None:
        """A process ended; what takes longer than ``last_words`` seconds to arrive was never sent."""
        if self.endpoints.pop(identity, None) is None:
            return
        self._silent_from[identity] = self._kernel.now + last_words
        for client, server in sorted(self.connections):
            if server == identity:
                self._kernel.after(self._delay(False), partial(self._tell_lost, client, identity))
            elif client == identity:
                self.connections.discard((client, server))

    def _tell_lost(self, client: bytes, server: bytes) -> None:
        endpoint = self.endpoints.get(client)
        if endpoint is not None and server not in self.endpoints and (client, server) in self.connections:
            endpoint.connection_lost(server)

    # -- connections --------------------------------------------------------------------------------------------------

    def connect(self, client: bytes, server: bytes) -> None:
        self.connections.add((client, server))

    def disconnect(self, client: bytes, server: bytes) -> None:
        self.connections.discard((client, server))

    def request(self, client: bytes, server: bytes, frames: Frames) -> bool:
        """Send from client to server; False if it never connected."""
        if (client, server) not in self.connections:
            return False
        self._send(client, server, False, frames)
        return True

    def answer(self, server: bytes, client: bytes, frames: Frames) -> None:
        """Send from server to client, which connected before; else it is dropped."""
        if (client, server) in self.connections:
            self._send(server, client, True, frames)

    def cut(self, nodes: frozenset[bytes], seconds: float) -> None:
        """Hold back what goes between these nodes and all others."""
        self._cuts.append((nodes, self._kernel.now + seconds))

    def _send(self, source: bytes, target: bytes, is_answer: bool, frames: Frames) -> None:
        self.sent += 1
        if source not in self.endpoints:
            return
        from_node = self.endpoints[source].node_id
        there = self.endpoints.get(target)
        to_node = there.node_id if there is not None else b""
        channel = (source, target, is_answer)
        when = self._kernel.now + self._delay(from_node == to_node)
        if self._cuts:
            self._cuts = [(nodes, until) for nodes, until in self._cuts if until > self._kernel.now]
            for nodes, until in self._cuts:
                if (from_node in nodes) != (to_node in nodes):
                    when = max(when, until)
        when = max(when, self._last.get(channel, 0.0))
        self._last[channel] = when
        self._kernel.at(when, lambda: self._deliver(source, target, is_answer, frames))

    def _deliver(self, source: bytes, target: bytes, is_answer: bool, frames: Frames) -> None:
        endpoint = self.endpoints.get(target)
        if endpoint is None or self._kernel.now > self._silent_from.get(source, float("inf")):
            return
        client, server = (target, source) if is_answer else (source, target)
        if is_answer and (client, server) not in self.connections:
            return  # it has disconnected
        if self.watch is not None:
            self.watch(source, target, is_answer, frames)
        if is_answer:
            endpoint.take_answer(source, frames)
        else:
            endpoint.take_request(source, frames)


class SimulatedBus:
    """What a `Core` has in place of its `Bus`."""

    def __init__(self, network: Network, identity: bytes) -> None:
        self._network = network
        self.identity = identity
        self._peers: set[bytes] = set()

    def bind_ipc(self, path: str) -> str:
        return f"ipc://{path}"

    def bind_tcp(self, host: str) -> str:
        return f"tcp://{host}:1"

    def connect(self, peer: Address) -> None:
        if peer.worker_id not in self._peers:
            self._peers.add(peer.worker_id)
            self._network.connect(self.identity, peer.worker_id)

    def connected(self, peer: bytes) -> bool:
        return peer in self._peers

    def disconnect(self, peer: bytes) -> None:
        if peer in self._peers:
            self._peers.discard(peer)
            self._network.disconnect(self.identity, peer)

    def send(self, peer: bytes, frames: tuple[bytes, ...]) -> bool:
        return self._network.request(self.identity, peer, [bytes(frame) for frame in frames])

    def reply(self, peer: bytes, frames: tuple[bytes, ...]) -> None:
        self._network.answer(self.identity, peer, [bytes(frame) for frame in frames])

    def close(self) -> None:
        """The network takes the process's word for it."""
