"""The cell and line that made something, in words."""

from __future__ import annotations

import ast
import linecache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ..cluster.core.sites import Site
    from ..cluster.protocol.common import Cell

__all__ = ["call_lines", "cell_file", "cell_name", "cell_number", "place_text"]

_MOST: Final = 3  # lines that are named; a cell that calls a function on more says how many


def place_text(shell: Any, maker: str, cell: Cell | None, site: Site | None) -> str:
    """``put in In [4], line 2``: who made it, and where."""
    made = maker if maker in ("", "put", "an argument") else f"`{maker}`"
    where = _where(shell, maker, cell.execution if cell is not None else 0, site)
    return f"{made} in {where}" if made and where else made or where or "unknown"


def _where(shell: Any, maker: str, execution: int, site: Site | None) -> str:
    cell = f"In [{execution}]" if execution else ""
    if site is None:
        return cell
    number = cell_number(shell, site.filename)
    lines = _lines(maker, site)
    if number is None:
        place = f"{Path(site.filename).name}, {lines}"
        return f"{cell} ({place})" if cell else place
    if number == execution or not execution:
        return f"In [{number}], {lines}"
    return f"{cell} ({lines} of In [{number}])"


def cell_number(shell: Any, filename: str) -> int | None:
    """The n of ``In [n]`` for the made-up file name of a cell's code; None for a real file."""
    number: int | None = getattr(shell.compile, "_filename_map", {}).get(filename)
    return number


def cell_name(shell: Any, filename: str) -> str:
    """``In [n]``, if the file is a cell of the notebook."""
    number = cell_number(shell, filename)
    return f"In [{number}]" if number is not None else ""


def cell_file(shell: Any, name: str) -> str:
    """The made-up file name of ``In [n]``; another file's name as it is."""
    files = getattr(shell.compile, "_filename_map", {})
    return next((file for file, number in files.items() if name == f"In [{number}]"), name)


def _lines(maker: str, site: Site) -> str:
    """The line of a put; all lines that call a function, as its tasks know only the first of them."""
    lines = [site.line]
    if maker not in ("put", "an argument"):
        text = "".join(linecache.getlines(site.filename))
        called = call_lines(text, maker)
        if site.line in called:
            lines = called
    if len(lines) == 1:
        return f"line {lines[0]}"
    if len(lines) > _MOST:
        return f"line {lines[0]} or one of {len(lines) - 1} below"
    return f"line {', '.join(map(str, lines[:-1]))} or {lines[-1]}"


def call_lines(text: str, name: str) -> list[int]:
    """The lines on which a text calls ``name.remote(…)``, options or not; ``name`` may be that of a method."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return []
    wanted = name.rpartition(".")[2]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "remote":
            target: ast.AST = node.func.value
            if isinstance(target, ast.Call) and isinstance(target.func, ast.Attribute):  # f.options(…).remote
                target = target.func.value
            called = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
            if called == wanted:
                found.add(node.lineno)
    return sorted(found)
