"""Pages of the dashboard under a cell, in a real JupyterLab below a prefix, from where nothing else is reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.browser.lab import lab_server, open_notebook, write_notebook
from tests.browser.pictures import take

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

NAME = "pages.ipynb"

CELLS = (
    "%load_ext himalia\nimport himalia, time\nhimalia.init(num_cpus=2, include_dashboard=False)",
    "%dashboard cluster",
    "%dashboard task_stream",
    "kept = himalia.put(bytes(5_000_000))\n%dashboard objects",
    "%dashboard task_graph",
    "%dashboard gpus",
    """@himalia.remote
def simulate(x):
    time.sleep(0.02)
    return x

while not STOP.exists():
    himalia.get([simulate.remote(x) for x in range(20)])""",
)


def test_pages_are_live_under_their_cells_without_another_port_and_below_a_prefix(tmp_path: Path) -> None:
    until = f"__import__('pathlib').Path({str(tmp_path / 'stop')!r})"
    write_notebook(tmp_path / NAME, [source.replace("STOP", until) for source in CELLS])
    elsewhere: list[str] = []
    problems: list[str] = []
    with lab_server(tmp_path, "/user/eva/") as url, open_notebook(url, NAME) as lab:
        page = lab.page
        here = urlsplit(url).netloc

        def pass_on(route: Any) -> None:
            if urlsplit(route.request.url).netloc == here:
                route.continue_()
            else:
                elsewhere.append(route.request.url)
                route.abort()

        page.route("**/*", pass_on)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.evaluate("() => { window.jupyterapp.commands.execute('runmenu:run-all'); }")

        work = page.locator(".hm-panel", has=page.locator("h2", has_text="Work"))
        row = work.locator("tr", has_text="simulate")
        row.wait_for()
        ended = row.locator("td").nth(3)
        before = ended.inner_text()
        page.wait_for_function("([node, text]) => node.textContent !== text", arg=[ended.element_handle(), before])
        page.locator(".hm-plot canvas").first.wait_for()
        runs = page.locator(".jp-InputPrompt", has_text="[*]")
        assert runs.count() == 1  # the kernel's status tells of what widgets say, too
        stream = page.locator(".hm-panel", has=page.locator("h2", has_text="Functions"))
        stream.locator("tr", has_text="simulate").wait_for()
        objects = page.locator(".hm-panel", has=page.locator("h2", has_text="By function and line"))
        objects.locator("tr", has_text="5.0 MB").wait_for()
        graph = page.locator(".hm-panel", has=page.locator("h2", has_text="Task graph"))
        graph.locator("canvas").first.wait_for()
        page.get_by_text("No GPU was found").first.wait_for()
        lab.scroll_to("cell3")
        take(page, "widgets-objects-light")
        lab.scroll_to("cell1")
        take(page, "widgets-light")
        lab.set_theme(dark=True)
        page.locator(".hm[data-theme=dark]").first.wait_for()
        take(page, "widgets-dark")
        (tmp_path / "stop").touch()
        runs.wait_for(state="detached")
    assert elsewhere == []
    assert problems == []
