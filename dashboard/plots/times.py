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

__all__ = ["bars", "lines", "stacked", "task_stream", "tracks"]

Sources = Mapping[str, ColumnDataSource]


_FIRST = 10_000.0  # milliseconds that an axis shows around the first sample of all


def _following(seconds: float) -> DataRange1d:
    """The newest of time, until somebody moves it."""
    return DataRange1d(follow="end", follow_interval=seconds * 1000, range_padding=0.0, default_span=_FIRST)


def _show_clock(plot: Any, ticks: int) -> None:
    """Times of the day on the x axis, so few that they can be read."""
    plot.xaxis.formatter = DatetimeTickFormatter(
        microseconds="%H:%M:%S.%3N",
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


def _timed(number: str, seconds: float, **bounds: Any) -> Any:
    plot = figure(
        x_range=_following(seconds),
        y_range=DataRange1d(only_visible=True, default_span=1.0, **bounds),
        x_axis_type="datetime",
        tools="xpan,xwheel_zoom,reset",
        active_scroll="xwheel_zoom",
    )
    plot.yaxis.formatter = NumeralTickFormatter(format=number)
    _show_clock(plot, 4)
    plot.xgrid.grid_line_color = None
    return plot


def _end(high: float | None) -> dict[str, Any]:
    return {} if high is None else {"end": high}


def _with_tips(plot: Any, renderer: Any, number: str) -> Any:
    tips = [("", "@name"), ("at", "@end{%H:%M:%S}"), ("", f"@value{{{number}}}")]
    plot.add_tools(HoverTool(renderers=[renderer], tooltips=tips, formatters={"@end": "datetime"}))
    plot.legend.location = "top_left"
    plot.legend.orientation = "horizontal"
    return plot


def tracks(
    sources: Sources, theme: Theme, *, number: str = "0[.]0 a", seconds: float = 300.0, high: float | None = None
) -> Any:
    """A line for each thing of a `Tracks`; ``high``: where the axis ends."""
    (source,) = sources.values()
    plot = _timed(number, seconds, start=0.0, **_end(high))
    drawn = plot.segment(
        x0="begin", y0="before", x1="end", y1="value", source=source, line_color="colour", line_width=2,
        line_cap="round", legend_field="name",
    )  # fmt: skip
    return _with_tips(plot, drawn, number)


def stacked(sources: Sources, theme: Theme, *, number: str = "0[.]0 a", seconds: float = 300.0) -> Any:
    """The quantities of a `Stack`, one above the other."""
    (source,) = sources.values()
    plot = _timed(number, seconds, start=0.0)
    drawn = plot.quad(
        left="begin", right="end", bottom="low", top="high", source=source, fill_color="colour", fill_alpha=0.75,
        line_color=None, legend_field="name",
    )  # fmt: skip
    return _with_tips(plot, drawn, number)


def bars(
    sources: Sources, theme: Theme, *, x: str, value: str, colour: str, number: str = "0", high: float | None = None
) -> Any:
    """A bar for each row, of its height ``value``, above its name ``x``."""
    (source,) = sources.values()
    plot = figure(x_range=FactorRange(), y_range=DataRange1d(start=0.0, **_end(high)), tools="")
    drawn = plot.vbar(x=x, top=value, width=0.8, source=source, fill_color=colour, line_color=None)
    plot.add_tools(HoverTool(renderers=[drawn], tooltips=[("", f"@{x}"), ("", f"@{value}{{{number}}}")]))
    plot.yaxis.formatter = NumeralTickFormatter(format=number)
    plot.xgrid.grid_line_color = None
    return plot
