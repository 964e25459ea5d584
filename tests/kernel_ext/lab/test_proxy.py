"""A dashboard by way of a Jupyter server: what gets through, and what does not."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from jupyter_server.base.handlers import JupyterHandler
from tornado import web
from tornado.httpclient import HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders
from tornado.netutil import bind_sockets
from tornado.websocket import WebSocketHandler, websocket_connect

from himalia.cluster.launchers import session
from himalia.cluster.launchers.boot import ConnectionInfo, NodeOptions
from himalia.cluster.launchers.local import start_head
from himalia.cluster.protocol.common import Address
from himalia.kernel_ext.lab.clusters import Clusters
from himalia.kernel_ext.lab.handlers import handlers
from himalia.kernel_ext.lab.proxy import ProxyHandler, headers_for, is_within, target_of
from tests.kernel_ext.lab.conftest import PREFIX, TOKEN, Answer, JupyterServer
from tests.support.certificates import self_signed

DASHBOARD_TOKEN = "the-token-of-the-dashboard"


class StandIn(NamedTuple):
    """A dashboard that says what it was asked."""

    cluster_id: str
    port: int


class _Echo(web.RequestHandler):
    def get(self, path: str) -> None:
        self.set_header("Content-Security-Policy", "default-src 'none'")
        self.set_header("Set-Cookie", "stolen=1")
        self.write(self._asked())

    def post(self, path: str) -> None:
        self.set_status(202)
        self.write({**self._asked(), "body": self.request.body.decode()})

    def _asked(self) -> dict[str, Any]:
        return {
            "uri": self.request.uri,
            "headers": {name.lower(): value for name, value in self.request.headers.items()},
        }


class _Large(web.RequestHandler):
    async def get(self) -> None:
        for _ in range(64):
            self.write(b"x" * (1 << 20))
            await self.flush()


class _Leave(web.RequestHandler):
    def get(self) -> None:
        self.redirect(self.get_argument("to"))


class _Refuse(web.RequestHandler):
    def get(self) -> None:
        self.set_status(401)
        self.write("which token is this?")


class _Socket(WebSocketHandler):
    def check_origin(self, origin: str) -> bool:
        return origin == f"http://{self.request.host}"

    async def open(self, *args: str, **kwargs: str) -> None:
        if self.request.headers.get("Authorization") != f"token {DASHBOARD_TOKEN}":
            self.close(4001, "no token")

    async def on_message(self, message: str | bytes) -> None:
        if message == "leave":
            self.close(4002, "as asked")
        else:
            await self.write_message(message, binary=isinstance(message, bytes))


@pytest.fixture
async def dashboard() -> AsyncIterator[StandIn]:
    """A stand-in, and the session folder of a cluster that has it for its dashboard."""
    sockets = bind_sockets(0, "127.0.0.1")
    port = sockets[0].getsockname()[1]
    application = web.Application(
        [
            (r"/large", _Large),
            (r"/leave", _Leave),
            (r"/refuse", _Refuse),
            (r"/api/v1/stream", _Socket),
            (r"/(.*)", _Echo),
        ]
    )
    server = HTTPServer(application)
    server.add_sockets(sockets)
    node_id = secrets.token_bytes(8)
    cluster_id = secrets.token_hex(8)
    folder = session.create_session(node_id)
    started = session.process_started(os.getpid())
    session.write_record(
        folder,
        session.SessionRecord(
            node_id=node_id, cluster_id=cluster_id, pid=os.getpid(), pid_started=started, spill_dir=folder, is_head=True
        ),
    )
    session.write_connection_file(
        ConnectionInfo(
            cluster_id=cluster_id,
            node_id=node_id,
            gcs=Address(b"g" * 8, node_id, f"ipc://{folder}/gcs"),
            raylet=Address(node_id, node_id, f"ipc://{folder}/raylet"),
            session_dir=folder,
            pid=os.getpid(),
            pid_started=started,
            dashboard_url=f"http://127.0.0.1:{port}",
            dashboard_token=DASHBOARD_TOKEN,
        )
    )
    yield StandIn(cluster_id, port)
    session.remove_session(folder)
    server.stop()
    await server.close_all_connections()


async def ask(jupyter: JupyterServer, *args: Any, **kwargs: Any) -> Answer:
    return await asyncio.to_thread(jupyter.ask, *args, **kwargs)


async def test_a_page_is_asked_with_the_token_and_with_nothing_of_the_server(
    jupyter: JupyterServer, dashboard: StandIn
) -> None:
    cookies = jupyter.browser()
    sent = {
        "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
        "Referer": f"http://127.0.0.1:{jupyter.port}{PREFIX}lab",
        "X-XSRFToken": cookies["_xsrf"],
        "Accept-Language": "ast",
    }
    answer = await ask(jupyter, "GET", f"{dashboard.cluster_id}/page/a%2Fb?embed=1&q=%20", headers=sent)
    assert answer.status == 200
    asked = json.loads(answer.body)
    assert asked["uri"] == "/page/a/b?embed=1&q=%20"
    assert asked["headers"]["authorization"] == f"token {DASHBOARD_TOKEN}"
    assert asked["headers"]["host"] == f"127.0.0.1:{dashboard.port}"
    assert asked["headers"]["accept-language"] == "ast"
    assert not {"cookie", "referer", "x-xsrftoken", "origin"} & asked["headers"].keys()
    assert not any(value in str(asked) for value in cookies.values())


async def test_a_login_in_the_address_is_for_the_server_alone(jupyter: JupyterServer, dashboard: StandIn) -> None:
    for name in ("token", "%74oken"):
        path = f"{dashboard.cluster_id}/page/overview?embed=1&{name}={TOKEN}&_xsrf=forged"
        answer = await ask(jupyter, "GET", path, headers={})
        assert json.loads(answer.body)["uri"] == "/page/overview?embed=1"


async def test_the_answer_has_the_dashboards_policy_and_none_of_its_cookies(
    jupyter: JupyterServer, dashboard: StandIn
) -> None:
    answer = await ask(jupyter, "GET", f"{dashboard.cluster_id}/")
    assert answer.headers.get_all("Content-Security-Policy") == ["default-src 'none'"]
    assert "stolen" not in str(answer.headers)
    assert DASHBOARD_TOKEN not in str(answer.headers)


async def test_who_has_not_logged_in_to_the_server_is_led_to_its_login(
    jupyter: JupyterServer, dashboard: StandIn
) -> None:
    answer = await ask(jupyter, "GET", f"{dashboard.cluster_id}/", headers={})
    assert answer.status == 302
    assert answer.headers["Location"].startswith(f"{PREFIX}login")
    assert (await ask(jupyter, "POST", f"{dashboard.cluster_id}/", {}, headers={})).status == 403


async def test_an_action_passes_with_the_servers_check_against_forged_requests_and_not_without(
    jupyter: JupyterServer, dashboard: StandIn
) -> None:
    cookies = jupyter.browser()
    cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
    path = f"{dashboard.cluster_id}/api/v1/actions/kill"
    assert (await ask(jupyter, "POST", path, {"a": 1}, headers=cookie)).status == 403
    answer = await ask(jupyter, "POST", path, {"a": 1}, headers={**cookie, "X-XSRFToken": cookies["_xsrf"]})
    assert answer.status == 202
    assert json.loads(json.loads(answer.body)["body"]) == {"a": 1}


def refuses_forged(handler_class: type[ProxyHandler], method: str) -> bool:
    handler = handler_class.__new__(handler_class)
    handler.request = SimpleNamespace(method=method)  # type: ignore[assignment]
    try:
        handler.check_xsrf_cookie()
    except web.HTTPError as error:
        return error.status_code == 403
    return False


def test_a_hub_that_checks_what_is_read_checks_it_all_but_scripts_and_styles(monkeypatch: pytest.MonkeyPatch) -> None:
    """As JupyterHub does since 4.1: the check asks for a header that a browser does not send with a module."""

    def check(handler: JupyterHandler) -> None:
        raise web.HTTPError(403)

    monkeypatch.setattr(JupyterHandler, "check_xsrf_cookie", check)
    rules = handlers("/", Clusters())

    def handler_of(path: str) -> Any:
        return next(rule[1] for rule in rules if re.fullmatch(rule[0], f"/himalia/{'0' * 16}/{path}"))

    for path in ("static/shell.js", "static/bokeh.min.js", "static/dashboard.css"):
        assert not refuses_forged(handler_of(path), "GET")
        assert refuses_forged(handler_of(path), "POST")
    for path in ("page/overview", "api/v1/version", "static/", "static/../api/v1/tasks", "static/x/y"):
        assert refuses_forged(handler_of(path), "GET")


async def test_only_clusters_of_this_user_are_reached_and_no_other_place(
    jupyter: JupyterServer, dashboard: StandIn
) -> None:
    assert (await ask(jupyter, "GET", f"{'0' * 16}/")).status == 404
    for place in (f"127.0.0.1:{dashboard.port}/x", f"{dashboard.port}/x", "localhost/x", f"{dashboard.cluster_id}x/x"):
        assert (await ask(jupyter, "GET", place)).status == 404, place
    answer = await ask(jupyter, "GET", f"{dashboard.cluster_id}/@127.0.0.1:1/../x?y")
    assert json.loads(answer.body)["headers"]["host"] == f"127.0.0.1:{dashboard.port}"


@pytest.mark.parametrize("place", ["https://example.org/", "//example.org/", "/lab", "\\\\example.org"])
async def test_a_redirect_out_of_the_dashboard_is_not_passed_on(
    jupyter: JupyterServer, dashboard: StandIn, place: str
) -> None:
    answer = await ask(jupyter, "GET", f"{dashboard.cluster_id}/leave?to={place}")
    assert answer.status == 502
    assert "Location" not in answer.headers


async def test_a_redirect_within_it_is(jupyter: JupyterServer, dashboard: StandIn) -> None:
    answer = await ask(jupyter, "GET", f"{dashboard.cluster_id}/leave?to=page/overview")
    assert (answer.status, answer.headers["Location"]) == (302, "page/overview")


async def test_a_refused_token_is_an_error_of_ours_and_no_login_page(
    jupyter: JupyterServer, dashboard: StandIn
) -> None:
    answer = await ask(jupyter, "GET", f"{dashboard.cluster_id}/refuse")
    assert answer.status == 502
    assert b"which token" not in answer.body


async def test_a_large_answer_comes_whole_and_is_not_kept(jupyter: JupyterServer, dashboard: StandIn) -> None:
    before = _peak(jupyter.pid)
    answer = await ask(jupyter, "GET", f"{dashboard.cluster_id}/large")
    assert len(answer.body) == 64 << 20
    assert _peak(jupyter.pid) - before < 32 << 20


def _peak(pid: int) -> int:
    """The most memory that a process has had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


# -- websockets -------------------------------------------------------------------------------------------------------


def socket_request(jupyter: JupyterServer, cluster_id: str, headers: dict[str, str]) -> HTTPRequest:
    url = f"ws://127.0.0.1:{jupyter.port}{PREFIX}himalia/{cluster_id}/api/v1/stream"
    return HTTPRequest(url, headers=HTTPHeaders(headers))


async def refusal(jupyter: JupyterServer, cluster_id: str, headers: dict[str, str]) -> int:
    """How a handshake is answered that comes to nothing."""
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    answer = await ask(jupyter, "GET", f"{cluster_id}/api/v1/stream", headers={**upgrade, **key, **headers})
    return answer.status


async def test_messages_go_both_ways_and_the_end_is_passed_on(jupyter: JupyterServer, dashboard: StandIn) -> None:
    request = socket_request(jupyter, dashboard.cluster_id, {"Authorization": f"token {TOKEN}"})
    socket = await websocket_connect(request)
    for message in ("text", b"bytes \x00"):
        await socket.write_message(message, binary=isinstance(message, bytes))
        assert await socket.read_message() == message
    await socket.write_message("leave")
    assert await socket.read_message() is None
    assert (socket.close_code, socket.close_reason) == (4002, "as asked")
    socket.close()


async def test_a_page_of_another_origin_gets_no_websocket_though_the_browser_has_the_cookie(
    jupyter: JupyterServer, dashboard: StandIn
) -> None:
    cookie = "; ".join(f"{name}={value}" for name, value in jupyter.browser().items())
    good = {"Cookie": cookie, "Origin": f"http://127.0.0.1:{jupyter.port}"}
    socket = await websocket_connect(socket_request(jupyter, dashboard.cluster_id, good))
    await socket.write_message("hello")
    assert await socket.read_message() == "hello"
    socket.close()
    assert await socket.read_message() is None
    for headers in ({**good, "Origin": "https://example.org"}, {"Origin": good["Origin"]}):
        assert await refusal(jupyter, dashboard.cluster_id, headers) == 403


async def test_a_websocket_of_no_cluster_is_refused(jupyter: JupyterServer) -> None:
    assert await refusal(jupyter, "0" * 16, {"Authorization": f"token {TOKEN}"}) == 404


async def test_a_dashboard_that_speaks_tls_is_reached_with_its_own_certificate(
    jupyter: JupyterServer, tmp_path: Path
) -> None:
    certificate, key = self_signed(tmp_path)
    options = NodeOptions(num_cpus=1, dashboard_port=0, dashboard_certificate=certificate, dashboard_key=key)
    head = await asyncio.to_thread(start_head, options)
    try:
        cluster_id = head.connection.cluster_id
        answer = await ask(jupyter, "GET", f"{cluster_id}/api/v1/nodes")
        assert [row["is_head_node"] for row in answer.value["rows"]] == [True]
        socket = await websocket_connect(socket_request(jupyter, cluster_id, {"Authorization": f"token {TOKEN}"}))
        await socket.write_message(json.dumps({"type": "open", "page": "overview", "params": {}}))
        assert json.loads(str(await socket.read_message()))["name"] == "overview"
        socket.close()
    finally:
        await asyncio.to_thread(head.stop)


# -- the rules --------------------------------------------------------------------------------------------------------


def connection(url: str) -> ConnectionInfo:
    nobody = Address(b"n" * 8, b"n" * 8)
    return ConnectionInfo(
        cluster_id="0" * 16, node_id=b"n" * 8, gcs=nobody, raylet=nobody, session_dir="", dashboard_url=url
    )


@pytest.mark.parametrize(
    ("path", "query", "target"),
    [
        ("", "", "http://h:1/"),
        ("page/x", "a=b", "http://h:1/page/x?a=b"),
        ("//evil/x", "", "http://h:1///evil/x"),
        ("@evil/", "", "http://h:1/@evil/"),
        ("a b?c#d\r\nX: y", "", "http://h:1/a%20b%3Fc%23d%0D%0AX:%20y"),
    ],
)
def test_the_host_is_that_of_the_session_folder_whatever_the_path(path: str, query: str, target: str) -> None:
    assert target_of(connection("http://h:1"), path, query) == target


def test_a_cluster_without_a_dashboard_is_told_so() -> None:
    with pytest.raises(web.HTTPError, match="without a dashboard"):
        target_of(connection(""), "", "")


def test_headers_that_a_connection_names_for_itself_are_not_passed_on() -> None:
    sent = headers_for(HTTPHeaders({"Connection": "close, X-Mine", "X-Mine": "1", "Accept": "*/*"}), "t")
    assert dict(sent) == {"Accept": "*/*", "Authorization": "token t"}


@pytest.mark.parametrize(
    ("location", "inside"),
    [("", True), ("login?next=x", True), ("../login", True), ("/", False), ("http:/x", False), ("//x", False)],
)
def test_what_is_within_the_dashboard(location: str, inside: bool) -> None:
    assert is_within(location) is inside
