"""What can be set about the GCS, and why each default is what it is."""

from __future__ import annotations

import msgspec

__all__ = ["GcsConfig"]


class GcsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds, counts and bytes.

    ``heartbeat_timeout``: a node that is silent for so long is dead. Reports come each second: five lost ones in a row.
    ``reconnect_grace``: the same after its connection broke; a process that ended breaks it for good.
    ``view_interval``: the resource view is sent at most so often; a spill on an old view is only refused.
    ``drain_timeout``: a node asked to leave after its tasks is dead after so long at most, however long they take.
    ``hello_grace``: a process that somebody asks about and that has not said hello for so long is dead. Its hello and
    the question race, by milliseconds; what died so long ago that it was forgotten never says hello.
    ``stop_timeout``: how long the end of the cluster waits for raylets to say that they left.
    ``late_tick``: a check of deadlines that is so late means that the GCS was stopped, not that the nodes were silent.
    ``dead_actors_kept``, ``forgotten_actors_kept``: with their record; then only their id, for late callers.
    ``removed_groups_kept`` (placement groups), ``ended_jobs_kept``, ``dead_processes_kept``, ``dead_nodes_kept``: what
    the state API can still show.
    ``task_events_kept``, ``task_event_bytes``: bounds of the ring, whichever is met first. A task has
    about 27 bytes, so the first is met first unless many fail.
    ``cluster_events_kept``: half a kilobyte each. ``failures_kept``: kinds of failures, nine kilobytes each at most.
    """

    heartbeat_timeout: float = 5.0
    reconnect_grace: float = 0.5
    view_interval: float = 0.05
    drain_timeout: float = 600.0
    hello_grace: float = 10.0
    stop_timeout: float = 5.0
    late_tick: float = 1.0
    dead_actors_kept: int = 10_000
    forgotten_actors_kept: int = 50_000
    removed_groups_kept: int = 1_000
    ended_jobs_kept: int = 1_000
    dead_processes_kept: int = 10_000
    dead_nodes_kept: int = 1_000
    task_events_kept: int = 1_000_000
    task_event_bytes: int = 64 * 1024 * 1024
    cluster_events_kept: int = 10_000
    failures_kept: int = 1_000
