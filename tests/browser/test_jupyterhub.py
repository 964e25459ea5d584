"""In a real JupyterHub: the side bar, panels, widgets and links of one user, and what another is refused.

It needs JupyterHub and its proxy, which is a program of Node: ``./go hub`` installs both and runs this.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from himalia.cluster.launchers.local import stop_all
from himalia.cluster.launchers.session import running_sessions
from tests.browser.board import browser_context
from tests.browser.hub import hub_proxy, hub_server, log_in
from tests.browser.journey import Journey, cluster_named
from tests.browser.lab import LabPage, write_notebook
from tests.browser.pictures import take

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

NAME = "work.ipynb"
CELLS = (
    "%load_ext himalia\n%cluster start --cpus 2 --name hubbed",
    "%dashboard",
    """import himalia, pathlib, time
@himalia.remote
def simulate(x):
    time.sleep(0.05)
    return x
@himalia.remote(num_cpus=0)
class Counter:
    pass
counters = [Counter.remote(), Counter.remote()]
while not pathlib.Path("stop").exists():
    himalia.get([simulate.remote(i) for i in range(20)])""",
)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    for package in ("jupyterhub", "jupyter_server_proxy"):
        pytest.importorskip(package, reason=f"{package.partition('.')[0]} is not installed: run ./go hub")
    if hub_proxy() is None:
        pytest.skip("JupyterHub's proxy, configurable-http-proxy, is not installed: run ./go hub")
    for user in ("ada", "eve"):
        (tmp_path / user).mkdir()
    write_notebook(tmp_path / "ada" / NAME, CELLS)
    yield tmp_path
    for connection in running_sessions():  # of a test that failed
        stop_all(connection.session_dir)


def test_everything_works_behind_a_hub_without_a_second_port(folder: Path) -> None:
    elsewhere: list[str] = []
    with hub_server(folder) as url, browser_context() as context:

        def pass_on(route: Any) -> None:
            if urlsplit(route.request.url).netloc == urlsplit(url).netloc:
                route.continue_()
            else:
                elsewhere.append(route.request.url)
                route.abort()

        context.route("**/*", pass_on)
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.set_viewport_size({"width": 1500, "height": 950})
        log_in(page, url, "ada", f"lab/tree/{NAME}")
        journey = Journey(LabPage(page))
        journey.lab.wait_for_document()
        journey.lab.wait_for_kernel()
        journey.run_cells()
        journey.lab.command("himalia:show-clusters")
        journey.says(journey.card("hubbed"), "this notebook")
        journey.says(journey.status, "hubbed: 2/2 CPUs, 2 tasks running")
        cluster = cluster_named(journey, "hubbed")
        see_the_widget(page)
        act_in_a_panel(journey, cluster)
        look(journey, cluster)
        follow_the_link(journey, f"{url}user/ada/himalia/{cluster}/")
        look_by_port(context, f"{url}user/ada/proxy/{dashboard_port()}/")
        (folder / "ada/stop").touch()
        journey.says(journey.card("hubbed"), "0 running, 0 waiting")
        assert [problem for problem in journey.problems if "himalia" in problem] == []
        refuse_another_user(context.browser, url, cluster)
    assert elsewhere == []


def see_the_widget(page: Any) -> None:
    row = page.locator(".jp-OutputArea tr", has_text="simulate")
    ended = row.locator("td").nth(3)
    ended.wait_for()
    before = ended.inner_text()
    page.wait_for_function("([node, text]) => node.textContent !== text", arg=[ended.element_handle(), before])


def act_in_a_panel(journey: Journey, cluster: str) -> None:
    """It is live, and what it does passes the Hub's check against forged requests."""
    journey.side.get_by_role("button", name="Actors").click()
    frame = journey.frame_of(cluster)
    frame.locator("tr", has_text="Counter").first.get_by_role("button", name="Kill").click()
    frame.locator(".hm-dialog .hm-danger").click()
    frame.locator("tr", has_text="DEAD").first.wait_for()


def look(journey: Journey, cluster: str) -> None:
    journey.side.get_by_role("button", name="Overview").click()
    for dark in (False, True):
        journey.lab.set_theme(dark)
        frame = journey.frame_of(cluster)
        frame.locator(f"body[data-theme={'dark' if dark else 'light'}]").wait_for()
        frame.locator("tr", has_text="simulate").first.wait_for()
        frame.locator("canvas").first.wait_for()
        take(journey.page, f"hub{'-dark' if dark else ''}")
    journey.lab.set_theme(False)


def follow_the_link(journey: Journey, place: str) -> None:
    """``%dashboard`` leads through the Jupyter server, which has logged us in."""
    with journey.page.context.expect_page() as opened:
        journey.page.locator(".jp-OutputArea a", has_text="/himalia/").first.click()
    opened.value.locator("tr", has_text="simulate").first.wait_for()
    assert opened.value.url.startswith(place)
    take(opened.value, "hub-dashboard")
    opened.value.close()


def dashboard_port() -> int:
    (connection,) = running_sessions()
    port = urlsplit(connection.dashboard_url).port
    assert port is not None
    return port


def look_by_port(context: Any, place: str) -> None:
    """jupyter-server-proxy passes on a whole port, and the dashboard sees to its login itself."""
    (connection,) = running_sessions()
    page = context.new_page()
    page.goto(f"{place}page/actors")
    page.get_by_text("token").first.wait_for()
    page.goto(f"{place}page/actors?token={connection.dashboard_token}")
    page.locator("tr", has_text="ALIVE").get_by_role("button", name="Kill").click()
    page.locator(".hm-dialog .hm-danger").click()
    page.locator("tr", has_text="ALIVE").wait_for(state="detached")
    assert page.url.startswith(f"{place}page/actors")
    take(page, "hub-by-port")
    page.close()


def refuse_another_user(browser: Any, url: str, cluster: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    log_in(page, url, "eve", "tree")
    for place in ("page/overview", "static/shell.js", "api/v1/tasks"):
        answer = context.request.get(f"{url}user/ada/himalia/{cluster}/{place}")
        assert answer.status == 403, (place, answer.status)
    context.close()
