"""The first notebook in a real JupyterLab."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.browser.lab import chromium, lab_server, open_notebook
from tests.support.source_tree import ROOT

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

NAME = "01_first_steps.ipynb"


@pytest.fixture
def browser_is_there() -> None:
    if chromium() is None:
        pytest.skip("no Chromium is installed (Debian: apt install chromium)")
    pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")


@pytest.mark.usefixtures("browser_is_there")
def test_first_notebook_runs_in_jupyterlab_and_every_output_stands_in_its_cell(tmp_path: Path) -> None:
    shutil.copy(ROOT / "notebooks" / NAME, tmp_path / NAME)
    with lab_server(tmp_path) as url, open_notebook(url, NAME) as lab:
        lab.run_all()
        assert lab.page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']").count() == 0
        shown = json.loads((tmp_path / NAME).read_text())
    outputs = {"".join(cell["source"]): cell["outputs"] for cell in shown["cells"] if cell["cell_type"] == "code"}
    printed = {
        source: "".join("".join(output.get("text", "")) for output in found if output["output_type"] == "stream")
        for source, found in outputs.items()
    }
    # Eight tasks print while their cell is over and others run: JupyterLab shows each line where it belongs.
    lines = {source: text.count("(count_dark pid=") for source, text in printed.items() if "(count_dark pid=" in text}
    assert list(lines.values()) == [8]
    assert "counts = [count_dark.remote(" in next(iter(lines))
    # An actor that tasks call prints under the cell that submitted the tasks.
    boards = [source for source, text in printed.items() if "(Scoreboard pid=" in text]
    assert len(boards) == 1
    assert "search.remote(" in boards[0]
    kinds = [kind for found in outputs.values() for output in found for kind in output.get("data", {})]
    assert kinds.count("image/png") == 2
    assert kinds.count("image/svg+xml") == 1
