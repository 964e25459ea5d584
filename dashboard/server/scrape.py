"""``/metrics``: a look at the cluster for each scrape, and nothing between two."""

from __future__ import annotations

import contextlib
from functools import cache
from typing import Any, Final

import msgspec

from himalia.util.state._source import ROWS, Source

from ...cluster.protocol.common import Address
from ...cluster.protocol.metric_messages import DescribeMetrics, MetricsHeld
from ..model import Model
from .asking import Asked
from .base import ApiHandler
from .metrics import CONTENT_TYPE, Snapshot, write

__all__ = ["MetricsHandler", "take_snapshot"]


_PATIENCE: Final = 1.0  # seconds; Prometheus itself waits for ten


class MetricsHandler(ApiHandler):
    """What Prometheus asks."""

    async def get(self) -> None:
        viewers = self.services.viewers()
        try:
            text = await self.services.asking.ask(lambda asked: write(take_snapshot(asked, viewers)))
        except ConnectionError as error:
            self.answer_error(503, "unreachable", str(error))
            return
        self.set_header("Content-Type", CONTENT_TYPE)
        self.end(text)


def take_snapshot(asked: Asked, viewers: int) -> Snapshot:
    """What the cluster is like now.

    Raises
    ------
    ConnectionError
        It does not answer.
    """
    source = asked.source
    return Snapshot(
        version=_version(),
        stats=source.ask("stats"),
        placement_groups=source.ask("placement_groups"),
        nodes=source.nodes(),
        node_stats=_rows("node_stats", source),
        gpu_stats=_rows("gpu_stats", source),
        groups=asked.counts.read(asked.client, _groups),
        viewers=viewers,
        own=_own(asked),
    )


def _groups(model: Model) -> list[Any]:
    return model.groups.all


def _rows(kind: str, source: Source) -> list[dict[str, Any]]:
    """A node that does not answer is left out: that it is missing shows."""
    return [row.asdict() for row in ROWS[kind][1](source)]


def _own(asked: Asked) -> list[MetricsHeld]:
    """What users count, of each process that answers soon: one in the middle of something is there the next time."""
    requests = []
    for row in asked.source.ask("workers"):
        if row["is_alive"] and row.get("address") is not None:
            with contextlib.suppress(ConnectionError):  # it has just ended
                address = msgspec.convert(row["address"], Address)
                requests.append(asked.client.post(address, DescribeMetrics(), is_raylet=False))
    return [answer for answer in asked.client.answers(requests, _PATIENCE) if isinstance(answer, MetricsHeld)]


@cache
def _version() -> str:
    from importlib.metadata import version

    return version("himalia")
