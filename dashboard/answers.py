"""Answers of a cluster over a connection of one's own, so that nobody's work waits for a question."""

from __future__ import annotations

from typing import Any, Final

from himalia.util.state._source import Source

from ..cluster.gcs.client import GcsClient, Reachable
from .errands import Errands
from .followed import Followed, FollowingSource
from .questions import answer

__all__ = ["GcsAnswers"]

_TIMEOUT: Final = 10.0


class GcsAnswers:
    """Asks the cluster at a place; see `state.ClusterAnswers`. To be closed by the thread that asked.

    The connection is made with the first question, in the thread that asks it, and again after one that failed.
    """

    def __init__(self, where: Reachable) -> None:
        self._where = where
        self._client: GcsClient | None = None
        self._errands = Errands()
        self._followed = Followed(self.call)

    def _connected(self) -> GcsClient:
        if self._client is None:
            self._client = GcsClient(self._where)
        return self._client

    def call(self, message: Any) -> Any:
        """What the GCS answers."""
        try:
            return self._connected().call(message, _TIMEOUT)
        except ConnectionError:
            self.close()
            raise

    def rows(self, name: str) -> list[dict[str, Any]]:
        """What a page asks by name; see questions.py."""
        source = Source(self._connected(), self._where, _TIMEOUT)
        return answer(FollowingSource(source, self._followed), name, self._errands)

    def close(self) -> None:
        """End the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None
