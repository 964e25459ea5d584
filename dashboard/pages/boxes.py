"""Boxes and arrows of a graph as rows of plots/boxes.py, where the layout says."""

from __future__ import annotations

from typing import Final

from ..layout import Place
from ..themes import CRITICAL_COLOUR, LINE_COLOUR, LINK_COLOUR, STATE_COLOURS
from .counts import EDGES, PARTS, Counts, edges
from .words import brief

__all__ = ["ARROW", "BOX", "arrow_row", "box_row"]

BOX: Final = (
    "key", "left", "right", "top", "bottom", "bar_top", *EDGES, "text", "line1", "line2", "label", "counts", "frame",
    "width", "name", "cell", "total", *PARTS, "mean", "rate", "opens",
)  # fmt: skip
ARROW: Final = ("key", "x0", "y0", "x1", "y1", "cx0", "cy0", "cx1", "cy1", "colour", "width")

_HALF_WIDTH: Final = 0.38  # of a box, in columns
_HALF_HEIGHT: Final = 0.36  # in rows
_LABEL: Final = 30  # characters that fit


def box_row(
    key: object, place: Place, name: str, cell: str, counts: Counts, opens: str, *, is_critical: bool, note: str = ""
) -> tuple[object, ...]:
    """A box with its counts."""
    x, y = float(place.column), -float(place.row)
    left, right, bottom = round(x - _HALF_WIDTH, 2), round(x + _HALF_WIDTH, 2), round(y - _HALF_HEIGHT, 2)
    colour = CRITICAL_COLOUR if is_critical else STATE_COLOURS["failed"] if counts.failed else LINE_COLOUR
    if counts.running and not is_critical and not counts.failed:
        colour = STATE_COLOURS["running"]
    label = " ".join(part for part in (cell, name) if part)
    return (
        key, left, right, round(y + _HALF_HEIGHT, 2), bottom, round(bottom + 0.14, 2), *edges(counts, left, right),
        round(left + 0.03, 2), round(y + 0.2, 2), round(y - 0.04, 2), _cut(label), note or _counted(counts), colour,
        3 if is_critical else 1.5 if counts.running or counts.failed else 1, name, cell, counts.total,
        *(getattr(counts, part) for part in PARTS), counts.mean_text, round(counts.rate, 1), opens,
    )  # fmt: skip


def _cut(text: str) -> str:
    return text if len(text) <= _LABEL else f"{text[: _LABEL - 1]}…"


def _counted(counts: Counts) -> str:
    if counts.total == 1:
        text = next((part for part in PARTS if getattr(counts, part)), "")
    elif counts.ended == counts.total:
        text = f"{brief(counts.total)} tasks"
    else:
        text = f"{brief(counts.ended)} of {brief(counts.total)}"
    failed = f", {brief(counts.failed)} failed" if counts.failed and counts.total > 1 else ""
    return f"{text}{failed}{f' · {counts.mean_text}' if counts.mean_text else ''}"


def arrow_row(key: str, first: Place, second: Place, *, is_link: bool, is_critical: bool) -> tuple[object, ...]:
    """An arrow from one box to another; back to an earlier one, or to itself, it goes round above."""
    x0, y0 = first.column + _HALF_WIDTH, -float(first.row)
    x1, y1 = second.column - _HALF_WIDTH - 0.015, -float(second.row)
    if is_link:  # beside the other kind, if both are there
        y0, y1 = y0 + 0.08, y1 + 0.08
    if second.column > first.column:
        bend = (x1 - x0) / 2
        control = (x0 + bend, y0, x1 - bend, y1)
    else:
        top = max(y0, y1) + 0.75
        control = (x0 + 0.3, top, x1 - 0.3, top)
    colour = CRITICAL_COLOUR if is_critical else LINK_COLOUR if is_link else LINE_COLOUR
    return (key, *(round(number, 3) for number in (x0, y0, x1, y1, *control)), colour, 3 if is_critical else 1.5)
