"""What a page consists of, as data: `static/client.js` and its neighbours draw it, in whatever shows the page.

Sizes are in pixels, widths in columns of a grid of twelve. What a cell of a table holds is told by its column's kind:
text, sentence (of several lines, if need be), code, id, number, rate, percent, bytes, seconds, time, ago, state, cell,
bool, share (of 1, drawn as a bar).
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

__all__ = [
    "Act",
    "Choice",
    "Column",
    "Control",
    "Details",
    "Factors",
    "Flame",
    "Frame",
    "Grows",
    "Numbers",
    "Opens",
    "Panel",
    "Plot",
    "Press",
    "Search",
    "Switch",
    "Table",
    "Text",
]


class Opens(msgspec.Struct, omit_defaults=True):
    """What a click on a row or a glyph leads to: a page, with parameters from columns of the row.

    ``page`` empty: the same page with these parameters instead of their present values. ``fixed`` are parameters that
    do not depend on the row.
    """

    page: str
    params: dict[str, str]
    fixed: dict[str, str] = {}


class Act(msgspec.Struct, omit_defaults=True):
    """A button in each row: an action of the REST API, arguments from columns. ``when``: a column that allows it."""

    name: str
    title: str
    args: dict[str, str]
    when: str = ""


class Column(msgspec.Struct, omit_defaults=True):
    """A column of a table. ``hint`` says what the number means, for its heading."""

    name: str
    title: str
    kind: str = "text"
    hint: str = ""


class Factors(msgspec.Struct, omit_defaults=True):
    """An axis (x or y) whose categories are a column; the plot grows by ``size`` pixels with each, up to ``most``."""

    axis: str
    source: str
    column: str
    size: int = 0
    most: int = 0


class Grows(msgspec.Struct, omit_defaults=True):
    """A plot that grows by ``size`` pixels with each row of a source, up to ``most``."""

    source: str
    size: int
    most: int


class Plot(msgspec.Struct, tag="plot", tag_field="panel", omit_defaults=True):
    """A Bokeh figure. ``draw`` is ``module:function`` of `plots`, called with the sources by name, the theme and
    ``options``; the glyphs of ``opens_source`` can be clicked."""

    title: str
    sources: list[str]
    draw: str
    options: dict[str, Any] = {}
    height: int = 260
    span: int = 12
    opens: Opens | None = None
    opens_source: str = ""
    factors: Factors | None = None
    grows: Grows | None = None
    empty: str = ""
    hint: str = ""


class Table(msgspec.Struct, tag="table", tag_field="panel", omit_defaults=True):
    """Rows of a `Rows`. ``sort`` is a column, with ``-`` before it if the largest comes first."""

    title: str
    source: str
    columns: list[Column]
    span: int = 12
    height: int = 0
    sort: str = ""
    opens: Opens | None = None
    acts: list[Act] = []
    search: bool = False
    empty: str = ""
    hint: str = ""


class Numbers(msgspec.Struct, tag="numbers", tag_field="panel", omit_defaults=True):
    """A row of figures. Its ``share`` is None, or of 1: a bar."""

    COLUMNS: ClassVar[tuple[str, ...]] = ("key", "label", "value", "kind", "share", "note")
    source: str
    title: str = ""
    span: int = 12


class Details(msgspec.Struct, tag="details", tag_field="panel", omit_defaults=True):
    """Named values of one thing."""

    COLUMNS: ClassVar[tuple[str, ...]] = ("key", "label", "value", "kind")
    title: str
    source: str
    span: int = 12
    acts: list[Act] = []
    empty: str = ""


class Text(msgspec.Struct, tag="text", tag_field="panel", omit_defaults=True):
    """Lines: columns key, text, and mark (error, warning, faint, or empty). ``follow``: the last line stays in view."""

    title: str
    source: str
    span: int = 12
    height: int = 320
    follow: bool = False
    empty: str = ""


class Frame(msgspec.Struct, tag="frame", tag_field="panel", omit_defaults=True):
    """A document of its own, kept apart from the page: the first row's column ``html``."""

    title: str
    source: str
    span: int = 12
    height: int = 480
    empty: str = ""


class Flame(msgspec.Struct, tag="flame", tag_field="panel", omit_defaults=True):
    """A flame graph: the first row's column ``html`` has what `plots.flame.flame_html` made."""

    title: str
    source: str
    span: int = 12
    empty: str = ""


class Choice(msgspec.Struct, tag="choice", tag_field="control", omit_defaults=True):
    """Choose a parameter's value: rows of a source with key and label, or fixed ``values`` (value, label)."""

    param: str
    title: str
    source: str = ""
    values: list[tuple[str, str]] = []


class Search(msgspec.Struct, tag="search", tag_field="control", omit_defaults=True):
    """Type a parameter's value."""

    param: str
    title: str
    placeholder: str = ""


class Switch(msgspec.Struct, tag="switch", tag_field="control", omit_defaults=True):
    """A parameter that is ``1`` or absent."""

    param: str
    title: str


class Press(msgspec.Struct, tag="press", tag_field="control", omit_defaults=True):
    """A button that sets a parameter's value. ``again`` names a parameter that gets another number with each press."""

    param: str
    title: str
    value: str
    again: str = ""


Panel = Plot | Table | Numbers | Details | Text | Frame | Flame
Control = Choice | Search | Switch | Press
