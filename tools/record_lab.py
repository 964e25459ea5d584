"""The picture of the JupyterLab extension in the documentation: a notebook at work, and the overview of its cluster.

Usage: python -m tools.record_lab
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import nbformat

from tests.browser.lab import LabPage, chromium, lab_server, open_notebook

__all__ = ["main", "record"]

IMAGES: Final = Path(__file__).resolve().parent.parent / "docs/images"
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


def record(images: Path, seen: int = _SEEN) -> None:
    """Write ``lab_extension.png`` and ``lab_extension-dark.png`` into a folder."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    with tempfile.TemporaryDirectory(prefix="pictures-") as folder:
        cells = [nbformat.v4.new_code_cell(source) for source in _CELLS]  # type: ignore[no-untyped-call]
        notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})  # type: ignore[no-untyped-call]
        nbformat.write(notebook, Path(folder) / _NAME)  # type: ignore[no-untyped-call]
        os.environ["HIMALIA_TMPDIR"] = folder  # clusters of others do not belong into it
        with lab_server(Path(folder)) as url, open_notebook(url, _NAME, width=_WIDTH, height=_HEIGHT) as lab:
            lab.page.evaluate("void window.jupyterapp.commands.execute('runmenu:run-all')")
            lab.command("himalia:show-clusters")
            lab.page.locator(".himalia-Badge").wait_for()  # it is connected
            lab.page.evaluate("void window.jupyterapp.commands.execute('himalia:open-page', {page: 'overview'})")
            images.mkdir(parents=True, exist_ok=True)
            for dark in (False, True):
                _take(lab, dark, seen, images / f"lab_extension{'-dark' if dark else ''}.png")


def _take(lab: LabPage, dark: bool, seen: int, file: Path) -> None:
    lab.set_theme(dark)
    page = lab.page.frame_locator(".himalia-Frame:visible")
    page.locator(f"body[data-theme={'dark' if dark else 'light'}]").wait_for()
    page.get_by_text("simulate").first.wait_for()
    lab.page.wait_for_timeout(seen)
    lab.page.screenshot(path=str(file))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.record_lab", description=__doc__.partition("\n")[0])
    parser.parse_args(arguments)
    if chromium() is None:
        parser.error("no Chromium is installed (Debian: apt install chromium)")
    record(IMAGES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
