"""Failed tasks of the whole cluster by kind: a bounded table, merged from what processes tell.

Of too many kinds those that failed last longest ago are forgotten. Kept in memory, as what it tells of.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

import msgspec

from ..protocol.failure_messages import FailureGroup, ReportFailures

__all__ = ["Failures"]

_NODES: Final = 32  # named in a row
_CELLS: Final = 64

_Key = tuple[bytes, str, str, str, int]


class Failures:
    """The kinds of failures, the one that failed last at the end. ``kept``: how many of them."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._groups: OrderedDict[_Key, FailureGroup] = OrderedDict()
        self._nodes: dict[_Key, list[bytes]] = {}
        self._others = 0
        self._forgotten = 0

    def add(self, message: ReportFailures) -> None:
        self._others += message.others
        for news in message.groups:
            key = (news.job_id, news.function, news.error, news.file, news.line)
            self._merge(key, news)
            self._groups.move_to_end(key)
        while len(self._groups) > self._kept:
            key, group = self._groups.popitem(last=False)
            del self._nodes[key]
            self._forgotten += group.count

    def _merge(self, key: _Key, news: FailureGroup) -> None:
        nodes = self._nodes.setdefault(key, [])
        if news.node_id not in nodes and len(nodes) < _NODES:
            nodes.append(news.node_id)
        known = self._groups.get(key)
        if known is None:
            self._groups[key] = news
            return
        self._groups[key] = msgspec.structs.replace(
            news,
            count=known.count + news.count,
            first=min(known.first, news.first),
            last=max(known.last, news.last),
            cells=sorted({*known.cells, *news.cells})[-_CELLS:],
            traceback=known.traceback or news.traceback,
        )

    def list(self, limit: int) -> dict[str, Any]:
        """The kinds that failed last, newest first.

        ``others``: failures of kinds that were never told of; ``forgotten``: of those that are no more in the table.
        """
        newest = [key for key, _ in zip(reversed(self._groups), range(limit), strict=False)]
        rows = [{**msgspec.structs.asdict(self._groups[key]), "nodes": self._nodes[key]} for key in newest]
        return {"groups": rows, "others": self._others, "forgotten": self._forgotten}
