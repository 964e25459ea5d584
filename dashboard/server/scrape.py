"""``/metrics``: a look at the cluster for each scrape, and nothing between two."""

from __future__ import annotations

from functools import cache
from typing import Any

from himalia.util.state._source import ROWS, Source

from ..model import Model
from .asking import Asked
from .base import ApiHandler
from .metrics import CONTENT_TYPE, Snapshot, write

__all__ = ["MetricsHandler", "take_snapshot"]


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
        nodes=source.nodes(),
        node_stats=_rows("node_stats", source),
        gpu_stats=_rows("gpu_stats", source),
        groups=asked.counts.read(asked.client, _groups),
        viewers=viewers,
    )


def _groups(model: Model) -> list[Any]:
    return model.groups.all


def _rows(kind: str, source: Source) -> list[dict[str, Any]]:
    """A node that does not answer is left out: that it is missing shows."""
    return [row.asdict() for row in ROWS[kind][1](source)]


@cache
def _version() -> str:
    from importlib.metadata import version

    return version("himalia")
