"""The core of a driver or worker: machines, sockets and the tables between them.

Strategy: user threads only append to `inbox`; whoever leads (see reactor.py) applies it to the machines, pumps them,
and carries out their commands. A `Core` is the native `Engine`. What it can do is spread over mixins by subject:
`tasks.py` (submit, cancel), `objects.py` (put, get, wait), `actors.py` (create, call, kill), `requests.py` (GCS).
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..protocol.comm_messages import CommData
from ..protocol.common import PROTOCOL_VERSION, Address, Cell, Death, DeathKind, NodeInfo
from ..protocol.core_messages import (
    CancelTasks,
    CoreMessage,
    DisplayData,
    LogLines,
    PushTasks,
    StealTasks,
    StreamConsumed,
    StreamItem,
    TaskOutput,
    TaskResults,
    TaskScreen,
)
from ..protocol.debug_messages import BreakpointLine, BreakpointText
from ..protocol.gcs_messages import (
    ActorUpdate,
    Answer,
    DriverHello,
    Failed,
    GcsReply,
    JobInfo,
    NodeUpdate,
    Notice,
    ProcessDead,
    ResourceView,
    Welcome,
)
from ..protocol.raylet_messages import CoreHello, CoreWelcome, RayletReply
from ..serialization import context
from ..telemetry.recorder import OwnerRecorder
from ..transport.bus import Bus
from ..transport.keys import CurveKeys
from . import failures
from .actor_calls import ActorCalls
from .commands import Connect, Reply, Send
from .completion import Completion
from .native import EngineOps
from .reactor import Reactor
from .records import Record
from .references import References
from .refs import ERROR, PENDING, STORE, drops, set_drop_hook
from .script_output import OutputSink
from .submission import Submission
from .unseen import Unseen

if TYPE_CHECKING:
    from .progress.watching import Watcher

__all__ = ["Core", "CoreOptions"]

_log = logging.getLogger("himalia.core")

_CONNECT_TIMEOUT: Final = 20.0
_TICK: Final = 0.25  # seconds between rounds of what is only lazily done: unpinning, telemetry


class CoreOptions(msgspec.Struct, kw_only=True):
    """What a process must know to take part."""

    kind: str  # "driver" | "worker"
    worker_id: bytes
    node_id: bytes
    ipc: str
    raylet: Address
    gcs: Address
    session_dir: str
    public_key: str = ""
    secret_key: str = ""
    tcp_host: str = ""
    token: bytes = b""
    job: JobInfo | None = None
    owns_cluster: bool = False
    namespace: str = ""
    runtime_env: str = ""  # that a worker was started for, as JSON


class Core(EngineOps):
    """One process's part in a cluster."""

    def __init__(self, options: CoreOptions) -> None:
        self.options = options
        self.worker_id = options.worker_id
        self.node_id = options.node_id
        self.job_id = b""
        self.namespace = options.namespace
        self.pid = os.getpid()
        self.bus = Bus(options.worker_id, CurveKeys(options.public_key, options.secret_key))
        ipc = self.bus.bind_ipc(options.ipc.removeprefix("ipc://"))
        tcp = self.bus.bind_tcp(options.tcp_host) if options.tcp_host else ""
        self.address = Address(options.worker_id, options.node_id, ipc, tcp)
        self.raylet_id = options.raylet.worker_id
        self.gcs_id = options.gcs.worker_id

        self.out: list[Any] = []
        self.references = References(self.address, self.out)
        self.completion = Completion(self.references, self.out, self.node_id)
        self.submission = Submission(self.completion, self.out, self.raylet_id, self.address)
        self.actor_calls = ActorCalls(self.completion, self.out, self.gcs_id, self.address)
        self._install_errors()

        self.next_counter = count(1).__next__
        self.inbox: deque[Any] = deque()
        self.handlers: dict[type, Callable[[bytes, Any], None]] = {}
        self.answer_handlers: dict[type, Callable[[bytes, Any], None]] = {}
        self._encode = msgspec.msgpack.Encoder().encode
        self._core_decode = msgspec.msgpack.Decoder(CoreMessage).decode
        self._decoders: dict[bytes, Callable[[bytes], Any]] = {
            self.gcs_id: msgspec.msgpack.Decoder(GcsReply).decode,
            self.raylet_id: msgspec.msgpack.Decoder(RayletReply).decode,
        }
        self._next_tick = time.monotonic() + _TICK
        self.tick_hooks: list[Callable[[float], None]] = []
        self.nodes: dict[bytes, NodeInfo] = {}
        self.cluster_id = ""
        self.welcome: CoreWelcome | None = None
        self.fatal: BaseException | None = None
        self.closed = False
        self.log_sink: OutputSink | None = None
        self.breakpoint_sink: Callable[[BreakpointText], None] | None = None
        self.death_hooks: list[Callable[[bytes], None]] = []  # told of each process that is known to have died
        self.cell_provider: Callable[[], Cell | None] | None = None
        self.cell_cancelled: Callable[[Cell], None] | None = None
        self.before_flush: Callable[[], None] | None = None  # a worker's results join the messages here
        self.blocking: Callable[[], Any] = nullcontext  # entered while a user thread waits
        self.watch: Watcher | None = None  # shows how far it is what a user thread waits for
        self.close_hooks: list[Callable[[], None]] = []
        self.unseen = None
        self.executor: Any = None
        self.accelerators: dict[str, list[int]] = {}
        self.actor_id = b""
        self.actor_name = ""
        self.actor_restarts = 0
        self.job_runtime_env = ""
        self.code = {}
        self.timing = None
        self.tick_hooks += [self.submission.insist, self._tick_output]
        self._init_tasks()
        self._init_actors()
        self._init_objects()
        self._init_requests()
        self._install_handlers()
        self.reactor = Reactor(
            self.bus,
            self._before,
            self._on_client,
            self._on_server,
            self.inbox.__len__,
            defer_sigint=options.kind == "driver",
        )
        set_drop_hook(self._woken_by_drop)
        context.set_ref_factory(self.rebuild_ref)
        context.set_out_of_band_hook(self.pin_forever)

    # -- life -------------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Join the node and the cluster; returns when both have welcomed us.

        Raises
        ------
        ConnectionError
            They did not answer in time, or refused us.
        """
        options = self.options
        self.bus.connect(options.raylet)
        self.bus.connect(options.gcs)
        hello = CoreHello(
            PROTOCOL_VERSION,
            self.address,
            os.getpid(),
            options.kind,
            b"",
            options.token,
            options.owns_cluster,
        )
        self.out.append(Send(self.raylet_id, hello))
        self.out.append(Send(self.gcs_id, DriverHello(PROTOCOL_VERSION, self.address, options.job)))
        if options.kind == "worker":
            return
        deadline = time.monotonic() + _CONNECT_TIMEOUT
        welcomed = self.reactor.drive(
            lambda: self.fatal is not None or (self.welcome is not None and self.cluster_id), deadline
        )
        if self.fatal is not None:
            raise self.fatal
        if not welcomed:
            raise ConnectionError(
                f"the cluster at {options.raylet.ipc or options.raylet.tcp} did not answer within "
                f"{_CONNECT_TIMEOUT:.0f} s: see its logs, or start another one"
            )

    def start(self) -> None:
        """Start the IO thread, and to record what happens to tasks."""
        OwnerRecorder.install(self)
        self.unseen = Unseen(self)
        self.reactor.start()

    def close(self, reason: str = "the session was shut down") -> None:
        """Leave: pending references fail with `reason`, sockets are closed."""
        if self.closed:
            return
        for hook in list(self.close_hooks):
            hook()
        self.closed = True
        self.reactor.close()
        if self.log_sink is not None:
            self.log_sink.close()
        self._fail_everything(failures.session_over(f"{reason}: this object belongs to a session that is over"))
        self.references.end_of_session()
        context.set_ref_factory(None)
        context.set_out_of_band_hook(None)
        self._close_objects()
        self.bus.close()
        self.reactor.close_fds()

    def _fail_everything(self, error: BaseException) -> None:
        submission, calls = self.submission, self.actor_calls
        for item in self.inbox:
            if type(item) is Record:
                self.completion.fail(item, error)
        self.inbox.clear()
        for cls in submission.by_id.values():
            for record in [*cls.queue, *(r for w in cls.workers.values() for r in w.inflight.values())]:
                self.completion.fail(record, error)
            cls.queue.clear()
            for worker in cls.workers.values():
                worker.inflight.clear()
        for client in calls.clients.values():
            for record in [*client.queue, *client.inflight.values()]:
                self.completion.fail(record, error)
            client.queue.clear()
            client.inflight.clear()
        for ref in self.references.borrowed.values():
            if ref._state == PENDING:
                ref._data, ref._state = error, ERROR
                self.completion.ready(ref)
        self._fail_requests(error)

    def die(self, error: BaseException) -> None:
        """The node or the cluster is gone: everything pending fails now, and every later call says why."""
        if self.fatal is None:
            self.fatal = error
            self._fail_everything(error)

    # -- the leader's work ------------------------------------------------------------------------------------------

    def _before(self) -> float | None:
        """Apply what threads left, pump, flush; seconds until the next timer."""
        if self.inbox:
            self._take_inbox()
        if drops or self._releases:
            self._settle_memory()
        now = time.monotonic()
        submission = self.submission
        if submission.next_due is not None and now >= submission.next_due:
            submission.tick(now)
        if now >= self._next_tick:
            self._next_tick = now + _TICK
            for hook in self.tick_hooks:
                hook(now)
        completion = self.completion
        while True:
            if submission.dirty or completion.ready_records:
                submission.pump(now)
            if self.actor_calls.dirty or completion.ready_records:
                self.actor_calls.pump()
            if not completion.ready_records:  # else a call failed, and tasks that wait for it can go on
                break
        if self.before_flush is not None:
            self.before_flush()
        if self.out:
            self._flush()
        due = self._next_tick
        if submission.next_due is not None and submission.next_due < due:
            due = submission.next_due
        return max(0.0, due - now)

    def _take_inbox(self) -> None:
        inbox = self.inbox
        submit, call = self.take_task, self.take_call
        for _ in range(len(inbox)):
            item = inbox.popleft()
            if type(item) is not Record:
                item()
                submit, call = self.take_task, self.take_call  # others once a cell is over
            elif self.fatal is not None:
                self.completion.fail(item, self.fatal)
            elif item.plan.actor is None:
                submit(item)
            else:
                call(item)

    def post(self, action: Callable[[], None]) -> None:
        """Have the leader run `action`, in order with submissions."""
        self.inbox.append(action)
        self.reactor.wake()

    def _flush(self) -> None:
        """Send what there is: tasks and results first, and then in one piece what the raylet is told of memory."""
        bus, encode, raylet = self.bus, self._encode, self.raylet_id
        to_raylet: list[bytes] = []
        while self.out:
            commands = self.out[:]
            del self.out[: len(commands)]  # not what another thread has added since
            for command in commands:
                kind = type(command)
                if kind is Send:
                    if command.peer == raylet:
                        to_raylet.append(encode(command.message))
                    else:
                        bus.send(command.peer, (encode(command.message),))
                elif kind is Reply:
                    bus.reply(command.peer, (encode(command.message),))
                elif kind is Connect:
                    try:
                        bus.connect(command.address)
                    except ConnectionError as error:
                        _log.debug("%s", str(error))  # not the error, whose frames hold what the user has
                else:
                    bus.disconnect(command.peer)
        if to_raylet:
            bus.send(raylet, to_raylet)

    def _on_client(self, frames: list[bytes]) -> None:
        """An answer of a peer that we connected to."""
        peer = frames[0]
        decode = self._decoders.get(peer)
        if decode is None:
            message = self._core_decode(frames[1])
            handler = self.handlers.get(type(message))
        else:
            message = decode(frames[1])
            handler = self.answer_handlers.get(type(message))
        if handler is None:
            _log.error("no use for %s of %s", type(message).__name__, peer.hex())
            return
        handler(peer, message)

    def _on_server(self, frames: list[bytes]) -> None:
        """A request of another core."""
        peer = frames[0]
        try:
            message = self._core_decode(frames[1])
        except msgspec.DecodeError as error:
            _log.error("message of %s refused: %s", peer.hex(), error)
            return
        handler = self.handlers.get(type(message))
        if handler is None:
            _log.error("no use for %s of %s", type(message).__name__, peer.hex())
            return
        handler(peer, message)

    # -- messages ---------------------------------------------------------------------------------------------------

    def _install_handlers(self) -> None:
        core = self.handlers
        core[TaskResults] = self._on_results
        core[StreamItem] = self._on_stream_item
        core[LogLines] = core[TaskScreen] = core[DisplayData] = core[CommData] = self._on_output
        core[BreakpointText] = self._on_breakpoint
        for kind in (PushTasks, CancelTasks, StealTasks, StreamConsumed):
            core.setdefault(kind, self._not_a_worker)
        answers = self.answer_handlers
        answers[CoreWelcome] = self._on_core_welcome
        answers[Welcome] = self._on_welcome
        answers[NodeUpdate] = self._on_node_update
        answers[ResourceView] = lambda peer, message: None
        answers[Notice] = lambda peer, message: self.warn(message.text)
        answers[ProcessDead] = self._on_process_dead
        answers[ActorUpdate] = self._on_actor_update
        answers[Answer] = self._on_answer
        answers[Failed] = self._on_failed
        self._install_task_handlers()
        self._install_object_handlers()
        self._install_query_handlers()

    def _not_a_worker(self, peer: bytes, message: Any) -> None:
        _log.error("%s of %s refused: this process runs no tasks", type(message).__name__, peer.hex())

    def _on_core_welcome(self, peer: bytes, message: CoreWelcome) -> None:
        if message.error:
            self.fatal = ConnectionError(f"the raylet refused this process: {message.error}")
            return
        self.welcome = message
        self._open_store(message.arena_path, message.arena_bytes)

    def _on_welcome(self, peer: bytes, message: Welcome) -> None:
        if message.error:
            self.fatal = ConnectionError(f"the GCS refused this process: {message.error}")
            return
        self.cluster_id = message.cluster_id
        if message.job_id:
            self.job_id = message.job_id
            self.base_cell = Cell(message.job_id)
            if self.options.job is not None:
                self._publish_job(message.job_id)
        for node in message.nodes:
            self.nodes[node.node_id] = node
        # Deaths before this are not told: a raylet that demand was spilled to meanwhile may be among them.
        living = {node.raylet.worker_id for node in message.nodes if node.alive}
        asked = {raylet for cls in self.submission.by_id.values() for raylet in cls.asked}
        for raylet in asked - living - {self.raylet_id}:
            death = Death(DeathKind.NODE_DIED, f"the node of raylet {raylet.hex()} died")
            self.submission.raylet_died(raylet, death, time.monotonic())

    def _on_node_update(self, peer: bytes, message: NodeUpdate) -> None:
        node = message.node
        self.nodes[node.node_id] = node
        if not node.alive:
            self.node_died(node)

    def node_died(self, node: NodeInfo) -> None:
        """A node is gone, with its raylet, workers and objects."""
        death = node.death or Death(DeathKind.NODE_DIED, f"node {node.node_id.hex()} ({node.host}) died")
        self.submission.raylet_died(node.raylet.worker_id, death, time.monotonic())
        self._node_lost(node.node_id)
        if node.node_id == self.node_id:
            self.die(failures.session_over(f"the node of this process died: {death.detail}"))

    def _on_process_dead(self, peer: bytes, message: ProcessDead) -> None:
        self.process_died(message.worker_id, message.death)

    def process_died(self, worker_id: bytes, death: Death) -> None:
        """A worker or driver is no more: what it borrowed is released, what it owned is lost.

        Not the leases of it: its raylet knows which task it began last, and says so (`WorkerDied`). The GCS does not,
        and may be heard first.
        """
        self._process_gone(worker_id)
        for ref in self.references.process_died(worker_id):
            if ref._state in (PENDING, STORE):  # its node frees what it owned; a value that came inline stays
                ref._data, ref._state = failures.object_error("owner_died", ref), ERROR
                self.completion.ready(ref)
        if self.executor is not None:
            self.executor.outgoing.gone.add(worker_id)
        self.bus.disconnect(worker_id)

    def _on_actor_update(self, peer: bytes, message: ActorUpdate) -> None:
        self.actor_calls.actor_update(message.info)
        self._actor_changed(message.info)

    def _on_breakpoint(self, peer: bytes, message: BreakpointText) -> None:
        """A task that belongs to us is at a breakpoint. Where nobody can look, it goes on."""
        if self.breakpoint_sink is not None:
            self.breakpoint_sink(message)
        elif message.waits:
            self.warn(f"task `{message.task}` came to a breakpoint and goes on: %rdebug in a notebook can stop there")
            self.out += [Connect(message.worker), Send(message.worker.worker_id, BreakpointLine(message.number, "c"))]

    def _on_output(self, peer: bytes, message: TaskOutput) -> None:
        if self.log_sink is not None:
            self.log_sink.show(message)

    def _tick_output(self, now: float) -> None:
        if self.log_sink is not None:
            self.log_sink.tick(now)

    def _install_errors(self) -> None:
        submission, calls, references = self.submission, self.actor_calls, self.references
        submission.death_error = failures.worker_death
        submission.cancel_error = calls.cancel_error = failures.cancelled
        submission.refuse_error = failures.unschedulable
        calls.death_error = failures.actor_death
        calls.unavailable_error = failures.actor_unavailable
        references.error_of = failures.object_error
        submission.should_retry = calls.should_retry = self._should_retry
        submission.warn = self.warn
        references.pack = self.completion.pack = self.pack_ref

    def warn(self, text: str) -> None:
        """Tell the user something that is not an error yet."""
        _log.warning("%s", text)

    def main_thread(self) -> bool:
        """Whether the caller is the process's main thread."""
        return threading.current_thread() is threading.main_thread()
