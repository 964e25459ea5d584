"""The global control service without IO: messages in, commands out.

Strategy: five small machines (nodes, actors, placement groups, jobs and processes, kv) keep their own state and rules;
this file knows what one subject's change means for another (a node's death is its workers' deaths, which end the jobs
whose drivers they were and the actors they made) and in which order. Nothing here waits: each message is answered
within the step that handles it, but for `KvGet` with ``wait``, and for what has to be asked of nodes (`Surveys`).

Time comes with each event, on any monotonic clock; ``wall`` is what to add to it for dates that people read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ..protocol.cluster_events import ReportEvent
from ..protocol.common import PROTOCOL_VERSION, Death, DeathKind
from ..protocol.failure_messages import ReportFailures
from ..protocol.gcs_messages import (
    ActorSpec,
    AskProcess,
    DriverHello,
    KvDelete,
    KvGet,
    KvKeys,
    KvPut,
    ListState,
    NodeHello,
    NodeReport,
    NodeUpdate,
    ReadTaskEvents,
    RemoveNode,
    ReportJobEnd,
    ReportProcessDeath,
    SayHello,
    Stop,
    TaskEvents,
    Welcome,
)
from ..protocol.group_messages import GroupSpec
from ..protocol.node_messages import NODE_QUESTIONS, NodeAnswer
from ..protocol.raylet_messages import StopRaylet
from .actor_record import Actor, ActorRecord, ActorState
from .actor_requests import ActorRequests
from .actors_machine import SPEC_TABLE, Actors
from .actors_machine import TABLE as ACTOR_TABLE
from .commands import Command, End, Event, Outbox, PeerBack, PeerLost, Received
from .config import GcsConfig
from .event_log_machine import EventLog
from .event_ring import EventRing
from .failures_machine import Failures
from .group_record import GroupRecord
from .group_requests import GroupRequests
from .groups_machine import SPEC_TABLE as GROUP_SPEC_TABLE
from .groups_machine import TABLE as GROUP_TABLE
from .groups_machine import Groups
from .jobs_machine import CORE_TABLE, JOB_TABLE, LAST_JOB, META_TABLE, Core, Job, JobRecord, Jobs, Processes
from .kv_machine import TABLE as KV_TABLE
from .kv_machine import Kv
from .nodes_machine import TABLE as NODE_TABLE
from .nodes_machine import Node, NodeRecord, Nodes, NodeState
from .queries import QUERIES, pending, query, read_events
from .recovery_machine import reconcile, restore
from .surveys_machine import Surveys

__all__ = ["GcsMachine", "Tables"]

Tables = dict[str, dict[bytes, bytes]]
"""What storage kept: msgpack of the records of `Persist`, by table and key."""


_REMOVED = "it was removed from the cluster"


def _other_protocol(theirs: int) -> str:
    return f"you speak protocol {theirs}, this cluster {PROTOCOL_VERSION}: install one version everywhere"


class GcsMachine:
    """See the top of the file. Not usable from two threads at once."""

    def __init__(self, cluster_id: str, config: GcsConfig | None = None, *, wall: float = 0.0) -> None:
        self.cluster_id = cluster_id
        self.config = config or GcsConfig()
        self.messages = 0
        self._wall_offset = wall
        self.out = Outbox()
        self.nodes = Nodes(self.config, self.out, self._wall)
        self.groups = Groups(self.config, self.out, self.nodes, self._wall)
        self.actors = Actors(self.config, self.out, self.nodes, self.groups, self._wall)
        self.jobs = Jobs(self.config, self.out, self._wall)
        self.processes = Processes(self.config, self.out)
        self.kv = Kv(self.out)
        self.events = EventRing(self.config)
        self.surveys = Surveys(self.out, self.nodes)
        self.surveys.shapes["pending"] = lambda rows, missing: pending(self, rows, missing)
        self.failures = Failures(self.config.failures_kept)
        self.log = EventLog(self.config, self._wall)
        self.actors.changed = self._actor_changed
        self.now = 0.0
        self._stop_reason: str | None = None
        self._stop_at: float | None = None
        self._handlers: dict[type, Callable[[bytes, Any], None]] = {
            NodeHello: self._node_hello,
            NodeReport: self._node_report,
            ReportProcessDeath: self._report_process_death,
            DriverHello: self._driver_hello,
            ReportJobEnd: self._report_job_end,
            KvPut: self.kv.put,
            KvGet: self.kv.get,
            KvDelete: self.kv.delete,
            KvKeys: self.kv.keys,
            TaskEvents: lambda peer, message: self.events.add(message),
            ListState: self._list_state,
            ReadTaskEvents: self._read_task_events,
            Stop: self._stop,
            RemoveNode: self._remove_node,
            AskProcess: self._ask_process,
            NodeAnswer: self._node_answer,
            ReportEvent: self._report_event,
            ReportFailures: lambda peer, message: self.failures.add(message),
            **ActorRequests(self).handlers(),
            **GroupRequests(self).handlers(),
        }

    def _wall(self, now: float) -> float:
        return now + self._wall_offset

    def wall(self) -> float:
        """The date of this step."""
        return self._wall(self.now)

    # -- the interface ------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take one event; returns what is to be done, in order.

        Raises
        ------
        IllegalTransition
            If the message cannot be true. The state is as it was but for commands already decided, which the next call
            returns: one confused raylet must not take down the cluster.
        """
        self.now = now
        self.log.at(now)
        if isinstance(event, Received):
            self.messages += 1
            self._handlers[type(event.message)](event.peer, event.message)
        elif isinstance(event, PeerLost):
            self._peer_lost(event.peer)
        elif isinstance(event, PeerBack):
            self.nodes.connected(event.peer, now)
        for node in self.nodes.silent(now):
            self._silent(node)
        for worker_id in self.processes.missing(now):
            self._process_died(worker_id, Death(DeathKind.CRASHED, "no such process is known: it ended long ago"))
        if self.groups.try_at is not None and now >= self.groups.try_at:
            self.try_waiting()
        self.nodes.send_view(now)
        self.surveys.tick(now)
        if self._stop_at is not None and (now >= self._stop_at or not self.nodes.living()):
            self._stop_at = None
            self.out.commands.append(End(self._stop_reason or ""))
        return self.out.take()

    def next_deadline(self) -> float | None:
        """When to call `handle` with a `Tick`, if nothing comes before."""
        nodes = self.nodes
        times = (
            nodes.check_at,
            nodes.view_at,
            self.processes.check_at,
            self.surveys.next_due(),
            self.groups.try_at,
            self._stop_at,
        )
        return min((at for at in times if at is not None), default=None)

    def restore(self, tables: Tables, now: float) -> None:
        """Take over what storage kept, before the first event. Raylets are expected to say hello again."""
        self.now = now
        decode = msgspec.msgpack.decode
        for value in tables.get(NODE_TABLE, {}).values():
            self.nodes.restore(decode(value, type=NodeRecord), now)
        self.jobs.restore_last(decode(tables.get(META_TABLE, {}).get(LAST_JOB, b"\0"), type=int))
        for value in tables.get(JOB_TABLE, {}).values():
            self.jobs.restore(decode(value, type=JobRecord), now)
        for worker_id, value in tables.get(CORE_TABLE, {}).items():
            self.processes.by_worker[worker_id] = decode(value, type=Core)
        group_specs = tables.get(GROUP_SPEC_TABLE, {})
        for group_id, value in tables.get(GROUP_TABLE, {}).items():
            group_spec = decode(group_specs[group_id], type=GroupSpec)
            self.groups.restore(group_id, group_spec, decode(value, type=GroupRecord), now)
        specs = tables.get(SPEC_TABLE, {})
        for actor_id, value in tables.get(ACTOR_TABLE, {}).items():
            spec = decode(specs[actor_id], type=ActorSpec)
            restore(self.actors, actor_id, spec, decode(value, type=ActorRecord), now)
        for key, value in tables.get(KV_TABLE, {}).items():
            self.kv.restore(key, decode(value, type=bytes))
        # Who watched which actor is not stored: after a restart every core is told of every change.
        self.actors.everybody = self.groups.everybody = self.processes.peers

    def check_invariants(self) -> None:
        """Raise `InvariantViolation` where the state contradicts itself. For tests: it looks at everything."""
        self.nodes.check()
        self.actors.check()
        self.groups.check()
        self.jobs.check()
        self.processes.check()
        self.kv.check()
        self.events.check()
        self.surveys.check()

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def _node_hello(self, peer: bytes, message: NodeHello) -> None:
        info = message.node
        is_new = info.node_id not in self.nodes.by_id
        error = ""
        if message.protocol != PROTOCOL_VERSION:
            error = _other_protocol(message.protocol)
        elif self._stop_reason is not None:
            error = "the cluster is about to end"
        elif not self.nodes.hello(info, peer, self.now):
            error = f"node {info.node_id.hex()} was declared dead and its work goes on elsewhere: stop, and join anew"
        if error:
            self.out.send(peer, Welcome(self.cluster_id, [], error=error))
            return
        node = self.nodes.by_id[info.node_id]
        if is_new:
            self.log.node_joined(node)
        living = [other.info for other in self.nodes.living()]
        self.out.send(peer, Welcome(self.cluster_id, living))
        others = tuple(other for other in self.nodes.peers() if other != peer)
        self.out.send_many((*others, *self.processes.peers()), NodeUpdate(node.info))
        self.nodes.full_view(peer)
        self.groups.reconcile(node, message.bundles, self.now)
        reconcile(self.actors, self.out, node, message.actors, self.now)
        self.try_waiting()

    def _node_report(self, peer: bytes, message: NodeReport) -> None:
        node = self.nodes.by_peer.get(peer)
        if node is None:
            self.out.send(peer, SayHello())
        elif self.nodes.report(node, message, self.now) | self.groups.node_reported(node):
            self.try_waiting()

    def try_waiting(self) -> None:
        """Something came free, or a node or a group came or went: look who can be placed."""
        self.groups.try_waiting(self.now)
        self.actors.try_waiting(self.now)

    def _silent(self, node: Node) -> None:
        if self._stop_reason is not None:
            death = Death(DeathKind.SHUTDOWN, self._stop_reason)
        elif node.state is NodeState.DRAINING:
            death = Death(DeathKind.NODE_DIED, "it was asked to leave and did, or did not in time")
        else:
            text = (
                f"its raylet was silent for {self.config.heartbeat_timeout:g} s, or its connection broke and stayed so"
            )
            death = Death(DeathKind.NODE_DIED, text)
        self._node_died(node, death)

    def _node_died(self, node: Node, death: Death) -> None:
        workers = dict.fromkeys(self.processes.on_node(node.node_id))
        for worker in node.workers:
            worker_id = worker.get("worker_id")
            if isinstance(worker_id, bytes):
                workers[worker_id] = None
        was_asked = self._stop_reason is not None or node.state is NodeState.DRAINING or death.detail == _REMOVED
        self.log.node_died(node, death, was_asked=was_asked)
        # A raylet that only cannot be reached must not go on with what is now done elsewhere.
        self.out.raylet(node.node_id, StopRaylet(death.detail))
        self.nodes.die(node, death, self.processes.peers(), self.now)
        self.surveys.node_died(node.node_id, self.now)
        of_workers = Death(DeathKind.NODE_DIED, f"its node {node.node_id.hex()} died: {death.detail}")
        self.groups.node_died(node, self.now)
        self.actors.node_died(node, of_workers, self.now)
        for worker_id in workers:
            self._process_died(worker_id, of_workers)
        self.try_waiting()

    def _remove_node(self, peer: bytes, message: RemoveNode) -> None:
        node = self.nodes.by_id.get(message.node_id)
        if node is None or node.is_dead:
            text = f"there is no living node {message.node_id.hex()}"
            self.out.fail(peer, message.request, "not_found", text)
            return
        if message.graceful:
            self.nodes.drain(node, "the node was removed", self.now)
            self.log.node_drains(node)
        else:
            self._node_died(node, Death(DeathKind.NODE_DIED, _REMOVED))
        self.out.answer(peer, message.request, True)

    def _peer_lost(self, peer: bytes) -> None:
        node = self.nodes.by_peer.get(peer)
        if node is not None:
            # A node that was asked to go and is gone is not waited for.
            was_asked = self._stop_reason is not None or node.state is NodeState.DRAINING
            if was_asked:
                self._silent(node)
            else:
                self.nodes.connection_lost(node, self.now)
        self.actors.unwatch(peer)
        self.groups.unwatch(peer)
        self.kv.forget_peer(peer)

    # -- jobs and processes --------------------------------------------------------------------------------------------

    def _driver_hello(self, peer: bytes, message: DriverHello) -> None:
        node = self.nodes.by_id.get(message.address.node_id)
        error = ""
        if message.protocol != PROTOCOL_VERSION:
            error = _other_protocol(message.protocol)
        elif message.address.worker_id in self.processes.dead:
            error = "this process was declared dead, with what it owned; it must end"
        elif node is not None and node.is_dead:
            error = f"your node {node.node_id.hex()} was declared dead"
            # Others may have met it, and have not heard of its end with that of its node: it was not known to be there.
            self._process_died(message.address.worker_id, Death(DeathKind.NODE_DIED, f"its node died: {error}"))
        if error:
            self.out.send(peer, Welcome(self.cluster_id, [], error=error, request=message.request))
            return
        job_id = b""
        if message.job is not None:
            info = msgspec.structs.replace(message.job, driver=message.address)
            is_new = info.driver.worker_id not in self.jobs.by_driver
            job = self.jobs.begin(info, self.now)
            job_id = job.info.job_id
            if is_new:
                self.log.job_started(job.info)
        self.processes.hello(Core(peer, message.address, job_id, is_driver=message.job is not None))
        living = [other.info for other in self.nodes.living()]
        self.out.send(peer, Welcome(self.cluster_id, living, job_id, request=message.request))

    def _report_job_end(self, peer: bytes, message: ReportJobEnd) -> None:
        job = self.jobs.by_id.get(message.job_id)
        if job is None:
            self.out.fail(peer, message.request, "not_found", f"there is no job {message.job_id.hex()}")
            return
        self._end_job(job, Death(DeathKind.EXITED, "its driver called shutdown"), said_goodbye=True)
        self.out.answer(peer, message.request, True)

    def _end_job(self, job: Job, death: Death, *, said_goodbye: bool) -> None:
        driver = job.info.driver.worker_id
        if not self.jobs.end(job, death, self.now, said_goodbye=said_goodbye):
            return
        self.log.job_ended(job.info, death, said_goodbye=said_goodbye)
        reason = f"its job {job.info.job_id.hex()} ended ({death.detail}); make it detached to let it live longer"
        self.groups.job_ended(job.info.job_id, reason, self.now)
        self.actors.job_ended(job.info.job_id, Death(DeathKind.OWNER_DIED, reason), self.now)
        self._process_died(driver, death)

    def _report_process_death(self, peer: bytes, message: ReportProcessDeath) -> None:
        node = self.nodes.by_peer.get(peer)
        if node is not None and message.worker_id == node.info.raylet.worker_id:
            text = message.death.detail or "its raylet ended"
            self._node_died(node, msgspec.structs.replace(message.death, kind=DeathKind.NODE_DIED, detail=text))
            return
        if node is not None:
            self.nodes.heard(node, self.now)
            if message.worker_id not in self.processes.dead:
                self.log.worker_died(message, node.node_id)
        self._process_died(message.worker_id, message.death)
        job = self.jobs.by_id.get(message.job_id)
        if job is not None and message.is_driver:
            self._end_job(job, message.death, said_goodbye=False)

    def _actor_changed(self, actor: Actor, before: ActorState, restarts: int) -> None:
        self.log.actor_changed(actor, before, restarts)
        if actor.state is ActorState.DEAD and actor.outlives_job:
            self.groups.actor_ended(actor.actor_id, self.now)

    def _ask_process(self, peer: bytes, message: AskProcess) -> None:
        self.processes.asked(peer, message.worker_id, self.now)

    def _process_died(self, worker_id: bytes, death: Death) -> None:
        if not self.processes.died(worker_id, death, self.nodes.peers()):
            return
        job = self.jobs.by_driver.get(worker_id)
        if job is not None:
            self._end_job(job, death, said_goodbye=False)
        self.actors.process_died(worker_id, death, self.now)

    # -- telemetry, queries, the end -----------------------------------------------------------------------------------

    def _read_task_events(self, peer: bytes, message: ReadTaskEvents) -> None:
        self.out.answer(peer, message.request, read_events(self, message))

    def _node_answer(self, peer: bytes, message: NodeAnswer) -> None:
        node = self.nodes.by_peer.get(peer)
        if node is not None:
            self.nodes.heard(node, self.now)
            self.surveys.answered(node.node_id, message, self.now)

    def _report_event(self, peer: bytes, message: ReportEvent) -> None:
        node, event = self.nodes.by_peer.get(peer), message.event
        self.log.add(msgspec.structs.replace(event, node_id=node.node_id) if node is not None else event)

    def _list_state(self, peer: bytes, message: ListState) -> None:
        if message.what in NODE_QUESTIONS:
            self.surveys.ask(peer, message.request, message.what, self.now)
            return
        if message.what not in QUERIES:
            text = f"there is no list of {message.what!r}, but of {', '.join(sorted({*QUERIES, *NODE_QUESTIONS}))}"
            self.out.fail(peer, message.request, "bad_request", text)
            return
        self.out.answer(peer, message.request, query(self, message))

    def _stop(self, peer: bytes, message: Stop) -> None:
        self.out.answer(peer, message.request, True)
        if self._stop_reason is not None:
            return
        self._stop_reason = message.reason or "the cluster was stopped"
        self._stop_at = self.now + self.config.stop_timeout
        for node in self.nodes.living():
            self.out.raylet(node.node_id, StopRaylet(self._stop_reason))
