"""Every example in the documentation runs, and prints what it says it prints.

Blocks marked ``python`` of one page run in order, in this process, against a cluster that the page starts. A line
``#: 49`` after a print states its output. Blocks marked ``ipython`` are cells: they run in order in a Jupyter kernel.
Lines that begin with ``$`` in ``console`` blocks run in order in one shell. Other blocks (``text``, ``pycon``) are
there to be read only.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from jupyter_core.utils import ensure_event_loop
from nbclient import NotebookClient
from sybil import Document, Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.myst import CodeBlockParser

from tests.support.leaks import warm_up
from tests.support.source_tree import ROOT

# What drives kernels without being asynchronous keeps an event loop for good.
warm_up(ensure_event_loop)

PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])


class CheckedPython(PythonEvaluator):
    """Runs a block and compares what it printed with its ``#:`` lines, if it has any."""

    def __call__(self, example: Example) -> None:
        lines = [line.strip() for line in example.parsed.splitlines()]
        expected = [line.removeprefix("#:").strip() for line in lines if line.startswith("#:")]
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            super().__call__(example)
        if expected:
            actual = [line.strip() for line in printed.getvalue().splitlines()]
            assert actual == expected, f"{Path(example.path).name}:{example.line} printed {actual}, says {expected}"


def blocks(page: Path, language: str) -> Document:
    parser = CodeBlockParser(language, CheckedPython() if language == "python" else _kept)
    return Sybil([parser], path=str(page.parent)).parse(page)


def _kept(example: Example) -> None:
    """Blocks of other languages are joined and run as one."""


def pages_with(language: str) -> list[Path]:
    return [page for page in PAGES if f"```{language}\n" in page.read_text()]


def names_of(page: Path) -> str:
    return page.stem


@pytest.fixture
def fresh_main(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No cluster before and after; files the examples write land in a folder of their own."""
    import himalia

    monkeypatch.chdir(tmp_path)
    himalia.shutdown()
    yield
    himalia.shutdown()


@pytest.mark.usefixtures("fresh_main")
@pytest.mark.parametrize("page", pages_with("python"), ids=names_of)
def test_python_examples_run_and_print_what_they_say(page: Path) -> None:
    document = blocks(page, "python")
    # As in a script or notebook: what the examples define travels to the workers by value.
    document.namespace["__name__"] = "__main__"
    for example in document.examples():
        example.evaluate()


@pytest.mark.parametrize("page", pages_with("ipython"), ids=names_of)
def test_notebook_examples_run_in_a_kernel(page: Path, tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell(example.parsed) for example in blocks(page, "ipython").examples()]
    notebook = nbformat.v4.new_notebook(cells=cells)
    client = NotebookClient(notebook, timeout=50, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    # Raises with the cell and its traceback if one fails. Its own `execute` would leave its event loop behind.
    asyncio.run(client.async_execute())


@pytest.mark.parametrize("page", pages_with("console"), ids=names_of)
def test_commands_run(page: Path, tmp_path: Path) -> None:
    commands = [
        line.removeprefix("$ ")
        for example in blocks(page, "console").examples()
        for line in example.parsed.splitlines()
        if line.startswith("$ ")
    ]
    # The scripts of the environment that runs this test, whether or not it is active.
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    script = "\n".join(["set -euo pipefail", *commands])
    run = subprocess.run(
        ["bash", "-x", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "HOME": str(tmp_path), "PYTHONWARNINGS": "default"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


# The checker itself ---------------------------------------------------------------------------------------------------


def _evaluate(page: Path, text: str) -> None:
    page.write_text(text)
    for example in blocks(page, "python").examples():
        example.evaluate()


def test_blocks_of_a_page_share_their_names(tmp_path: Path) -> None:
    _evaluate(tmp_path / "page.md", "```python\nx = 6\n```\n\ntext\n\n```python\nprint(x * 7)\n#: 42\n```\n")


def test_a_wrong_output_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"page.md:1 printed \['42'\], says \['43'\]"):
        _evaluate(tmp_path / "page.md", "```python\nprint(42)\n#: 43\n```\n")


def test_a_block_that_is_only_read_does_not_run(tmp_path: Path) -> None:
    _evaluate(tmp_path / "page.md", "```text\nthis is not Python\n```\n")


def test_pages_have_examples() -> None:
    assert len(pages_with("python")) >= 5
