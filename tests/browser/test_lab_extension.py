"""The JupyterLab extension in a real JupyterLab: clusters, pages that follow the notebook, themes, the keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from himalia.cluster.launchers.local import stop_all
from himalia.cluster.launchers.session import running_sessions
from tests.browser.journey import Journey, cluster_named
from tests.browser.lab import lab_server, open_notebook, write_notebook
from tests.browser.pictures import take

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

#: Holds both CPUs until there is a file, and the kernel as well: one that does not answer is followed all the same.
BUSY = """import himalia, pathlib, time
@himalia.remote
def wait_for(name):
    while not pathlib.Path(name).exists():
        time.sleep(0.05)
@himalia.remote
class Counter:
    pass
counter = Counter.remote()
himalia.get([wait_for.remote("done") for _ in range(5)]);"""

START_BETA = "%load_ext himalia\n%cluster start --cpus 1 --name beta"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_notebook(tmp_path / "first.ipynb", [BUSY])
    write_notebook(tmp_path / "second.ipynb", [START_BETA])
    return tmp_path


@pytest.fixture
def no_cluster_stays() -> Iterator[None]:
    yield
    for connection in running_sessions():  # of a test that failed; this run has a folder of its own for them
        stop_all(connection.session_dir)


@pytest.mark.usefixtures("no_cluster_stays")
def test_clusters_are_started_connected_followed_and_stopped(folder: Path) -> None:
    # Below a prefix, as JupyterHub has it.
    with (
        lab_server(folder, base_url="/user/ada/") as url,
        open_notebook(url, "first.ipynb", width=1500, height=950) as lab,
    ):
        journey = Journey(lab)
        start_with_the_keyboard(journey)
        alpha = connect_and_run(journey)
        frame = open_overview(journey, alpha)
        frame.get_by_text("wait_for").first.wait_for()
        look(journey, alpha)
        kill_an_actor(journey, alpha)
        beta = follow_another_notebook(journey, alpha)
        follow_a_console(journey, alpha)
        pin_and_reload(journey, alpha, beta)
        scale(journey)
        (folder / "done").touch()
        journey.says(journey.card("alpha"), "0 running, 0 waiting")
        stop(journey, alpha)
        assert not [problem for problem in journey.problems if "api/v1/stream" not in problem]


def start_with_the_keyboard(journey: Journey) -> None:
    page = journey.page
    journey.says(journey.status, "Himalia: no cluster")
    page.keyboard.press("Control+Alt+h")
    journey.says(journey.side, "No cluster of yours runs on this machine")
    page.wait_for_function("document.activeElement?.textContent === 'Start…'")
    page.keyboard.press("Enter")
    page.locator(".himalia-Form input").first.wait_for()
    page.keyboard.type("alpha")
    page.keyboard.press("Tab")
    page.keyboard.type("2")
    page.keyboard.press("Enter")
    journey.says(journey.card("alpha"), "0 of 2")
    journey.says(journey.card("alpha"), "with the Jupyter server")
    journey.says(journey.status, "Himalia: not connected")


def connect_and_run(journey: Journey) -> str:
    alpha = cluster_named(journey, "alpha")
    journey.card("alpha").get_by_role("button", name="Connect").click()
    journey.says(journey.card("alpha"), "this notebook")
    journey.says(journey.card("alpha"), "first.ipynb")
    cell = journey.page.locator(".jp-CodeCell").first
    journey.says(cell, f"%load_ext himalia\\s*%cluster connect {alpha}")
    journey.says(cell, "Himalia cluster alpha")
    assert journey.card("alpha").get_by_role("button", name="Connect").is_disabled()
    journey.run_cells()
    journey.says(journey.status, "alpha: 2/2 CPUs, 2 tasks running")
    journey.says(journey.card("alpha"), "2 running, 3 waiting")
    return alpha


def open_overview(journey: Journey, cluster: str) -> Any:
    journey.page.keyboard.press("Control+Alt+o")
    frame = journey.frame_of(cluster)
    frame.get_by_text("Tasks running").wait_for()
    # The focus is in the page now, and JupyterLab's shortcuts work there too.
    frame.locator("body").click(position={"x": 5, "y": 5})
    journey.page.wait_for_function("document.activeElement?.className === 'himalia-Frame'")
    journey.page.keyboard.press("Control+Alt+h")
    journey.page.wait_for_function("document.activeElement?.textContent === 'Start…'")
    return frame


def look(journey: Journey, cluster: str) -> None:
    """Light and dark: the page is what JupyterLab is."""
    for dark in (False, True):
        journey.lab.set_theme(dark)
        frame = journey.frame_of(cluster)
        frame.locator(f"body[data-theme={'dark' if dark else 'light'}]").wait_for()
        frame.get_by_text("wait_for").first.wait_for()
        frame.locator("canvas").first.wait_for()
        take(journey.page, f"lab-extension{'-dark' if dark else ''}")
    journey.lab.set_theme(False)


def kill_an_actor(journey: Journey, cluster: str) -> None:
    """What can be done from a page passes the Jupyter server's check against forged requests."""
    journey.side.get_by_role("button", name="Actors").click()
    frame = journey.frame_of(cluster)
    frame.locator("tr", has_text="Counter").get_by_role("button", name="Kill").click()
    take(journey.page, "lab-extension-actors")
    dialog = frame.locator(".hm-dialog")
    dialog.get_by_text("Actor Counter (ALIVE) is ended at once").wait_for()
    dialog.locator(".hm-danger").click()
    frame.locator("tr", has_text="DEAD").first.wait_for()
    journey.lab.command("application:close")


def follow_another_notebook(journey: Journey, alpha: str) -> str:
    page = journey.page
    journey.go_to("second.ipynb")
    empty = page.locator(".himalia-Empty:visible")
    journey.says(empty, "second.ipynb is not connected to a cluster")
    assert journey.card("alpha").get_by_role("button", name="Connect").is_enabled()
    take(page, "lab-extension-empty")
    empty.get_by_role("button", name="connects to alpha").click()
    journey.says(page.locator(".jp-CodeCell:visible"), f"%cluster connect {alpha}")
    journey.lab.command("notebook:delete-cell")
    journey.run_cells()
    journey.says(journey.status, "beta: 0/1 CPUs, 0 tasks running")
    beta = cluster_named(journey, "beta")
    journey.frame_of(beta).get_by_text("Tasks running").wait_for()
    journey.go_to("first.ipynb")
    journey.says(journey.status, "alpha: 2/2 CPUs")
    journey.frame_of(alpha).get_by_text("wait_for").first.wait_for()
    return beta


def follow_a_console(journey: Journey, alpha: str) -> None:
    page = journey.page
    name = journey.open_console()
    empty = page.locator(".himalia-Empty:visible")
    journey.says(empty, f"{name} is not connected to a cluster")
    journey.card("alpha").get_by_role("button", name="Insert").click()
    journey.says(page.locator(".jp-CodeConsole-promptCell"), f"%cluster connect {alpha}")
    journey.card("alpha").get_by_role("button", name="Connect").click()
    journey.says(journey.card("alpha"), "this console")
    journey.says(journey.card("alpha"), f"first.ipynb, {name}")
    journey.says(journey.status, "alpha: 2/2 CPUs")
    journey.frame_of(alpha).get_by_text("wait_for").first.wait_for()
    take(page, "lab-extension-console")
    journey.run_in_console("%cluster stop")
    journey.says(journey.status, "Himalia: not connected")
    journey.go_to("first.ipynb")
    journey.says(journey.card("alpha"), "this notebook")
    journey.frame_of(alpha).get_by_text("wait_for").first.wait_for()


def pin_and_reload(journey: Journey, alpha: str, beta: str) -> None:
    """A panel that stays at a cluster, and is there again when the page is loaded again."""
    page = journey.page
    choice = page.get_by_label("Which cluster to show")
    choice.select_option(beta)
    journey.frame_of(beta)
    page.wait_for_timeout(1500)  # the workspace is saved a second after the last change
    page.reload()
    page.wait_for_function("window.jupyterapp?.restored")
    page.evaluate("window.jupyterapp.restored.then(() => null)")
    journey.frame_of(beta)
    assert choice.input_value() == beta
    choice.select_option("")
    journey.frame_of(alpha)


def scale(journey: Journey) -> None:
    page = journey.page
    page.keyboard.press("Control+Alt+h")
    journey.card("alpha").get_by_role("button", name="Scale").click()
    page.locator(".jp-Dialog input").fill("3")
    journey.button("Scale").click()
    journey.says(journey.card("alpha"), "3 of 3")
    journey.says(journey.status, "alpha: 3/3 CPUs, 3 tasks running")


def stop(journey: Journey, cluster: str) -> None:
    page = journey.page
    journey.card("alpha").get_by_role("button", name="Stop").click()
    journey.says(page.locator(".jp-Dialog"), "1 node; no task runs or waits; in use by first.ipynb")
    journey.button("Stop").click()
    journey.card("alpha").wait_for(state="detached")
    assert [info.cluster_id for info in running_sessions()] == [cluster_named(journey, "beta")]
    journey.says(page.locator(".himalia-Empty:visible"), "first.ipynb is not connected")
    assert cluster not in {info.cluster_id for info in running_sessions()}


@pytest.mark.usefixtures("no_cluster_stays")
def test_notebook_7_has_the_side_bar_and_opens_pages_in_tabs_of_the_browser(folder: Path) -> None:
    pytest.importorskip("notebook", reason="Notebook 7 is not installed")
    with lab_server(folder, classic=True) as url, open_notebook(url, "second.ipynb") as lab:
        journey = Journey(lab)
        journey.run_cells()
        lab.command("himalia:show-clusters")
        journey.says(journey.card("beta"), "this notebook")
        take(lab.page, "notebook-7-side-bar")
        with lab.page.context.expect_page() as opened:
            journey.side.get_by_role("button", name="Overview").click()
        opened.value.get_by_text("CPUs in use").first.wait_for()
        assert f"/himalia/{cluster_named(journey, 'beta')}/page/overview" in opened.value.url
