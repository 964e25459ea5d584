"""The table of ``%memory`` and its buttons in a real JupyterLab."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.lab import lab_server, open_notebook, write_notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

NAME = "memory.ipynb"

MAKE = """import himalia, numpy as np

@himalia.remote
class Model:
    def __init__(self):
        self.weights = himalia.put(np.zeros(1_000_000))

model = Model.remote()
himalia.get(model.__ray_ready__.remote())  # it runs, and the cluster knows where
table = himalia.put(np.zeros(5_000_000))
copies = [table]
himalia.get(himalia.put(np.ones(200_000))).sum()"""

CELLS = ("%load_ext himalia\n%cluster start --cpus 2", MAKE, "himalia.get(table)[:3]", "%memory")


def test_buttons_release_names_and_the_table_follows(tmp_path: Path) -> None:
    write_notebook(tmp_path / NAME, CELLS)
    with lab_server(tmp_path) as url, open_notebook(url, NAME) as lab:
        page = lab.page
        lab.run_all()
        table = page.locator(".jp-RenderedHTMLCommon", has_text="in object memory").last
        table.locator("button", has_text="release copies").wait_for()
        assert "by actor Model" in table.inner_text()
        for number, dark in enumerate((False, True)):
            lab.set_theme(dark)
            page.screenshot(path=str(tmp_path / f"memory-{number}.png"))
        for name in ("table", "Out[3]", "copies"):
            table.locator("button", has_text=f"release {name}").click()
            table.locator("button", has_text=f"really release {name}?").click()
            table.get_by_text(f"Released {name}.").wait_for()
        assert "40.0 MB freed" in table.inner_text()
        assert table.locator("button").count() == 0
