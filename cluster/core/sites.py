"""Where in the user's program something was made: file, line and function.

Strategy: looking is paid for by what is rare. A task has the place of its `Plan`, which is made once for a function and
a cell; a `put` has its own only if the value is large enough for the object store. Looking for each task, at the frame
that calls `f.remote`, would cost its owner time, and memory while it is queued, for what is asked about a few large
results. So a cell that calls a function on several lines knows the first of them; who shows a place looks into the
cell's text for the others.
"""

from __future__ import annotations

import sys
from typing import Final, NamedTuple

from ..protocol.common import Cell
from ..protocol.places import cell_of

__all__ = ["Made", "Site", "call_site"]

_MACHINERY: Final = frozenset({__name__.partition(".")[0], "IPython"})
"""Packages whose lines are nobody's: ours, and what runs a magic for the cell that has it."""


class Site(NamedTuple):
    """A line of the user's program.

    Attributes
    ----------
    filename
        As the code names it: of a notebook's cell, what its kernel made up for it.
    line
        From 1.
    function
        ``<module>`` outside of any.
    """

    filename: str
    line: int
    function: str

    def text(self) -> str:
        """``In [3], line 2 in make``, or ``/folder/module.py:2 in make``."""
        cell = cell_of(self.filename)
        return f"{cell}, line {self.line}{_inside(self)}" if cell else f"{self.filename}:{self.line} in {self.function}"


def _inside(site: Site) -> str:
    return f" in {site.function}" if site.function != "<module>" else ""


class Made(NamedTuple):
    """Who made an object: what `put` leaves. A task's result has its `Plan`, with the same names."""

    name: str
    cell: Cell | None
    site: Site | None


def call_site() -> Site | None:
    """The line that called us: the innermost frame of the user's; None if there is none."""
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__") or ""
        if module.partition(".")[0] not in _MACHINERY:
            return Site(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
        if frame.f_back is None:
            break
        frame = frame.f_back
    return None
