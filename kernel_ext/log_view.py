"""How ``%logs`` looks: lines with who printed them, or a table of who has printed; and their plain-text twins."""

from __future__ import annotations

import re
from html import escape
from typing import Final

from ..cluster.protocol.log_messages import LogPiece, LogSource
from .html import BAD, quantity
from .tables import Table

__all__ = ["Line", "lines_bundle", "lines_of", "sources_bundle", "visible"]

_CONTROL: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
_PRE: Final = "margin:2px 0;padding:0 5px;background:none;font-size:13px;line-height:1.5;overflow-x:auto"
_HEADS: Final = ("cell", "function", "tasks", "processes", "printed")

Line = tuple[str, int, str]
"""Who printed it, on which stream (1 or 2), and what."""


def lines_of(pieces: list[LogPiece]) -> list[Line]:
    """The lines of what was read; of one that was drawn over, its last state."""
    lines: list[Line] = []
    open_line = False
    for piece in pieces:
        who = f"{piece.name} pid={piece.pid}"
        parts = piece.data.decode("utf-8", "backslashreplace").replace("\r\n", "\n").split("\n")
        for index, part in enumerate(parts):
            if index == len(parts) - 1 and not part:
                break
            if index == 0 and open_line and lines[-1][:2] == (who, piece.stream):
                lines[-1] = (who, piece.stream, lines[-1][2] + part)
            else:
                lines.append((who, piece.stream, part))
        open_line = bool(parts[-1])
    return [(who, stream, visible(text)) for who, stream, text in lines]


def visible(text: str) -> str:
    """A line as it is seen: its last state, without what controls a terminal."""
    return _CONTROL.sub("", text.rstrip("\r").rpartition("\r")[2])


def lines_bundle(head: str, lines: list[Line]) -> dict[str, str]:
    """HTML and plain text of lines; those of standard error have a bar at their left."""
    html = []
    for who, stream, text in lines:
        mark = f'<span style="color:{BAD}">▏</span>' if stream == 2 else " "
        html.append(f'{mark}<span style="opacity:.6">({escape(who)})</span> {escape(text)}')
    plain = [head, *(f"({who}) {text}" for who, _, text in lines)]
    title = f'<div style="font-family:sans-serif;font-size:13px"><b>{escape(head)}</b></div>'
    return {"text/html": f'{title}<pre style="{_PRE}">' + "\n".join(html) + "</pre>", "text/plain": "\n".join(plain)}


def sources_bundle(sources: list[LogSource]) -> dict[str, str]:
    """HTML and plain text of who has printed, by cell and function, the latest last."""
    rows: dict[tuple[int, str], list[LogSource]] = {}
    for source in sources:
        key = source.cell, source.name
        rows[key] = [*rows.pop(key, []), source]
    table = Table(_HEADS, [], frozenset(_HEADS[2:]))
    for (cell, name), group in rows.items():
        tasks, processes = sum(source.tasks for source in group), len({source.pid for source in group})
        size = quantity(sum(source.size for source in group))
        table.rows.append([str(cell) if cell else "", name, f"{tasks:,}", f"{processes:,}", size])
    foot = "%logs N shows what the tasks of cell N printed; %logs NAME what a reference's task or an actor printed."
    below = f'<div style="opacity:.75">{escape(foot)}</div>'
    html = f'<div style="font-family:sans-serif;font-size:13px">{table.html()}{below}</div>'
    return {"text/html": html, "text/plain": f"{table.text()}\n{foot}"}
