"""matplotlib's backend in workers: draws with Agg, and shows figures under the task's cell. matplotlib imports it."""

from __future__ import annotations

import importlib
import io
from typing import Any

__all__ = ["FigureCanvas", "FigureManager", "png_of"]

_bases: Any = importlib.import_module("matplotlib.backend_bases")
_agg: Any = importlib.import_module("matplotlib.backends.backend_agg")


class FigureManager(_bases.FigureManagerBase):  # type: ignore[misc]
    """A figure that `pyplot` knows."""

    def show(self) -> None:
        """Show this one; it stays open."""
        _show(self.canvas.figure)

    @classmethod
    def pyplot_show(cls, *, block: bool | None = None) -> None:
        """``plt.show()``: show all that are open, and close them, as in a notebook's cell. Nothing waits here."""
        pyplot = importlib.import_module("matplotlib.pyplot")
        for number in pyplot.get_fignums():
            _show(pyplot.figure(number))
        pyplot.close("all")


class FigureCanvas(_agg.FigureCanvasAgg):  # type: ignore[misc]
    """Agg's canvas with our manager."""

    manager_class = FigureManager


def png_of(figure: Any) -> bytes:
    """A figure as a picture, without margins, as notebooks show it."""
    buffer = io.BytesIO()
    colour = figure.get_facecolor()
    figure.savefig(buffer, format="png", dpi=figure.dpi, bbox_inches="tight", facecolor=colour, edgecolor="none")
    return buffer.getvalue()


def _show(figure: Any) -> None:
    from ..core.current import find_core

    core = find_core()
    rich = core.executor.rich if core is not None and core.executor is not None else None
    if rich is not None:
        rich.show_figure(figure)
