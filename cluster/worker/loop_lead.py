"""An asyncio actor's event loop drives the core itself.

Strategy: the loop watches the core's sockets beside its own, so that a call is received, run and answered in one
thread, and the results of all coroutines that ended in one turn of the loop leave in one message. While user code holds
the loop the IO thread takes over after `reactor.GRACE`, as it does under a long task. Rejected: leaving the sockets to
the IO thread and waking it after each call; the two then pass the interpreter's lock to and fro for every result.
"""

from __future__ import annotations

import asyncio
from typing import Final

from ..core.reactor import Reactor

__all__ = ["LoopLead"]

FLUSH_AFTER: Final = 0.002
"""Seconds that a result waits for others of the same turn of the loop: as long as under a plain actor."""


class LoopLead:
    """Drives a reactor from a running event loop. All methods are called in its thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, reactor: Reactor) -> None:
        self._loop = loop
        self._reactor = reactor
        self._due = False
        self._flushed = loop.time()
        self._descriptors = reactor.descriptors()
        for descriptor in self._descriptors:
            loop.add_reader(descriptor, self.look)

    def look(self) -> None:
        """Take what has come, and send what there is."""
        self._due = False
        more = self._reactor.look()
        self._flushed = self._loop.time()
        if more:
            self.soon()

    def soon(self) -> None:
        """Something is to be sent: with what else this turn of the loop brings, unless that takes long."""
        if self._loop.time() - self._flushed > FLUSH_AFTER:
            self.look()
        elif not self._due:
            self._due = True
            self._loop.call_soon(self.look)

    def close(self) -> None:
        """Leave the sockets to the IO thread again."""
        for descriptor in self._descriptors:
            self._loop.remove_reader(descriptor)
