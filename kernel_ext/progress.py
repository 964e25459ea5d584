"""Progress bars in a notebook: one output of the cell that waits, updated in place, which ends as one line.

It is sent as a display with an id, under the header of the cell that the waiting thread belongs to; so it finds its
place also when other cells run, needs no widgets, and a saved notebook has what it said last.
"""

from __future__ import annotations

import re
import threading
import uuid
from html import escape
from typing import TYPE_CHECKING, Any

from ..cluster.core.progress.model import Frame, Row, duration
from ..cluster.core.progress.terminal import text_of
from .html import BAD, BUSY, GOOD, IDLE, bar, box

if TYPE_CHECKING:
    from .cells import CellTable, NotebookCell
    from .kernels import KernelFront

__all__ = ["NotebookBars", "ended_bundle", "frame_bundle"]

_TEXT_WIDTH = 100  # characters of the plain-text twin


class NotebookBars:
    """Where waits of this kernel show their progress."""

    def __init__(self, shell: Any, front: KernelFront, cells: CellTable) -> None:
        self._shell = shell
        self._front = front
        self._cells = cells

    def place(self) -> NotebookCell | None:
        """The cell that waits: one bar for all that a thread of it waits for."""
        return self._cells.current()

    def open(self) -> NotebookBar | None:
        """A bar under the cell; None where its output is captured (``%%capture``)."""
        if threading.current_thread() is threading.main_thread() and hasattr(self._shell.display_pub, "outputs"):
            return None
        return NotebookBar(self._front, self._cells.current())


class NotebookBar:
    """One output of a cell."""

    def __init__(self, front: KernelFront, cell: NotebookCell | None) -> None:
        self._front = front
        self._cell = cell
        self._display_id = f"himalia-progress-{uuid.uuid4().hex}"
        self._is_shown = False

    def draw(self, frame: Frame) -> None:
        """Show how far it is."""
        self._show(frame_bundle(frame))

    def end(self, frame: Frame) -> None:
        """Become one line."""
        self._show(ended_bundle(frame))

    def _show(self, bundle: dict[str, str]) -> None:
        self._front.display(self._cell, bundle, {}, self._display_id, update=self._is_shown)
        self._is_shown = True


def frame_bundle(frame: Frame) -> dict[str, str]:
    """A bar for each function, as HTML and as plain text."""
    lines = "".join(_line(frame, row) for row in frame.rows)
    style = "display:grid;grid-template-columns:max-content max-content max-content auto;column-gap:12px"
    counts = frame.counts
    left = f", about {duration(frame.left)} left" if frame.left is not None else ""
    head = f"{counts.ended} of {counts.total} tasks in {duration(frame.elapsed)}{left}"
    return {
        "text/html": box(f'<div>{escape(head)}</div><div style="{style}">{lines}</div>', BUSY),
        "text/plain": text_of(frame, _TEXT_WIDTH),
    }


def _line(frame: Frame, row: Row) -> str:
    counts = row.counts
    name = escape(frame.title or row.label)
    failed = f'<span style="color:{BAD}">{counts.failed} failed</span>' if counts.failed else ""
    notes = [escape(words) for words in row.notes() if not words.endswith(" failed")]
    return (
        f"<div><code>{name}</code></div><div>{bar(counts.ended / counts.total)}</div>"
        f"<div>{counts.ended} of {counts.total}</div>"
        f'<div style="opacity:.75">{" · ".join(notes[:1] + ([failed] if failed else []) + notes[1:])}</div>'
    )


def ended_bundle(frame: Frame) -> dict[str, str]:
    """One line about the end."""
    counts = frame.counts
    colour = BAD if counts.failed else (GOOD if counts.ended == counts.total and not counts.cancelled else IDLE)
    line = frame.line()
    return {"text/html": box(re.sub("`([^`]*)`", r"<code>\1</code>", escape(line)), colour), "text/plain": line}
