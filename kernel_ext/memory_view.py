"""How `%memory` looks: a table, and its plain-text twin."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Final

from .html import marked, quantity
from .memory import MemoryReport, ObjectLine

__all__ = ["memory_bundle"]

_HEADS: Final = ("object", "size", "where", "made by", "kept alive by")
_TABLE: Final = "font-family:sans-serif;font-size:13px;border-collapse:collapse;margin:2px 0"
_CELL: Final = "text-align:left;vertical-align:top;padding:3px 14px 3px 0;border-bottom:1px solid #9a9a9a55"
_TEXT_WIDTH: Final = 44  # characters of "made by" in plain text


def memory_bundle(
    report: MemoryReport, limit: int, smallest: int, button: Callable[[ObjectLine, str], str] | None = None
) -> dict[str, str]:
    """HTML and plain text of a report.

    Parameters
    ----------
    limit
        How many objects are listed.
    smallest
        Bytes: smaller ones are only counted.
    button
        The HTML of a button beside an object that releases a name.
    """
    listed = [line for line in report.objects if line.size >= smallest][:limit]
    rest = report.objects[len(listed) :] if not smallest else [o for o in report.objects if o not in listed]
    head = _head(report)
    feet = _feet(listed, rest, report.notes)
    return {"text/html": _html(head, listed, feet, button), "text/plain": _text(head, listed, feet)}


def _head(report: MemoryReport) -> str:
    count = len(report.objects)
    if not count:
        return "No object is in object memory."
    return f"{count} object{'s' if count > 1 else ''}, {quantity(report.total)} in object memory"


def _feet(listed: list[ObjectLine], rest: list[ObjectLine], notes: list[str]) -> list[str]:
    feet = list(notes)
    if rest:
        feet.append(
            f"{len(rest)} more, {quantity(sum(line.size for line in rest))}: --limit and --min say what is listed."
        )
    outputs = [name for line in listed for name in line.releases if name.startswith("Out[") or name == "traceback"]
    if outputs:
        feet.append(f"`%memory release {outputs[0]}` lets go of the first that IPython keeps.")
    return feet


def _html(head: str, listed: list[ObjectLine], feet: list[str], button: Callable[[ObjectLine, str], str] | None) -> str:
    if listed:
        heads = "".join(f'<th style="{_CELL};opacity:.65;font-weight:normal">{name}</th>' for name in _HEADS)
        rows = "".join(f"<tr>{_html_row(line, button)}</tr>" for line in listed)
        table = f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        table = table.replace("<table>", f'<table style="{_TABLE}">')
    else:
        table = ""
    small = "".join(f'<div style="opacity:.75">{marked(foot)}</div>' for foot in feet)
    return f'<div style="font-family:sans-serif;font-size:13px"><b>{escape(head)}</b>{table}{small}</div>'


def _size(line: ObjectLine) -> str:
    return f"{quantity(line.size)}, shared" if line.shared else quantity(line.size)


def _html_row(line: ObjectLine, button: Callable[[ObjectLine, str], str] | None) -> str:
    kept = "<br>".join(marked(text) for text in line.kept)
    if button is not None and line.releases:
        buttons = "".join(button(line, name) for name in line.releases)
        kept += f'<div style="margin:2px 0 0 -8px;line-height:24px">{buttons}</div>'
    size = f'<span style="white-space:nowrap">{escape(_size(line))}</span>'
    values = (escape(line.title), size, escape(line.where), marked(line.made), kept)
    return "".join(f'<td style="{_CELL}">{value}</td>' for value in values)


def _text(head: str, listed: list[ObjectLine], feet: list[str]) -> str:
    rows: list[tuple[str, ...]] = [_HEADS]
    for line in listed:
        first, *more = line.kept
        rows.append((line.title, _size(line), line.where, line.made, first))
        rows += [("", "", "", "", text) for text in more]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS) - 1)]
    lines = [head]
    if listed:
        lines += [
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)) + f"  {row[-1]}"
            for row in rows
        ]
    return "\n".join([*lines, *feet])
