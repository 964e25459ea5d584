"""``%dashboard``: a link that works, and says so where there is none."""

from __future__ import annotations

import http.cookiejar
import re
import urllib.request

import pytest

from himalia.kernel_ext.arguments import UsageProblem
from himalia.kernel_ext.magics.dashboard import dashboard_place
from tests.kernel_ext.notebook import Notebook


def test_the_link_logs_in_and_does_not_hold_the_token(kernel: Notebook) -> None:
    kernel.run("himalia.shutdown()\n%cluster start --cpus 1")
    cell = kernel.run("%dashboard --link")
    kernel.run("from himalia.cluster.core import session")
    token = kernel.value("session.current_session().connection.dashboard_token").strip("'")
    assert len(token) == 48
    html = cell.shown[0]["text/html"]
    assert token not in str(cell.shown)
    found = re.search(r'href="([^"]+)"', html)
    assert found is not None
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    with browser.open(found[1], timeout=20) as answer:
        assert answer.status == 200
        assert "ticket" not in answer.url
    kernel.run("himalia.shutdown()")


def test_without_a_dashboard_it_says_so(kernel: Notebook) -> None:
    kernel.run("himalia.shutdown()\nhimalia.init(num_cpus=1, include_dashboard=False)")
    assert "without a dashboard" in kernel.run("%dashboard --link").stream("stderr")
    assert "is no page: there are overview," in kernel.run("%dashboard ../etc").stream("stderr")
    (widget,) = kernel.run("%dashboard").shown
    assert "application/vnd.jupyter.widget-view+json" in widget
    kernel.run("himalia.shutdown()")


@pytest.mark.parametrize(
    ("variables", "place", "logs_in"),
    [
        ({}, "http://127.0.0.1:8265", True),
        ({"HIMALIA_JUPYTER_PREFIX": "/"}, "http://127.0.0.1:8265", True),
        ({"JUPYTERHUB_SERVICE_PREFIX": "/user/eva/"}, "/user/eva/proxy/8265", True),
        (
            {"JUPYTERHUB_SERVICE_PREFIX": "/user/eva/", "HIMALIA_JUPYTER_PREFIX": "/user/eva/"},
            "/user/eva/himalia/c1",
            False,
        ),
        (
            {"HIMALIA_DASHBOARD_LINK": "https://lab.example/{LAB}/{port}/", "LAB": "x"},
            "https://lab.example/x/8265",
            True,
        ),
        (
            {
                "HIMALIA_DASHBOARD_LINK": "{scheme}://{host}:1{port}/{cluster}",
                "JUPYTERHUB_SERVICE_PREFIX": "/user/eva/",
            },
            "http://127.0.0.1:18265/c1",
            True,
        ),
    ],
)
def test_the_link_goes_where_the_browser_can_follow(
    variables: dict[str, str], place: str, logs_in: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("JUPYTERHUB_SERVICE_PREFIX", "HIMALIA_JUPYTER_PREFIX", "HIMALIA_DASHBOARD_LINK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert dashboard_place("http://127.0.0.1:8265", "c1") == (place, logs_in)


def test_a_template_that_can_not_be_filled_in_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIMALIA_DASHBOARD_LINK", "https://{no_such_variable}/")
    with pytest.raises(UsageProblem, match="no_such_variable"):
        dashboard_place("http://127.0.0.1:8265", "c1")
