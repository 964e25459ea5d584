"""The IPython extension: ``%load_ext himalia``.

Loading it costs a notebook almost nothing: no cluster is started, and what draws things is imported when it draws.
"""

from __future__ import annotations

from typing import Any

__all__ = ["load_ipython_extension", "unload_ipython_extension"]

_extension: Any = None


def load_ipython_extension(shell: Any) -> None:
    """What ``%load_ext himalia`` does: magics, output of tasks under their cells, interrupts, what refs look like."""
    global _extension
    from .extension import Extension

    if _extension is not None:
        _extension.unload()
    _extension = Extension(shell)
    _extension.load()


def unload_ipython_extension(shell: Any) -> None:
    """What ``%unload_ext himalia`` does: all of it goes; a cluster that runs goes on."""
    global _extension
    if _extension is not None:
        _extension.unload()
        _extension = None
