"""Behind a proxy that serves it below a prefix, as JupyterHub and jupyter-server-proxy do."""

from __future__ import annotations

import http.cookiejar
import urllib.request
from urllib.parse import urljoin

import pytest

from tests.browser.lab import launch

from .conftest import Client
from .proxy import behind_prefix

PREFIX = "/user/eva/proxy/8265"


def test_pages_files_and_the_cookie_stay_below_the_prefix(stranger: Client) -> None:
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    with behind_prefix(stranger.place.netloc, PREFIX) as root:
        with opener.open(f"{root}page/overview?token={stranger.token}", timeout=20) as answer:
            assert answer.status == 200
            assert answer.url == f"{root}page/overview"
            text = answer.read().decode()
        assert '<base href="../">' in text
        assert [cookie.path.rstrip("/") for cookie in jar] == [PREFIX]
        base = urljoin(f"{root}page/overview", "../")
        assert base == root
        for file in ("static/shell.js", "static/dashboard.css"):
            with opener.open(urljoin(base, file), timeout=20) as answer:
                assert answer.status == 200


@pytest.mark.browser
def test_a_browser_sees_the_cluster_through_it(stranger: Client) -> None:
    from playwright.sync_api import sync_playwright

    problems: list[str] = []
    with behind_prefix(stranger.place.netloc, PREFIX) as root, sync_playwright() as playwright:
        browser = launch(playwright)
        try:
            page = browser.new_page()
            page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.goto(f"{root}?token={stranger.token}")
            page.get_by_text("CPUs in use").first.wait_for()
            page.locator("#menu .link", has_text="live").wait_for()
            page.locator("canvas").first.wait_for()
            assert page.url == f"{root}page/overview"
        finally:
            browser.close()
    assert problems == []
