"""Processes, actors and nodes of the cluster, in words for a notebook."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..cluster.protocol.common import Address, Cell
from ..cluster.protocol.gcs_messages import ListState

if TYPE_CHECKING:
    from ..cluster.core.runtime import Core

__all__ = ["ASK_SECONDS", "SHOWN_DIGITS", "ProcessNames"]

SHOWN_DIGITS: Final = 8
"""Of a node's id."""

ASK_SECONDS: Final = 2.0
"""For who does not answer: the rest is worth showing without."""


class ProcessNames:
    """As they are now: asked once."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.pids: dict[bytes, int] = {}  # of those that the GCS has none of
        self._workers: dict[bytes, dict[str, Any]] = {}
        self._actors: dict[bytes, dict[str, Any]] = {}
        with contextlib.suppress(Exception):  # whatever ails the GCS, the rest can be told
            self._workers = {row["worker_id"]: row for row in core.gcs_call(ListState("workers"), ASK_SECONDS)}
            self._actors = {row["actor_id"]: row for row in core.gcs_call(ListState("actors"), ASK_SECONDS)}
        self._actor_at = {
            address.worker_id: actor_id
            for actor_id, row in self._actors.items()
            if (address := msgspec.convert(row["address"], Address | None)) is not None
        }

    def actor(self, actor_id: bytes) -> str:
        """``actor `Model` 'best' of In [3]``."""
        row = self._actors.get(actor_id)
        if row is None:
            return f"actor {actor_id.hex()}"
        name = f" {row['name']!r}" if row["name"] else ""
        cell = msgspec.convert(row["cell"], Cell | None)
        made = f" of In [{cell.execution}]" if cell is not None and cell.execution else ""
        return f"actor `{row['class_name']}`{name}{made}"

    def addresses(self) -> list[Address]:
        """Where the other living processes can be asked."""
        others = [row for worker_id, row in self._workers.items() if worker_id != self.core.worker_id]
        found = [msgspec.convert(row["address"], Address | None) for row in others if row["is_alive"]]
        return [address for address in found if address is not None]

    def living(self) -> set[bytes]:
        """Who lives now."""
        return {row["worker_id"] for row in self.core.gcs_call(ListState("workers"), ASK_SECONDS) if row["is_alive"]}

    def process(self, worker_id: bytes) -> str:
        """What runs there, with its pid."""
        if worker_id == self.core.worker_id:
            return "this kernel"
        row = self._workers.get(worker_id, {})
        number = row.get("pid") or self.pids.get(worker_id)
        pid = f" (pid {number})" if number else ""
        actor_id = row.get("actor_id") or self._actor_at.get(worker_id)
        if actor_id:
            return f"{self.actor(actor_id)}{pid}"
        return f"{'another driver' if row.get('is_driver') else 'a task of worker'}{pid or ' ' + worker_id.hex()}"

    def nodes(self, nodes: list[bytes]) -> str:
        """Where something lies."""
        if not nodes:
            return "nowhere: lost"
        return ", ".join(
            "this node" if node == self.core.node_id else f"node {node.hex()[:SHOWN_DIGITS]}" for node in nodes
        )
