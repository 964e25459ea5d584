"""The log of the cluster: what happened to nodes, jobs, actors and workers, and why.

Strategy: a ring in memory, with a number for each event that only grows, by which readers go on where they were. Who
was too slow is told how many events it missed. What is normal and frequent (a worker that was idle for long) is no
event. Rejected: keeping it in storage (a restart of the GCS is rare, and raylets' logs have the rest), and a ring for
each kind (what happened in which order is what one wants to see).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from ..protocol.cluster_events import ClusterEvent, EventKind, Severity
from ..protocol.common import Death, DeathKind, from_units
from ..protocol.gcs_messages import JobInfo, ReportProcessDeath
from .actor_record import Actor, ActorState
from .config import GcsConfig
from .group_record import Group
from .nodes_machine import Node

__all__ = ["EventLog"]

_EXPECTED: Final = frozenset(
    {DeathKind.EXITED, DeathKind.KILLED, DeathKind.OUT_OF_SCOPE, DeathKind.SHUTDOWN, DeathKind.GROUP_REMOVED}
)
"""An actor that ends for one of these was meant to; as one whose job ended."""

_WORKER_ENDS: Final[dict[DeathKind, tuple[EventKind, Severity]]] = {
    DeathKind.CRASHED: (EventKind.WORKER_DIED, Severity.ERROR),
    DeathKind.OUT_OF_MEMORY: (EventKind.WORKER_OUT_OF_MEMORY, Severity.ERROR),
    DeathKind.KILLED: (EventKind.WORKER_KILLED, Severity.INFO),
}
"""Others are of no interest: it was idle, or its node or owner ended, which is an event of its own."""


class EventLog:
    """The newest events. ``wall`` makes dates of times."""

    def __init__(self, config: GcsConfig, wall: Callable[[float], float]) -> None:
        self._events: deque[dict[str, Any]] = deque(maxlen=config.cluster_events_kept)
        self._wall = wall
        self._last = 0
        self._now = 0.0

    def at(self, now: float) -> None:
        """The time of what follows."""
        self._now = now

    def add(self, event: ClusterEvent) -> None:
        self._last += 1
        fields = msgspec.structs.asdict(event)
        fields["message"] = event.message.rstrip(". ") + "."
        self._events.append({"number": self._last, "at": self._wall(self._now), **fields})

    def since(self, after: int, limit: int) -> dict[str, Any]:
        """Events after number ``after``, the oldest of them first, ``limit`` at most; of all (0) the newest.

        ``next`` is what to ask with for what follows, ``missed`` how many events were forgotten before they were read.
        A number that was never given is that of a GCS before this one: reading begins anew.
        """
        first = self._last - len(self._events) + 1
        begin = first if after <= 0 or after > self._last else max(after + 1, first)
        missed = begin - after - 1 if 0 < after <= self._last else 0
        events = [event for event in self._events if event["number"] >= begin] if begin <= self._last else []
        chosen = events[:limit] if 0 < after <= self._last else events[-limit:]
        return {"events": chosen, "next": chosen[-1]["number"] if chosen else self._last, "missed": missed}

    def _tell(self, kind: EventKind, severity: Severity, text: str, **about: Any) -> None:
        """Add what the GCS says itself, ``about`` whom."""
        self.add(ClusterEvent(kind=kind, severity=severity, source="GCS", message=text, **about))

    # -- what the GCS knows itself ------------------------------------------------------------------------------------

    def node_joined(self, node: Node) -> None:
        resources = from_units({name: units for name, units in node.total.items() if not name.startswith("node:")})
        what = "The head node" if node.info.is_head else "Node"
        self._add_of_node(
            node,
            EventKind.NODE_JOINED,
            Severity.INFO,
            f"{what} {_name(node)} joined with {_text(resources)}.",
            resources,
        )

    def node_drains(self, node: Node) -> None:
        text = f"Node {_name(node)} was asked to leave: it takes no more work and ends after what it runs."
        self._add_of_node(node, EventKind.NODE_DRAINING, Severity.INFO, text)

    def node_died(self, node: Node, death: Death, *, was_asked: bool) -> None:
        if was_asked:
            text = f"Node {_name(node)} left the cluster: {death.detail}."
            self._add_of_node(node, EventKind.NODE_LEFT, Severity.INFO, text)
        else:
            text = f"Node {_name(node)} died, with its workers and its objects: {death.detail}."
            self._add_of_node(node, EventKind.NODE_DIED, Severity.ERROR, text)

    def _add_of_node(
        self, node: Node, kind: EventKind, severity: Severity, text: str, numbers: dict[str, float] | None = None
    ) -> None:
        self._tell(kind, severity, text, node_id=node.node_id, numbers={**(numbers or {})})

    def job_started(self, info: JobInfo) -> None:
        text = f"Job {info.job_id.hex()} began: {info.entrypoint or 'a driver'} (pid {info.pid})."
        self._add_of_job(info, EventKind.JOB_STARTED, Severity.INFO, text)

    def job_ended(self, info: JobInfo, death: Death, *, said_goodbye: bool) -> None:
        if said_goodbye:
            text = f"Job {info.job_id.hex()} ended: {death.detail}."
            self._add_of_job(info, EventKind.JOB_FINISHED, Severity.INFO, text)
        else:
            text = f"Job {info.job_id.hex()} ended without a word: {death.detail or 'its driver is gone'}."
            self._add_of_job(info, EventKind.JOB_FAILED, Severity.WARNING, text)

    def _add_of_job(self, info: JobInfo, kind: EventKind, severity: Severity, text: str) -> None:
        driver = info.driver
        self._tell(kind, severity, text, node_id=driver.node_id, worker_id=driver.worker_id, job_id=info.job_id)

    def worker_died(self, report: ReportProcessDeath, node_id: bytes) -> None:
        """A raylet reports that a worker is no more."""
        found = _WORKER_ENDS.get(report.death.kind)
        if found is None or report.is_driver:
            return
        ran = f" It ran {report.ran}{f' of cell {report.cell}' if report.cell else ''}." if report.ran else ""
        numbers: dict[str, float | str] = {"pid": report.death.pid}
        if report.death.signal is not None:
            numbers["signal"] = report.death.signal
        if report.death.exit_code is not None:
            numbers["exit_code"] = report.death.exit_code
        if report.ran:
            numbers["function"] = report.ran
        self.add(
            ClusterEvent(
                kind=found[0],
                severity=found[1],
                source="RAYLET",
                message=f"Worker {report.worker_id.hex()} ended: {report.death.detail.rstrip('. ')}.{ran}",
                node_id=node_id,
                worker_id=report.worker_id,
                job_id=report.job_id,
                cell=report.cell,
                numbers=numbers,
            )
        )

    def actor_changed(self, actor: Actor, before: ActorState, restarts: int) -> None:
        """An actor followed an edge; it was in this state, and had restarted so often."""
        name = actor.spec.class_name + (f" {actor.spec.name!r}" if actor.spec.name else "")
        if actor.state is before:
            return
        if actor.state is ActorState.ALIVE and not actor.restarts:
            self._add_of_actor(actor, EventKind.ACTOR_CREATED, Severity.INFO, f"Actor {name} is alive.")
        elif actor.state is ActorState.ALIVE:
            text = f"Actor {name} is alive again (restart {actor.restarts})."
            self._add_of_actor(actor, EventKind.ACTOR_RESTARTED, Severity.INFO, text)
        elif actor.state is ActorState.WAITING and actor.restarts > restarts:
            why = actor.old_death.detail if actor.old_death is not None else "its worker is gone"
            most = "always" if actor.spec.max_restarts < 0 else f"{actor.restarts} of {actor.spec.max_restarts}"
            text = f"Actor {name} was lost with its state, and restarts ({most}): {why}"
            self._add_of_actor(actor, EventKind.ACTOR_LOST, Severity.WARNING, text)
        elif actor.state is ActorState.DEAD and actor.death is not None:
            is_expected = actor.death.kind in _EXPECTED or actor.death.kind is DeathKind.OWNER_DIED
            kind = EventKind.ACTOR_ENDED if is_expected else EventKind.ACTOR_DIED
            severity = Severity.INFO if is_expected else Severity.ERROR
            self._add_of_actor(actor, kind, severity, f"Actor {name} is dead: {actor.death.detail}")

    def group_changed(self, group: Group, before: str) -> None:
        """A placement group came to another state than this one, in the words of its users."""
        name = f"Placement group {group.spec.name!r}" if group.spec.name else f"Placement group {group.group_id.hex()}"
        count = len(group.bundles)
        if group.public_state == "CREATED":
            nodes = len({bundle.node_id for bundle in group.bundles})
            again = " again" if before == "RESCHEDULING" else ""
            text = (
                f"{name} has its {_count(count, 'bundle')}{again}, on {_count(nodes, 'node')} ({group.spec.strategy})."
            )
            self._add_of_group(group, EventKind.GROUP_CREATED, Severity.INFO, text)
        elif group.public_state == "RESCHEDULING":
            lost = sum(bundle.node_id is None for bundle in group.bundles)
            text = f"{name} lost {lost} of {_count(count, 'bundle')} with a node: other nodes are looked for."
            self._add_of_group(group, EventKind.GROUP_RESCHEDULING, Severity.WARNING, text)
        elif group.public_state == "REMOVED":
            text = f"{name} was removed: {group.reason}."
            self._add_of_group(group, EventKind.GROUP_REMOVED, Severity.INFO, text)

    def group_infeasible(self, group: Group, text: str) -> None:
        self._add_of_group(group, EventKind.GROUP_INFEASIBLE, Severity.WARNING, text)

    def _add_of_group(self, group: Group, kind: EventKind, severity: Severity, text: str) -> None:
        spec = group.spec
        self.add(
            ClusterEvent(
                kind=kind,
                severity=severity,
                source="GCS",
                message=text,
                worker_id=spec.creator.worker_id,
                job_id=spec.job_id,
                cell=spec.cell.execution if spec.cell is not None else 0,
                numbers={"group": group.group_id.hex(), "bundles": len(group.bundles)},
            )
        )

    def actor_infeasible(self, actor: Actor, text: str) -> None:
        self._add_of_actor(actor, EventKind.ACTOR_INFEASIBLE, Severity.WARNING, text)

    def _add_of_actor(self, actor: Actor, kind: EventKind, severity: Severity, text: str) -> None:
        cell = actor.spec.cell
        self._tell(
            kind,
            severity,
            text,
            node_id=actor.node_id or b"",
            worker_id=actor.address.worker_id if actor.address is not None else b"",
            actor_id=actor.actor_id,
            job_id=actor.spec.job_id,
            cell=cell.execution if cell is not None else 0,
            numbers={"restarts": actor.restarts, "class": actor.spec.class_name},
        )


def _name(node: Node) -> str:
    return f"{node.node_id.hex()} on {node.info.host}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"


def _text(resources: dict[str, float]) -> str:
    shown = {name: value for name, value in resources.items() if name not in ("memory", "object_store_memory")}
    return ", ".join(f"{value:g} {name}" for name, value in sorted(shown.items())) or "nothing"
