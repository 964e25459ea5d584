"""Small pieces of HTML that stand in a saved notebook as they are: no script, no server, light and dark.

JupyterLab cleans the HTML of a notebook that it does not trust, which is every one that came from somebody else: it
takes out variables of style sheets, gradients and much more. So the colours are plain ones that can be read on both
grounds, and a bar is two boxes.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

__all__ = ["BAD", "BUSY", "GOOD", "IDLE", "bar", "box", "card", "marked", "note", "quantity", "text_card"]

GOOD: Final = "#2e9e4f"
BUSY: Final = "#2a7de1"
BAD: Final = "#d9453d"
IDLE: Final = "#8a8a8a"

_BOX: Final = (
    "font-family:sans-serif;font-size:13px;line-height:1.6;border-left:3px solid {colour};padding:2px 12px;"
    "margin:2px 0;display:inline-block"
)
_BAR: Final = 120  # pixels


def card(title: str, state: str, colour: str, rows: Iterable[tuple[str, str]], beside: str = "") -> str:
    """A title, a state with its colour, and named values. Values and what stands beside the state are HTML."""
    cells = "".join(f'<div style="opacity:.65">{escape(name)}</div><div>{value}</div>' for name, value in rows)
    grid = (
        f'<div style="display:grid;grid-template-columns:max-content auto;column-gap:16px">{cells}</div>'
        if cells
        else ""
    )
    head = f'<div><b>{escape(title)}</b>&ensp;<span style="color:{colour}">●</span> {escape(state)}{beside}</div>'
    return box(f"{head}{grid}", colour)


def box(content: str, colour: str) -> str:
    """What is ours, marked by a line at its left. The content is HTML."""
    return f'<div style="{_BOX.format(colour=colour)}">{content}</div>'


def note(text: str, colour: str) -> str:
    """One sentence."""
    return box(escape(text), colour)


def bar(share: float) -> str:
    """How much of something is in use."""
    filled = round(_BAR * min(1.0, max(0.0, share)))
    box = "display:inline-block;height:8px;background-color:{};width:{}px"
    return (
        f'<span style="{box.format(BUSY, filled)}"></span>'
        f'<span style="{box.format("#9a9a9a", _BAR - filled)};opacity:.45"></span>'
    )


def text_card(title: str, state: str, rows: Iterable[tuple[str, str]]) -> str:
    """The plain-text twin of `card`; values are text."""
    listed = list(rows)
    width = max((len(name) for name, _ in listed), default=0)
    return "\n".join([f"{title}: {state}", *(f"  {name:<{width}}  {value}" for name, value in listed)])


def marked(text: str) -> str:
    """Text as HTML, with what stands between backticks as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return "".join(f"<code>{escape(part)}</code>" if index % 2 else escape(part) for index, part in enumerate(parts))


def quantity(nbytes: float) -> str:
    """A number of bytes as people read it."""
    if nbytes < 1000:
        return f"{nbytes:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        nbytes /= 1000
        if nbytes < 999.95:
            return f"{nbytes:.1f} {unit}"
    return f"{nbytes / 1000:.1f} TB"
