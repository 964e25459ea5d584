"""The process of the GCS: sockets, a timer and storage around `GcsMachine`.

Strategy: a message is decoded, handled and answered within one callback of the loop; what it changed is written once
the loop has drained its sockets. One timer stands for all deadlines, and none runs while nothing is due: an idle GCS
wakes up for heartbeats only.

A raylet that ends breaks the connection this process holds to it, which ZeroMQ tells by a monitor: that is how a
killed raylet is noticed within milliseconds and not by its silence. Each attempt to connect again that is refused says
the same: what the raylet said last may be read after its connection broke, since that came by another socket, and one
that ended before it was connected to at all has none to break. The answers of raylets on that connection are not used.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from typing import Any, Final

import msgspec
import zmq
from zmq.utils.monitor import parse_monitor_message

from ..launchers.boot import GcsBoot, Ready, report_ready
from ..protocol.common import Address
from ..protocol.gcs_messages import GcsMessage
from ..protocol.raylet_messages import RayletReply, StopRaylet
from ..protocol.transitions import IllegalTransition
from ..transport.bus import Bus, Frames
from ..transport.keys import CurveKeys
from ..transport.loop import BusLoop
from .commands import (
    Command,
    Connect,
    Disconnect,
    End,
    Event,
    Log,
    PeerBack,
    PeerLost,
    Persist,
    Received,
    Send,
    SendRaylet,
    Tick,
)
from .config import GcsConfig
from .machine import GcsMachine
from .storage import Storage, StorageError, open_storage

__all__ = ["GcsServer", "run_gcs"]

_log = logging.getLogger("himalia.gcs")

_LAST_WORDS: Final = 0.1  # seconds that ZeroMQ gets to send what was said last, before sockets close without lingering
_CONNECTION_EVENTS: Final = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED
"""CLOSED: an attempt to connect failed."""
_FAREWELL: Final = 1.0  # the same for the connection to a node that was declared dead, and may be slow rather than dead


class GcsServer:
    """Serves on the running asyncio loop until `ended` is set."""

    def __init__(self, boot: GcsBoot, bus: Bus, storage: Storage, config: GcsConfig | None = None) -> None:
        self.ended = asyncio.Event()
        self._bus = bus
        self._storage = storage
        self._loop = asyncio.get_running_loop()
        self.machine = GcsMachine(boot.cluster_id, config, wall=time.time() - self._loop.time())
        self._io = BusLoop(
            bus,
            requests=GcsMessage,
            on_request=self._on_request,
            answers={b"": RayletReply},
            on_answer=self._on_answer,
        )
        self._raylets: dict[bytes, Address] = {}  # by node
        self._by_endpoint: dict[str, bytes] = {}  # to the peer id of its raylet
        self._dirty: dict[tuple[str, bytes], Any] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._encode = msgspec.msgpack.Encoder().encode
        self._monitor: zmq.Socket[bytes] = bus.client.get_monitor_socket(_CONNECTION_EVENTS)
        self._loop.add_reader(self._monitor.fileno(), self._drain_monitor)
        self._loop.call_soon(self._drain_monitor)  # the descriptor signals only what comes after a read found nothing
        tables = storage.load()
        if tables:
            self.machine.restore(tables, self._loop.time())
            _log.info("restored %s", ", ".join(f"{len(rows)} {table}" for table, rows in tables.items()))
            self._handle(Tick())

    # -- events -----------------------------------------------------------------------------------------------------

    def _on_request(self, peer: bytes, message: Any) -> None:
        self._handle(Received(peer, message))

    def _on_answer(self, peer: bytes, message: Any, _frames: Frames) -> None:
        _log.debug("raylet %s answered %s, which nobody asked for", peer.hex(), type(message).__name__)

    def _drain_monitor(self) -> None:
        while True:
            try:
                frames = self._monitor.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            found = parse_monitor_message(frames)
            peer = self._by_endpoint.get(found["endpoint"].decode())
            if peer is not None:
                is_there = found["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED
                self._handle(PeerBack(peer) if is_there else PeerLost(peer))

    def _on_timer(self) -> None:
        self._timer = None
        self._handle(Tick())

    def _handle(self, event: Event) -> None:
        try:
            commands = self.machine.handle(event, self._loop.time())
        except IllegalTransition as error:
            _log.error("%s", error)
            commands = self.machine.handle(Tick(), self._loop.time())
        for command in commands:
            self._carry_out(command)
        self._set_timer()

    def _set_timer(self) -> None:
        due = self.machine.next_deadline()
        if self._timer is not None:
            # A deadline that moved back is looked at when the old one is due: heartbeats cost no timers.
            if due is not None and self._timer.when() <= due:
                return
            self._timer.cancel()
            self._timer = None
        if due is not None and not self.ended.is_set():
            self._timer = self._loop.call_at(due, self._on_timer)

    # -- commands ---------------------------------------------------------------------------------------------------

    def _carry_out(self, command: Command) -> None:
        match command:
            case Send():
                data = self._encode(command.message)
                for peer in command.peers:
                    self._bus.reply(peer, [data])
                self._io.look_again()
            case SendRaylet():
                raylet = self._raylets.get(command.node_id)
                if raylet is not None and not self._io.send(raylet.worker_id, command.message):
                    _log.warning("node %s cannot be reached", command.node_id.hex())
            case Connect():
                self._connect(command.node_id, command.raylet)
            case Disconnect():
                self._disconnect(command.node_id)
            case Persist():
                if self._storage.durable:
                    if not self._dirty:
                        self._loop.call_soon(self._write)
                    self._dirty[command.table, command.key] = command.record
            case Log():
                _log.log(getattr(logging, command.level.upper()), "%s", command.text)
            case End():
                _log.info("the cluster ends: %s", command.reason)
                self._loop.call_later(_LAST_WORDS, self.ended.set)

    def _connect(self, node_id: bytes, raylet: Address) -> None:
        self._raylets[node_id] = raylet
        self._by_endpoint[raylet.ipc] = self._by_endpoint[raylet.tcp] = raylet.worker_id
        # Its Unix socket may be gone already, and then says so itself: see `_drain_monitor`.
        self._bus.connect(raylet, must_exist=False)

    def _disconnect(self, node_id: bytes) -> None:
        raylet = self._raylets.pop(node_id, None)
        if raylet is None:
            return
        self._by_endpoint.pop(raylet.ipc, None)
        self._by_endpoint.pop(raylet.tcp, None)
        self._loop.call_later(_FAREWELL, self._close_way, raylet.worker_id)

    def _close_way(self, raylet: bytes) -> None:
        if not self.ended.is_set():
            self._bus.disconnect(raylet)

    def _write(self) -> None:
        """Write what changed since the last time; the newest state of each record."""
        dirty, self._dirty = self._dirty, {}
        self._storage.write(
            (table, key, None if record is None else self._encode(record)) for (table, key), record in dirty.items()
        )

    def asked_to_end(self) -> None:
        """The head node ends, and the cluster with it: the other nodes are told."""
        if len(self._raylets) > 1:
            for raylet in self._raylets.values():
                self._io.send(raylet.worker_id, StopRaylet("the head node of the cluster ended"))
            self._loop.call_later(_LAST_WORDS, self.ended.set)
        else:
            self.ended.set()

    def close(self) -> None:
        """Write what is left and close everything. What was sent within the last moments may not arrive."""
        self.ended.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._dirty:
            self._write()
        self._storage.close()
        self._loop.remove_reader(self._monitor.fileno())
        self._bus.client.disable_monitor()
        self._monitor.close(0)
        self._io.close()


async def _serve(boot: GcsBoot) -> None:
    bus = Bus(boot.process_id, CurveKeys(boot.public_key, boot.secret_key))
    try:
        storage = open_storage(boot.storage, boot.session_dir)
        ipc = bus.bind_ipc(boot.ipc.removeprefix("ipc://"))
        tcp = bus.bind_tcp(boot.tcp_host, boot.tcp_port) if boot.tcp_host else ""
    except (StorageError, zmq.ZMQError, ValueError) as error:
        bus.close()
        report_ready(boot.ready_fd, Ready(error=str(error)))
        _log.error("cannot start: %s", error)
        return
    server = GcsServer(boot, bus, storage)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.asked_to_end)
    report_ready(boot.ready_fd, Ready(address=Address(boot.process_id, boot.node_id, ipc, tcp)))
    try:
        await server.ended.wait()
    finally:
        server.close()


def run_gcs(boot: GcsBoot) -> None:
    """Main function of the process; returns when the cluster has ended or the process is asked to (SIGTERM)."""
    logging.basicConfig(
        level=boot.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    asyncio.run(_serve(boot))
