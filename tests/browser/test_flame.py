"""The flame graph in a real browser: as a page of its own, and under a cell of JupyterLab."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from himalia.cluster.protocol.stack_messages import FoldedStack, Frame, Profile
from himalia.dashboard.plots.flame import flame_html, flame_page
from tests.browser.lab import lab_server, launch, open_notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

FRAMES = [
    Frame("simulate", "/tmp/ipykernel_1/1.py", 2, cell="In [3]"),
    Frame("advance", "/home/me/model.py", 5),
    Frame("dumps", "/usr/lib/python3/json/__init__.py", 7),
    Frame("<script>document.title = 'broken'</script>", "/home/me/odd.py", 1),
]
PROFILE = Profile(
    [1], 1.0, 100, FRAMES, [FoldedStack("", path, n) for path, n in (([0, 1], 60), ([0, 2], 30), ([3], 10))], ["py-spy"]
)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Any]:
    """A page with the flame graph, which must not say anything on the console."""
    from playwright.sync_api import sync_playwright

    file = tmp_path / "flame.html"
    file.write_text(flame_page(PROFILE))
    with sync_playwright() as playwright:
        browser = launch(playwright)
        said: list[str] = []
        opened = browser.new_page()
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.goto(file.as_uri())
        yield opened
        assert said == []
        browser.close()


def width(page: Any, name: str) -> float:
    """Of a box, as a part of the whole."""
    whole = page.locator(".himalia-flame-boxes").bounding_box()["width"]
    box = page.locator(".himalia-flame-box", has_text=name).bounding_box()
    return round((box["width"] + 1) / whole, 2) if box else 0.0


def test_boxes_are_as_wide_as_their_time_and_names_are_text(page: Any) -> None:
    assert [width(page, name) for name in ("simulate", "advance", "dumps")] == [0.9, 0.6, 0.3]
    assert page.locator(".himalia-flame-box", has_text="<script>").count() == 1
    assert page.title() == "CPU profile"


def test_a_click_or_enter_shows_a_box_alone_and_escape_all_again(page: Any) -> None:
    page.locator(".himalia-flame-box", has_text="advance").click()
    assert [width(page, name) for name in ("simulate", "advance", "dumps")] == [1.0, 1.0, 0.0]
    page.keyboard.press("Escape")
    page.locator(".himalia-flame-box", has_text="dumps").focus()
    page.keyboard.press("Escape")
    assert width(page, "dumps") == 0.3
    page.keyboard.press("Enter")
    assert [width(page, name) for name in ("simulate", "advance", "dumps")] == [1.0, 0.0, 1.0]


def test_a_search_says_how_much_of_the_time_has_what_it_finds(page: Any) -> None:
    search, status = page.get_by_label("search functions"), page.get_by_role("status")
    search.fill("In [3]")
    assert status.inner_text() == "90.0 % of the time"
    search.fill("MODEL.py")
    assert status.inner_text() == "60.0 % of the time"
    search.fill("nothing like it")
    assert status.inner_text() == "0.0 % of the time"
    search.fill("")
    assert status.inner_text() == ""


def test_it_can_be_searched_under_a_cell_and_is_still_there_where_scripts_are_taken_away(tmp_path: Path) -> None:
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    html = flame_html(PROFILE, script=True)
    (tmp_path / "flame.html").write_text(html)
    code = "from IPython.display import HTML\nHTML(open('flame.html').read())"
    shown = nbformat.v4.new_output("display_data", {"text/html": html})  # of somebody else: not trusted
    cells = [nbformat.v4.new_code_cell(code), nbformat.v4.new_code_cell("1", outputs=[shown])]
    name = "flame.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), tmp_path / name)
    with lab_server(tmp_path) as url, open_notebook(url, name) as lab:
        page = lab.page
        boxes = page.locator(".jp-OutputArea").last.locator(".himalia-flame-box")
        boxes.first.wait_for()
        assert boxes.count() == 5
        assert page.get_by_label("search functions").count() == 0
        simulate, all_of_it = boxes.nth(1).bounding_box(), boxes.nth(0).bounding_box()
        assert simulate["y"] > all_of_it["y"]
        assert 0.85 < simulate["width"] / all_of_it["width"] < 0.95
        page.locator(".jp-Notebook .jp-Cell").first.click()
        lab.command("notebook:run-cell")
        search = page.get_by_label("search functions")
        search.wait_for()
        search.fill("model.py")
        page.get_by_role("status", name="").filter(has_text="60.0 % of the time").wait_for()
