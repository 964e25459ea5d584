"""Lines of text that grow at their end while the first ones leave: what is new is found, and only that is sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..sources import Rows

__all__ = ["Lines", "log_lines", "overlap"]


def overlap(before: list[tuple[str, str]], now: list[tuple[str, str]]) -> int:
    """How many lines are gone at the beginning, so that what is left of ``before`` is how ``now`` begins.

    All of them, if ``now`` is something else.
    """
    for gone in range(len(before)):
        left = len(before) - gone
        if left <= len(now) and before[gone] == now[0] and before[gone:] == now[:left]:
            return gone
    return len(before)


class Lines:
    """A source for a `Text` panel.

    Parameters
    ----------
    name
        Of the source.
    """

    def __init__(self, name: str) -> None:
        self.rows = Rows(name, ("key", "text", "mark"))
        self._lines: list[tuple[str, str]] = []
        self._first = 0  # number of the first line

    def set(self, lines: Iterable[tuple[str, str]]) -> None:
        """Say what the lines and their marks are now."""
        now = list(lines)
        if now == self._lines:
            return
        self._first += overlap(self._lines, now) if now else len(self._lines)
        self._lines = now
        self.rows.set((number, text, mark) for number, (text, mark) in enumerate(now, self._first))


def log_lines(rows: list[dict[str, Any]], *, who: bool = False) -> list[tuple[str, str]]:
    """Lines of a log with their marks; ``who``: with the function and process that printed each."""
    return [
        (f"{row['name']} {row['pid']} │ {row['text']}" if who else row["text"], "error" if row["stream"] == 2 else "")
        for row in rows
    ]
