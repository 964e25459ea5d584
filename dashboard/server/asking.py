"""Questions to the cluster, asked in threads so that the loop serves meanwhile.

A connection belongs to one thread, so each thread has its own. Two of them: one slow answer (objects, which every
process is asked for) leaves the other for quick ones.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from himalia.util.state._source import Source

from ...cluster.gcs.client import GcsClient
from ...cluster.launchers.boot import ConnectionInfo

__all__ = ["Asking"]

T = TypeVar("T")

_THREADS: Final = 2
_TIMEOUT: Final = 10.0


class Asking:
    """Answers from one cluster. To be closed."""

    def __init__(self, where: ConnectionInfo) -> None:
        self.where = where
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="himalia-ask")
        self._own = threading.local()
        self._clients: list[GcsClient] = []

    async def ask(self, question: Callable[[Source], T]) -> T:
        """What a function of a `Source` returns.

        Raises
        ------
        GcsUnreachableError
            The cluster does not answer.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, question)

    def _ask(self, question: Callable[[Source], T]) -> T:
        client: GcsClient | None = getattr(self._own, "client", None)
        if client is None:
            client = self._own.client = GcsClient(self.where)
            self._clients.append(client)
        return question(Source(client, self.where, _TIMEOUT))

    def close(self) -> None:
        """End the threads, then their connections."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        for client in self._clients:
            client.close()
