"""Bars, counted lines and figures of tasks in a real JupyterLab, and in the notebook that it saves."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from tests.browser.lab import lab_server, open_notebook, write_notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

NAME = "output.ipynb"

CELLS = (
    (
        "%load_ext himalia\n%cluster start --cpus 2\nimport himalia, time\n"
        "from himalia.util.progress import configure\nconfigure(enabled=False)"
    ),
    """@himalia.remote
def work(name):
    from tqdm import tqdm
    for _ in tqdm(range(3), desc=name):
        for _ in tqdm(range(5), desc="step", position=1, leave=False):
            time.sleep(0.05)
    for _ in range(500):
        print("the same line")

himalia.get([work.remote(name) for name in ("bar A", "bar B")]);""",
    """@himalia.remote
def plot():
    import matplotlib.pyplot as plt
    plt.plot([1, 3, 2])

himalia.get(plot.remote())""",
)


def test_bars_are_one_line_each_equal_lines_are_counted_and_figures_are_drawn(tmp_path: Path) -> None:
    write_notebook(tmp_path / NAME, CELLS)
    with lab_server(tmp_path) as url, open_notebook(url, NAME) as lab:
        lab.run_all()
        page = lab.page
        page.locator(
            ".jp-OutputArea-output", has_text=re.compile(r"the same line  \[\d+ more times\]")
        ).first.wait_for()
        page.locator(".jp-OutputArea-output img[src^='data:image/png']").first.wait_for()
        bars = page.locator(".jp-RenderedHTMLCommon pre", has_text="bar A: 100%")
        bars.wait_for()
        page.wait_for_function("text => !document.body.innerText.includes(text)", arg="step:")
        assert bars.inner_text().count("100%") == 2
        lab.command("docmanager:save")
    saved = nbformat.read(tmp_path / NAME, as_version=4)
    texts = [str(output.get("data", {}).get("text/plain", "")) for output in saved.cells[1].outputs]
    assert sorted(re.findall(r"bar [AB]: 100%", "\n".join(texts))) == ["bar A: 100%", "bar B: 100%"]
