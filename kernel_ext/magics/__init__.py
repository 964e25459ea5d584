"""The magics of the extension, one module for each family.

A new family is a module with a subclass of `base.Family` and a line in `families`. Loading registers its magics and
their completion, unloading takes both away. A module imports nothing heavy when it is imported itself, since
``%load_ext`` imports them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..extension import Extension
    from .base import Family

__all__ = ["families", "install_magics", "remove_magics"]


def families() -> tuple[type[Family], ...]:
    """All families of magics."""
    from .cluster import ClusterMagics
    from .control import ControlMagics
    from .dashboard import DashboardMagics
    from .every import EveryMagics
    from .explain import ExplainMagics
    from .logs import LogMagics
    from .memory import MemoryMagics
    from .rdebug import DebugMagics
    from .state import StateMagics
    from .task import TaskMagics

    return (
        ClusterMagics,
        LogMagics,
        MemoryMagics,
        TaskMagics,
        EveryMagics,
        StateMagics,
        ControlMagics,
        DebugMagics,
        DashboardMagics,
        ExplainMagics,
    )


def install_magics(extension: Extension) -> None:
    """Register the magics in the extension's shell, and what completes their arguments."""
    from .completion import install_completion

    shell = extension.shell
    for family in families():
        registered = family(extension)
        shell.register_magics(registered)
        install_completion(shell, registered)


def remove_magics(extension: Extension) -> None:
    """Undo `install_magics`."""
    from .completion import remove_completion

    shell = extension.shell
    manager = shell.magics_manager
    for family in families():
        for kind, names in family.magics.items():
            for name in names:
                manager.magics[kind].pop(name, None)
        registered = manager.registry.pop(family.__name__, None)
        if registered is not None:
            registered.ended()
        remove_completion(shell, family)
