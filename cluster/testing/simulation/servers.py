"""The servers of a simulation: the GCS and the raylets, each a machine with nothing around it but the network.

Strategy: they do what `gcs.server` and `raylet.server` do, and the node host: decode, let the machine handle it, carry
its commands out. After each event the machine says whether it contradicts itself. A fact that cannot be true
(`IllegalTransition`) ends the simulation, where a server would log it and go on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ...core.runtime import CoreOptions
from ...gcs import commands as gcs_commands
from ...gcs.config import GcsConfig
from ...gcs.machine import GcsMachine
from ...object_store.client import ArenaClient
from ...protocol.common import PROTOCOL_VERSION, Address, NodeInfo
from ...protocol.gcs_messages import GcsMessage, GcsReply, NodeHello
from ...protocol.raylet_messages import Chunk, KillWorker, RayletMessage, RayletReply, WorkerDied
from ...raylet import events as raylet_events
from ...raylet.machine import HANDLED, RayletMachine
from .kernel import Timer
from .process import Process
from .store import SimulatedArena, Store
from .worker import worker_main

if TYPE_CHECKING:
    from .cluster import SimulatedCluster

__all__ = ["GcsServer", "Node"]

Frames = list[bytes]

_encode = msgspec.msgpack.Encoder().encode
_decode_gcs_message = msgspec.msgpack.Decoder(GcsMessage).decode
_decode_gcs_reply = msgspec.msgpack.Decoder(GcsReply).decode
_decode_raylet_message = msgspec.msgpack.Decoder(RayletMessage).decode
_decode_raylet_reply = msgspec.msgpack.Decoder(RayletReply).decode

_KILL: Final = 9


class _Timed:
    """Wakes a machine when it wants to be woken."""

    def __init__(self, cluster: SimulatedCluster, wake: Callable[[], None]) -> None:
        self._kernel = cluster.kernel
        self._wake = wake
        self._timer: Timer | None = None

    def set(self, due: float | None) -> None:
        if self._timer is not None:
            if due is not None and self._timer.action is not None and self._timer.at == due:
                return
            self._timer.cancel()
        self._timer = None if due is None else self._kernel.at(due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._wake()


class GcsServer:
    """The GCS. It lives as long as the cluster."""

    def __init__(self, cluster: SimulatedCluster, identity: bytes, node_id: bytes) -> None:
        self.cluster = cluster
        self.identity = identity
        self.node_id = node_id
        self.machine = GcsMachine("simulated", GcsConfig())
        self._raylets: dict[bytes, Address] = {}
        self._timed = _Timed(cluster, lambda: self.handle(gcs_commands.Tick()))
        cluster.network.join(self)

    def handle(self, event: gcs_commands.Event) -> None:
        commands = self.machine.handle(event, self.cluster.kernel.now)
        self.machine.check_invariants()
        for command in commands:
            self._carry_out(command)
        self._timed.set(self.machine.next_deadline())

    def take_request(self, peer: bytes, frames: Frames) -> None:
        for frame in frames:
            self.handle(gcs_commands.Received(peer, _decode_gcs_message(frame)))

    def take_answer(self, peer: bytes, frames: Frames) -> None:
        raise AssertionError(f"raylet {peer.hex()} answered the GCS: {frames!r}")

    def connection_lost(self, peer: bytes) -> None:
        self.handle(gcs_commands.PeerLost(peer))

    def _carry_out(self, command: gcs_commands.Command) -> None:
        network = self.cluster.network
        match command:
            case gcs_commands.Send():
                data = _encode(command.message)
                for peer in command.peers:
                    network.answer(self.identity, peer, [data])
            case gcs_commands.SendRaylet():
                raylet = self._raylets.get(command.node_id)
                if raylet is not None:
                    network.request(self.identity, raylet.worker_id, [_encode(command.message)])
            case gcs_commands.Connect():
                self._raylets[command.node_id] = command.raylet
                network.connect(self.identity, command.raylet.worker_id)
            case gcs_commands.Disconnect():
                gone = self._raylets.pop(command.node_id, None)
                if gone is not None:
                    self.cluster.kernel.after(1.0, lambda: network.disconnect(self.identity, gone.worker_id))
            case gcs_commands.Persist():
                _encode(command.record)  # storage could keep it
            case gcs_commands.Log():
                self.cluster.note("GCS", command.text)
            case gcs_commands.End():
                self.cluster.note("GCS", f"the cluster ends: {command.reason}")


class Node:
    """A node: its raylet, the host of its workers, its store."""

    def __init__(self, cluster: SimulatedCluster, config: raylet_events.NodeConfig, *, is_head: bool) -> None:
        self.cluster = cluster
        self.config = config
        self.identity = self.node_id = config.node_id
        self.is_head = is_head
        self.is_alive = True
        self.workers: dict[bytes, Process] = {}
        self._pages: dict[bytes, list[int]] = {}
        self._forks_from = 0.0
        self.store = Store(self, config.arena_bytes)
        self.machine = RayletMachine(config, cluster.kernel.random.randbytes)
        self._timed = _Timed(cluster, lambda: self.handle(raylet_events.Tick()))
        cluster.network.join(self)
        cluster.network.connect(self.identity, config.gcs.worker_id)
        self.hello()
        self._carry_out_all(self.machine.start(cluster.kernel.now))

    def hello(self) -> None:
        """Join, or come back."""
        config = self.config
        info = NodeInfo(
            config.node_id,
            config.raylet,
            "host",
            1,
            config.total,
            config.labels,
            config.arena_bytes,
            True,
            self.is_head,
        )
        self._tell_gcs(NodeHello(PROTOCOL_VERSION, info, *self.machine.living()))

    def _tell_gcs(self, message: Any) -> None:
        self.cluster.network.request(self.identity, self.config.gcs.worker_id, [_encode(message)])

    def handle(self, event: raylet_events.Event) -> None:
        if self.is_alive:
            commands = self.machine.handle(event, self.cluster.kernel.now)
            self.machine.check_invariants()
            self._carry_out_all(commands)

    # -- messages -----------------------------------------------------------------------------------------------------

    def take_request(self, peer: bytes, frames: Frames) -> None:
        for frame in frames:
            self._take(peer, _decode_raylet_message(frame))

    def _take(self, peer: bytes, message: Any) -> None:
        if isinstance(message, KillWorker) and message.counter:
            page = self._pages.get(message.worker_id)
            if page is None or page[0] != message.counter:
                return  # it runs another task, which nobody wants to end
        if type(message) in HANDLED:
            self.handle(raylet_events.Received(peer, message))
        else:
            self.store.take(peer, message, b"")

    def take_answer(self, peer: bytes, frames: Frames) -> None:
        if peer == self.config.gcs.worker_id:
            self.handle(raylet_events.FromGcs(_decode_gcs_reply(frames[0])))
            return
        message = _decode_raylet_reply(frames[0])
        assert isinstance(message, Chunk), f"raylet {peer.hex()} sent {message!r}, which nobody asked for"
        self.store.take(peer, message, frames[1] if len(frames) > 1 else b"")

    def connection_lost(self, peer: bytes) -> None:
        """To the GCS: it comes back, or `cluster` ends us."""

    def reply(self, peer: bytes, message: Any, *frames: bytes) -> None:
        """Send to a process or raylet that connected to this one."""
        self.cluster.network.answer(self.identity, peer, [_encode(message), *frames])

    def send_to_node(self, node_id: bytes, message: Any) -> None:
        """Send to another raylet."""
        if self.machine.view.find(node_id) is None:
            self.cluster.kernel.after(0.0, lambda: self.store.node_died(node_id))
            return
        self.cluster.network.connect(self.identity, node_id)
        self.cluster.network.request(self.identity, node_id, [_encode(message)])

    # -- commands -----------------------------------------------------------------------------------------------------

    def _carry_out_all(self, commands: list[raylet_events.Command]) -> None:
        for command in commands:
            self._carry_out(command)
        self._timed.set(self.machine.next_deadline() if self.is_alive else None)

    def _carry_out(self, command: raylet_events.Command) -> None:
        match command:
            case raylet_events.Reply():
                message = command.message
                if isinstance(message, WorkerDied):
                    page = self._pages.get(message.worker_id)
                    message = msgspec.structs.replace(message, last_started=-1 if page is None else page[0])
                self.reply(command.peer, message)
            case raylet_events.TellGcs():
                self._tell_gcs(command.message)
            case raylet_events.TellNode():
                self.send_to_node(command.node_id, command.message)
            case raylet_events.StartWorker():
                self._fork(command)
            case raylet_events.SignalWorker():
                self.cluster.kernel.after(0.0005, lambda: self.kill_worker(command.worker_id))
            case raylet_events.ResetStarted():
                self._pages[command.worker_id][0] = 0
            case raylet_events.WatchDriver():
                self.cluster.watch_driver(self, command.driver_id)
            case raylet_events.ProcessEnded():
                self._pages.pop(command.process_id, None)
                self.store.process_died(command.process_id)
            case raylet_events.NodeLost():
                self.cluster.network.disconnect(self.identity, command.node_id)
                self.store.node_died(command.node_id)
            case raylet_events.EndNode():
                self.cluster.kernel.after(0.0, lambda: self.leave(command.reason))
            case raylet_events.Log():
                self.cluster.note(f"raylet {self.node_id.hex()}", command.text)

    # -- the host of its workers --------------------------------------------------------------------------------------

    def _fork(self, command: raylet_events.StartWorker) -> None:
        cluster = self.cluster
        chance = cluster.kernel.random

        def forked() -> None:
            if not self.is_alive:
                return
            if cluster.kernel.now > self._forks_from and chance.random() < cluster.fork_failures:
                # Not so often that the raylet gives up and tells owners that no worker can be made.
                self._forks_from = cluster.kernel.now + 1.0
                self.handle(raylet_events.WorkerNotForked(command.worker_id, "the simulation would not have it"))
                return
            config = self.config
            page = self._pages[command.worker_id] = [0]
            options = CoreOptions(
                kind="worker",
                worker_id=command.worker_id,
                node_id=self.node_id,
                ipc=f"ipc://{command.worker_id.hex()}",
                raylet=config.raylet,
                gcs=config.gcs,
                session_dir="",
                token=command.token,
            )
            process = cluster.process(options, worker_main(page))
            process.core.job_id = command.job_id
            process.core._arena = self.arena()
            process.on_exit = lambda code, signal: self._exited(command.worker_id, code, signal)
            self.workers[command.worker_id] = process
            self.handle(raylet_events.WorkerForked(command.worker_id, process.pid))
            process.start(chance.uniform(0.001, 0.02))

        cluster.kernel.after(chance.uniform(0.0005, 0.005), forked)

    def arena(self) -> ArenaClient:
        """The store's memory as a process of this node sees it."""
        return SimulatedArena(self.store)

    def _exited(self, worker_id: bytes, code: int | None, signal: int | None) -> None:
        self.workers.pop(worker_id, None)
        delay = self.cluster.kernel.random.uniform(0.0, 0.002)
        event = raylet_events.WorkerExited(worker_id, code, signal)
        self.cluster.kernel.after(delay, lambda: self.handle(event))

    def kill_worker(self, worker_id: bytes) -> None:
        """SIGKILL."""
        process = self.workers.get(worker_id)
        if process is not None:
            process.end(None, _KILL, last_words=self.cluster.kernel.random.uniform(0.0, 0.001))

    def leave(self, reason: str) -> None:
        """The node ends, and says so."""
        if self.is_alive:
            self.handle(raylet_events.NodeEnding(reason))
            self.end(last_words=1.0)

    def end(self, *, last_words: float = 0.0) -> None:
        """The node is no more: raylet, workers, store, and the drivers that ran on it."""
        if not self.is_alive:
            return
        self.is_alive = False
        self._timed.set(None)
        self.store.close()
        self.cluster.network.leave(self.identity, last_words)
        for worker_id in list(self.workers):
            self.kill_worker(worker_id)
        self.cluster.node_ended(self)
