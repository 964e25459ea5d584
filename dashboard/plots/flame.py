"""A CPU profile drawn as a flame graph: HTML of our own, which stands anywhere without a server. Pure: data to text.

Strategy: boxes in boxes, the width of each a part of its parent's: so there are no coordinates to compute, a page that
takes scripts away (JupyterLab does, for a notebook that it does not trust) still shows all of it, and zooming in is
hiding siblings. What the script adds (search, zoom, keys) stands in `static/flame.js`, which the dashboard loads and a
page of its own contains. Boxes that nobody could see are left out, so a picture has a bounded size.

Frames of Himalia's own code are folded into one box where the user's code called it, and left out below it: nobody
looks for what runs the tasks. Rejected: Bokeh (it has no nested boxes with labels that fit), SVG (sanitised away), a
library for it (a dependency for 300 lines), py-spy's own drawing (of one process only, and with its script inside).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from html import escape
from importlib.resources import files
from typing import Final

from ...cluster.protocol.places import place_text
from ...cluster.protocol.stack_messages import FoldedStack, Frame, Profile

__all__ = ["Box", "Hot", "flame_html", "flame_page", "flame_text", "flame_tree", "hottest"]

#: Okabe and Ito's colours, which colour-blind people tell apart; dark text can be read on each of them.
CELL: Final = "#e69f00"
CODE: Final = "#56b4e9"
LIBRARY: Final = "#b9c4cc"
ENGINE: Final = "#999999"

_LEAST: Final = 0.002
"""Part of the whole below which a box is not drawn: two pixels of a thousand."""
_DEEPEST: Final = 120  # boxes above one another
_MOST: Final = 1_500  # boxes
_LINES: Final = 3  # lines of a function that its box names
_STARTS: Final = ("<string>", "/threading.py")  # what runs below the outermost function of a process or thread
_OWN_THREADS: Final = "himalia-"
_LIBRARIES: Final = re.compile(r"/(site|dist)-packages/|/lib(64)?/python3[.\d]*/|^<")

_WHOLE: Final = (
    "font-family:sans-serif;font-size:12px;line-height:17px;color:#111;white-space:nowrap;margin:2px 0;max-width:100%"
)
_FONT: Final = "font-family:sans-serif;font-size:13px"
_BOX: Final = "height:17px;overflow:hidden;text-overflow:ellipsis;padding:0 3px;margin:0 1px 1px 0;border-radius:2px"
_ROW: Final = "display:flex"


@dataclass
class Box:
    """A function called by the ones above it.

    Attributes
    ----------
    count, own
        Looks that found it at work with what it called, and in its own code.
    lines
        Looks by line.
    """

    name: str
    file: str = ""
    cell: str = ""
    colour: str = LIBRARY
    count: int = 0
    own: int = 0
    lines: dict[int, int] = field(default_factory=dict)
    children: dict[tuple[str, str], Box] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The function, and the cell if it stands in one."""
        return f"{self.name}  {self.cell}" if self.cell else self.name

    def place(self) -> str:
        """The cell or file with the lines that took most."""
        hottest = sorted(self.lines, key=lambda line: -self.lines[line])[:_LINES]
        where = self.cell or self.file
        lines = ", ".join(map(str, sorted(hottest)))
        return f"{where}, line {lines}" if lines and where else where


def _colour(frame: Frame) -> str:
    if frame.cell:
        return CELL
    if frame.internal:
        return ENGINE
    return LIBRARY if _LIBRARIES.search(frame.file) else CODE


def _shown(profile: Profile, stack: FoldedStack, engine: bool) -> list[Frame]:
    """The frames of a stack that are drawn: the user's, and the first of Himalia's wherever these call it."""
    return _of_user([profile.frames[number] for number in stack.frames], stack.thread, engine)


def _of_user(stack: list[Frame], thread: str, engine: bool) -> list[Frame]:
    if engine:
        return stack
    start = 0
    while start < len(stack) and (stack[start].internal or stack[start].file.endswith(_STARTS)):
        start += 1
    if start == len(stack) or thread.startswith(_OWN_THREADS):
        return [Frame("Himalia itself", "", 0, internal=True)] if stack else []
    return [
        frame for index, frame in enumerate(stack[start:], start) if not (frame.internal and stack[index - 1].internal)
    ]


def flame_tree(profile: Profile, *, engine: bool = False, name: str = "all") -> Box:
    """The boxes of a profile, below one for all of it. ``engine``: with all frames of Himalia's own code."""
    root = Box(name)
    for stack in profile.stacks:
        box = root
        box.count += stack.count
        for frame in _shown(profile, stack, engine)[:_DEEPEST]:
            key = frame.name, frame.cell or frame.file
            if key not in box.children:
                box.children[key] = Box(frame.name, frame.file, frame.cell, _colour(frame))
            box = box.children[key]
            box.count += stack.count
            if frame.line:
                box.lines[frame.line] = box.lines.get(frame.line, 0) + stack.count
        box.own += stack.count
    return root


# -- HTML -------------------------------------------------------------------------------------------------------------


def flame_html(profile: Profile, *, title: str = "", engine: bool = False, script: bool = False) -> str:
    """A piece of HTML with the flame graph.

    Parameters
    ----------
    title
        Stands above it.
    engine
        Show all frames of Himalia's own code.
    script
        Bring along what makes it searchable. A page of the dashboard calls `attach` of ``static/flame.js`` instead.
    """
    root = flame_tree(profile, engine=engine)
    if not root.count:
        return f'<div class="himalia-flame" style="{_FONT}">{escape(_nothing(profile))}</div>'
    head = f"<b>{escape(title)}</b>&ensp;" if title else ""
    notes = "".join(f'<div style="opacity:.75">{escape(note)}</div>' for note in profile.notes)
    above = f'<div style="{_FONT}">{head}{escape(_summary(profile, root))} {_legend()}{notes}</div>'
    budget = _Budget(profile.rate, root.count, _MOST)
    boxes = f'<div class="himalia-flame-boxes" style="{_WHOLE}">{"".join(_draw(root, root.count, budget))}</div>'
    code = f"<script>{_script()}\nhimaliaFlame(document.currentScript.parentElement);</script>" if script else ""
    return f'<div class="himalia-flame">{above}{boxes}{code}</div>'


def flame_page(profile: Profile, *, title: str = "CPU profile", engine: bool = False) -> str:
    """A page of its own, light or dark as the browser is, which needs nothing else."""
    body = flame_html(profile, title=title, engine=engine, script=True)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width"><style>:root{color-scheme:light dark}'
        "body{margin:16px;background:Canvas;color:CanvasText}</style></head>"
        f"<body>{body}</body></html>\n"
    )


def _nothing(profile: Profile) -> str:
    seconds = f"{profile.seconds:.1f} s"
    hint = "" if profile.idle else "; with idle=True, threads that wait are shown, too"
    return f"No thread was at work in {seconds}{hint}."


def _summary(profile: Profile, root: Box) -> str:
    count = len(profile.pids)
    processes = f"{count} processes" if count != 1 else f"process {profile.pids[0]}"
    kind = "of threads" if profile.idle else "of CPU"
    return (
        f"{processes}, {profile.seconds:.1f} s, {root.count / profile.rate:.1f} s {kind}; "
        f"{root.count} looks by {' and '.join(profile.by)}"
    )


def _legend() -> str:
    named = (("cells", CELL), ("your modules", CODE), ("libraries", LIBRARY), ("Himalia", ENGINE))
    return "&ensp;".join(f'<span style="color:{colour}">■</span> {text}' for text, colour in named)


@dataclass
class _Budget:
    rate: int
    total: int
    boxes: int


def _draw(box: Box, parent: int, budget: _Budget) -> Iterable[str]:
    budget.boxes -= 1
    share = f"{100 * box.count / budget.total:.1f} %"
    own = f", {box.own / budget.rate:.2f} s in its own code" if box.own and box.own != box.count else ""
    tip = f"{box.label}\n{box.place()}\n{box.count / budget.rate:.2f} s, {share}{own}"
    yield (
        f'<div style="width:{100 * box.count / parent:.3f}%;min-width:0">'
        f'<div class="himalia-flame-box" title="{escape(tip)}" style="{_BOX};background-color:{box.colour}">'
        f"{escape(box.label)}</div>"
    )
    shown = sorted(box.children.values(), key=lambda child: -child.count)
    shown = [child for child in shown if child.count >= _LEAST * budget.total]
    if shown and budget.boxes > 0:
        yield f'<div style="{_ROW}">'
        for child in shown:
            if budget.boxes > 0:
                yield from _draw(child, box.count, budget)
        yield "</div>"
    yield "</div>"


@cache
def _script() -> str:
    """The script, so that it can stand in a page: not as a module, which would have no `document.currentScript`."""
    text = files("himalia.dashboard").joinpath("static/flame.js").read_text()
    return text.replace("export function attach(", "function himaliaFlame(").replace("</", "<\\/")


# -- text -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hot:
    """A function, with seconds in its own code and with what it called."""

    name: str
    place: str
    own: float
    total: float


def hottest(profile: Profile, most: int = 15) -> list[Hot]:
    """The functions whose own code took most time."""
    own: dict[tuple[str, str], int] = {}
    total: dict[tuple[str, str], int] = {}
    frames: dict[tuple[str, str], tuple[int, Frame]] = {}
    for stack in profile.stacks:
        shown = _shown(profile, stack, engine=False)
        for key in {(frame.name, frame.cell or frame.file) for frame in shown}:
            total[key] = total.get(key, 0) + stack.count
        if shown:
            key = shown[-1].name, shown[-1].cell or shown[-1].file
            own[key] = own.get(key, 0) + stack.count
            frames[key] = max(frames.get(key, (0, shown[-1])), (stack.count, shown[-1]), key=lambda one: one[0])
    ordered = sorted(own, key=lambda key: -own[key])[:most]
    rate = profile.rate
    return [
        Hot(
            key[0],
            _place(frames[key][1]),
            own[key] / rate,
            total[key] / rate,
        )
        for key in ordered
    ]


def flame_text(profile: Profile, most: int = 15) -> str:
    """The functions whose own code took most time, as a table."""
    rows = hottest(profile, most)
    if not rows:
        return _nothing(profile)
    lines = [_summary(profile, flame_tree(profile)), *profile.notes, f"{'own':>8}  {'total':>8}  function"]
    lines += [f"{row.own:6.2f} s  {row.total:6.2f} s  {row.name} ({row.place})" for row in rows]
    return "\n".join(lines)


def _place(frame: Frame) -> str:
    return place_text(frame.file, frame.line, frame.cell)
