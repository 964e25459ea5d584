"""A cluster with its dashboard, and clients that say whatever they like."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

import himalia
from himalia.cluster.core import session
from himalia.cluster.launchers.boot import ConnectionInfo
from tests.support.leaks import LeakGuard

PATIENCE = 60.0


class Answer:
    """What came back."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode()

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Client:
    """Asks a dashboard. ``headers`` go along with every request."""

    def __init__(self, info: ConnectionInfo, headers: Mapping[str, str] | None = None) -> None:
        self.info = info
        self.token = info.dashboard_token
        self.place = urlsplit(info.dashboard_url)
        self.headers = dict(headers or {})

    def member(self) -> Client:
        """One that has the token."""
        return Client(self.info, {**self.headers, "Authorization": f"Bearer {self.token}"})

    def browser(self) -> Client:
        """One that has logged in, and sends its cookie."""
        answer = self.get(f"/login?token={self.token}")
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        return Client(self.info, {**self.headers, "Cookie": cookie})

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, None, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.ask("POST", path, body, **headers)

    def ask(self, method: str, path: str, body: Any, **headers: str) -> Answer:
        """Names of headers have underscores for dashes."""
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        data = None
        if body is not None:
            data = body if isinstance(body, str) else json.dumps(body)
            sent.setdefault("Content-Type", "application/json")
        with contextlib.closing(http.client.HTTPConnection(self.place.netloc, timeout=PATIENCE)) as connection:
            connection.request(method, path, data, sent)
            return Answer(connection.getresponse())

    @contextlib.asynccontextmanager
    async def stream(self, **headers: str) -> AsyncIterator[WebSocketClientConnection]:
        """A websocket."""
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        url = f"ws://{self.place.netloc}/api/v1/stream"
        opened = await websocket_connect(HTTPRequest(url, headers=sent, connect_timeout=PATIENCE))
        try:
            yield opened
        finally:
            opened.close()
            while await opened.read_message() is not None:
                pass


@pytest.fixture(scope="module")
def cluster(leak_guard: LeakGuard) -> Iterator[ConnectionInfo]:
    """A cluster that this process is connected to."""
    with leak_guard.shared("the cluster of these tests"):
        himalia.init("local", num_cpus=2, log_to_driver=False, dashboard_port=0)
        live = session.current_session()
        assert live is not None
        yield live.connection
        himalia.shutdown()


@pytest.fixture
def stranger(cluster: ConnectionInfo) -> Client:
    """Who knows the URL and nothing else."""
    return Client(cluster)


@pytest.fixture
def member(stranger: Client) -> Client:
    """Who has the token."""
    return stranger.member()


@pytest.fixture
def browser(stranger: Client) -> Client:
    """A browser that has logged in."""
    return stranger.browser()
