"""Where pages for this kernel's widgets are computed: a thread with a loop and a connection to the GCS of its own.

The kernel's own thread is busy with cells, which block. Rejected: its loop (pages would stand still while a cell
computes), and the core's IO thread (which is what the cell waits for).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ...dashboard.answers import GcsAnswers
from ...dashboard.hub import Hub
from ...dashboard.state import StateFeed
from .acts import act
from .channel import PageChannel

if TYPE_CHECKING:
    from ...cluster.core.runtime import Core

__all__ = ["PageLoop", "page_loop"]

_TICK: Final = 0.25  # seconds between looks at openings that may be due

T = TypeVar("T")


class PageLoop:
    """The thread of one core; ends with it, or with the cluster."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._loop = asyncio.new_event_loop()
        self._answers = GcsAnswers(core.options)
        self._over = asyncio.Event()
        self._acts = ThreadPoolExecutor(1, thread_name_prefix="himalia-acts")
        self.hub = Hub(StateFeed(self._answers))
        self.channels: set[PageChannel] = set()
        self._thread = threading.Thread(target=self._run, name="himalia-pages", daemon=True)
        self._thread.start()
        core.close_hooks.append(self.close)

    @property
    def is_alive(self) -> bool:
        """Whether pages can be shown."""
        return self._thread.is_alive() and not self._over.is_set()

    def do(self, act: Callable[[], T]) -> Future[T]:
        """Have the thread do something; its result comes later."""
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(act())
            except BaseException as error:  # noqa: BLE001 it belongs to who asked
                done.set_exception(error)

        with suppress(RuntimeError):  # it has ended: nobody waits for this any more
            self._loop.call_soon_threadsafe(run)
        return done

    def act(self, channel: PageChannel, number: int, name: str, args: Mapping[str, Any], dry_run: bool) -> None:
        """Take an action beside the pages, or say what it would hit, and tell the browser, in the thread."""

        def told(done: Future[dict[str, str]]) -> None:
            self.do(lambda: channel.acted(number, done.result()))

        self._acts.submit(act, self._core.options, name, args, dry_run).add_done_callback(told)

    def close(self) -> None:
        """End the thread; widgets keep what they show."""
        if self.close in self._core.close_hooks:
            self._core.close_hooks.remove(self.close)
        with suppress(RuntimeError):  # it has ended by itself: the cluster is gone
            self._loop.call_soon_threadsafe(self._over.set)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._acts.shutdown()
            self._answers.close()
            self._loop.close()

    async def _serve(self) -> None:
        pages = asyncio.create_task(self.hub.run())
        over = asyncio.create_task(self._over.wait())
        ticks = asyncio.create_task(self._tick())
        await asyncio.wait([pages, over, ticks], return_when=asyncio.FIRST_COMPLETED)
        for task in (pages, over, ticks):
            task.cancel()
        await asyncio.gather(pages, over, ticks, return_exceptions=True)
        self._over.set()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            for channel in list(self.channels):
                channel.tick(time.monotonic())


_loops: dict[int, PageLoop] = {}


def page_loop(core: Core) -> PageLoop:
    """The thread of a core: there is one, begun with the first page."""
    found = _loops.get(id(core))
    if found is None or not found.is_alive or found._core is not core:
        _loops.clear()  # of cores that are closed
        found = _loops[id(core)] = PageLoop(core)
    return found
