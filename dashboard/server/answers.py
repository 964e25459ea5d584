"""The cluster's answers to the hub: over one connection, which is made again when it was lost."""

from __future__ import annotations

from typing import Any

from himalia.util.state._source import Source

from ...cluster.gcs.client import GcsClient
from ...cluster.launchers.boot import ConnectionInfo
from ..questions import answer

__all__ = ["Answers"]

_TIMEOUT = 10.0


class Answers:
    """What `StateFeed` asks. Used by one thread at a time; to be closed."""

    def __init__(self, where: ConnectionInfo) -> None:
        self._where = where
        self._client: GcsClient | None = None

    def call(self, message: Any) -> Any:
        """What the GCS answers to a message.

        Raises
        ------
        ConnectionError
            The cluster is gone.
        """
        if self._client is None:
            self._client = GcsClient(self._where)
        try:
            return self._client.call(message, _TIMEOUT)
        except ConnectionError:
            self.close()
            raise

    def rows(self, name: str) -> list[dict[str, Any]]:
        """What a page asks by name; see `questions`."""
        if self._client is None:
            self._client = GcsClient(self._where)
        return answer(Source(self._client, self._where, _TIMEOUT), name)

    def close(self) -> None:
        """End the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None
