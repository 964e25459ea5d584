"""The clauses of security, each at a real dashboard: what is refused, and what the answers allow a browser."""

from __future__ import annotations

import json
import re

import pytest
from tornado.httpclient import HTTPClientError

from himalia.dashboard.server.base import FORGERY_HEADER
from himalia.dashboard.server.endpoints import ENDPOINTS

from .conftest import Client

PAGES = ["/", "/page/overview"]
FOR_PROGRAMS = ["/api/v1/stream"]


@pytest.mark.parametrize("path", PAGES)
def test_without_a_token_a_page_is_the_login_form(stranger: Client, path: str) -> None:
    answer = stranger.get(path)
    assert answer.status == 302
    assert re.fullmatch(r"(\.\./|\./)login\?next=.*", answer.headers["Location"])
    assert "himalia-request-value" not in answer.text


@pytest.mark.parametrize("path", FOR_PROGRAMS)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Cookie": "himalia-x=1.2.3"}], ids=str)
def test_without_the_right_token_programs_are_told_so(stranger: Client, path: str, headers: dict[str, str]) -> None:
    answer = stranger.get(path, **headers)
    assert answer.status == 401
    assert answer.json["kind"] == "unauthorized"
    assert "Bearer" in answer.headers["WWW-Authenticate"]


def test_no_address_of_the_api_answers_a_stranger_or_under_a_strangers_name(stranger: Client) -> None:
    places = [(one.method.upper(), f"/api/v1{re.sub(r'{.*?}', 'x', one.path)}") for one in ENDPOINTS]
    places += [("GET", "/metrics"), ("GET", "/api/v1/openapi.json"), ("GET", "/api/v1/nothing"), ("POST", "/logout")]
    for method, path in places:
        body = {} if method == "POST" else None
        answer = stranger.ask(method, path, body)
        assert answer.status in ((302,) if path == "/logout" else (401,)), path
        assert answer.headers.get("Location", "./login").startswith("./login")
        assert stranger.ask(method, path, body, Host="evil.example").status == 403, path


@pytest.mark.parametrize("path", ["/static/shell.js", "/static/bokeh.min.js"])
def test_files_need_the_token_too(stranger: Client, member: Client, path: str) -> None:
    assert stranger.get(path).status == 302
    answer = member.get(path)
    assert answer.status == 200
    assert "javascript" in answer.headers["Content-Type"]


def test_a_wrong_token_does_not_log_in(stranger: Client) -> None:
    for answer in (
        stranger.get("/login?token=wrong"),
        stranger.post("/login", "token=wrong", Content_Type="application/x-www-form-urlencoded"),
    ):
        assert answer.status == 401
        assert "not the token" in answer.text
        assert "Set-Cookie" not in answer.headers


def test_a_token_in_an_address_becomes_a_cookie_and_is_gone_from_the_address(stranger: Client) -> None:
    first = stranger.get(f"/page/overview?token={stranger.token}&theme=dark")
    assert first.status == 302
    place = first.headers["Location"]
    assert place.startswith("../login?")
    second = stranger.get(place.removeprefix(".."))
    assert second.status == 302
    assert second.headers["Location"] == "./page/overview?theme=dark"
    cookie = second.headers["Set-Cookie"]
    assert stranger.token not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path" not in cookie, "behind a prefix it must not be sent to all of the host"
    third = stranger.get("/page/overview?theme=dark", Cookie=cookie.partition(";")[0])
    assert third.status == 200


def test_the_form_logs_in(stranger: Client) -> None:
    answer = stranger.post(
        "/login", f"token={stranger.token}&next=page/overview", Content_Type="application/x-www-form-urlencoded"
    )
    assert answer.status == 302
    assert answer.headers["Location"] == "./page/overview"


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "../../hub", "http://["],
)
def test_logging_in_does_not_lead_out_of_the_dashboard(stranger: Client, target: str) -> None:
    answer = stranger.get(f"/login?token={stranger.token}&next={target}")
    assert answer.headers["Location"] == "./"


def test_a_name_that_a_stranger_pointed_here_is_refused(stranger: Client) -> None:
    for path in (*PAGES, *FOR_PROGRAMS, "/login", "/static/shell.js"):
        answer = stranger.get(path, Host="evil.example:8265")
        assert answer.status == 403
        assert "evil.example" in answer.text
        assert stranger.token not in answer.text


def test_behind_a_proxy_under_another_name_the_token_still_opens_it(stranger: Client, member: Client) -> None:
    assert member.get("/page/overview", Host="hub.example").status == 200
    assert stranger.get(f"/login?token={stranger.token}", Host="hub.example").status == 302
    browser = stranger.browser()
    assert browser.get("/page/overview", Host="hub.example").status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server/access.py",
        "/static/%2e%2e/server/access.py",
        "/static/..%2f..%2f..%2fetc/passwd",
        "/static//etc/passwd",
        "/page/..%2f..%2fetc",
    ],
)
def test_paths_that_lead_out_are_refused(member: Client, path: str) -> None:
    answer = member.get(path)
    assert answer.status in (403, 404)
    assert "root:" not in answer.text
    assert "hmac" not in answer.text


@pytest.mark.parametrize("path", [*PAGES, *FOR_PROGRAMS, "/login", "/static/shell.js", "/nothing"])
def test_every_answer_tells_the_browser_to_run_nothing_of_others(member: Client, stranger: Client, path: str) -> None:
    for who in (member, stranger):
        headers = who.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe-eval" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "Server" not in headers


def test_only_a_page_alone_may_stand_in_a_frame_of_another_port(browser: Client) -> None:
    assert "frame-ancestors 'self';" in f"{browser.get('/').headers['Content-Security-Policy']};"
    assert "http://localhost:*" in browser.get("/page/overview?embed=1").headers["Content-Security-Policy"]


def forgery_value(browser: Client) -> str:
    found = re.search(r'name="himalia-request-value" content="([0-9a-f]+)"', browser.get("/").text)
    assert found is not None
    return found[1]


def test_what_changes_something_is_done_for_the_dashboards_own_pages_only(stranger: Client, browser: Client) -> None:
    value = {FORGERY_HEADER: forgery_value(browser)}
    other = {FORGERY_HEADER: forgery_value(stranger.browser())}  # another login of the same user
    assert browser.post("/logout").status == 403
    assert browser.post("/logout", **{FORGERY_HEADER: "wrong"}).status == 403
    assert other != value
    assert browser.post("/logout", **other).status == 403
    assert browser.post("/logout", **value, Origin="http://evil.example").status == 403
    assert browser.post("/logout", **value, Sec_Fetch_Site="cross-site").status == 403
    answer = browser.post("/logout", **value, Origin=f"http://{browser.place.netloc}", Sec_Fetch_Site="same-origin")
    assert answer.status == 302
    assert re.search(r'himalia-[0-9a-f]+="";', answer.headers["Set-Cookie"])


async def test_a_page_of_somebody_else_opens_no_websocket(browser: Client) -> None:
    for origin in ("http://evil.example", "http://127.0.0.1:1", "null"):
        with pytest.raises(HTTPClientError) as caught:
            async with browser.stream(Origin=origin):
                pass
        assert caught.value.code == 403


async def test_who_has_no_token_opens_no_websocket(stranger: Client) -> None:
    with pytest.raises(HTTPClientError) as caught:
        async with stranger.stream():
            pass
    assert caught.value.code == 401


async def test_the_dashboards_own_page_opens_a_websocket(browser: Client) -> None:
    async with browser.stream(Origin=f"http://{browser.place.netloc}") as stream:
        await stream.write_message(json.dumps({"type": "open", "page": "overview"}))
        text = await stream.read_message()
        assert isinstance(text, str)
        assert json.loads(text)["name"] == "overview"


def test_what_is_not_there_says_so_without_a_traceback(member: Client) -> None:
    answer = member.get("/nothing")
    assert answer.status == 404
    assert "Traceback" not in answer.text
