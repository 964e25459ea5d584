"""Which core this process has. One place, so that nothing else keeps a stale one after `shutdown`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .runtime import Core

__all__ = ["find_core", "get_core", "set_core"]

_core: Core | None = None


def set_core(core: Core | None) -> None:
    """Install the core of this process, or take it away."""
    global _core
    _core = core


def find_core() -> Core | None:
    """The core, if this process is connected."""
    return _core


def get_core() -> Core:
    """The core of this process.

    Raises
    ------
    RuntimeError
        The process is not connected.
    """
    if _core is None:
        raise RuntimeError("this process is not connected to a cluster: call himalia.init() first")
    return _core
