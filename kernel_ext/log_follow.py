"""``%logs --follow``: the last lines of what is printed, in one place under the cell, until somebody has had enough.

Strategy: a display that is replaced, so a notebook in which somebody follows for a day holds as many lines as were
asked for. A terminal has no such place: there, lines are printed as they come.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from ..cluster.protocol.log_messages import LogLine
from .kernels import KernelFront, TerminalFront
from .log_view import Line, lines_bundle, visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from himalia.util.state._log_search import Follower, LogPage

    from .cells import NotebookCell

__all__ = ["FollowView", "follow"]

_LOOK: Final = 0.5  # seconds between looks for more


class FollowView:
    """What is shown of one ``%logs``.

    Parameters
    ----------
    place
        The cell it stands under; the one that runs, unless given.
    while_open
        What is said as long as more may come.
    """

    def __init__(
        self,
        title: str,
        tail: int,
        front: KernelFront | TerminalFront,
        place: NotebookCell | None = None,
        while_open: str = "interrupt the cell to stop",
    ) -> None:
        self._title = title
        self._place = place
        self._while_open = while_open
        self._front = front
        self._kept: deque[Line] = deque(maxlen=tail)
        self._count = 0
        self._dropped = 0
        self._more = False
        self._missing: list[str] = []
        self._display_id = f"himalia-logs-{uuid4().hex}"
        self._is_shown = False
        self._printed = 0

    def add(self, pages: list[LogPage]) -> bool:
        """Take in what came; whether that was anything."""
        lines: list[LogLine] = sorted((line for page in pages for line in page.lines), key=lambda line: line.at)
        self._kept.extend((f"{line.name} pid={line.pid}", line.stream, visible(line.text)) for line in lines)
        self._count += len(lines)
        self._dropped += sum(page.dropped for page in pages)
        self._more = not all(page.is_end for page in pages)
        self._missing = [text for page in pages for text in page.missing]
        return bool(lines)

    @property
    def is_behind(self) -> bool:
        """Whether there is more to read already."""
        return self._more

    def head(self, *, is_over: bool) -> str:
        """What stands above the lines."""
        kept = len(self._kept)
        words = f"{self._count} lines" if self._count != 1 else "1 line"
        if kept < self._count:
            words = f"the last {kept} of {self._count} lines"
        notes = [f"{self._dropped:,} bytes before are kept no more"] if self._dropped else []
        notes += self._missing
        if not is_over:
            notes.append(self._while_open)
        return f"{self._title}: {words}" + "".join(f"; {note}" for note in notes)

    def show(self, *, is_over: bool) -> None:
        """Show the state of now."""
        bundle = lines_bundle(self.head(is_over=is_over), list(self._kept))
        if isinstance(self._front, KernelFront):
            self._front.display(self._place, bundle, {}, self._display_id, update=self._is_shown)
            self._is_shown = True
            return
        new = min(self._count - self._printed, len(self._kept))
        for who, _, text in list(self._kept)[len(self._kept) - new :]:
            self._front.write(self._place, 1, f"({who}) {text}\n")
        self._printed = self._count
        if is_over:
            self._front.write(self._place, 1, f"{self.head(is_over=True)}\n")


def follow(view: FollowView, followers: list[Follower], is_done: Callable[[], bool]) -> None:
    """Show what comes until all is done, or the user interrupts, which ends the cell as if it were."""
    is_new = True
    try:
        while True:
            was_done = is_done()  # before the look: what was printed until then is seen by it
            is_new = view.add([follower.next_page() for follower in followers]) or is_new
            if was_done and not view.is_behind:
                break
            if is_new:
                view.show(is_over=False)
                is_new = False
            if not view.is_behind:
                time.sleep(_LOOK)
    except KeyboardInterrupt:
        pass  # this is how following ends
    view.show(is_over=True)
