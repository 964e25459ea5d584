"""What loading the extension installs, and unloading takes away.

- IPython's events tell which cell begins and how it ended; an interrupted cell takes its tasks along.
- Every core of this process gets two hooks: which cell submits (`cell_provider`), where text goes (`log_sink`).
- Formatters show references and actors with their state.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from ..cluster.core import current, session
from ..cluster.core.script_output import OutputSink, ScriptOutput
from ..cluster.protocol import places
from .cells import CellTable
from .failures import FailureLog
from .kernels import KernelFront, front_of
from .live_tasks import LiveTasks
from .output import OutputRouter
from .places import cell_name
from .roots import notebook_roots
from .wakeup import SignalWakeup, loop_of

if TYPE_CHECKING:
    from ..cluster.core.runtime import Core
    from ..cluster.protocol.common import Cell
    from .cards import LiveCards
    from .engines import EnginePool
    from .kept_view import KeptView

__all__ = ["Extension"]


class Extension:
    """The extension in one IPython shell."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.front = front_of(shell)
        self.cells = CellTable(self.front.cell)
        self.router: OutputSink = (
            OutputRouter(self.front, self.cells) if isinstance(self.front, KernelFront) else ScriptOutput()
        )
        self.cards: LiveCards | None = None
        loop = loop_of(shell)
        self.wakeup = SignalWakeup(loop) if loop is not None else None
        self.failures: FailureLog | None = None  # of the core that this kernel works with
        self.live: LiveTasks | None = None
        self.engines: EnginePool | None = None  # of %%every
        self._kept: KeptView | None = None

    def load(self) -> None:
        """Install everything."""
        from .magics import install_magics
        from .reprs import install_formatters

        self.cells.enter(begins=False)  # the cell that loads the extension has done so before
        self.cells.follow_threads()
        self.shell.events.register("pre_run_cell", self._cell_begins)
        self.shell.events.register("post_run_cell", self._cell_ended)
        install_magics(self)
        install_formatters(self.shell, lambda: self.cards)
        places.ask_kernel(partial(cell_name, self.shell))
        if self.wakeup is not None:
            self.wakeup.install()
        session.on_connect.append(self.attach)
        session.cell_texts.append(self._cell_text)
        core = current.find_core()
        if core is not None:
            self.attach(core)
        else:
            self._rejoin()

    def _cell_text(self, number: int) -> str:
        history = self.shell.history_manager.input_hist_raw
        return history[number] if 0 <= number < len(history) else ""

    def _rejoin(self) -> None:
        """Join the cluster that an earlier kernel of this notebook left running, if there is one; show what it has."""
        from .kept import rejoin

        try:
            if rejoin():
                self.show_kept()
        except Exception as error:  # noqa: BLE001 - the extension is of use also without that cluster
            self._announce(None, f"The cluster of an earlier kernel can not be joined: {error}")

    def show_kept(self) -> None:
        """Show what the cluster keeps, and follow what of it goes on."""
        from .kept_view import KeptView

        self._kept = KeptView(self)
        self._kept.show()

    def unload(self) -> None:
        """Take everything away. A cluster that runs goes on, and its tasks print as in a script."""
        from .autoreload import autoreload_of
        from .magics import remove_magics
        from .reprs import remove_formatters

        self.shell.events.unregister("pre_run_cell", self._cell_begins)
        self.shell.events.unregister("post_run_cell", self._cell_ended)
        autoreload_of(self.shell).switch_off()
        remove_magics(self)
        remove_formatters(self.shell)
        places.ask_kernel(None)
        if self.cards is not None:
            self.cards.detach()
            self.cards.buttons.close()
        if self._kept is not None:
            self._kept.close()
        self.cells.unfollow_threads()
        if self.wakeup is not None:
            self.wakeup.remove()
        if self.attach in session.on_connect:
            session.on_connect.remove(self.attach)
        if self._cell_text in session.cell_texts:
            session.cell_texts.remove(self._cell_text)
        core = current.find_core()
        if core is not None:
            core.cell_provider = None
            core.cell_cancelled = None
            core.name_roots = None
            if core.unseen is not None:
                core.unseen.watching.is_over = None
            if core.log_sink is self.router:
                self.router.close()
                if isinstance(self.router, OutputRouter):
                    core.death_hooks.remove(self.router.widgets.process_died)
                core.log_sink = ScriptOutput()
            core.watch = session.watcher_of(core)
        if self.failures is not None and self.live is not None:
            self.failures.close()
            self.live.close()

    def attach(self, core: Core) -> None:
        """Route the output of a core's tasks, and name cells to it."""
        current_cell = self.cells.current

        def provide() -> Any:
            cell = current_cell()
            return cell.cell(core) if cell is not None else None

        core.cell_provider = provide
        core.cell_cancelled = self.cells.renew
        core.name_roots = partial(notebook_roots, self.shell)
        if core.log_sink is not None:  # None: the user asked for no output
            core.log_sink = self.router
            if isinstance(self.router, OutputRouter):
                core.death_hooks.append(self.router.widgets.process_died)
        self.failures, self.live = FailureLog(core), LiveTasks(core, self._announce)
        if core.unseen is not None:
            core.unseen.watching.is_over = lambda cell: cell is None or not self.cells.is_running(cell)
        if isinstance(self.front, KernelFront):
            from .cards import LiveCards
            from .progress import NotebookBars

            self.cards = self.cards or LiveCards(self.shell, self.front, self.cells)
            self.cards.attach(core)
            core.watch = session.watcher_of(core, NotebookBars(self.shell, self.front, self.cells))
            if (widgets := sys.modules.get(f"{__package__}.widgets.page_widget")) is not None:
                widgets.reopen(core)  # pages of a cluster before go on with this one

    def _announce(self, cell: Cell | None, text: str) -> None:
        found = self.cells.find(cell.message_id) if cell is not None and cell.message_id else None
        self.front.write(found, 1, f"{text}\n")

    def _cell_begins(self, info: Any) -> None:
        self.cells.enter()

    def _cell_ended(self, result: Any) -> None:
        """An interrupted cell takes along what it submitted."""
        self.cells.leave()
        core = current.find_core()
        if core is None:
            return
        if core.watch is not None:
            core.watch.forget()
        if not _was_interrupted(result):
            return
        cell = self.cells.asked()
        named = cell.named() if cell is not None else None
        if named is not None:
            core.cancel_cell(named)


def _was_interrupted(result: Any) -> bool:
    """Whether the user stopped a cell. No result at all means that its coroutine was cancelled, as SIGINT does."""
    if result is None:
        return True
    return isinstance(result.error_in_exec, KeyboardInterrupt | asyncio.CancelledError)
