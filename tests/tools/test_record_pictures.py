"""What the command refuses before it runs anything; tests/browser has it run."""

from __future__ import annotations

import os

import nbformat
import pytest

from tests.support.source_tree import ROOT
from tools import record_pictures


def test_pictures_of_the_documentation_are_those_that_it_makes_and_all_are_shown() -> None:
    made = {f"{name}{kind}.png" for name in record_pictures.NAMES for kind in ("", "-dark")}
    assert made == {path.name for path in record_pictures.IMAGES.iterdir()}
    pages = "".join(page.read_text() for page in (*(ROOT / "docs").glob("*.md"), ROOT / "README.md"))
    assert sorted(name for name in made if f"images/{name}" not in pages) == []
    folders = ("notebooks", "docs")
    assert all(any((ROOT / name / one.notebook).exists() for name in folders) for one in record_pictures.PICTURES)


def test_a_page_of_the_documentation_is_a_notebook_of_its_blocks() -> None:
    for picture in record_pictures.PICTURES:
        if picture.notebook.endswith(".md"):
            made = record_pictures.notebook_of(record_pictures.PAGES / picture.notebook)
            assert picture.cell in [cell.id for cell in made.cells]
            nbformat.validate(made)


def test_a_busy_machine_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(record_pictures, "chromium", lambda: "chromium")
    monkeypatch.setattr(os, "getloadavg", lambda: (1.7, 0.1, 0.1))
    with pytest.raises(SystemExit):
        record_pictures.main([])
    assert "this machine is busy: 1.7 programs run" in capsys.readouterr().err


def test_a_picture_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        record_pictures.main(["last_steps"])
    assert "there is no picture last_steps" in capsys.readouterr().err
