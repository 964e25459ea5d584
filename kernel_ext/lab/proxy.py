"""A cluster's dashboard under the Jupyter server's address: ``himalia/ID/...`` is what the dashboard has at ``/...``.

Strategy: whoever is logged in to the Jupyter server may see the dashboards of its user, so the dashboard's token is put
in here and never reaches a browser. Where a request goes is decided by the session folders of this user alone: the id
in the address picks one, and nothing in a request can name another host or port. The dashboard's addresses are
relative, so no text is rewritten.

What is kept apart: cookies and credentials of the Jupyter server (also those in an address) do not go to the dashboard,
nor its cookies to the browser; a request that changes something passes the Jupyter server's own check against forged
ones (`_xsrf`). A JupyterHub has that check also for what a page's scripts read, as pages of other users have the same
origin. A browser that loads a module can not pass it; so it is not made for our scripts and styles, which are the same
for everybody.

Rejected: jupyter-server-proxy, which would add a dependency, and whose addresses name ports: any port of the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, unquote_plus, urlsplit

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from jupyter_server.utils import ensure_async
from tornado import web
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.httputil import HTTPHeaders, parse_response_start_line
from tornado.iostream import StreamClosedError
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from tornado.websocket import (
    WebSocketClientConnection,
    WebSocketClosedError,
    WebSocketHandler,
    websocket_connect,
)

from ...cluster.launchers.boot import ConnectionInfo
from .clusters import UnknownClusterError, find

__all__ = ["AssetHandler", "ProxyHandler", "ProxySocket"]

_ONE_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NOT_SENT: Final = _ONE_HOP | {"authorization", "content-length", "cookie", "host", "origin", "referer", "x-xsrftoken"}
_NOT_ASKED: Final = frozenset({"token", "_xsrf"})
"""Of a query: what the Jupyter server takes for a login, and for the proof that a request is not forged."""
_NOT_RETURNED: Final = _ONE_HOP | {"content-length", "set-cookie", "server", "date"}
_UNREACHABLE: Final = "The dashboard of cluster {} can not be reached: {}"
_CLOSED: Final = (
    "This cluster was started without a dashboard (include_dashboard=False), or it listens on the head's own machine"
)
_CONNECT_SECONDS: Final = 10.0
_ANSWER_SECONDS: Final = 300.0  # a page may be asked for what takes a while: a profile, a whole report
_LARGEST_MESSAGE: Final = 1 << 28  # bytes of a websocket message: the data of a page that begins
_LARGEST_ANSWER: Final = 1 << 40  # bytes; it is passed on as it comes


def target_of(connection: ConnectionInfo, path: str, query: str) -> str:
    """The address at the dashboard itself."""
    if not connection.dashboard_url:
        raise web.HTTPError(404, _CLOSED)
    place = quote(path, safe="/~@:!$&'()*+,;=-._")
    return f"{connection.dashboard_url.rstrip('/')}/{place}{'?' if query else ''}{query}"


def query_for(received: str) -> str:
    """What the dashboard gets of a request's query."""
    parts = received.split("&")
    return "&".join(part for part in parts if unquote_plus(part.partition("=")[0]) not in _NOT_ASKED)


def headers_for(received: HTTPHeaders, token: str) -> HTTPHeaders:
    """What the dashboard gets of a request's headers."""
    named = {name.strip().lower() for name in received.get("Connection", "").split(",")}
    sent = HTTPHeaders()
    for name, value in received.get_all():
        if name.lower() not in _NOT_SENT and name.lower() not in named:
            sent.add(name, value)
    sent["Authorization"] = f"token {token}"
    return sent


def headers_back(received: HTTPHeaders) -> list[tuple[str, str]]:
    """What the browser gets of an answer's headers."""
    named = {name.strip().lower() for name in received.get("Connection", "").split(",")}
    return [
        (name, value)
        for name, value in received.get_all()
        if name.lower() not in _NOT_RETURNED and name.lower() not in named
    ]


def is_within(location: str) -> bool:
    """Whether a redirect stays where it is: only such ones are passed on."""
    place = urlsplit(location)
    return not place.scheme and not place.netloc and not location.startswith(("/", "\\"))


def _connection(cluster_id: str) -> ConnectionInfo:
    try:
        return find(cluster_id)
    except UnknownClusterError as error:
        raise web.HTTPError(404, str(error)) from error


class ProxyHandler(JupyterHandler):
    """Everything but websockets."""

    auth_resource = "himalia"

    @web.authenticated
    @authorized
    async def get(self, cluster_id: str, path: str) -> None:
        await self._pass_on(cluster_id, path)

    @web.authenticated
    @authorized
    async def head(self, cluster_id: str, path: str) -> None:
        await self._pass_on(cluster_id, path)

    @web.authenticated
    @authorized
    async def post(self, cluster_id: str, path: str) -> None:
        await self._pass_on(cluster_id, path)

    @web.authenticated
    @authorized
    async def put(self, cluster_id: str, path: str) -> None:
        await self._pass_on(cluster_id, path)

    @web.authenticated
    @authorized
    async def delete(self, cluster_id: str, path: str) -> None:
        await self._pass_on(cluster_id, path)

    async def _pass_on(self, cluster_id: str, path: str) -> None:
        connection = _connection(cluster_id)
        request = HTTPRequest(
            target_of(connection, path, query_for(self.request.query)),
            method=str(self.request.method),
            headers=headers_for(self.request.headers, connection.dashboard_token),
            body=self.request.body or None,
            allow_nonstandard_methods=True,
            follow_redirects=False,
            decompress_response=False,
            connect_timeout=_CONNECT_SECONDS,
            request_timeout=_ANSWER_SECONDS,
            validate_cert=_must_prove_itself(connection),
            header_callback=_Head(self).take,
            streaming_callback=self._write_on,
        )
        self._refusal: web.HTTPError | None = None
        # Its own, as the shared one has ten connections for all of the server.
        client = SimpleAsyncHTTPClient(force_instance=True, max_body_size=_LARGEST_ANSWER)
        try:
            await client.fetch(request, raise_error=False)
        except StreamClosedError:
            if not self._headers_written:
                raise web.HTTPError(502, _UNREACHABLE.format(cluster_id, "it closed the connection")) from None
            self.request.connection.stream.close()  # type: ignore[union-attr]  # half an answer must not look whole
            return
        except (OSError, HTTPClientError) as error:
            raise web.HTTPError(502, _UNREACHABLE.format(cluster_id, error)) from error
        finally:
            client.close()
        if self._refusal is not None:
            raise self._refusal
        await self.finish()

    def take_head(self, status: int, reason: str, headers: HTTPHeaders) -> None:
        """The dashboard begins to answer."""
        if status == HTTPStatus.UNAUTHORIZED:
            self._refusal = web.HTTPError(502, "The dashboard refuses the token in its cluster's session folder")
            return
        if not is_within(headers.get("Location", "")):
            self._refusal = web.HTTPError(502, f"The dashboard leads to {headers['Location']!r}, out of itself")
            return
        self.set_status(status, reason)
        for name in headers:
            self.clear_header(name)
        for name, value in headers_back(headers):
            self.add_header(name, value)

    async def _write_on(self, chunk: bytes) -> None:
        if self._refusal is None:
            self.write(chunk)
            await self.flush()

    def compute_etag(self) -> None:
        """The dashboard's answers have their own."""


class AssetHandler(ProxyHandler):
    """Scripts and styles of the dashboard: for who has logged in, whatever page asks for them."""

    def check_xsrf_cookie(self) -> None:
        """For what changes something."""
        if self.request.method not in ("GET", "HEAD"):
            super().check_xsrf_cookie()


class _Head:
    """Puts together the head of an answer, which comes line by line."""

    def __init__(self, handler: ProxyHandler) -> None:
        self._handler = handler
        self._lines: list[str] = []

    def take(self, line: str) -> None:
        """One line, with its end; the last is empty."""
        if line.strip():
            self._lines.append(line)
            return
        start = parse_response_start_line(self._lines[0].strip())
        self._handler.take_head(start.code, start.reason, HTTPHeaders.parse("".join(self._lines[1:])))


class ProxySocket(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """A websocket of the dashboard. The mixin refuses pages of other origins."""

    auth_resource = "himalia"
    _upstream: WebSocketClientConnection | None = None
    _relay: asyncio.Task[None] | None = None

    async def get(self, cluster_id: str, path: str) -> None:
        """Be refused, or have both connections."""
        user = self.current_user
        if user is None:
            raise web.HTTPError(403)
        if not await ensure_async(self.authorizer.is_authorized(self, user, "execute", self.auth_resource)):
            raise web.HTTPError(403)
        connection = _connection(cluster_id)
        target = target_of(connection, path, query_for(self.request.query))
        request = HTTPRequest(
            f"ws{target.removeprefix('http')}",
            headers=HTTPHeaders(
                {"Authorization": f"token {connection.dashboard_token}", "Origin": connection.dashboard_url}
            ),
            connect_timeout=_CONNECT_SECONDS,
            validate_cert=_must_prove_itself(connection),
        )
        try:
            self._upstream = await websocket_connect(request, max_message_size=_LARGEST_MESSAGE)
        except (OSError, HTTPClientError) as error:
            raise web.HTTPError(502, _UNREACHABLE.format(cluster_id, error)) from error
        try:
            await super().get()  # until the browser's side is over, or was refused
        finally:
            self._upstream.close()

    def open(self, *args: str, **kwargs: str) -> None:
        """The browser's side is there too."""
        super().open(*args, **kwargs)
        self._relay = asyncio.create_task(self._to_browser())

    async def _to_browser(self) -> None:
        assert self._upstream is not None
        # One at a time: who does not read slows the dashboard's side of this viewer down, and nothing piles up here.
        with contextlib.suppress(WebSocketClosedError):
            while (message := await self._upstream.read_message()) is not None:
                await self.write_message(message, binary=isinstance(message, bytes))
        self.close(self._upstream.close_code, self._upstream.close_reason)

    async def on_message(self, message: str | bytes) -> None:
        """From the browser."""
        assert self._upstream is not None
        try:
            await self._upstream.write_message(message, binary=isinstance(message, bytes))
        except WebSocketClosedError:
            self.close()


def _must_prove_itself(connection: ConnectionInfo) -> bool:
    """Whether a certificate is checked: not on this machine, where nobody else can be at the address of our file."""
    return urlsplit(connection.dashboard_url).hostname not in ("127.0.0.1", "::1", "localhost")
