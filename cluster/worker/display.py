"""Rich output in tasks: `display`, figures, widgets, tqdm's notebook bars. A worker has no IPython shell.

Strategy: nothing is imported for it. When a task imports IPython, matplotlib or tqdm's notebook module, what would
ask for the shell or for a front end is replaced by what sends a MIME bundle to the driver, which publishes it under
the task's cell. Rejected: a shell in each worker. It takes 0.2 s to make and would change exceptions, hooks and
histories of everybody's tasks.

- `display(...)`, display handles, ``update_display`` and ``clear_output`` work. What a task displays after
  ``clear_output`` takes the place of what it displayed before; other tasks' output of the cell stays.
- Figures are shown by ``plt.show()``, and those that a task leaves open at its end, as in a notebook's cell.
- Widgets are live as long as their task runs, and keep their last state (`comms.py`); where they can not be, they are
  shown as they are, and say so. So are bars of `tqdm.notebook`, which are lines of text where they can not be.
"""

from __future__ import annotations

import base64
import builtins
import functools
import json
import os
import sys
import uuid
from html import escape
from typing import TYPE_CHECKING, Any, Final

from .comms import TaskComms
from .import_hooks import ImportHooks

if TYPE_CHECKING:
    from .output import Output
    from .peers import Job

__all__ = ["RichOutput"]

_WIDGET: Final = "application/vnd.jupyter.widget-view+json"
_BACKEND: Final = "module://himalia.cluster.worker.figures"
_INLINE: Final = frozenset({"", "inline", "module://matplotlib_inline.backend_inline"})
"""Backends that mean: show figures in the notebook. Whoever asked for another one gets that."""


class RichOutput:
    """Installs everything in a worker."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.comms = TaskComms(output, sendable)
        self.hooks = ImportHooks(
            {
                "comm": self.comms.adapt,
                "IPython.core.display_functions": self._adapt_ipython,
                "matplotlib": self._adapt_matplotlib,
                "tqdm.notebook": self._adapt_tqdm,
            }
        )

    def install(self) -> None:
        """Wait for the libraries. ``display`` is a builtin, as it is in a notebook."""
        self.hooks.install()
        builtins.display = _lazy_display  # type: ignore[attr-defined]

    # -- sending ------------------------------------------------------------------------------------------------------

    def publish(
        self,
        data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        *,
        display_id: str = "",
        update: bool = False,
        job: Job | None = None,
    ) -> None:
        """Send a MIME bundle to the driver, in the name of the task that the calling thread works for."""
        job = job or self.output.source()
        bundle = {kind: sendable(value) for kind, value in data.items()}
        if job is None or self.output.is_forked:
            sys.stdout.write(f"{bundle.get('text/plain', '')}\n")
            return
        self.output.show(job, bundle, sendable(metadata or {}), display_id, update)

    # -- IPython ------------------------------------------------------------------------------------------------------

    def _adapt_ipython(self, module: Any) -> None:
        """Let IPython's display functions do without a shell."""
        own_display, own_publish, own_clear = module.display, module.publish_display_data, module.clear_output

        @functools.wraps(own_display)
        def display(*objects: Any, **options: Any) -> Any:
            return own_display(*objects, **options) if _has_shell() else self._display(module, objects, options)

        @functools.wraps(own_publish)
        def publish_display_data(
            data: dict[str, Any], metadata: Any = None, *args: Any, transient: Any = None, **options: Any
        ) -> Any:
            if _has_shell():
                return own_publish(data, metadata, *args, transient=transient, **options)
            display_id = (transient or {}).get("display_id", "")
            return self.publish(data, metadata, display_id=display_id, update=bool(options.get("update")))

        @functools.wraps(own_clear)
        def clear_output(wait: bool = False) -> None:
            job = self.output.source()
            if _has_shell() or job is None:
                own_clear(wait)
            else:
                self.output.clear(job)

        module.display, module.publish_display_data, module.clear_output = display, publish_display_data, clear_output

    def _display(self, module: Any, objects: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """IPython's `display` with its own formatters."""
        display_id, update = options.get("display_id"), bool(options.get("update"))
        if display_id is True:
            display_id = uuid.uuid4().hex
        if update and not display_id:
            raise TypeError("display_id required for update_display")
        if options.get("clear"):
            module.clear_output(wait=True)
        for value in objects:
            if options.get("raw"):
                data, metadata = dict(value), dict[str, Any]()
            else:
                data, metadata = formatted(value, options.get("include"), options.get("exclude"))
            if data:
                metadata = {**metadata, **(options.get("metadata") or {})}
                self.publish(data, metadata, display_id=display_id or "", update=update)
        return module.DisplayHandle(display_id) if display_id else None

    def _adapt_tqdm(self, module: Any) -> None:
        from .notebook_bars import adapt_tqdm

        adapt_tqdm(module, self.comms.has_room)

    # -- matplotlib ---------------------------------------------------------------------------------------------------

    def _adapt_matplotlib(self, module: Any) -> None:
        """Show figures in the cell, unless the user has asked for another backend."""
        if os.environ.get("MPLBACKEND", "") in _INLINE:
            module.use(_BACKEND)
            self.output.at_end.append(self._show_open_figures)

    def show_figure(self, figure: Any, job: Job | None = None) -> None:
        """Display one figure."""
        from .figures import png_of

        data = {"text/plain": repr(figure), "image/png": png_of(figure)}
        self.publish(data, {"image/png": {}}, job=job)

    def _show_open_figures(self, job: Job) -> None:
        """A task is over: show what it left open. An actor's figures may be part of its state, and a program has no
        place for them."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None or job.loaded.method:
            return
        cell = job.loaded.cell
        for number in pyplot.get_fignums():
            if cell is not None and cell.message_id:
                self.show_figure(pyplot.figure(number), job)
            pyplot.close(number)


def _lazy_display(*objects: Any, **options: Any) -> Any:
    """Display objects under the cell that submitted this task."""
    from IPython.display import display

    return display(*objects, **options)  # type: ignore[no-untyped-call]


def _has_shell() -> bool:
    """Whether the task has made itself an IPython shell."""
    module = sys.modules.get("IPython.core.interactiveshell")
    return module is not None and module.InteractiveShell.initialized()


@functools.cache
def _formatter() -> Any:
    from IPython.core.formatters import DisplayFormatter

    formatter: Any = DisplayFormatter()

    def png(figure: Any) -> bytes:
        from .figures import png_of

        return png_of(figure)

    formatter.formatters["image/png"].for_type_by_name("matplotlib.figure", "Figure", png)
    return formatter


def formatted(value: Any, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """An object's MIME bundle and metadata; empty if it has displayed itself."""
    data, metadata = _formatter().format(value, include=include, exclude=exclude)
    if _WIDGET in data and not getattr(getattr(value, "comm", None), "is_live", False):
        data = _frozen_widget(value, data)
    return data, metadata


def _frozen_widget(widget: Any, data: dict[str, Any]) -> dict[str, Any]:
    """What is shown of a widget that no front end knows: of a program, or one of too many."""
    text = data.get("text/plain") or repr(widget)
    markup = isinstance(getattr(widget, "value", None), str) and type(widget).__name__ in ("HTML", "HTMLMath")
    shown = widget.value if markup else f"<code>{escape(text)}</code>"
    note = "a widget shows its state only here: a notebook's task has live ones, up to a thousand and 20 MB in a worker"
    return {
        "text/plain": f"{text}  [{note}]",
        "text/html": f'<div>{shown}<div style="opacity:.65;font-size:smaller">{note}</div></div>',
    }


def sendable(value: Any) -> Any:
    """A value of a MIME bundle as Jupyter has it: text, base64 for bytes, or plain JSON data."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode("ascii")
    return json.loads(json.dumps(value, default=str))
