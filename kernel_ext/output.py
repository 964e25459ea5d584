"""What tasks print, under the cell that submitted them.

Text comes from whichever thread drives the core's sockets; it is written at once and never republished. A line is
marked with its task and process. A run of equal lines in one piece of text is written once, with its count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..cluster.protocol.core_messages import LogLines
    from .cells import CellTable
    from .kernels import KernelFront, TerminalFront

__all__ = ["OutputRouter", "marked"]

FOLD_FROM: Final = 4
"""So many equal lines in a row become one: three can be meant (a banner, dots), more are noise."""


class OutputRouter:
    """A core's ``log_sink``."""

    def __init__(self, front: KernelFront | TerminalFront, cells: CellTable) -> None:
        self.front = front
        self.cells = cells

    def __call__(self, lines: LogLines) -> None:
        """Show text of a task."""
        cell = lines.cell
        found = self.cells.find(cell.message_id) if cell is not None and cell.message_id else None
        self.front.write(found, lines.stream, marked(lines.text, f"({lines.actor or lines.task} pid={lines.pid}) "))


def marked(text: str, mark: str) -> str:
    """Text with a mark before each line, equal lines folded, and an end of line at its end."""
    out: list[str] = []
    previous: str | None = None
    count = 0

    def put() -> None:
        if previous is None:
            return
        if count < FOLD_FROM:
            out.extend([f"{mark}{previous}\n"] * count)
        else:
            out.append(f"{mark}{previous}  [{count} times]\n")

    # A carriage return redraws a line (a progress bar): what counts is what stands there at the end.
    for line in text.replace("\r\n", "\n").split("\n"):
        shown = line.rstrip("\r").rpartition("\r")[2]
        if shown == previous:
            count += 1
            continue
        put()
        previous, count = shown, 1
    if previous == "":  # the text ended with an end of line
        count -= 1
    put()
    return "".join(out)
