"""Rows for people (a table) and for programs (JSON)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["print_rows", "print_table", "print_value"]

_WIDEST = 40  # of a column, in a table that does not fit the terminal


def print_rows(rows: Sequence[Any], columns: Sequence[str], style: str) -> None:
    """State API records in the style that was asked for."""
    picked = [{name: row[name] for name in columns} for row in rows]
    if style == "json":
        print_value(picked)
    else:
        print_table([name.upper() for name in columns], [[_text(value) for value in row.values()] for row in picked])


def print_value(value: Any) -> None:
    """Anything, as JSON."""
    print(json.dumps(value, indent=2, default=str))


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as their longest value; cut where the table would be wider than the terminal."""
    lines = [list(titles), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles))]
    if sum(widths) + 2 * len(widths) > shutil.get_terminal_size((200, 24)).columns:
        widths = [min(width, _WIDEST) for width in widths]
    for line in lines:
        cells = [_cut(cell, width).ljust(width) for cell, width in zip(line, widths, strict=True)]
        print("  ".join(cells).rstrip())


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return ", ".join(
            f"{key}: {item:g}" if isinstance(item, float) else f"{key}: {item}" for key, item in value.items()
        )
    return str(value).replace("\n", " ")
