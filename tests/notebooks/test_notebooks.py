"""The tutorials run from top to bottom, and show what they say they show.

`nbval` executes each in a kernel of its own and compares the outputs of the cells that are tagged for it: timings, ids
of processes and pictures differ from run to run, what is counted does not.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests.support.source_tree import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHECKED = "nbval-check-output"


def names_of(path: Path) -> str:
    return path.stem


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=names_of)
def test_notebook_runs_and_shows_what_it_shows(path: Path, tmp_path: Path) -> None:
    # A pytest of its own: the plug-in's kernels are not ours to account for, and its options are for all of a run.
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=120"]
    command += ["-p", "no:cacheprovider", "--timeout=250", "-q", str(path)]
    # Bars appear where a machine is slow, so they can not be compared.
    environment = {**os.environ, "HIMALIA_PROGRESS": "0"}
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=names_of)
def test_notebook_is_saved_as_it_is_to_be_read(path: Path) -> None:
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    # Run from top to bottom in one go, without an error, with its outputs.
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [cell for cell in code for output in cell.outputs if output.output_type == "error"]
    checked = [cell for cell in code if CHECKED in cell.metadata.get("tags", ())]
    assert checked
    assert all(cell.outputs for cell in checked)
    assert path.stat().st_size < 1_000_000
