"""The browser's side as one module: for a notebook's widget and for a report, which can not fetch its parts.

The modules under `static/` import each other by name only (``import { a } from "./b.js"``) and no two of them have a
name of their own in common, so that putting one behind the other is enough. A test holds them to it.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

__all__ = ["MODULES", "bokeh_js", "bundled", "static_text"]

MODULES: Final = (
    "flame.js",
    "format.js",
    "theme.js",
    "source.js",
    "table.js",
    "plot.js",
    "panels.js",
    "travel.js",
    "client.js",
)
"""In an order in which each comes after those that it imports."""

_IMPORT: Final = re.compile(r'^import \{[^}]*\} from "\./(\w+\.js)";\n', re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (?=const|function|class|async)", re.MULTILINE)


def static_text(name: str) -> str:
    """A file of `static/`."""
    return files(__package__).joinpath("static", name).read_text(encoding="utf-8")


def bundled(*more: str) -> str:
    """The text of a script: ``mount`` of client.js and what it needs, then further modules of `static/`."""
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", static_text(name))) for name in (*MODULES, *more))


def bokeh_js() -> bytes:
    """BokehJS, of the Bokeh that draws."""
    return files("bokeh").joinpath("server", "static", "js", "bokeh.min.js").read_bytes()
