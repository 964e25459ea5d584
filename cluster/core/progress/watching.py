"""Who watches a wait that takes long, and shows how far it is.

Strategy: the waiting thread itself. It waits in slices; between two of them it has the leader count (`tally`), and
draws. So there is no thread and no timer for a wait, a short one costs two comparisons, and an interrupt finds a thread
that runs Python code of its own. Work in the background has no waiting thread: the core's tick draws it.

What several waits share is a `Span`: those of one ``as_completed``, and in a notebook those of one thread of one cell,
so that a cell shows one bar, however its code waits.

Rejected: a thread for each wait (a `get` is far cheaper than a thread), and a timer in the reactor (it draws while it
holds the sockets).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from .model import GONE, INTERRUPTED, STOPPED, TIMEOUT, Frame, Model
from .tally import Counts, Tally

if TYPE_CHECKING:
    from ..refs import ObjectRef
    from ..runtime import Core

__all__ = ["Bar", "Front", "Settings", "Span", "Watcher", "settings"]

FIRST_LOOK: Final = 0.2
"""Seconds after which a wait is looked at: soon, since what ends before that is counted without its function's name."""

PERIOD: Final = 0.25
"""Seconds between two drawings, at least."""

_SHARE: Final = 50
"""Looking and drawing may take one part in so many of the time: a million pending tasks are looked at less often."""


@dataclass
class Settings:
    """What `himalia.util.progress.configure` sets, for all of this process.

    ``HIMALIA_PROGRESS=0`` in the environment turns bars off from the start, where output is compared or kept.
    """

    enabled: bool = field(default_factory=lambda: os.environ.get("HIMALIA_PROGRESS", "1") != "0")
    after: float = 2.0  # seconds of waiting before a bar appears


settings: Final = Settings()


class Bar(Protocol):
    """A place where frames are drawn. Its methods may be called by any thread, one at a time."""

    def draw(self, frame: Frame) -> None:
        """Show how far it is."""

    def end(self, frame: Frame) -> None:
        """Show one line, which stays."""


class Front(Protocol):
    """Where the user looks."""

    def place(self) -> Any:
        """What of the user's code waits: waits of the same thread at one place share a bar. None: they do not."""

    def open(self) -> Bar | None:
        """A new bar for the calling thread; None: nobody would see it."""


class Span:
    """One wait, or several that count as one."""

    def __init__(self, core: Core, began: float, after: float, model: Model, front: Front) -> None:
        self._tally = Tally()
        self._core = core
        self._front: Front | None = front
        self._began = began
        self._appears = began + after
        self._model = model
        self._bar: Bar | None = None
        self._next = began + min(FIRST_LOOK, after)
        self._looked = False
        self._taken = 0

    @property
    def shown(self) -> bool:
        """Whether there is a bar."""
        return self._bar is not None

    def wait(self, refs: Iterable[ObjectRef], done: Callable[[], Any], deadline: float | None) -> bool:
        """As the core's `wait_until`, looking and drawing meanwhile."""
        wait_until = self._core.wait_until
        while True:
            if deadline is not None and deadline <= self._next:
                return wait_until(done, deadline)
            if wait_until(done, self._next):
                return True
            if not self._looked:
                self.add(refs)
            self._look()

    def add(self, refs: Iterable[ObjectRef]) -> None:
        """These are waited for too."""
        self._looked = True
        self._tally.add(refs)
        self._tally.add_ended(self._taken)
        self._taken = 0

    def add_later(self, refs: Iterable[ObjectRef]) -> None:
        """More to wait for. Before the first look nothing is kept: that finds them in what is waited for then."""
        if self._looked:
            self._tally.add(refs)

    def took(self, number: int) -> None:
        """So many have ended, and will not be waited for again."""
        if not self._looked:
            self._taken += number

    def resume(self) -> None:
        """Another wait of the same place begins."""
        self._looked = False
        self._next = time.monotonic()

    def _look(self) -> None:
        begin = time.monotonic()
        counts, seconds = self._count()
        now = time.monotonic()
        frame = self._model.frame(now, counts)
        if self._bar is None and now >= self._appears and frame.rows and self._front is not None:
            self._bar = self._front.open()
            if self._bar is None:
                self._front = None  # nobody looks: ask once
        if self._bar is not None:
            self._bar.draw(frame)
        rest = _SHARE * (seconds + time.monotonic() - now)
        self._next = begin + max(PERIOD, rest)
        if begin < self._appears < self._next:
            self._next = max(self._appears, begin + rest)

    def _count(self) -> tuple[dict[str, Counts], float]:
        """What the tally sees, and how long it looked. The leader does: it alone may ask what a worker has."""
        box: list[tuple[dict[str, Counts], float]] = []

        def look() -> None:
            begin = time.monotonic()
            box.append((self._tally.look(), time.monotonic() - begin))

        self._core.post(look)
        self._core.wait_until(lambda: box, None)
        return box[0]

    def end(self, how: str) -> None:
        """Nobody waits any more."""
        if self._bar is not None:
            self._bar.end(self._model.frame(time.monotonic(), self._tally.look(running=False), how))
        self._tally.leave()


class Quiet:
    """Stands where a span would: nothing is shown."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def wait(self, refs: Iterable[ObjectRef], done: Callable[[], Any], deadline: float | None) -> bool:
        """As the core's `wait_until`."""
        return self._core.wait_until(done, deadline)


class Watcher:
    """Watches the waits of one core. ``front`` None: nobody looks."""

    def __init__(self, core: Core, front: Front | None) -> None:
        self.core = core
        self.front = front
        self._local = threading.local()

    def wait(self, refs: Iterable[ObjectRef], done: Callable[[], Any], deadline: float | None) -> bool:
        """As the core's `wait_until`, for a wait for ``refs``; shows how far they are if that takes long."""
        given: Span | Quiet | None = getattr(self._local, "span", None)
        if given is not None:
            return given.wait(refs, done, deadline)
        began = time.monotonic()
        first = began + FIRST_LOOK
        if not settings.enabled or self.front is None or (deadline is not None and deadline <= first):
            return self.core.wait_until(done, deadline)
        if self.core.wait_until(done, first):
            return True
        span = self._span(self.front, began)
        with self._until_end(span) as ended:
            ready = span.wait(refs, done, deadline)
            ended(STOPPED if ready else TIMEOUT)
            return ready

    def _span(self, front: Front, began: float) -> Span:
        """The span of this place, if it has shown a bar already; else a new one."""
        place = front.place()
        last: tuple[Any, Span | None] = getattr(self._local, "last", (None, None))
        span = last[1]
        if span is not None and place is not None and last[0] is place and span.shown:
            span.resume()
            return span
        span = Span(self.core, began, settings.after, Model(began), front)
        self._local.last = (place, span)
        return span

    def forget(self) -> None:
        """The calling thread goes on to another place: what its waits had in common is over."""
        self._local.last = (None, None)

    @contextmanager
    def _until_end(self, span: Span) -> Iterator[Callable[[str], None]]:
        how = [STOPPED]
        try:
            yield how.append
        except KeyboardInterrupt:
            how.append(INTERRUPTED)
            raise
        except BaseException:
            how.append(GONE if self.core.fatal is not None or self.core.closed else STOPPED)
            raise
        finally:
            span.end(how[-1])

    @contextmanager
    def together(
        self,
        *,
        show: bool | None = None,
        title: str = "",
        open_ended: bool = False,
    ) -> Iterator[Group]:
        """Waits inside ``with group.waiting()`` count as one, from here on until this context ends.

        Parameters
        ----------
        show
            None: as any wait. True: at once, also where nobody looks. False: not at all.
        title, open_ended
            As for `Model`.
        """
        began = time.monotonic()
        front = self.front if settings.enabled or show else None
        if show and front is None:
            from .terminal import LinesFront

            front = LinesFront()
        if front is None or show is False:
            yield Group(Quiet(self.core), self._local)
            return
        span = Span(self.core, began, 0.0 if show else settings.after, Model(began, open_ended, title), front)
        with self._until_end(span):
            yield Group(span, self._local)


class Group:
    """Several waits that share a bar. Without a watcher there is nothing to share, and they are as any others."""

    def __init__(self, span: Span | Quiet | None = None, local: threading.local | None = None) -> None:
        self._span = span
        self._local = local or threading.local()

    def add(self, refs: Iterable[ObjectRef]) -> None:
        """More is waited for from now on."""
        if type(self._span) is Span:
            self._span.add_later(refs)

    def took(self, number: int) -> None:
        """So many have ended, and will not be waited for again."""
        if type(self._span) is Span:
            self._span.took(number)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """What the calling thread waits for in this context belongs to the group."""
        before = getattr(self._local, "span", None)
        self._local.span = self._span
        try:
            yield
        finally:
            self._local.span = before
