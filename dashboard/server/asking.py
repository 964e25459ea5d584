"""Questions to the cluster, asked in threads so that the loop serves meanwhile.

A connection belongs to one thread, so each thread has its own. Several of them: slow answers (objects, which every
process is asked for; a profile, which takes as long as it is to last) leave others for quick ones.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import msgspec

from himalia.util.state._source import Source

from ...cluster.gcs.client import GcsClient
from ...cluster.launchers.boot import ConnectionInfo
from ..feed import ModelFeed
from ..model import Model

__all__ = ["Asked", "Asking", "Counts"]

T = TypeVar("T")

_THREADS: Final = 6
_TIMEOUT: Final = 10.0


class Counts:
    """A model that follows the tasks when it is asked, for counts: of all threads, one at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._model = Model(
            tasks_kept=1_000, bars_kept=100
        )  # counts need neither: what is drawn has a model of its own
        self._feed: ModelFeed | None = None
        self._client: GcsClient | None = None

    def read(self, client: GcsClient, look: Callable[[Model], T]) -> T:
        """What a function finds in the model, which is brought up to date over this connection."""
        with self._lock:
            self._client = client
            if self._feed is None:
                self._feed = ModelFeed(self._ask, self._model)
            return look(self._feed.catch_up())

    def _ask(self, message: object) -> object:
        assert self._client is not None
        return self._client.call(message, _TIMEOUT)


class Asked(msgspec.Struct):
    """Who answers a question. ``source`` and ``client`` are of the asking thread."""

    source: Source
    client: GcsClient
    counts: Counts
    where: ConnectionInfo


class Asking:
    """Answers from one cluster. To be closed."""

    def __init__(self, where: ConnectionInfo) -> None:
        self.where = where
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="himalia-ask")
        self._own = threading.local()
        self._clients: list[GcsClient] = []
        self._counts = Counts()

    async def ask(self, question: Callable[[Asked], T]) -> T:
        """What a function of `Asked` returns.

        Raises
        ------
        GcsUnreachableError
            The cluster does not answer.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, question)

    def _ask(self, question: Callable[[Asked], T]) -> T:
        client: GcsClient | None = getattr(self._own, "client", None)
        if client is None:
            client = self._own.client = GcsClient(self.where)
            self._clients.append(client)
        return question(Asked(Source(client, self.where, _TIMEOUT), client, self._counts, self.where))

    def close(self) -> None:
        """End the threads, then their connections."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        for client in self._clients:
            client.close()
