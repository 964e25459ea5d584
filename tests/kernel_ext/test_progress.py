"""Bars under the cell that waits, in a real kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from himalia.cluster.core.progress.model import INTERRUPTED, STOPPED, Model
from himalia.cluster.core.progress.tally import Counts
from himalia.kernel_ext.html import BAD, GOOD, IDLE
from himalia.kernel_ext.progress import ended_bundle, frame_bundle
from tests.kernel_ext.notebook import Cell, Notebook

DEFINE = """
from himalia.util.progress import configure, progress
configure(after=0.3)

@himalia.remote
def wait_for_file(path):
    while not os.path.exists(path):
        time.sleep(0.01)
"""


def bars(cell: Cell) -> list[dict[str, Any]]:
    """Displays and updates of bars under this cell."""
    kinds = ("display_data", "update_display_data")
    return [m["content"] for m in cell.messages if m["msg_type"] in kinds and display_id(m["content"])]


def display_id(content: dict[str, Any]) -> str:
    name = str(content.get("transient", {}).get("display_id", ""))
    return name if name.startswith("himalia-progress-") else ""


def texts(cell: Cell) -> list[str]:
    return [content["data"]["text/plain"] for content in bars(cell)]


@pytest.fixture
def ready(any_kernel: Notebook) -> Notebook:
    cell = any_kernel.run(DEFINE)
    assert not cell.error, cell.traceback
    return any_kernel


def test_a_cell_shows_one_output_that_is_updated_and_ends_as_a_line(ready: Notebook, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    cell = ready.send(
        f"himalia.get([wait_for_file.remote({str(first)!r}) for _ in range(3)])\n"
        f"himalia.get([wait_for_file.remote({str(second)!r}) for _ in range(3)])"
    )
    cell.wait_for(lambda cell: len(bars(cell)) >= 2)
    first.touch()
    cell.wait_for(lambda cell: texts(cell)[-1].startswith("[") and "3/6" in texts(cell)[-1])
    second.touch()
    cell.wait_for(lambda cell: cell.done)
    assert not cell.error, cell.traceback
    assert len({display_id(content) for content in bars(cell)}) == 1
    assert len([m for m in cell.messages if m["msg_type"] == "display_data"]) == 1
    assert texts(cell)[-1].startswith("6 tasks of `wait_for_file` done in ")
    assert set(bars(cell)[-1]["data"]) == {"text/html", "text/plain"}


def test_a_thread_shows_its_bar_under_the_cell_that_started_it(ready: Notebook, tmp_path: Path) -> None:
    file = tmp_path / "go"
    first = ready.run(
        "import threading\n"
        f"thread = threading.Thread(target=lambda: himalia.get(wait_for_file.remote({str(file)!r})))\nthread.start()"
    )
    second = ready.run("1 + 1")
    first.wait_for(lambda cell: len(bars(cell)) >= 2)
    file.touch()
    first.wait_for(lambda cell: "done in" in texts(cell)[-1])
    assert not bars(second)
    assert not ready.run("thread.join()").error


def test_an_interrupt_leaves_a_line_that_says_so(ready: Notebook, tmp_path: Path) -> None:
    cell = ready.send(f"himalia.get([wait_for_file.remote({str(tmp_path / 'never')!r}) for _ in range(2)])")
    cell.wait_for(lambda cell: len(bars(cell)) >= 2)
    ready.interrupt()
    cell.wait_for(lambda cell: cell.done)
    assert cell.error == "KeyboardInterrupt"
    assert texts(cell)[-1].startswith("interrupted after ")
    assert texts(cell)[-1].endswith("0 of 2 tasks of `wait_for_file` done")


def test_background_work_shows_its_bar_while_other_cells_run(ready: Notebook, tmp_path: Path) -> None:
    file = tmp_path / "go"
    cell = ready.run(f"refs = [wait_for_file.remote({str(file)!r}) for _ in range(2)]\nprogress(refs)")
    cell.wait_for(lambda cell: len(bars(cell)) >= 2)
    other = ready.run("1 + 1")
    file.touch()
    cell.wait_for(lambda cell: "done in" in texts(cell)[-1])
    assert not bars(other)


def test_captured_cells_and_those_told_so_show_none(kernel: Notebook, tmp_path: Path) -> None:
    assert not kernel.run(DEFINE).error
    slow = f"threading.Timer(1, open, ({str(tmp_path / 'go')!r}, 'w')).start()\n"
    get = f"himalia.get(wait_for_file.remote({str(tmp_path / 'go')!r}))"
    assert not bars(kernel.run(f"%%capture\nimport threading\n{slow}{get}"))
    (tmp_path / "go").unlink()
    assert not bars(kernel.run(f"configure(enabled=False)\n{slow}{get}\nconfigure(enabled=True)"))


def test_html_escapes_names_and_marks_failures() -> None:
    counts = {"<f>": Counts(done=3, failed=1, running=2, waiting=4), "g": Counts(waiting=3)}
    bundle = frame_bundle(Model(0.0).frame(5.0, counts))
    assert "<code>&lt;f&gt;</code>" in bundle["text/html"]
    assert f'<span style="color:{BAD}">1 failed</span>' in bundle["text/html"]
    assert "4 of 10" in bundle["text/html"]
    assert "<script" not in bundle["text/html"]


@pytest.mark.parametrize(
    ("counts", "end", "colour"),
    [
        (Counts(done=2), STOPPED, GOOD),
        (Counts(done=2, failed=1), STOPPED, BAD),
        (Counts(done=2, waiting=1), INTERRUPTED, IDLE),
    ],
)
def test_the_last_line_has_the_colour_of_its_end(counts: Counts, end: str, colour: str) -> None:
    assert colour in ended_bundle(Model(0.0).frame(5.0, {"f": counts}, end))["text/html"]
