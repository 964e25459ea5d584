"""How long the files of the repository are.

A file has one subject: past 500 lines it likely has two, past 800 it does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

REPORT_LINES = 500
ERROR_LINES = 800

_NOT_WRITTEN_HERE = frozenset({"__pycache__", "_build", "build", "dist", "node_modules", "static"})


def _source_files(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _NOT_WRITTEN_HERE]
        yield from (Path(folder, name) for name in files if name.endswith((".py", ".js", ".ts", ".sh")))


def files_longer_than(limit: int, root: Path) -> list[tuple[str, int]]:
    """Path in the repository and number of lines, longest first."""
    found = []
    for path in _source_files(root):
        lines = path.read_bytes().count(b"\n")
        if lines > limit:
            found.append((str(path.relative_to(root)), lines))
    return sorted(found, key=lambda item: (-item[1], item[0]))
