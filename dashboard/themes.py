"""Colours, the same in every plot, table and widget.

The categorical colours are those of Okabe and Ito (2008), which people with any of the common colour deficiencies can
tell apart; a state never depends on its colour alone: it is named beside it, or on hovering.
"""

from __future__ import annotations

import zlib
from typing import Final

import msgspec

__all__ = [
    "CRITICAL_COLOUR",
    "FUNCTION_COLOURS",
    "LINE_COLOUR",
    "LINK_COLOUR",
    "STATE_COLOURS",
    "THEME",
    "Theme",
    "function_colour",
]

STATE_COLOURS: Final = {
    "waiting": "#e69f00",
    "running": "#0072b2",
    "finished": "#009e73",
    "failed": "#d55e00",
    "cancelled": "#999999",
}

CRITICAL_COLOUR: Final = "#cc79a7"  # of what a run waited for
LINE_COLOUR: Final = "#8a949e"  # of frames and edges, on light and dark grounds
LINK_COLOUR: Final = "#56b4e9"  # of results on their way from one task to another

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
    """Colours of what lies around the data. Plots are transparent: their ground is that of the page.

    They are stand-ins: whether they are light or dark is known where a plot is shown (`static/theme.js`), and changes
    there without asking for the plot anew.
    """

    text: str = "#fe0001"
    faint: str = "#fe0002"
    grid: str = "#fe0003"
    ground: str = "#fe0004"


THEME: Final = Theme()


def function_colour(name: str) -> str:
    """The colour of a function's tasks: always the same for the same name."""
    return FUNCTION_COLOURS[zlib.crc32(name.encode()) % len(FUNCTION_COLOURS)]
