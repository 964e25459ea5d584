"""A timeline that fits below a cell: one lane for each worker, drawn with boxes or with letters.

Strategy: time is cut into as many columns as there is room for. A column of a lane shows the function that was busy
longest in it, so that a million tasks make no more boxes than a few. Boxes in a row, not a picture: JupyterLab takes
pictures with markup out of notebooks that it does not trust (see html.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import groupby
from typing import Final

from .task_rows import seconds

__all__ = ["Lane", "Span", "Timeline", "bundle", "draw_html", "draw_text", "timeline_of"]

PALETTE: Final = ("#2a7de1", "#e08a1e", "#2e9e4f", "#9b59d0", "#17a2b8", "#c9a400", "#b5653c", "#d36fa8")
OTHERS: Final = "#8a8a8a"
"""Functions beyond the palette share a colour: the legend names as many as one can tell apart."""

FAILED: Final = "#d9453d"
LETTERS: Final = "ABCDEFGH"
IDLE: Final = -1
FAULT: Final = -2

_LANES: Final = 32  # at most: a cluster of hundreds of workers is looked at elsewhere
_WIDTH: Final = 600  # pixels
_TEXT_WIDTH: Final = 64  # characters


@dataclass(frozen=True)
class Span:
    """One run of a task. Times are seconds since the epoch."""

    worker: str
    name: str
    begin: float
    end: float
    failed: bool = False


@dataclass
class Lane:
    """What one worker did.

    Attributes
    ----------
    columns
        The index of a function in `Timeline.names`, `IDLE`, or `FAULT` for a task that failed.
    busy
        Seconds.
    """

    worker: str
    columns: list[int]
    busy: float = 0.0


@dataclass
class Timeline:
    """Lanes, the names of functions in the order of the time they took, and the whole time in seconds."""

    length: float
    lanes: list[Lane] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    hidden: int = 0


def timeline_of(spans: Iterable[Span], columns: int) -> Timeline:
    """Lay spans out.

    Parameters
    ----------
    columns
        Into how many pieces time is cut.
    """
    listed = list(spans)
    if not listed:
        return Timeline(0.0)
    begin = min(span.begin for span in listed)
    length = max(max(span.end for span in listed) - begin, 1e-6)
    totals: dict[str, float] = {}
    by_worker: dict[str, list[Span]] = {}
    for span in listed:
        totals[span.name] = totals.get(span.name, 0.0) + span.end - span.begin
        by_worker.setdefault(span.worker, []).append(span)
    names = sorted(totals, key=lambda name: -totals[name])
    order = {name: index for index, name in enumerate(names)}
    shown = sorted(by_worker.items(), key=lambda item: min(span.begin for span in item[1]))
    lanes = [_lane(worker, of, order, begin, length, columns) for worker, of in shown[:_LANES]]
    return Timeline(length, lanes, names, max(0, len(shown) - _LANES))


def _lane(worker: str, spans: Sequence[Span], order: dict[str, int], begin: float, length: float, columns: int) -> Lane:
    """For each column, who was busy longest in it."""
    shares: list[dict[int, float]] = [{} for _ in range(columns)]
    width = length / columns
    for span in spans:
        key = FAULT if span.failed else order[span.name]
        first = min(columns - 1, int((span.begin - begin) / width))
        last = min(columns - 1, int((span.end - begin) / width))
        for column in range(first, last + 1):
            start = begin + column * width
            share = min(span.end, start + width) - max(span.begin, start)
            shares[column][key] = shares[column].get(key, 0.0) + max(share, 1e-9)
    # A failure is shown however short it was: it is what one looks for.
    marks = [FAULT if FAULT in share else max(share, key=share.__getitem__) if share else IDLE for share in shares]
    return Lane(worker, marks, sum(span.end - span.begin for span in spans))


def draw_html(timeline: Timeline) -> str:
    """Boxes, with a legend."""
    rows = []
    for lane in timeline.lanes:
        unit = _WIDTH / max(1, len(lane.columns))
        boxes = "".join(_box(mark, unit * len(list(run)), timeline.names) for mark, run in groupby(lane.columns))
        label = f'<span style="display:inline-block;width:110px;opacity:.65">{escape(lane.worker)}</span>'
        busy = f'<span style="opacity:.65"> {lane.busy / timeline.length:.0%}</span>'
        rows.append(f'<div style="white-space:nowrap;line-height:16px">{label}{boxes}{busy}</div>')
    legend = "&ensp;".join(
        f'<span style="color:{_colour(index)}">■</span> {escape(name)}'
        for index, name in enumerate(timeline.names[: len(PALETTE)])
    )
    if len(timeline.names) > len(PALETTE):
        legend += f'&ensp;<span style="color:{OTHERS}">■</span> {len(timeline.names) - len(PALETTE)} others'
    if any(FAULT in lane.columns for lane in timeline.lanes):
        legend += f'&ensp;<span style="color:{FAILED}">■</span> failed'
    return f'<div style="font-family:sans-serif;font-size:12px">{"".join(rows)}<div>{legend}</div></div>'


def _box(mark: int, width: float, names: Sequence[str]) -> str:
    style = f"display:inline-block;height:12px;width:{width:.1f}px"
    if mark == IDLE:
        return f'<span style="{style};background-color:{OTHERS};opacity:.15"></span>'
    title = "failed" if mark == FAULT else names[mark]
    return f'<span title="{escape(title)}" style="{style};background-color:{_colour(mark)}"></span>'


def _colour(mark: int) -> str:
    if mark == FAULT:
        return FAILED
    return PALETTE[mark] if mark < len(PALETTE) else OTHERS


def draw_text(timeline: Timeline) -> str:
    """A letter for each function; ``!`` for one that failed, ``·`` for nothing."""
    widest = max((len(lane.worker) for lane in timeline.lanes), default=0)
    lines = []
    for lane in timeline.lanes:
        marks = "".join(_letter(mark) for mark in lane.columns)
        lines.append(f"  {lane.worker:<{widest}} {marks} {lane.busy / timeline.length:.0%}")
    for index, name in enumerate(timeline.names[: len(LETTERS)]):
        lines.append(f"  {LETTERS[index]} {name}")
    if len(timeline.names) > len(LETTERS):
        lines.append(f"  + {len(timeline.names) - len(LETTERS)} others")
    return "\n".join(lines)


def _letter(mark: int) -> str:
    if mark in (IDLE, FAULT):
        return "·" if mark == IDLE else "!"
    return LETTERS[mark] if mark < len(LETTERS) else "+"


def bundle(spans: Iterable[Span], title: str, note: str) -> dict[str, str]:
    """A title, the lanes and a note, as HTML and as text."""
    listed = list(spans)
    drawn = timeline_of(listed, _WIDTH // 2)
    if drawn.hidden:
        note = f"{drawn.hidden} more workers are not shown. {note}".strip()
    head = f"{title}: {len(listed)} runs in {seconds(drawn.length)}" if listed else f"{title}: nothing ran yet"
    below = f'<div style="opacity:.65;font-size:12px">{escape(note)}</div>' if note else ""
    html = f'<div style="font-family:sans-serif;font-size:13px"><b>{escape(head)}</b></div>{draw_html(drawn)}{below}'
    text = [head, draw_text(timeline_of(listed, _TEXT_WIDTH)), note]
    return {"text/html": html, "text/plain": "\n".join(part for part in text if part)}
