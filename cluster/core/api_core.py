"""How the API gets its core: the one there is, or one started now with the defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from . import current

if TYPE_CHECKING:
    from .engine import Engine
    from .runtime import Core

__all__ = ["require_core", "require_engine", "set_auto_init"]

_auto_init: Callable[[], object] | None = None


def set_auto_init(start: Callable[[], object] | None) -> None:
    """Say what is called when the API is used before `init`."""
    global _auto_init
    _auto_init = start


def require_engine() -> Engine:
    """What executes the API in this process; a local cluster is started if there is nothing yet."""
    engine = current._engine
    if engine is None:
        if _auto_init is not None:
            _auto_init()
        return current.get_engine()
    return engine


def require_core() -> Core:
    """The core; a local cluster is started if there is none.

    Raises
    ------
    RuntimeError
        This is a fork of a process that had one: sockets do not survive a fork.
    """
    core = current._core
    if core is None:
        if _auto_init is not None:
            _auto_init()
        return current.get_core()
    return core
