"""Ratios as bars, in a page that needs no network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

__all__ = ["plot"]


def plot(medians: Mapping[str, Mapping[str, float]], engine: str, peers: list[str], path: Path) -> None:
    """Write how many times better than each peer ``engine`` is, figure by figure, as HTML.

    Raises
    ------
    SystemExit
        Bokeh is not installed.
    """
    try:
        from bokeh.layouts import column
        from bokeh.models import FactorRange
        from bokeh.plotting import figure
        from bokeh.resources import INLINE
    except ImportError as error:
        raise SystemExit(f"--plot needs Bokeh ({error}): pip install 'himalia[dashboard]'") from error
    from bokeh.embed import file_html

    plots = []
    for peer in peers:
        ratios = {name: _times_better(name, by, engine, peer) for name, by in medians.items()}
        ratios = {name: ratio for name, ratio in ratios.items() if not math.isnan(ratio)}
        names = list(reversed(ratios))
        if not names:
            continue
        chart = figure(
            title=f"{engine}: times better than {peer}",
            y_range=FactorRange(factors=names),
            x_axis_type="log",
            height=90 + 22 * len(names),
            width=720,
            toolbar_location=None,
        )
        # A logarithmic axis has no zero: bars start at 1, where both are the same.
        chart.hbar(y=names, left=1, right=[ratios[name] for name in names], height=0.7)
        chart.vspan(x=[1], line_color="black")
        plots.append(chart)
    path.write_text(file_html(column(plots), INLINE, f"{engine} and its peers"))


def _times_better(name: str, by: Mapping[str, float], engine: str, peer: str) -> float:
    mine, other = by.get(engine, math.nan), by.get(peer, math.nan)
    if name.endswith(("_s", "_mb")) and not name.endswith("per_s"):
        mine, other = other, mine
    return mine / other if other > 0 and mine > 0 else math.nan
