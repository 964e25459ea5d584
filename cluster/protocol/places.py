"""Where in the user's code something is, in words: ``In [5], line 3`` for a cell of a notebook.

A kernel makes up a file name for each cell's code, and that is what compiled code carries, so that `linecache` and
`pdb` find the text; nobody who reads it knows which cell is meant. Only the kernel knows (`ask_kernel`). What travels
to a worker takes the names of its cells along (`note`), so a traceback tells them from the beginning, whoever reads it:
under a cell, on a page of the dashboard, in a log.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

__all__ = ["ask_kernel", "cell_of", "cells_among", "frame_place", "name_cells", "note", "place_text"]

_CELL: Final = re.compile(r"In \[\d+\]")
_LINE: Final = re.compile(r'File "([^"\n]+)", line (\d+)')

_noted: dict[str, str] = {}
_lookup: list[Callable[[str], str]] = []


def note(names: Mapping[str, str]) -> None:
    """Cells by the names of their files, as they came from the kernel."""
    _noted.update(names)


def ask_kernel(lookup: Callable[[str], str] | None) -> None:
    """From now on ask this for a file's cell (``In [5]``, or nothing); None: this process is no notebook any more."""
    _lookup[:] = [lookup] if lookup is not None else []


def cell_of(filename: str) -> str:
    """``In [5]``, if the file is a cell."""
    if _CELL.fullmatch(filename):
        return filename
    return next((name for ask in _lookup if (name := ask(filename))), "") or _noted.get(filename, "")


def cells_among(files: list[str]) -> dict[str, str]:
    """Of these files, those that are cells."""
    return {file: name for file in files if (name := cell_of(file))}


def place_text(filename: str, line: int, cell: str = "") -> str:
    """``In [3], line 2``, or ``folder/module.py:2``; of a file that is no cell, the end of its path.

    Parameters
    ----------
    cell
        What the file is called, where that is known already.
    """
    cell = cell or cell_of(filename)
    if cell:
        return f"{cell}, line {line}"
    name = "/".join(filename.split("/")[-2:])
    return f"{name}:{line}" if line else name


def frame_place(filename: str, line: int) -> str:
    """What stands before a function's name where frames are listed: as `pdb` does it, but for cells."""
    cell = cell_of(filename)
    return f"{cell}, line {line}, in " if cell else f"{filename}({line})"


def name_cells(text: str) -> str:
    """A traceback with its cells named as people know them."""

    def named(found: re.Match[str]) -> str:
        cell = cell_of(found[1])
        return f"{cell}, line {found[2]}" if cell else found[0]

    return _LINE.sub(named, text)
