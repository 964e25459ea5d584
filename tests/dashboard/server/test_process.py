"""The process: what it does when nobody looks, under TLS, and when it is killed while somebody does."""

from __future__ import annotations

import http.client
import os
import signal
import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import himalia
from himalia.cluster.launchers.boot import ConnectionInfo, NodeOptions
from himalia.cluster.launchers.local import start_head
from tests.browser.lab import launch
from tests.support.certificates import self_signed
from tests.support.clusters import eventually, node_processes

from .conftest import Client

DASHBOARD = "dashboa"  # the kernel keeps 15 letters of himalia:dashboard


def pids(info: ConnectionInfo) -> list[int]:
    return node_processes(info.session_dir).get(DASHBOARD, [])


def test_it_ends_when_nobody_looks_and_a_login_outlives_it() -> None:
    head = start_head(NodeOptions(num_cpus=1, dashboard_port=0, dashboard_idle_seconds=0.5))
    try:
        browser = Client(head.connection).browser()
        assert browser.get("/").status == 200
        (first,) = pids(head.connection)
        eventually(lambda: not pids(head.connection), "that it ends")
        assert browser.get("/").status == 200
        assert pids(head.connection) != [first]
    finally:
        head.stop()


async def test_it_stays_while_a_page_is_open() -> None:
    head = start_head(NodeOptions(num_cpus=1, dashboard_port=0, dashboard_idle_seconds=0.3))
    try:
        member = Client(head.connection).member()
        async with member.stream() as stream:
            await stream.write_message('{"type": "open", "page": "overview"}')
            before = pids(head.connection)
            for _ in range(6):  # two of these messages are a second apart, since that is how often nodes are looked at
                assert await stream.read_message() is not None
            assert pids(head.connection) == before
    finally:
        head.stop()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    return self_signed(tmp_path)


def test_with_a_certificate_it_speaks_tls_only(certificate: tuple[str, str]) -> None:
    options = NodeOptions(
        num_cpus=1, dashboard_port=0, dashboard_certificate=certificate[0], dashboard_key=certificate[1]
    )
    head = start_head(options)
    try:
        info = head.connection
        place = urlsplit(info.dashboard_url)
        assert place.scheme == "https"
        trusted = ssl.create_default_context(cafile=certificate[0])
        with closing(http.client.HTTPSConnection(place.netloc, context=trusted, timeout=20)) as connection:
            connection.request("GET", f"/login?token={info.dashboard_token}")
            answer = connection.getresponse()
            assert answer.status == 302
            assert "Secure" in answer.headers["Set-Cookie"]
        with pytest.raises((http.client.HTTPException, OSError)):
            Client(info).get("/")
    finally:
        head.stop()


@pytest.fixture(scope="module")
def page_url(cluster: ConnectionInfo) -> str:
    """Where a browser that has the token begins."""
    return f"{cluster.dashboard_url}/{{}}?token={cluster.dashboard_token}"


@pytest.mark.browser
@pytest.mark.chaos
def test_a_page_goes_on_when_the_process_was_killed(cluster: ConnectionInfo, page_url: str) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = launch(playwright)
        try:
            page = browser.new_page()
            page.goto(page_url.format("page/overview"))
            live = page.locator("#menu .link", has_text="live")
            live.wait_for()
            (killed,) = pids(cluster)
            os.kill(killed, signal.SIGKILL)
            page.locator("#menu .link", has_text="not connected").wait_for()
            live.wait_for()
            assert pids(cluster) != [killed]

            @himalia.remote
            def after_the_kill() -> None:
                pass

            himalia.get([after_the_kill.remote() for _ in range(10)])
            page.get_by_text("after_the_kill").first.wait_for()
        finally:
            browser.close()


@pytest.mark.browser
def test_a_page_whose_cluster_was_started_anew_leads_to_its_login() -> None:
    from playwright.sync_api import sync_playwright

    head = start_head(NodeOptions(num_cpus=1, dashboard_port=0))
    try:
        first = head.connection
        with sync_playwright() as playwright:
            browser = launch(playwright)
            try:
                page = browser.new_page()
                page.goto(f"{first.dashboard_url}/page/overview?token={first.dashboard_token}")
                page.locator("#menu .link", has_text="live").wait_for()
                head.stop()
                page.locator("#menu .link", has_text="not connected").wait_for()
                page.get_by_text("the cluster has ended").wait_for()
                head = start_head(NodeOptions(num_cpus=1, dashboard_port=urlsplit(first.dashboard_url).port))
                token = page.get_by_label("Token")
                token.fill(head.connection.dashboard_token)
                token.press("Enter")
                page.locator("#menu .link", has_text="live").wait_for()
                assert page.url == f"{first.dashboard_url}/page/overview"
            finally:
                browser.close()
    finally:
        head.stop()


HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=2</script>'


@pytest.fixture(scope="module")
def hostile(cluster: ConnectionInfo) -> Iterator[str]:
    """Tasks and an actor whose names, output and errors are markup that would run; the id of one that failed."""

    @himalia.remote
    def harmless(fails: bool) -> None:
        print(HOSTILE)
        if fails:
            raise ValueError(HOSTILE)

    class Actor:
        pass

    named = harmless.options(name=HOSTILE)
    himalia.get(named.remote(False))
    ref = named.remote(True)
    with pytest.raises(ValueError, match="hacked"):
        himalia.get(ref)
    actor = himalia.remote(num_cpus=0)(Actor).options(name=HOSTILE).remote()
    yield ref.task_id().hex()
    himalia.kill(actor)


@pytest.mark.browser
def test_markup_in_names_output_and_errors_is_shown_as_text_on_every_page(
    cluster: ConnectionInfo, page_url: str, hostile: str
) -> None:
    from playwright.sync_api import sync_playwright

    from himalia.dashboard.pages import PAGES

    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = launch(playwright)
        try:
            page = browser.new_page()
            page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.goto(page_url.format(""))
            for name, kind in PAGES.items():
                of = "&".join(f"{param}={hostile}" for param in kind.PARAMS if param in ("task", "task_id", "id"))
                page.goto(f"{cluster.dashboard_url}/page/{name}?{of}")
                page.locator("#menu .link", has_text="live").wait_for()
                page.locator(".hm-panel").first.wait_for()
                if name == "overview":
                    page.get_by_text(HOSTILE).first.wait_for()
                assert page.evaluate("window.hacked") is None, name
                assert page.locator("img[src=x]").count() == 0, name
        finally:
            browser.close()
    assert problems == []
