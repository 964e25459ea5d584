"""A page of the dashboard as a widget.

ipywidgets and anywidget are imported when the first page is shown: they take longer than a cell should.
"""

from __future__ import annotations

import functools
import time
import weakref
from typing import TYPE_CHECKING, Any

from ...cluster.core import current
from ...dashboard.bundle import bokeh_js, bundled, static_text
from ...dashboard.hub import make_page
from ..kernels import answer_beside_cells
from .channel import PageChannel
from .page_loop import PageLoop, page_loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...cluster.core.runtime import Core

__all__ = ["NoWidgetsError", "page", "reopen"]


class NoWidgetsError(RuntimeError):
    """Widgets can not be shown here: a package is missing."""


_shown: weakref.WeakSet[Any] = weakref.WeakSet()


def page(name: str = "overview", **params: str) -> Any:
    """A page of the dashboard as a widget, live over the kernel's own connection.

    Parameters
    ----------
    name
        ``overview``, ``task_stream``, …: those of the dashboard's menu.
    params
        What it shows: those that the page's address has, such as ``job`` and ``at``.

    Returns
    -------
    ipywidgets.DOMWidget
        Show it, or put it into a layout with others.

    Raises
    ------
    LookupError
        There is no such page.
    ValueError
        The page has no such parameters.
    NoWidgetsError
        anywidget is not installed.
    himalia.exceptions.RaySystemError
        There is no cluster: ``himalia.init()`` or ``%cluster start`` first.
    """
    make_page(name, params)  # it tells of parameters that it has not
    core = current.get_core()
    make = _widget_class()
    return make(core, name, params)


def reopen(core: Core) -> None:
    """Show what widgets of this kernel show out of another cluster from now on."""
    for widget in list(_shown):
        widget.attach(core)


@functools.cache
def _library() -> Any:
    """BokehJS, once a kernel: every page's widget names it."""
    import ipywidgets
    import traitlets

    class Library(ipywidgets.Widget):  # type: ignore[misc]  # which has no types
        script = traitlets.Bytes().tag(sync=True)

    return Library(script=bokeh_js())


@functools.cache
def _widget_class() -> Callable[[Core, str, dict[str, str]], Any]:
    try:
        import anywidget
        import traitlets
        from ipywidgets import widget_serialization
    except ImportError as error:
        raise NoWidgetsError(
            f"{error.name} is not installed: pip install anywidget, and restart the kernel; without it, "
            "%dashboard --link leads to the same page in the browser"
        ) from error

    class PageWidget(anywidget.AnyWidget):
        """See `page`."""

        _esm = bundled("widget.js") + "\nexport default { render };\n"
        _css = static_text("dashboard.css")
        opening = traitlets.Bytes().tag(sync=True)
        library = traitlets.Any().tag(sync=True, **widget_serialization)

        def __init__(self, core: Core, name: str, params: dict[str, str]) -> None:
            super().__init__(library=_library())
            self._channel = PageChannel(self._open, self._tell)
            self._loop: PageLoop | None = None
            self.on_msg(self._message)
            answer_beside_cells(self.comm)
            self._page, self._params = name, params
            self.attach(core)
            _shown.add(self)

        def __repr__(self) -> str:
            return f"The page {self._channel.page or self._page} of the dashboard: %dashboard leads to it in a browser"

        def attach(self, core: Core) -> None:
            """Show the page out of a cluster."""
            loop = page_loop(core)
            channel = self._channel
            if loop is self._loop:
                return

            def begin() -> None:
                channel.close()
                loop.channels.add(channel)
                channel.show(loop.hub, channel.page or self._page, channel.params or self._params, time.monotonic())

            self._loop = loop
            loop.do(begin).add_done_callback(_raise_in_log)

        def close(self) -> None:
            """Take it out of the page."""
            loop, channel = self._loop, self._channel
            if loop is not None and loop.is_alive:

                def end() -> None:
                    channel.close()
                    loop.channels.discard(channel)

                loop.do(end)
            _shown.discard(self)
            super().close()

        def _open(self, data: bytes) -> None:
            self.opening = data

        def _tell(self, number: int, text: str) -> None:
            self.send({"number": number}, buffers=[text.encode()])

        def _message(self, widget: Any, content: Any, buffers: Any) -> None:
            loop = self._loop
            if isinstance(content, dict) and loop is not None and loop.is_alive:
                loop.do(lambda: self._answer(loop, content)).add_done_callback(_raise_in_log)

        def _answer(self, loop: PageLoop, content: dict[str, Any]) -> None:
            """What the browser says; in the loop's thread."""
            channel, now = self._channel, time.monotonic()
            kind = content.get("type")
            if kind == "here":
                channel.here()
            elif kind == "again":
                channel.again(now)
            elif kind == "open":
                try:
                    channel.show(loop.hub, str(content.get("page")), _texts(content.get("params")), now)
                except (LookupError, ValueError) as error:
                    channel.refuse(str(error))
            elif kind == "act" and isinstance(number := content.get("number"), int):
                args = content.get("args")
                loop.act(
                    channel,
                    number,
                    str(content.get("name")),
                    args if isinstance(args, dict) else {},
                    content.get("dry_run") is not False,
                )

    return PageWidget


def _texts(params: Any) -> dict[str, str]:
    if not isinstance(params, dict):
        return {}
    return {str(name): str(value) for name, value in params.items()}


def _raise_in_log(done: Any) -> None:
    error = done.exception()
    if error is not None:
        import logging

        logging.getLogger("himalia.widgets").error("a page could not be shown", exc_info=error)
