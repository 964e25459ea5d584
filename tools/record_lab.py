"""The picture of the JupyterLab extension in the documentation: a notebook at work, and the overview of its cluster."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import nbformat

from tests.browser.lab import LabPage, lab_server, open_notebook

__all__ = ["PICTURE", "record_lab"]

PICTURE: Final = "lab_extension"
_NAME: Final = "experiments.ipynb"
_WIDTH, _HEIGHT = 1500, 860
_SEEN: Final = 12_000
"""Milliseconds of work that the plots show: enough for a rate to settle."""
_CELLS: Final = (
    "%load_ext himalia\n%cluster start --cpus 2 --name experiments",
    """import himalia, random, time

@himalia.remote
def simulate(seed):
    time.sleep(random.Random(seed).uniform(0.1, 0.5))
    return seed

results = himalia.get([simulate.remote(seed) for seed in range(500)])""",
)


def record_lab(images: Path, seen: int = _SEEN) -> None:
    """Write `PICTURE`, light and dark, into a folder."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    with tempfile.TemporaryDirectory(prefix="pictures-") as folder, _clusters_in(folder):
        cells = [nbformat.v4.new_code_cell(source) for source in _CELLS]  # type: ignore[no-untyped-call]
        notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})  # type: ignore[no-untyped-call]
        nbformat.write(notebook, Path(folder) / _NAME)  # type: ignore[no-untyped-call]
        with lab_server(Path(folder)) as url, open_notebook(url, _NAME, width=_WIDTH, height=_HEIGHT) as lab:
            lab.page.evaluate("void window.jupyterapp.commands.execute('runmenu:run-all')")
            lab.command("himalia:show-clusters")
            lab.page.locator(".himalia-Badge").wait_for()  # it is connected
            lab.page.evaluate("void window.jupyterapp.commands.execute('himalia:open-page', {page: 'overview'})")
            images.mkdir(parents=True, exist_ok=True)
            for dark in (False, True):
                _take(lab, dark, seen, images / f"{PICTURE}{'-dark' if dark else ''}.png")


@contextmanager
def _clusters_in(folder: str) -> Iterator[None]:
    """Have clusters here for a while: those of others do not belong into the side bar."""
    before = os.environ.get("HIMALIA_TMPDIR")
    os.environ["HIMALIA_TMPDIR"] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ["HIMALIA_TMPDIR"]
        else:
            os.environ["HIMALIA_TMPDIR"] = before


def _take(lab: LabPage, dark: bool, seen: int, file: Path) -> None:
    lab.set_theme(dark)
    page = lab.page.frame_locator(".himalia-Frame:visible")
    page.locator(f"body[data-theme={'dark' if dark else 'light'}]").wait_for()
    page.get_by_text("simulate").first.wait_for()
    lab.page.wait_for_timeout(seen)
    lab.page.screenshot(path=str(file))
