"""Run something right after a module was imported, if it ever is: how a worker adapts libraries that it does not
import.

A finder at the front of ``sys.meta_path`` knows the names that somebody waits for. It finds such a module by those
behind it and puts a loader around the module's own for the moment of execution. Rejected: wrapping ``__import__``
(costs every import statement), and importing the libraries at the start (costs every worker).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["ImportHooks"]

Hook = Callable[[Any], None]


class ImportHooks(MetaPathFinder):
    """What waits for modules, by their names."""

    def __init__(self, hooks: dict[str, Hook]) -> None:
        self._hooks = dict(hooks)

    def install(self) -> None:
        """Begin to wait. What is imported already is adapted at once."""
        for name in list(self._hooks):
            if name in sys.modules:
                self._hooks.pop(name)(sys.modules[name])
        sys.meta_path.insert(0, self)

    def remove(self) -> None:
        """Wait no more."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's own place, with a loader that calls the hook."""
        hook = self._hooks.pop(fullname, None)
        if hook is None:
            return None
        for finder in sys.meta_path:
            if finder is not self and (spec := finder.find_spec(fullname, path, target)) is not None:
                if spec.loader is not None:
                    spec.loader = _CallingLoader(spec.loader, hook)
                return spec
        self._hooks[fullname] = hook  # it may be there later
        return None


class _CallingLoader(Loader):
    def __init__(self, loader: Loader, hook: Hook) -> None:
        self._loader = loader
        self._hook = hook

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        assert spec is not None
        spec.loader = module.__loader__ = self._loader  # resources and the like are asked of it
        self._loader.exec_module(module)
        self._hook(module)
