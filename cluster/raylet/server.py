"""The process of a raylet: sockets, the node host, the object store and a timer around `RayletMachine`.

Strategy: a message is decoded, handled and answered within one callback of the loop. Messages about objects go to the
object store, all others to the machine. One timer stands for all deadlines. The connection to the GCS is watched by a
ZeroMQ monitor: when it comes back (the GCS was restarted), the node says hello again; when it stays away, a node
without a GCS of its own ends, since nobody could reach it any more.

This process ends the node in no other way than by asking the host, whose children are all others. Only when the host
itself was killed does it clean up for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import zmq
from zmq.utils.monitor import parse_monitor_message

from ..launchers import session, wire
from ..launchers.boot import RayletBoot, Ready, report_ready
from ..object_store.server import ObjectStoreServer
from ..protocol.cluster_events import EventKind, ReportEvent
from ..protocol.common import PROTOCOL_VERSION, Address, NodeInfo
from ..protocol.gcs_messages import GcsReply, NodeHello, NodeReport, SayHello, Welcome
from ..protocol.log_messages import LogQuestion, LogSearch
from ..protocol.node_messages import NodeAnswer, NodeQuestion
from ..protocol.raylet_messages import Chunk, KillWorker, RayletMessage, RayletReply, WorkerDied
from ..protocol.transitions import IllegalTransition
from ..transport.bus import Bus, Frames
from ..transport.keys import CurveKeys
from ..transport.loop import BusLoop
from .events import (
    Command,
    DriverGone,
    EndNode,
    Event,
    FromGcs,
    Log,
    MemoryPressure,
    NodeEnding,
    NodeLost,
    ProcessEnded,
    Received,
    Reply,
    ResetStarted,
    SignalWorker,
    StartWorker,
    TellGcs,
    TellNode,
    Tick,
    WatchDriver,
    WorkerExited,
    WorkerForked,
    WorkerNotForked,
)
from .host_link import HostLink
from .log_desk import LogDesk
from .machine import HANDLED, RayletMachine
from .memory_monitor import MemoryMonitor, explain_kill, kernel_kills, pick_victim
from .process_files import ProcessFiles
from .process_watch import ProcessWatch
from .settings import node_config
from .stack_desk import STACK_QUESTIONS, StackDesk
from .store_events_machine import StoreEvents
from .survey import Survey

__all__ = ["RayletServer", "run_raylet"]

_log = logging.getLogger("himalia.raylet")

_LAST_WORDS: Final = 0.03
"""Seconds that ZeroMQ gets to send the reason of the end, before sockets close without lingering."""
_GCS_AWAY: Final = 15.0
"""Seconds that a node stays without its GCS; a restart takes less than one."""
_GCS_STARTS: Final = 0.002
"""Seconds between looks for the socket of a GCS that starts beside us."""
_REFUSALS: Final = 3
"""Handshakes that fail before a joining node gives up: the first may meet a GCS that only just starts."""
_HANDSHAKE_FAILED: Final = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)


class RayletServer:
    """Serves on the running asyncio loop until `ended` is set."""

    def __init__(self, boot: RayletBoot, bus: Bus, address: Address) -> None:
        self.ended = asyncio.Event()
        self.address = address
        self._boot = boot
        self._bus = bus
        self._loop = asyncio.get_running_loop()
        self._gcs = boot.gcs.worker_id
        self._is_closed = False
        self._store_events = StoreEvents()
        self.store = ObjectStoreServer(
            boot.node_id,
            boot.spill_dir,
            boot.arena_bytes,
            send=self._send_for_store,
            send_to_node=self._send_to_node,
            name_of=self._name_of,
            spill_to=boot.options.spill_dir,
            happened=self._store_happened,
        )
        config = node_config(boot, address, self.store.arena_path, self.store.arena_bytes)
        self.machine = RayletMachine(config, os.urandom)
        self._info = NodeInfo(
            node_id=boot.node_id,
            # The cluster is told the way that works from every machine; processes of this node know the other.
            raylet=msgspec.structs.replace(address, ipc="") if address.tcp else address,
            host=socket.gethostname(),
            pid=os.getpid(),
            total=config.total,
            labels=config.labels,
            object_store_bytes=self.store.arena_bytes,
            is_head=boot.is_head,
            session_dir=boot.session_dir,
        )
        self._io = BusLoop(
            bus,
            requests=RayletMessage,
            on_request=self._on_request,
            answers={self._gcs: GcsReply, b"": RayletReply},
            on_answer=self._on_answer,
        )
        self._host = HostLink(boot.host_fd, self._on_host, self._host_gone)
        self._watch = ProcessWatch(lambda driver_id: self._handle(DriverGone(driver_id)))
        self._timer: asyncio.TimerHandle | None = None
        self._is_timer_wanted = False
        self._memory = MemoryMonitor(boot.options.memory_usage_threshold)
        self._memory_timer = self._loop.call_later(self._memory.delay(), self._check_memory)
        self._victim = b""
        self._files = ProcessFiles(boot.session_dir)
        self._logs = LogDesk(boot.session_dir, self._io.reply, self._living)
        self._stacks = StackDesk(self.machine, boot.node_id, boot.session_dir, boot.host_pid, self._io.reply)
        self._kernel_kills = kernel_kills()
        self._survey = Survey(
            self.machine,
            self._files,
            store=self.store.stats,
            memory=lambda: self._memory.state,
            send=self._tell_gcs,
            host_pid=boot.host_pid,
            folders=[boot.session_dir, boot.spill_dir, boot.options.spill_dir],
        )
        self.joined: asyncio.Future[str] = self._loop.create_future()
        """Empty when the GCS has welcomed us; else why we cannot join."""
        self._is_away = False
        self._refusals = 0
        self._away_timer: asyncio.TimerHandle | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._join()
        self._carry_out_all(self.machine.start(self._loop.time()))

    # -- the GCS ------------------------------------------------------------------------------------------------------

    def _join(self) -> None:
        """Connect to the GCS. On a head node it starts at this moment: ZeroMQ would try again only after 0.1 s."""
        gcs = self._boot.gcs
        if self._is_closed:
            return
        if not gcs.tcp and not os.path.exists(gcs.ipc.removeprefix("ipc://")):
            self._loop.call_later(_GCS_STARTS, self._join)
            return
        events = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | _HANDSHAKE_FAILED
        self._monitor = self._bus.client.get_monitor_socket(events)
        self._loop.add_reader(self._monitor.fileno(), self._drain_monitor)
        self._loop.call_soon(self._drain_monitor)  # the descriptor signals only what comes after a read found nothing
        self._bus.connect(gcs)
        self._say_hello()

    def _say_hello(self) -> None:
        self._io.send(self._gcs, NodeHello(PROTOCOL_VERSION, self._info, *self.machine.living()))

    def _drain_monitor(self) -> None:
        while self._monitor is not None:
            try:
                frames = self._monitor.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            found = parse_monitor_message(frames)
            if found["endpoint"].decode() in (self._boot.gcs.ipc, self._boot.gcs.tcp):
                self._gcs_connection(found["event"])

    def _gcs_connection(self, event: int) -> None:
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            if self._is_away:
                self._is_away = False
                if self._away_timer is not None:
                    self._away_timer.cancel()
                _log.info("the GCS is back")
                self._say_hello()
            return
        if not self.joined.done():
            self._refusals += 1
            if self._refusals >= _REFUSALS:
                where = self._boot.gcs.tcp or self._boot.gcs.ipc
                self.joined.set_result(
                    f"the cluster at {where} refused the connection: the key is not that of this cluster "
                    "(join with its present connection file), or no cluster runs there"
                )
        elif not self._is_away:
            self._is_away = True
            _log.warning("lost the connection to the GCS")
            self._away_timer = self._loop.call_later(_GCS_AWAY, self._gcs_stays_away)

    def _gcs_stays_away(self) -> None:
        self._host.send(wire.EndNode(f"the cluster's GCS could not be reached for {_GCS_AWAY:g} s"))

    # -- events -------------------------------------------------------------------------------------------------------

    def _on_request(self, peer: bytes, message: Any) -> None:
        if isinstance(message, KillWorker) and message.counter:
            if self._files.last_started(message.worker_id) != message.counter:
                return  # it runs another task, which nobody wants to end
            self._handle(Received(peer, message))
        elif type(message) in HANDLED:
            self._handle(Received(peer, message))
        elif isinstance(message, LogQuestion | LogSearch):
            self._logs.ask(peer, message)
        elif isinstance(message, NodeQuestion):
            self._survey.ask(message)
        elif isinstance(message, STACK_QUESTIONS):
            self._stacks.ask(peer, message)
        else:
            self.store.handle(peer, message)

    def _on_answer(self, peer: bytes, message: Any, frames: Frames) -> None:
        if peer == self._gcs:
            if isinstance(message, Welcome) and not self.joined.done():
                self.joined.set_result(message.error)
            if isinstance(message, SayHello):
                self._say_hello()
            else:
                self._handle(FromGcs(message))
        elif isinstance(message, Chunk):
            self.store.handle(peer, message, frames)
        else:
            _log.error("raylet %s sent %s, which nobody asked for", peer.hex(), type(message).__name__)

    def _on_host(self, message: wire.ForRaylet) -> None:
        if isinstance(message, wire.Forked):
            self._handle(WorkerForked(message.worker_id, message.pid))
        elif isinstance(message, wire.ForkFailed):
            self._handle(WorkerNotForked(message.worker_id, message.text))
        elif isinstance(message, wire.Exited):
            self._worker_exited(message)
        else:
            self._node_ends(message.reason)

    def _worker_exited(self, message: wire.Exited) -> None:
        by_kernel = False
        if message.signal == signal.SIGKILL:
            kills = kernel_kills()
            by_kernel = kills > self._kernel_kills
            self._kernel_kills = kills
        if message.worker_id == self._victim:
            self._victim = b""
        notes = self._survey.worker_ended(message.worker_id)
        running = notes.running if notes is not None else None
        ran, cell = (running.name, running.cell) if running is not None else ("", 0)
        self._handle(WorkerExited(message.worker_id, message.code, message.signal, by_kernel, ran, cell))
        self._files.remove(message.worker_id)
        self._logs.worker_ended()

    def _on_timer(self) -> None:
        self._timer = None
        self._handle(Tick())

    def _handle(self, event: Event) -> None:
        try:
            commands = self.machine.handle(event, self._loop.time())
        except IllegalTransition as error:
            _log.error("%s", error)
            return
        self._carry_out_all(commands)

    def _carry_out_all(self, commands: list[Command]) -> None:
        for command in commands:
            self._carry_out(command)
        if not self._is_timer_wanted and not self._is_closed:
            self._is_timer_wanted = True
            self._loop.call_soon(self._set_timer)

    def _set_timer(self) -> None:
        """Once for all events of this turn of the loop."""
        self._is_timer_wanted = False
        due = self.machine.next_deadline()
        if self._timer is not None:
            if due is not None and self._timer.when() == due:
                return
            self._timer.cancel()
            self._timer = None
        if due is not None and not self._is_closed:
            self._timer = self._loop.call_at(due, self._on_timer)

    # -- commands -----------------------------------------------------------------------------------------------------

    def _carry_out(self, command: Command) -> None:
        match command:
            case Reply():
                message = command.message
                if isinstance(message, WorkerDied):
                    started = self._files.last_started(message.worker_id)
                    message = msgspec.structs.replace(message, last_started=started)
                self._io.reply(command.peer, message)
            case TellGcs():
                news = command.message
                if isinstance(news, NodeReport):
                    news = msgspec.structs.replace(news, store_used=self.store.stats().used)
                self._io.send(self._gcs, news)
            case TellNode():
                self._send_to_node(command.node_id, command.message)
            case StartWorker():
                self._host.send(
                    wire.Fork(
                        command.worker_id,
                        command.token,
                        command.env,
                        command.cwd,
                        command.job_id,
                        command.runtime_env,
                    )
                )
            case SignalWorker():
                self._host.send(wire.Kill(command.worker_id, command.signal))
            case ResetStarted():
                self._files.reset_started(command.worker_id)
            case WatchDriver():
                self._watch.add(command.driver_id, command.pid)
            case ProcessEnded():
                self._watch.remove(command.process_id)
                self._files.remove(command.process_id)
                self.store.process_died(command.process_id)
            case NodeLost():
                self._bus.disconnect(command.node_id)
                self.store.node_died(command.node_id)
            case EndNode():
                self._host.send(wire.EndNode(command.reason))
            case Log():
                _log.log(getattr(logging, command.level.upper()), "%s", command.text)

    def _tell_gcs(self, message: NodeAnswer | ReportEvent) -> None:
        if not self._is_closed:
            self._io.send(self._gcs, message)

    def _store_happened(self, kind: EventKind, size: int, text: str) -> None:
        def use() -> tuple[int, int]:
            stats = self.store.stats()
            return stats.used, stats.capacity

        event = self._store_events.happened(kind, self._loop.time(), use, size, text)
        if event is not None:
            self._tell_gcs(ReportEvent(event))

    def _send_for_store(self, peer: bytes, message: Any, frames: Sequence[bytes]) -> None:
        self._io.reply(peer, message, list(frames))

    def _send_to_node(self, node_id: bytes, message: Any) -> None:
        info = self.machine.view.find(node_id)
        if info is None:
            # Heard of before the GCS told us; or dead, which the store is told in the same moment.
            _log.warning("node %s is not known: cannot ask it for objects", node_id.hex())
            self._loop.call_soon(self.store.node_died, node_id)
            return
        self._bus.connect(info.raylet)
        self._io.send(node_id, message)

    def _name_of(self, process_id: bytes) -> str:
        if process_id in self.machine.drivers:
            return f"driver, pid {self.machine.drivers[process_id].pid}"
        worker = self.machine.pool.workers.get(process_id)
        return f"process {process_id.hex()}" if worker is None else f"worker, pid {worker.pid}"

    def _living(self) -> set[str]:
        return {worker_id.hex() for worker_id in self.machine.pool.workers}

    # -- memory -------------------------------------------------------------------------------------------------------

    def _check_memory(self) -> None:
        if self._memory.sample() and not self._victim:
            candidates = self.machine.running()
            victim, candidates = pick_victim(candidates)
            if victim is not None:
                self._victim = victim.worker_id
                detail = explain_kill(self._memory, victim, candidates)
                _log.warning("%s", detail)
                self._handle(MemoryPressure(victim.worker_id, detail))
        self._memory_timer = self._loop.call_later(self._memory.delay(), self._check_memory)

    # -- the end ------------------------------------------------------------------------------------------------------

    def asked_to_end(self) -> None:
        """SIGTERM: the kernel's word that the host is gone, or somebody who took this process for the node."""
        if os.getppid() == self._boot.host_pid:
            self._host.send(wire.EndNode("its raylet was asked to end (SIGTERM)"))
        else:
            self._host_gone()

    def _host_gone(self) -> None:
        """The host was killed: do what it would have done."""
        if self.ended.is_set():
            return
        for worker in self.machine.pool.workers.values():
            if worker.pid:
                # The worker itself is killed by the kernel; what it started would stay.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(worker.pid, signal.SIGKILL)
        self._node_ends("its node host was killed")
        session.remove_session(self._boot.session_dir)

    def _node_ends(self, reason: str) -> None:
        self._handle(NodeEnding(reason))
        self._loop.call_later(_LAST_WORDS, self.ended.set)

    def close(self) -> None:
        """Close everything; the store deletes its files."""
        self._is_closed = True
        self._stacks.close()
        self._logs.close()
        for timer in (self._timer, self._memory_timer, self._away_timer):
            if timer is not None:
                timer.cancel()
        self._watch.close()
        self._host.close()
        self.store.close()
        if self._monitor is not None:
            self._loop.remove_reader(self._monitor.fileno())
            self._bus.client.disable_monitor()
            self._monitor.close(0)
            self._monitor = None
        self._io.close()


async def _serve(boot: RayletBoot) -> None:
    bus = Bus(boot.node_id, CurveKeys(boot.public_key, boot.secret_key))
    try:
        ipc = bus.bind_ipc(boot.ipc.removeprefix("ipc://"))
        tcp = bus.bind_tcp(boot.tcp_host) if boot.tcp_host else ""
        server = RayletServer(boot, bus, Address(boot.node_id, boot.node_id, ipc, tcp))
    except (OSError, zmq.ZMQError, ValueError, ImportError) as error:
        bus.close()
        report_ready(boot.ready_fd, Ready(error=str(error)))
        _log.error("cannot start: %s", error)
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.asked_to_end)
    # A head node's GCS starts at this moment; a joining node is one only when it was taken in.
    refused = "" if boot.is_head else await server.joined
    if refused:
        report_ready(boot.ready_fd, Ready(error=refused))
    else:
        report_ready(boot.ready_fd, Ready(address=server.address, arena_path=server.store.arena_path))
    try:
        await server.ended.wait()
    finally:
        server.close()


def run_raylet(boot: RayletBoot) -> None:
    """Main function of the process; returns when the node ends."""
    logging.basicConfig(
        level=boot.options.log_level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    asyncio.run(_serve(boot))
