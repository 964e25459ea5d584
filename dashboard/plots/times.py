"""Figures over time. Times in sources are milliseconds since the epoch, in the reader's own time zone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bokeh.models import (
    ColumnDataSource,
    DataRange1d,
    DatetimeTickFormatter,
    FactorRange,
    HoverTool,
    NumeralTickFormatter,
    Plot,
    TapTool,
)
from bokeh.plotting import figure

from ..themes import STATE_COLOURS, Theme

__all__ = ["lines", "task_stream"]

Sources = Mapping[str, ColumnDataSource]


def _following(seconds: float) -> DataRange1d:
    """The newest of time, until somebody moves it."""
    return DataRange1d(follow="end", follow_interval=seconds * 1000, range_padding=0.0)


def _show_clock(plot: Any, ticks: int) -> None:
    """Times of the day on the x axis, so few that they can be read."""
    plot.xaxis.formatter = DatetimeTickFormatter(
        milliseconds="%H:%M:%S.%3N",
        seconds="%H:%M:%S",
        minsec="%H:%M:%S",
        minutes="%H:%M",
        hourmin="%H:%M",
        hours="%H:%M",
        days="%d %b %H:%M",
    )
    plot.xaxis.ticker.desired_num_ticks = ticks


def task_stream(sources: Sources, theme: Theme, *, seconds: float = 60.0) -> Plot:
    """One row a worker, one bar a task (or many short ones); what runs now is outlined."""
    plot = figure(
        x_range=_following(seconds),
        y_range=FactorRange(),
        x_axis_type="datetime",
        tools="xpan,xwheel_zoom,xbox_zoom,reset",
        active_scroll="xwheel_zoom",
        active_drag="xpan",
        output_backend="canvas",
    )
    bar: dict[str, Any] = {"y": "worker", "left": "begin", "right": "end", "height": 0.8}
    done = plot.hbar(
        **bar,
        source=sources["bars"],
        fill_color="colour",
        line_color="edge",
        line_width=1.5,
        nonselection_fill_alpha=1.0,
        nonselection_line_alpha=1.0,
    )
    runs = plot.hbar(
        **bar,
        source=sources["running"],
        fill_color="colour",
        fill_alpha=0.35,
        line_color=STATE_COLOURS["running"],
        line_width=1.5,
        line_dash="dashed",
        nonselection_fill_alpha=0.35,
    )
    tips = [("function", "@name"), ("cell", "@cell"), ("state", "@state"), ("tasks", "@count"),
            ("time", "@took"), ("worker", "@worker"), ("task", "@task")]  # fmt: skip
    plot.add_tools(HoverTool(renderers=[done, runs], tooltips=tips, point_policy="follow_mouse"))
    plot.add_tools(TapTool(renderers=[done, runs]))
    _show_clock(plot, 6)
    plot.ygrid.grid_line_color = None
    plot.yaxis.major_tick_line_color = None
    return plot


def lines(
    sources: Sources,
    theme: Theme,
    *,
    names: list[tuple[str, str, str]],
    seconds: float = 300.0,
    number: str = "0[.]0 a",
    x: str = "time",
    fill: bool = False,
    low: float | None = 0.0,
    high: float | None = None,
) -> Plot:
    """Columns of the only source over time: (column, label, colour) of each."""
    (source,) = sources.values()
    bounds: dict[str, Any] = {name: value for name, value in (("start", low), ("end", high)) if value is not None}
    y_range = DataRange1d(only_visible=True, default_span=1.0, **bounds)
    plot = figure(
        x_range=_following(seconds), y_range=y_range, x_axis_type="datetime", tools="xpan,xwheel_zoom,reset",
        active_scroll="xwheel_zoom",
    )  # fmt: skip
    tips: list[tuple[str, str]] = [("at", f"@{x}{{%H:%M:%S}}")]
    renderers: list[Any] = []
    for column, label, colour in names:
        if fill:
            plot.varea(x=x, y1=0, y2=column, source=source, fill_color=colour, fill_alpha=0.25)
        legend: dict[str, Any] = {"legend_label": label} if len(names) > 1 else {}
        renderers.append(plot.line(x=x, y=column, source=source, line_color=colour, line_width=2, **legend))
        tips.append((label, f"@{column}{{{number}}}"))
    plot.add_tools(HoverTool(renderers=renderers[:1], tooltips=tips, formatters={f"@{x}": "datetime"}, mode="vline"))
    plot.yaxis.formatter = NumeralTickFormatter(format=number)
    _show_clock(plot, 3)
    plot.xgrid.grid_line_color = None
    if len(names) > 1:
        plot.legend.location = "top_left"
        plot.legend.orientation = "horizontal"
        plot.legend.click_policy = "hide"
    return plot
