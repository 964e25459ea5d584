"""Bars, cards and their buttons in a real JupyterLab, and what a saved notebook shows of them without a kernel."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.browser.lab import lab_server, open_notebook, write_notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

NAME = "live.ipynb"

START = "%load_ext himalia\n%cluster start --cpus 2\nimport himalia, time"

TASK = """@himalia.remote
def simulate(seconds):
    time.sleep(seconds)
    return bytes(5_000_000)

quick = simulate.remote(1)
quick"""

ACTOR = """@himalia.remote
class Counter:
    pass

counter = Counter.remote()
counter"""

CELLS = (START, TASK, "slow = simulate.remote(600)\nslow", ACTOR, "himalia.get(slow)")


def test_buttons_work_while_a_cell_blocks_and_a_saved_notebook_is_readable_without_a_kernel(tmp_path: Path) -> None:
    write_notebook(tmp_path / NAME, CELLS)
    with lab_server(tmp_path) as url:
        with open_notebook(url, NAME) as lab:
            page = lab.page

            def button(text: str) -> None:
                page.locator("[data-himalia] button", has_text=text).click()

            def shows(text: str) -> None:
                page.locator(".jp-RenderedHTMLCommon", has_text=re.compile(text)).first.wait_for()

            page.evaluate("void window.jupyterapp.commands.execute('runmenu:run-all')")
            shows(r"ObjectRef \d+\W+ready")
            shows("0 of 1 tasks in")  # the bar of the last cell, which blocks
            shows(r"Actor Counter\W+alive")
            page.wait_for_function("document.querySelectorAll('[data-himalia] button').length === 3")
            button("cancel")
            shows(r"ObjectRef \d+\W+failed: TaskCancelledError")
            shows("1 cancelled")
            button("kill")
            button("really kill?")
            shows(r"Actor Counter\W+dead")
            button("release")
            button("really release?")
            shows(r"ObjectRef \d+\W+freed")
            lab.command("docmanager:save")
            lab.command("kernelmenu:shutdown")
        with open_notebook(url, NAME) as lab:  # with a kernel that knows nothing of it
            text = lab.page.locator(".jp-NotebookPanel-notebook").inner_text()
            for words in ("freed", "failed: TaskCancelledError", "dead", "1 cancelled", "Himalia cluster"):
                assert words in text
            assert "Error displaying widget" not in text
            assert lab.page.locator("[data-himalia] button").count() == 0
