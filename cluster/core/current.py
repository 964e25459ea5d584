"""Which core or engine this process has. One place, so that nothing else keeps a stale one after `shutdown`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .engine import Engine
    from .runtime import Core

__all__ = ["find_core", "find_engine", "get_core", "get_engine", "set_core", "set_engine"]

_core: Core | None = None
_engine: Engine | None = None  # the core, or an adapter: then there is no core


def set_core(core: Core | None) -> None:
    """Install the core of this process, which is its engine too; or take it away."""
    global _core, _engine
    _core = _engine = core


def set_engine(engine: Engine | None) -> None:
    """Install an adapter as the engine of this process; or take it away."""
    global _core, _engine
    _core, _engine = None, engine


def find_core() -> Core | None:
    """The core, if this process is connected by the native engine."""
    return _core


def find_engine() -> Engine | None:
    """The engine, if this process is connected."""
    return _engine


def get_core() -> Core:
    """The core of this process.

    Raises
    ------
    RuntimeError
        The process is not connected, or by another engine.
    """
    if _core is None:
        if _engine is not None:
            raise RuntimeError(
                "this is possible with the native engine only: call himalia.init() without an engine's address"
            )
        raise RuntimeError("this process is not connected to a cluster: call himalia.init() first")
    return _core


def get_engine() -> Engine:
    """The engine of this process.

    Raises
    ------
    RuntimeError
        The process is not connected.
    """
    if _engine is None:
        raise RuntimeError("this process is not connected to a cluster: call himalia.init() first")
    return _engine
