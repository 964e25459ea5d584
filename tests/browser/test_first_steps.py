"""The first notebook in a real JupyterLab."""

from __future__ import annotations

import struct
from pathlib import Path

import nbformat
import pytest

from tests.support.source_tree import ROOT
from tools.record_pictures import PICTURES, record

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

NAME = "01_first_steps.ipynb"


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height, which stand in the first chunk."""
    width, height = struct.unpack_from(">II", png, 16)
    return width, height


def test_first_notebook_runs_in_jupyterlab_and_every_output_stands_in_its_cell(tmp_path: Path) -> None:
    pictures = [picture for picture in PICTURES if picture.notebook == NAME]
    shown = record(ROOT / "notebooks" / NAME, pictures, tmp_path)
    outputs = {cell.source: cell.outputs for cell in shown.cells if cell.cell_type == "code"}
    printed = {
        source: "".join(output.text for output in found if output.output_type == "stream")
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
    # What `./go pictures` would keep: as it is read, light and dark, and nothing but the outputs is new.
    written = nbformat.read(ROOT / "notebooks" / NAME, 4)
    assert [(cell.id, cell.source, cell.metadata) for cell in shown.cells] == [
        (cell.id, cell.source, cell.metadata) for cell in written.cells
    ]
    assert shown.metadata == written.metadata
    for picture in pictures:
        light, dark = ((tmp_path / f"{picture.name}{kind}.png").read_bytes() for kind in ("", "-dark"))
        assert size_of(light) == size_of(dark) == (picture.width, picture.height)
        assert light != dark
