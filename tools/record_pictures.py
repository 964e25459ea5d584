"""Run the notebooks in a real JupyterLab and keep what they show: their outputs, and the pictures of the documentation.

One run gives both, so that the figures in a notebook are those in its picture; the theme is changed in the page that
has run, so that light and dark show the same run. Outputs belong to a quiet machine: a busy one makes the notebook say
that parallel work gains little. So it is measured first, and a busy one is refused unless one insists. Scenes (see
scenes.py) are pictures of cells that are no tutorial, taken while they run. The extension of JupyterLab and pages
of the dashboard are pictured at work (record_lab.py, record_dashboard.py).

A page of the documentation is a notebook, too: its `ipython` blocks are the cells. Of it only the pictures are kept.

Rejected: nbconvert, whose pages look like no notebook that anybody works in; and pictures of outputs alone.

Usage: ./go pictures [--anyway] [name …]
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import nbformat

from tests.browser.lab import LabPage, chromium, lab_server, open_notebook
from tools.record_dashboard import PICTURES as BOARDS
from tools.record_dashboard import record_board
from tools.record_lab import PICTURE as LAB
from tools.record_lab import record_lab
from tools.scenes import SCENES, Scene

__all__ = ["NAMES", "PICTURES", "SCENES", "Picture", "main", "record", "record_scene"]

ROOT: Final = Path(__file__).resolve().parent.parent
NOTEBOOKS: Final = ROOT / "notebooks"
PAGES: Final = ROOT / "docs"
IMAGES: Final = ROOT / "docs/images"

BUSY: Final = 0.3
"""Running programs, on average over the last minute, above which a measurement says more about them than about us."""


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """Part of a notebook that stands in the documentation, as ``<name>.png`` and ``<name>-dark.png``.

    ``notebook`` is a file of `NOTEBOOKS`, or of `PAGES`. ``cell`` is the id of the cell at its top, of a page
    ``block-01`` and so on; ``width`` and ``height`` are those of the browser's page, in pixels.
    """

    name: str
    notebook: str
    cell: str
    width: int = 1100
    height: int = 1135


PICTURES: Final = (
    Picture("first_steps", "01_first_steps.ipynb", "step-07"),
    Picture("parallel_patterns", "02_parallel_patterns.ipynb", "step-13", height=900),
    Picture("actors", "03_actors.ipynb", "step-17", height=900),
    Picture("objects_and_memory", "04_objects_and_memory.ipynb", "step-16", height=900),
    Picture("notebooks_that_compute", "05_notebooks_that_compute.ipynb", "step-20", height=1000),
    Picture("explain", "explain.md", "block-02", height=620),
    Picture("what_is_slow", "07_what_is_slow.ipynb", "step-05", height=1250),
    Picture("from_other_tools", "06_from_other_tools.ipynb", "step-10", height=900),
)


NAMES: Final = (
    *(each.name for each in (*PICTURES, *SCENES)),
    LAB,
    *BOARDS,
)
"""All pictures of the documentation; each is there light and dark."""


def notebook_of(page: Path) -> nbformat.NotebookNode:
    """The cells that a page of the documentation consists of."""
    found = re.findall(r"^```ipython\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return _notebook_with([source.rstrip() for source in found], "block-")


def _notebook_with(texts: Sequence[str], prefix: str) -> nbformat.NotebookNode:
    """Cells with these texts; their ids are counted from 01."""
    cells = [
        nbformat.v4.new_code_cell(text, id=f"{prefix}{number:02}")  # type: ignore[no-untyped-call]
        for number, text in enumerate(texts, 1)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    made: nbformat.NotebookNode = nbformat.v4.new_notebook(cells=cells, metadata=kernel)  # type: ignore[no-untyped-call]
    return made


def record(notebook: Path, pictures: Sequence[Picture], images: Path) -> nbformat.NotebookNode:
    """Run a notebook, write its pictures into ``images``, and return it with its outputs.

    Raises
    ------
    RuntimeError
        A cell failed.
    """
    with tempfile.TemporaryDirectory(prefix="pictures-") as folder:
        source = notebook_of(notebook) if notebook.suffix == ".md" else nbformat.read(notebook, 4)  # type: ignore[no-untyped-call]
        copy = Path(folder) / f"{notebook.stem}.ipynb"
        nbformat.write(source, copy)  # type: ignore[no-untyped-call]
        first = pictures[0]
        with (
            lab_server(Path(folder)) as url,
            open_notebook(url, copy.name, width=first.width, height=first.height) as lab,
        ):
            lab.run_all()
            executed = nbformat.read(copy, 4)  # type: ignore[no-untyped-call]
            _refuse_errors(executed)
            lab.close_sidebar()
            images.mkdir(parents=True, exist_ok=True)
            for picture in pictures:
                lab.page.set_viewport_size({"width": picture.width, "height": picture.height})
                _take_both(lab, picture.cell, picture.name, images)
    return _as_written(executed, source)


def record_scene(scene: Scene, images: Path) -> None:
    """Run a scene's cells, and write its pictures into ``images`` when what it shows is there.

    Raises
    ------
    playwright.sync_api.TimeoutError
        It does not come.
    """
    notebook = _notebook_with(scene.cells, "scene-")
    with tempfile.TemporaryDirectory(prefix="pictures-") as folder:
        nbformat.write(notebook, Path(folder) / f"{scene.name}.ipynb")  # type: ignore[no-untyped-call]
        with (
            lab_server(Path(folder)) as url,
            open_notebook(url, f"{scene.name}.ipynb", width=scene.width, height=scene.height) as lab,
        ):
            lab.close_sidebar()
            lab.page.evaluate("void window.jupyterapp.commands.execute('runmenu:run-all')")
            lab.page.wait_for_function(_SAYS, arg=list(scene.words))
            images.mkdir(parents=True, exist_ok=True)
            _take_both(lab, f"scene-{scene.top:02}", scene.name, images)


_SAYS: Final = "words => words.every(each => document.body.innerText.includes(each))"


def _take_both(lab: LabPage, cell: str, name: str, images: Path) -> None:
    for dark in (False, True):
        _take(lab, cell, dark, images / f"{name}{'-dark' if dark else ''}.png")


def _take(lab: LabPage, cell: str, dark: bool, file: Path) -> None:
    lab.set_theme(dark)
    lab.scroll_to(cell)
    lab.page.screenshot(path=str(file))


def _refuse_errors(executed: nbformat.NotebookNode) -> None:
    for cell in executed.cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "error":
                raise RuntimeError(f"cell {cell.id} failed: {output.ename}: {output.evalue}")


def _as_written(executed: nbformat.NotebookNode, source: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The outputs of the run, and nothing else that JupyterLab noted."""
    for now, then in zip(executed.cells, source.cells, strict=True):
        now.metadata = then.metadata
    executed.metadata = source.metadata
    return executed


def _said(notebook: nbformat.NotebookNode) -> list[str]:
    """What the cells printed of times, for the eye of who records."""
    lines = [
        line
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output.output_type == "stream"
        for line in output.text.splitlines()
    ]
    return [line for line in lines if " s" in line and any(letter.isdigit() for letter in line)]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="./go pictures", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(sorted(NAMES))}")
    parser.add_argument("--anyway", action="store_true", help="also when other programs keep this machine busy")
    chosen = parser.parse_args(arguments)
    unknown = set(chosen.names) - set(NAMES)
    if unknown:
        parser.error(f"there is no picture {', '.join(sorted(unknown))}")
    if chromium() is None:
        parser.error("no Chromium is installed (Debian: apt install chromium)")
    load = os.getloadavg()[0]
    if load > BUSY and not chosen.anyway:
        parser.error(f"this machine is busy: {load:.1f} programs run on average. Wait for it, or insist with --anyway")
    _record_all(chosen.names or NAMES)
    return 0


def _record_all(names: Sequence[str]) -> None:
    wanted = [picture for picture in PICTURES if picture.name in names]
    for name in dict.fromkeys(picture.notebook for picture in wanted):
        path = (PAGES if name.endswith(".md") else NOTEBOOKS) / name
        executed = record(path, [picture for picture in wanted if picture.notebook == name], IMAGES)
        if path.parent == NOTEBOOKS:
            nbformat.write(executed, path)  # type: ignore[no-untyped-call]
        print(f"{name}:", *_said(executed), sep="\n  ")
    for scene in SCENES:
        if scene.name in names:
            record_scene(scene, IMAGES)
            print(f"{scene.name}: pictured")
    if LAB in names:
        record_lab(IMAGES)
        print(f"{LAB}: pictured")
    if pages := [name for name in BOARDS if name in names]:
        record_board(IMAGES, pages)
        print(f"{', '.join(pages)}: pictured")


if __name__ == "__main__":
    sys.exit(main())
