"""What tasks draw over (progress bars), in one output of their cell that is updated in place.

One panel shows the bars of all tasks of a cell that run at the same time, a line each, in the order in which they
began. A bar that is done stays as its last line. When all are done the panel is final: bars that come later, below
other output, get a panel of their own.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from ..cluster.core.script_output import mark_of

if TYPE_CHECKING:
    from ..cluster.protocol.core_messages import TaskScreen

__all__ = ["BarPanel"]

MOST_LINES: Final = 50
"""Lines of a panel. Of more, those that are done are counted only, the oldest first."""

_STYLE: Final = "margin:0;padding:0 5px;background:none;font-size:13px;line-height:1.5;overflow-x:auto"


class BarPanel:
    """The screens of some tasks, as one picture.

    Attributes
    ----------
    display_id
        Names the output in the notebook.
    sent
        When it was published last (`time.monotonic`); None: not yet.
    is_stale
        Whether what was published is out of date.
    """

    def __init__(self, display_id: str) -> None:
        self.display_id = display_id
        self.sent: float | None = None
        self.is_stale = False
        self._screens: dict[tuple[bytes, int], TaskScreen] = {}
        self._running = 0
        self._left_out = 0

    @property
    def is_over(self) -> bool:
        """Whether no bar on it moves any more."""
        return self._running == 0

    def has(self, screen: TaskScreen) -> bool:
        """Whether this screen is one of the panel's."""
        return (screen.task_id, screen.part) in self._screens

    def put(self, screen: TaskScreen) -> None:
        """Show the present state of a screen."""
        key = screen.task_id, screen.part
        before = self._screens.get(key)
        if before is not None and not before.is_over:
            self._running -= 1
        if screen.is_over and not screen.rows:  # it has cleaned up behind itself
            self._screens.pop(key, None)
        else:
            self._screens[key] = screen
            self._running += not screen.is_over
        self.is_stale = True

    def bundle(self) -> dict[str, str]:
        """HTML and its plain-text twin."""
        self._make_room()
        html: list[str] = []
        text: list[str] = []
        if self._left_out:
            words = f"… {self._left_out:,} more that are done"
            html.append(escape(words))
            text.append(words)
        for screen in self._screens.values():
            mark = mark_of(screen)
            for row in screen.rows:
                html.append(f'<span style="opacity:.6">{escape(mark)}</span>{escape(row)}')
                text.append(mark + row)
        return {"text/html": f'<pre style="{_STYLE}">' + "\n".join(html) + "</pre>", "text/plain": "\n".join(text)}

    def _make_room(self) -> None:
        lines = sum(len(screen.rows) for screen in self._screens.values())
        for key, screen in list(self._screens.items()):
            if lines <= MOST_LINES:
                return
            if screen.is_over:
                del self._screens[key]
                lines -= len(screen.rows)
                self._left_out += len(screen.rows)
