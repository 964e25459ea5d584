"""What happened in a cluster that somebody may want to know later: nodes, jobs, actors, workers, stores, decisions.

Nothing about single tasks, which have their own record (`telemetry/events.py`): such an event is rare, and says why.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

__all__ = ["ClusterEvent", "EventKind", "ReportEvent", "Severity"]


class Severity(StrEnum):
    """INFO: as it should be. WARNING: somebody may want to do something. ERROR: something was lost."""

    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class EventKind(StrEnum):
    """What happened, for programs."""

    NODE_JOINED = "NODE_JOINED"
    NODE_DRAINING = "NODE_DRAINING"
    NODE_LEFT = "NODE_LEFT"  # as it was asked to
    NODE_DIED = "NODE_DIED"
    JOB_STARTED = "JOB_STARTED"
    JOB_FINISHED = "JOB_FINISHED"
    JOB_FAILED = "JOB_FAILED"  # its driver died without a word
    ACTOR_CREATED = "ACTOR_CREATED"
    ACTOR_LOST = "ACTOR_LOST"  # and begins another life
    ACTOR_RESTARTED = "ACTOR_RESTARTED"
    ACTOR_ENDED = "ACTOR_ENDED"  # nobody needs it, or it was killed
    ACTOR_DIED = "ACTOR_DIED"
    ACTOR_INFEASIBLE = "ACTOR_INFEASIBLE"
    GROUP_CREATED = "GROUP_CREATED"  # a placement group has all its bundles, for the first time or again
    GROUP_RESCHEDULING = "GROUP_RESCHEDULING"  # it lost some
    GROUP_REMOVED = "GROUP_REMOVED"
    GROUP_INFEASIBLE = "GROUP_INFEASIBLE"
    WORKER_DIED = "WORKER_DIED"
    WORKER_KILLED = "WORKER_KILLED"  # on request
    WORKER_OUT_OF_MEMORY = "WORKER_OUT_OF_MEMORY"
    WORKER_NOT_STARTED = "WORKER_NOT_STARTED"
    STORE_FULL = "STORE_FULL"  # objects go to files instead
    STORE_SPILLING = "STORE_SPILLING"
    STORE_TROUBLE = "STORE_TROUBLE"
    CAPACITY_CHANGED = "CAPACITY_CHANGED"
    CELL_CANCELLED = "CELL_CANCELLED"


class ClusterEvent(msgspec.Struct, array_like=True, kw_only=True):
    """``source``: who says so (GCS, RAYLET, OBJECT_STORE, AUTOSCALER). ``message`` is one sentence with its reason.

    ``cell`` is the number of a notebook's cell; ids are empty and it is 0 where they do not apply. ``numbers``: what
    the reason is made of, by name.
    """

    kind: EventKind
    severity: Severity
    source: str
    message: str
    node_id: bytes = b""
    worker_id: bytes = b""
    actor_id: bytes = b""
    job_id: bytes = b""
    cell: int = 0
    numbers: dict[str, float | str] = {}


class ReportEvent(msgspec.Struct, array_like=True, tag=61):
    """Raylet to GCS: this happened here."""

    event: ClusterEvent
