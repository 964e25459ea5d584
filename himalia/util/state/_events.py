"""The log of the cluster's events, listed and followed; and what failed in it, by kind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from himalia.cluster.protocol.gcs_messages import ListState
from himalia.util.state._schemas import ClusterEventState, ErrorGroupState, StateRecord

if TYPE_CHECKING:
    from himalia.util.state._source import Source

__all__ = ["cluster_events", "error_groups", "follow_cluster_events"]

_POLL: Final = 0.5
"""Seconds between questions: what happens is rare, and read by people."""

_AT_ONCE: Final = 1_000
_ALL: Final = 1_000_000  # more than the GCS remembers


def cluster_events(source: Source, limit: int = _ALL) -> list[StateRecord]:
    """The newest first."""
    return [_row(event) for event in reversed(source.ask("events", limit)["events"])]


def follow_cluster_events(
    address: str | None = None, after: int = 0, timeout: float | None = None
) -> Iterator[ClusterEventState]:
    """Events as they happen, the oldest first; what is there already comes first.

    Parameters
    ----------
    address
        Of a cluster; None: the one this process is connected to, or the newest on this machine.
    after
        Begin behind the event with this ``event_id``; 0: with the oldest that is remembered.
    timeout
        Seconds after which it ends; None: never.

    Raises
    ------
    ConnectionError
        The cluster is gone.
    """
    from himalia.util.state._source import open_source

    until = None if timeout is None else time.monotonic() + timeout
    with open_source(address, 10.0) as source:
        first: dict[str, Any] = source.ask("events")
        yield from (_row(event) for event in first["events"] if event["number"] > after)
        after = first["next"]
        while until is None or time.monotonic() < until:
            answer = source.call(ListState("events", _AT_ONCE, after=after))
            yield from (_row(event) for event in answer["events"])
            after = answer["next"]
            if len(answer["events"]) < _AT_ONCE:
                time.sleep(_POLL)


def _row(event: dict[str, Any]) -> ClusterEventState:
    return ClusterEventState(
        severity=event["severity"],
        time=_date(event["at"]),
        source_type=event["source"],
        event_id=event["number"],
        event_type=event["kind"],
        message=event["message"],
        custom_fields=event["numbers"],
        node_id=event["node_id"].hex() or None,
        worker_id=event["worker_id"].hex() or None,
        actor_id=event["actor_id"].hex() or None,
        job_id=event["job_id"].hex() or None,
        cell=event["cell"] or None,
        time_ms=round(event["at"] * 1000),
    )


def _date(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def error_groups(source: Source) -> list[StateRecord]:
    """What failed last comes first."""
    answer = source.ask("errors")
    left_out = answer["others"] + answer["forgotten"]
    if left_out:
        source.warnings.append(f"{left_out} more failures are of kinds that are not listed: there were too many kinds")
    return [
        ErrorGroupState(
            error=group["error"],
            function=group["function"],
            count=group["count"],
            cells=group["cells"],
            last_time=_date(group["last"]),
            message=group["message"],
            file=group["file"],
            line=group["line"],
            frame=group["frame"],
            place=group["place"],
            first_time_ms=round(group["first"] * 1000),
            last_time_ms=round(group["last"] * 1000),
            job_id=group["job_id"].hex(),
            task_id=group["task_id"].hex(),
            worker_id=group["worker_id"].hex(),
            node_ids=[node_id.hex() for node_id in group["nodes"]],
            traceback=group["traceback"],
        )
        for group in answer["groups"]
    ]
