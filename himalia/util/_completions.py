"""A thread that calls back when references are ready.

A callback of ``ref.future()`` runs on a thread of the engine, which must not block and on which the API may not be
called. Executors and pools submit more work and run their user's callbacks when something completes, so they move it to
a thread of their own. One thread an executor, rather than one for all: a user's callback that blocks holds up only
those that share it.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from himalia import ObjectRef

__all__ = ["CompletionThread"]

logger = logging.getLogger(__name__)

Callback = Callable[["Future[Any]"], None]


class CompletionThread:
    """Runs callbacks one after another, in the order in which their references became ready.

    The thread refers to its queue only, so whoever owns this object can be collected, and then calls `close`.
    """

    def __init__(self, name: str) -> None:
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=_run, args=(self._inbox,), name=name, daemon=True)
        self._thread.start()

    def watch(self, ref: ObjectRef, callback: Callback) -> None:
        """Call ``callback(future)`` when the reference is ready."""
        inbox = self._inbox
        ref.future().add_done_callback(lambda future: inbox.put(lambda: callback(future)))

    def call(self, function: Callable[[], None]) -> None:
        """Call a function on the thread, after what is waiting there."""
        self._inbox.put(function)

    def close(self) -> None:
        """End the thread after what is waiting now; what completes later is not called back."""
        self._inbox.put(None)

    def join(self, timeout: float | None = None) -> None:
        """Wait for the thread to end."""
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)

    @property
    def is_current(self) -> bool:
        """Whether the caller runs on the thread."""
        return self._thread is threading.current_thread()


def _run(inbox: queue.SimpleQueue[Callable[[], None] | None]) -> None:
    while (function := inbox.get()) is not None:
        try:
            function()
        except Exception:
            # As in concurrent.futures: what a user's callback raises is told, and others still run.
            logger.exception("a callback raised")
        del function  # it may hold results
