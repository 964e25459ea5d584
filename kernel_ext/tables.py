"""Tables in HTML that stands in a saved notebook (see html.py), and their plain-text twins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

from .html import BAD, BUSY, GOOD, IDLE, card

__all__ = ["STATE_COLOURS", "Table", "report"]

STATE_COLOURS: Final = {
    "pending": IDLE,
    "running": BUSY,
    "finished": GOOD,
    "alive": GOOD,
    "restarting": BUSY,
    "failed": BAD,
    "dead": BAD,
    "cancelled": BAD,
}
"""Of words that stand in a column ``state``."""

_WIDEST: Final = 60  # characters of a column of text: what is longer is cut, as lines that wrap are no table
_CELL: Final = "padding:1px 12px 1px 0;text-align:{side};vertical-align:top;white-space:nowrap"


@dataclass
class Table:
    """Named columns and rows of text.

    Attributes
    ----------
    columns
        Their names.
    rows
        One text for each column.
    numbers
        Names of columns that are aligned to the right.
    """

    columns: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)
    numbers: frozenset[str] = frozenset()

    def html(self) -> str:
        """For a notebook."""
        head = "".join(
            f'<th style="{self._style(name)};opacity:.65;font-weight:normal">{escape(name)}</th>'
            for name in self.columns
        )
        body = "".join(f"<tr>{''.join(map(self._html_cell, self.columns, row))}</tr>" for row in self.rows)
        style = "border-collapse:collapse;font-size:12px;margin:4px 0"
        return f'<table style="{style}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'

    def _style(self, name: str) -> str:
        return _CELL.format(side="right" if name in self.numbers else "left")

    def _html_cell(self, name: str, value: str) -> str:
        colour = STATE_COLOURS.get(value) if name == "state" else None
        dot = f'<span style="color:{colour}">●</span> ' if colour else ""
        return f'<td style="{self._style(name)}">{dot}{escape(_cut(value, 2 * _WIDEST))}</td>'

    def text(self) -> str:
        """For a terminal."""
        shown = [list(self.columns), *([_cut(value, _WIDEST) for value in row] for row in self.rows)]
        widths = [max(len(row[index]) for row in shown) for index in range(len(self.columns))]
        lines = []
        for row in shown:
            parts = [
                value.rjust(width) if name in self.numbers else value.ljust(width)
                for name, value, width in zip(self.columns, row, widths, strict=True)
            ]
            lines.append("  ".join(["", *parts]).rstrip())
        return "\n".join(lines)


def _cut(text: str, length: int) -> str:
    line = text.partition("\n")[0]
    return line if len(line) <= length else line[: length - 1] + "…"


def report(title: str, summary: str, colour: str, tables: Sequence[Table], note: str = "") -> dict[str, str]:
    """A title with a summary, tables below it, and a note at the end; as HTML and as text."""
    shown = [table for table in tables if table.rows]
    below = f'<div style="opacity:.65;font-size:12px">{escape(note)}</div>' if note else ""
    html = f"<div>{card(title, summary, colour, [])}{''.join(table.html() for table in shown)}{below}</div>"
    text = [f"{title}: {summary}", *(table.text() for table in shown), *([note] if note else [])]
    return {"text/html": html, "text/plain": "\n".join(text)}
