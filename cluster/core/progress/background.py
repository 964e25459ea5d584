"""Progress of work that nobody waits for: what `himalia.util.progress.progress` shows.

A thread looks and draws, as there is no waiting one to do it. It never leads: that would make a `get` of the user's a
follower, and slower. It ends with the work, or with the session.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .model import GONE, Model
from .tally import Counts, Tally
from .watching import PERIOD, Bar, Front

if TYPE_CHECKING:
    from ..refs import ObjectRef
    from ..runtime import Core

__all__ = ["follow"]


def follow(core: Core, refs: Iterable[ObjectRef], front: Front, title: str) -> None:
    """Show the progress of these until all have ended; returns at once."""
    bar = front.open()
    if bar is not None:
        Follower(core, refs, bar, title).start()


class Follower:
    """Draws one bar."""

    def __init__(self, core: Core, refs: Iterable[ObjectRef], bar: Bar, title: str) -> None:
        self._thread = threading.Thread(target=self._run, name="himalia-progress", daemon=True)
        self._core = core
        self._bar = bar
        self._tally = Tally()
        self._tally.add(refs)
        self._model = Model(time.monotonic(), title=title)
        self._looked = threading.Event()
        self._counts: dict[str, Counts] = {}
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin."""
        self._core.close_hooks.append(self._stop)
        self._thread.start()

    def _run(self) -> None:
        while not self._over():
            self._looked.clear()
            self._core.post(self._look)
            while not self._looked.wait(PERIOD) and not self._over():
                continue  # the leader has much to do
            if self._over() or self._tally.over:
                break
            self._bar.draw(self._model.frame(time.monotonic(), self._counts))
            self._stopped.wait(PERIOD)
        self._bar.end(self._model.frame(time.monotonic(), self._counts, GONE))
        self._core.close_hooks.remove(self._stop)

    def _over(self) -> bool:
        return self._core.fatal is not None or self._core.closed or self._stopped.is_set()

    def _look(self) -> None:
        self._counts = self._tally.look()
        self._looked.set()

    def _stop(self) -> None:
        """The session ends: say so while it can be said."""
        self._stopped.set()
        self._thread.join(1.0)
