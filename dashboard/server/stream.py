"""The websocket that brings pages: a viewer of the hub for each connection.

A viewer that reads more slowly than the page changes is not sent everything late, and is not waited for: when too much
lies unsent it is left alone until all of that has gone, and then sent the page anew, as it is by then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from ...cluster.launchers.boot import ConnectionInfo
from ..answers import GcsAnswers
from ..hub import Hub, Viewer
from ..state import StateFeed
from .base import ApiHandler, Services

__all__ = ["Pages", "StreamHandler"]

_log = logging.getLogger("himalia.dashboard")

_MOST_UNSENT: Final = 8 << 20  # bytes: several of the largest pages
_AGAIN: Final = 1.0  # seconds until a lost cluster is asked again


class Open(msgspec.Struct, tag="open"):
    """Show me this page."""

    page: str
    params: dict[str, str] = {}


class Params(msgspec.Struct, tag="params"):
    """Show me the page that is open with these parameters."""

    params: dict[str, str]


_decode: Final = msgspec.json.Decoder(Open | Params).decode


class Pages:
    """The hub, and what drives it: there from the first viewer on."""

    def __init__(self, where: ConnectionInfo) -> None:
        self._answers = GcsAnswers(where)
        self._driving: asyncio.Task[None] | None = None
        self.hub = Hub(StateFeed(self._answers))

    def open(self, message: Open, send: Callable[[str], None]) -> Viewer:
        """Have somebody look at a page."""
        if self._driving is None or self._driving.done():
            self._driving = asyncio.get_running_loop().create_task(self._drive())
        return self.hub.open(message.page, message.params, send)

    async def _drive(self) -> None:
        while True:
            try:
                await self.hub.run()
            except ConnectionError as error:
                _log.warning("%s", error)
            except Exception:  # noqa: BLE001 an error of ours: pages would stand still without a word
                _log.exception("pages could not be brought up to date")
            await asyncio.sleep(_AGAIN)

    async def close(self) -> None:
        """Ask no more."""
        if self._driving is not None:
            self._driving.cancel()
            await asyncio.gather(self._driving, return_exceptions=True)
        self._answers.close()


class StreamHandler(WebSocketHandler, ApiHandler):
    """``/api/v1/stream``."""

    _viewer: Viewer | None = None
    _unsent = 0
    _asked: Open | None = None
    _is_behind = False

    def check_origin(self, origin: str) -> bool:
        """A page of somebody else may open a websocket with our cookie, so it has to be one of ours."""
        return not self.by_cookie or self.services.access.knows_origin(origin, self.request.host)

    def initialize(self, services: Services) -> None:
        super().initialize(services)
        self._waiting: set[asyncio.Future[None]] = set()

    def open(self, *args: str, **kwargs: str) -> None:
        self.set_nodelay(True)

    def on_message(self, message: str | bytes) -> None:
        try:
            asked = _decode(message)
            if isinstance(asked, Params):
                if self._asked is None:
                    raise ValueError("no page is open: send open first")
                asked = msgspec.structs.replace(self._asked, params=asked.params)
            self._show(asked)
        except (LookupError, ValueError, ImportError) as error:
            self._send(msgspec.json.encode({"type": "refused", "reason": _explained(error)}).decode())

    def _show(self, asked: Open) -> None:
        if self._viewer is None:
            self._viewer = self.services.pages().open(asked, self._send)
        else:
            self._viewer.change(asked.params, asked.page)
        self._asked = asked

    def _send(self, text: str) -> None:
        if self._is_behind:
            return
        try:
            sent = self.write_message(text)
        except WebSocketClosedError:
            return
        self._unsent += len(text)
        self._is_behind = self._unsent > _MOST_UNSENT
        waiting = asyncio.ensure_future(self._wait_for(sent, len(text)))
        self._waiting.add(waiting)
        waiting.add_done_callback(self._waiting.discard)

    async def _wait_for(self, sent: Awaitable[None], size: int) -> None:
        try:
            await sent
        except WebSocketClosedError:
            return
        self._unsent -= size
        if self._is_behind and not self._unsent:
            self._is_behind = False
            if self._viewer is not None and self._asked is not None:
                self._viewer.change(self._asked.params, self._asked.page)

    def on_close(self) -> None:
        if self._viewer is not None:
            self._viewer.close()
            self._viewer = None


def _explained(error: Exception) -> str:
    if isinstance(error, ImportError) and (error.name or "").partition(".")[0] == "bokeh":
        return "Plots need Bokeh, which is not installed where the cluster runs: pip install 'himalia[dashboard]'"
    return str(error)
