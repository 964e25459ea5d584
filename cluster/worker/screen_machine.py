"""The lines that a task draws again and again: what a terminal would show of progress bars.

Text with carriage returns and cursor movements (`tqdm` moves up and down between several bars) makes sense only on a
screen. This is one, as small as that needs: rows of text and a cursor. The driver is told what stands on it, now and
then, and not how it came to stand there; so nobody downstream has to understand control characters, and a bar that is
drawn a thousand times costs what it shows.

A screen lives until the cursor has come to rest below all that stands on it: then that is final.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["Screen", "redraws"]

ROWS: Final = 40  # more scroll off at the top
COLUMNS: Final = 400  # of a row; a bar that fills more is cut

_TOKENS: Final = re.compile(r"\r|\n|\x1b\[([0-9;?]*)([A-Za-z])|[\x00-\x08\x0b-\x1f\x7f]")


def redraws(text: str) -> bool:
    """Whether text asks for a screen: a carriage return that is not the end of a line, or the cursor moved up."""
    at = text.find("\r")
    while at >= 0:
        if at + 1 == len(text) or text[at + 1] != "\n":
            return True
        at = text.find("\r", at + 1)
    return False


class Screen:
    """Rows and a cursor."""

    def __init__(self) -> None:
        self.rows: list[str] = [""]
        self.scrolled: list[str] = []  # rows that left at the top, for the caller to take
        self._row = 0
        self._column = 0

    @property
    def at_rest(self) -> bool:
        """Whether nothing on it will be drawn over, as far as one can tell: the cursor is below everything."""
        return not any(row.strip() for row in self.rows[self._row :])

    def shown(self) -> list[str]:
        """The rows as they are seen, without empty ones at the end."""
        rows = [row.rstrip() for row in self.rows]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    def feed(self, text: str) -> None:
        """Draw text."""
        at = 0
        for match in _TOKENS.finditer(text):
            if match.start() > at:
                self._draw(text[at : match.start()])
            at = match.end()
            token = match[0]
            if token == "\n":
                self._down()
            elif token == "\r":
                self._column = 0
            elif token == "\b":
                self._column = max(0, self._column - 1)
            elif match[2]:
                self._control(match[2], match[1])
        if at < len(text):
            self._draw(text[at:])

    def _draw(self, text: str) -> None:
        row, column = self.rows[self._row], self._column
        if column > len(row):
            row = row.ljust(column)
        self.rows[self._row] = (row[:column] + text + row[column + len(text) :])[:COLUMNS]
        self._column = min(column + len(text), COLUMNS)

    def _down(self) -> None:
        self._row += 1
        self._column = 0
        if self._row == len(self.rows):
            self.rows.append("")
            if len(self.rows) > ROWS:
                self.scrolled.append(self.rows.pop(0).rstrip())
                self._row -= 1

    def _control(self, kind: str, number: str) -> None:
        """Cursor movements and erasing; colours and the rest change nothing here."""
        count = int(number) if number.isdigit() else 0
        row = self.rows[self._row]
        if kind == "A":
            self._row = max(0, self._row - max(1, count))
        elif kind == "B":
            self._row = min(len(self.rows) - 1, self._row + max(1, count))
        elif kind == "K" and count == 0:
            self.rows[self._row] = row[: self._column]
        elif kind == "K":
            self.rows[self._row] = "" if count == 2 else " " * self._column + row[self._column :]
        elif kind == "J" and count == 2:
            self.rows, self._row, self._column = [""], 0, 0
