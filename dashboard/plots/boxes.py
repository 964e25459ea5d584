"""Figures of counts by state: boxes of a graph, and bars. Columns ``e0`` … ``e5``: the edges of the stacked parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bokeh.core.properties import value
from bokeh.models import (
    BasicTicker,
    ColumnDataSource,
    DataRange1d,
    FactorRange,
    HoverTool,
    NumeralTickFormatter,
    Plot,
    Range1d,
    TapTool,
)
from bokeh.plotting import figure

from ..themes import STATE_COLOURS, Theme

__all__ = ["durations", "graph", "states"]

Sources = Mapping[str, ColumnDataSource]

_PARTS: Final = ("finished", "failed", "cancelled", "running", "waiting")
_TIPS: Final = [
    ("function", "@name"),
    ("cell", "@cell"),
    ("tasks", "@total{0,0}"),
    *((part, f"@{part}{{0,0}}") for part in _PARTS),
    ("mean time", "@mean"),
    ("rate", "@rate{0,0.0} tasks/s"),
]
_PLAIN: Final[dict[str, Any]] = {"nonselection_fill_alpha": 1.0, "nonselection_line_alpha": 1.0}


def graph(sources: Sources, theme: Theme, *, columns: int = 4) -> Plot:
    """Boxes with their states, and arrows between them: grey of who submits, blue dashed of who uses results."""
    boxes = sources["boxes"]
    plot = figure(
        x_range=DataRange1d(range_padding=0.02),
        y_range=DataRange1d(range_padding=0.02),
        tools="pan,xwheel_zoom,ywheel_zoom,reset",
        active_drag="pan",
        output_backend="canvas",
    )
    # Some columns and three rows at least, so that a lone box is no poster.
    plot.scatter(x=[-0.45, columns - 0.55], y=[0.45, -2.45], size=0, alpha=0, name="room")
    for name, dash in (("submits", "solid"), ("links", "dashed")):
        source = sources[name]
        plot.bezier(
            x0="x0", y0="y0", x1="x1", y1="y1", cx0="cx0", cy0="cy0", cx1="cx1", cy1="cy1", source=source,
            line_color="colour", line_width="width", line_dash=dash,
        )  # fmt: skip
        plot.scatter(x="x1", y="y1", marker="triangle", angle=-1.5708, size=8, color="colour", source=source)
    frame = plot.quad(
        left="left", right="right", top="top", bottom="bottom", source=boxes, fill_color=theme.ground,
        line_color="frame", line_width="width", **_PLAIN,
    )  # fmt: skip
    for place, part in enumerate(_PARTS):
        plot.quad(
            left=f"e{place}", right=f"e{place + 1}", top="bar_top", bottom="bottom", source=boxes,
            fill_color=STATE_COLOURS[part], line_color=None, **_PLAIN,
        )  # fmt: skip
    text: dict[str, Any] = {"source": boxes, "x": "text", "text_font": value("sans-serif"), "text_baseline": "middle"}
    text |= {"nonselection_text_alpha": 1.0}
    plot.text(y="line1", text="label", text_color=theme.text, text_font_size="12px", text_font_style="bold", **text)
    plot.text(y="line2", text="counts", text_color=theme.faint, text_font_size="11px", **text)
    plot.add_tools(HoverTool(renderers=[frame], tooltips=_TIPS, point_policy="follow_mouse"))
    plot.add_tools(TapTool(renderers=[frame]))
    plot.axis.visible = False
    plot.grid.visible = False
    # Labels and arrows do not make the picture larger.
    for each in (plot.x_range, plot.y_range):
        each.renderers = [frame, *[one for one in plot.renderers if one.name == "room"]]  # type: ignore[attr-defined]  # a DataRange1d
    return plot


def states(sources: Sources, theme: Theme) -> Plot:
    """A bar for each row of ``bars``, from 0 to 1: the states of its tasks."""
    (source,) = sources.values()
    plot = figure(x_range=Range1d(start=0, end=1), y_range=FactorRange(), tools="", output_backend="canvas")
    drawn: list[Any] = [
        plot.hbar(
            y="label", left=f"e{place}", right=f"e{place + 1}", height=0.7, source=source,
            fill_color=STATE_COLOURS[part], line_color=None, legend_label=part, **_PLAIN,
        )
        for place, part in enumerate(_PARTS)
    ]  # fmt: skip
    plot.add_tools(HoverTool(renderers=drawn, tooltips=_TIPS, point_policy="follow_mouse"))
    plot.add_tools(TapTool(renderers=drawn))
    plot.xaxis.visible = False
    plot.grid.visible = False
    plot.yaxis.major_label_text_color = theme.text
    plot.add_layout(plot.legend[0], "above")
    plot.legend.orientation = "horizontal"
    return plot


def durations(sources: Sources, theme: Theme) -> Plot:
    """How many tasks took how long: a bar from ``left`` to ``right`` (seconds, logarithmic) for each row."""
    (source,) = sources.values()
    plot = figure(x_axis_type="log", tools="", y_range=DataRange1d(start=0.0), output_backend="canvas")
    bars = plot.quad(
        left="left", right="right", bottom=0, top="count", source=source, fill_color=STATE_COLOURS["finished"],
        line_color=theme.ground,
    )  # fmt: skip
    tips = [("took", "@label"), ("tasks", "@count{0,0}")]
    plot.add_tools(HoverTool(renderers=[bars], tooltips=tips, point_policy="follow_mouse"))
    plot.xaxis.axis_label = "seconds"
    plot.xaxis.formatter = NumeralTickFormatter(format="0[.]000000")
    plot.yaxis.ticker = BasicTicker(min_interval=1)
    plot.xgrid.grid_line_color = None
    return plot
