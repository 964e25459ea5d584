"""A figure as JSON that BokehJS shows, with sources that are filled in the browser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bokeh.embed import json_item
from bokeh.models import ColumnDataSource, Plot
from bokeh.themes import Theme as BokehTheme

from ..themes import Theme

__all__ = ["Draw", "embedded"]

Draw = Callable[..., Plot]
"""Called with the sources by name and the theme, and the options of the panel by name."""


def embedded(
    draw: Draw, columns: Mapping[str, list[str]], theme: Theme, options: Mapping[str, Any], height: int
) -> dict[str, Any]:
    """Draw, with empty sources of these columns; each is found by its name in the document, ``source:NAME``."""
    sources = {
        name: ColumnDataSource(data={column: [] for column in names}, name=f"source:{name}")
        for name, names in columns.items()
    }
    figure = draw(sources, theme, **options)
    figure.height = height
    figure.sizing_mode = "stretch_width"
    return dict(json_item(figure, theme=_bokeh_theme(theme)))


def _bokeh_theme(theme: Theme) -> BokehTheme:
    return BokehTheme(
        json={
            "attrs": {
                "Plot": {
                    "background_fill_alpha": 0.0,
                    "border_fill_alpha": 0.0,
                    "outline_line_color": None,
                    "min_border": 4,
                    "toolbar_location": "right",
                },
                "Axis": {
                    "axis_line_color": theme.grid,
                    "major_tick_line_color": theme.grid,
                    "minor_tick_line_color": None,
                    "major_label_text_color": theme.faint,
                    "major_label_text_font": "sans-serif",
                    "major_label_text_font_size": "11px",
                    "axis_label_text_color": theme.faint,
                    "axis_label_text_font": "sans-serif",
                    "axis_label_text_font_size": "12px",
                    "axis_label_text_font_style": "normal",
                },
                "Grid": {"grid_line_color": theme.grid, "grid_line_alpha": 0.7},
                "Legend": {
                    "background_fill_alpha": 0.0,
                    "border_line_alpha": 0.0,
                    "label_text_color": theme.text,
                    "label_text_font": "sans-serif",
                    "label_text_font_size": "11px",
                    "glyph_width": 12,
                    "glyph_height": 12,
                    "spacing": 2,
                    "padding": 2,
                    "margin": 2,
                },
                "Toolbar": {"autohide": True, "logo": None},
            }
        }
    )
