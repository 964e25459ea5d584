"""Which notebook cell the calling code belongs to.

Strategy: a cell is noted in a context variable where its code begins to run (IPython's ``pre_run_cell``). Coroutines
and ``asyncio.to_thread`` inherit that by themselves. A thread does not (before Python 3.14), so starting one while the
extension is loaded leaves the starter's cell on the thread object. Code of the main thread that belongs to no cell that
we saw start (a widget's callback) is found by what the kernel works on.

Rejected: asking the kernel for its parent header each time. It tells the latest cell, also to what earlier cells left
running, and how it answers in threads differs between releases (see kernels.py).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from ..cluster.protocol.common import Cell

if TYPE_CHECKING:
    from ..cluster.core.runtime import Core

__all__ = ["CellTable", "NotebookCell"]

KEPT: Final = 1_000
"""Cells whose header is remembered: output of tasks finds its way to as many cells back. A header is about 1 KB."""

_THREAD_ATTRIBUTE: Final = "_himalia_cell"


class NotebookCell:
    """One execution of one cell.

    Attributes
    ----------
    message_id
        Of the request that executes it; empty in a terminal.
    execution
        Its number in ``In [n]``.
    header
        Of that request: messages that carry it as their parent appear under the cell.
    """

    __slots__ = ("_cell", "_core", "execution", "header", "message_id")

    def __init__(self, message_id: str, execution: int, header: dict[str, Any]) -> None:
        self.message_id = message_id
        self.execution = execution
        self.header = header
        self._core: Core | None = None
        self._cell: Cell | None = None

    def cell(self, core: Core) -> Cell:
        """The name that tasks carry: the same object until it is cancelled, as plans of tasks are kept by it."""
        if self._core is not core:
            self._cell = Cell(core.job_id, self.execution, self.message_id)
            self._core = core
        assert self._cell is not None
        return self._cell

    def named(self) -> Cell | None:
        """The name that its tasks carry, if it had any."""
        return self._cell

    def renew(self, cell: Cell) -> None:
        """That name was cancelled and is over: what it left running submits under the next one."""
        if self._cell == cell:
            self._cell = Cell(cell.job_id, cell.execution, cell.message_id, cell.generation + 1)


def _key(cell: NotebookCell | Cell) -> tuple[str, int]:
    # A terminal has no messages: there the number alone tells cells apart.
    return cell.message_id, 0 if cell.message_id else cell.execution


class CellTable:
    """The cells that ran lately, and which of them the calling code belongs to.

    Parameters
    ----------
    ask_kernel
        Tells what the kernel is about to execute (True) or works on at this moment (False).
    """

    def __init__(self, ask_kernel: Callable[[bool], NotebookCell | None]) -> None:
        self._ask_kernel = ask_kernel
        self._current: ContextVar[NotebookCell | None] = ContextVar("himalia_notebook_cell", default=None)
        self._by_key: OrderedDict[tuple[str, int], NotebookCell] = OrderedDict()
        self._running: set[tuple[str, int]] = set()
        self._lock = threading.Lock()
        self._start: Any = None

    def enter(self, begins: bool = True) -> None:
        """A cell begins to run in this context, or has done so already."""
        found = self._ask_kernel(begins)
        self._current.set(self.remember(found) if found is not None else None)
        if found is not None:
            self._running.add(_key(found))

    def leave(self) -> None:
        """A cell has ended. What it left running keeps it; what the kernel does next in this context is not its."""
        self._current.set(None)
        found = self._ask_kernel(False)
        if found is None:
            self._running.clear()
        else:
            self._running.discard(_key(found))

    def is_running(self, cell: Cell) -> bool:
        """Whether the code of a cell has not ended; what it submitted may go on for longer."""
        return _key(cell) in self._running

    def current(self) -> NotebookCell | None:
        """The cell that the calling code belongs to."""
        found = self._current.get()
        if found is not None:
            return found
        thread = threading.current_thread()
        left: NotebookCell | None = getattr(thread, _THREAD_ATTRIBUTE, None)
        if left is not None:
            return left
        if thread is not threading.main_thread():
            return None
        return self.asked()

    def asked(self) -> NotebookCell | None:
        """The cell that the kernel works on, and the one to ask for when a cell has ended: if that awaited, it ran in a
        context of its own, which the caller is not in."""
        found = self._ask_kernel(False)
        return self.remember(found) if found is not None else None

    def remember(self, cell: NotebookCell) -> NotebookCell:
        """Keep a cell; returns the one that is known already if it is the same execution."""
        key = _key(cell)
        with self._lock:
            known = self._by_key.setdefault(key, cell)
            if len(self._by_key) > KEPT:
                self._by_key.popitem(last=False)
        return known

    def renew(self, cell: Cell) -> None:
        """A cell was cancelled."""
        known = self._by_key.get(_key(cell))
        if known is not None:
            known.renew(cell)

    def find(self, message_id: str) -> NotebookCell | None:
        """The cell of a request, if it is remembered."""
        return self._by_key.get((message_id, 0))

    def numbered(self, execution: int) -> list[NotebookCell]:
        """The remembered cells that were ``In [n]``: several, if a restart of the front end counted anew."""
        with self._lock:
            return [cell for cell in self._by_key.values() if cell.execution == execution]

    # -- threads ----------------------------------------------------------------------------------------------------

    def follow_threads(self) -> None:
        """From now on a thread belongs to the cell that starts it."""
        original = threading.Thread.start
        table = self

        def start(thread: threading.Thread) -> None:
            cell = table.current()
            if cell is not None:
                setattr(thread, _THREAD_ATTRIBUTE, cell)
            original(thread)

        self._start = (original, start)
        threading.Thread.start = start  # type: ignore[method-assign, assignment]

    def unfollow_threads(self) -> None:
        """Undo `follow_threads`, unless someone has put their own on top: then it stays, and does no harm."""
        if self._start is not None and threading.Thread.start is self._start[1]:
            threading.Thread.start = self._start[0]  # type: ignore[method-assign]
        self._start = None
