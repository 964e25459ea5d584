"""The bytes of a function or class that is used again and again: made once, and again when they would be stale."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..protocol.common import Cell
from ..serialization.functions import Exported, export_function, globals_of

if TYPE_CHECKING:
    from ..serialization.reloading import Code
    from ..serialization.uses import Use
    from .native import EngineOps

__all__ = ["Exports"]


class Exports:
    """What one function or class is sent as.

    Made once a session, at the first use, as in Ray. In a notebook made again in another cell if a global that it uses
    was bound anew, and if a module was edited: there definitions change while the session goes on. The look at its
    globals costs nothing for each task, and little for each cell.
    """

    def __init__(self, thing: Callable[..., Any] | type) -> None:
        self._thing = thing
        self._exported: Exported | None = None
        self._core: EngineOps | None = None
        self._code: Code | None = None
        self._cell: Cell | None = None
        self._uses: list[Use] = []

    def current(self, core: EngineOps, cell: Cell | None) -> Exported:
        """The bytes for what a cell submits."""
        made = self._exported
        if made is not None and self._core is core and self._code is core.code and not self._is_stale(cell):
            return made
        made = self._exported = export_function(self._thing, on_large=lambda capture: core.warn(str(capture)))
        self._core, self._code, self._cell = core, core.code, cell
        self._uses = globals_of(self._thing) if cell is not None and cell.execution else []
        return made

    def _is_stale(self, cell: Cell | None) -> bool:
        if cell is self._cell or cell is None or not cell.execution:
            return False
        self._cell = cell
        return not all(use.is_current() for use in self._uses)
