"""Colours, the same in every plot, table and widget.

The categorical colours are those of Okabe and Ito (2008), which people with any of the common colour deficiencies can
tell apart; a state never depends on its colour alone: it is named beside it, or on hovering.
"""

from __future__ import annotations

import zlib
from typing import Final

import msgspec

__all__ = ["FUNCTION_COLOURS", "STATE_COLOURS", "THEMES", "Theme", "function_colour"]

STATE_COLOURS: Final = {
    "waiting": "#e69f00",
    "running": "#0072b2",
    "finished": "#009e73",
    "failed": "#d55e00",
    "cancelled": "#999999",
}

FUNCTION_COLOURS: Final = (
    "#56b4e9",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#0072b2",
    "#b8a200",
    "#8c6bb1",
    "#4d9221",
)
"""Without the vermilion of what failed."""


class Theme(msgspec.Struct, frozen=True):
    """Colours of what lies around the data. Plots are transparent: their ground is that of the page."""

    name: str
    text: str
    faint: str
    grid: str
    ground: str


THEMES: Final = {
    "light": Theme("light", "#24292f", "#6e7781", "#e4e7eb", "#ffffff"),
    "dark": Theme("dark", "#e6e8eb", "#9aa3ad", "#33383f", "#16181c"),
}


def function_colour(name: str) -> str:
    """The colour of a function's tasks: always the same for the same name."""
    return FUNCTION_COLOURS[zlib.crc32(name.encode()) % len(FUNCTION_COLOURS)]
