"""A proxy that serves a dashboard below a prefix and passes outside names on, as jupyter-server-proxy does."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketClientConnection, WebSocketHandler, websocket_connect

__all__ = ["behind_prefix"]

_HOP = {"Connection", "Upgrade", "Keep-Alive", "Transfer-Encoding", "Content-Length"}


class _Http(RequestHandler):
    target = ""

    def initialize(self, target: str) -> None:
        self.target = target

    async def get(self, path: str) -> None:
        await self._pass_on(path, None)

    async def post(self, path: str) -> None:
        await self._pass_on(path, self.request.body)

    async def _pass_on(self, path: str, body: bytes | None) -> None:
        query = f"?{self.request.query}" if self.request.query else ""
        answer = await AsyncHTTPClient().fetch(
            HTTPRequest(
                f"http://{self.target}/{path}{query}",
                self.request.method or "GET",
                self.request.headers,
                body,
                follow_redirects=False,
                decompress_response=False,
            ),
            raise_error=False,
        )
        self.set_status(answer.code)
        for name, value in answer.headers.get_all():
            if name not in _HOP:
                self.add_header(name, value)
        self.finish(answer.body or None)  # type: ignore[unused-awaitable]


class _Socket(WebSocketHandler):
    def initialize(self, target: str) -> None:
        self.target = target

    def check_origin(self, origin: str) -> bool:
        return True  # that is for the dashboard to say

    async def open(self, *args: Any) -> None:
        headers = {name: value for name, value in self.request.headers.items() if not name.startswith("Sec-Websocket")}
        self.inner: WebSocketClientConnection = await websocket_connect(
            HTTPRequest(f"ws://{self.target}/api/v1/stream", headers=headers), on_message_callback=self._back
        )

    def _back(self, message: str | bytes | None) -> None:
        if message is None:
            self.close()
        else:
            self.write_message(message)  # type: ignore[unused-awaitable]

    async def on_message(self, message: str | bytes) -> None:  # type: ignore[override]
        await self.inner.write_message(message)

    def on_close(self) -> None:
        self.inner.close()


@contextlib.contextmanager
def behind_prefix(target: str, prefix: str) -> Iterator[str]:
    """A proxy for the dashboard at ``host:port``; the URL of its root, which ends with a slash."""
    (listener,) = bind_sockets(0, "127.0.0.1")
    started, ended, loops = threading.Event(), [], []

    async def serve() -> None:
        told = {"target": target}
        routes = [(rf"{prefix}/api/v1/stream", _Socket, told), (rf"{prefix}/(.*)", _Http, told)]
        server = HTTPServer(Application(routes))  # type: ignore[arg-type]
        server.add_sockets([listener])
        over = asyncio.Event()
        ended.append(over)
        loops.append(asyncio.get_running_loop())
        started.set()
        await over.wait()
        server.stop()
        await server.close_all_connections()
        await asyncio.sleep(0)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(10)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}{prefix}/"
    finally:
        loops[0].call_soon_threadsafe(ended[0].set)
        thread.join()
