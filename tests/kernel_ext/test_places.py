"""Cells and lines in words."""

from __future__ import annotations

import linecache
import re
from types import SimpleNamespace
from typing import Any

from himalia.cluster.core.sites import Site
from himalia.cluster.protocol.common import Cell
from himalia.kernel_ext.places import call_lines, place_text
from tests.kernel_ext.notebook import Notebook

SHELL: Any = SimpleNamespace(compile=SimpleNamespace(_filename_map={"/tmp/cell-4.py": 4}))


def cell(number: int) -> Cell:
    return Cell(b"job1", number, "m")


def test_a_put_is_in_its_cell_and_line() -> None:
    assert place_text(SHELL, "put", cell(4), Site("/tmp/cell-4.py", 2, "<module>")) == "put in In [4], line 2"


def test_a_function_of_an_earlier_cell_is_told_apart() -> None:
    assert place_text(SHELL, "f", cell(6), Site("/tmp/cell-4.py", 2, "helper")) == "`f` in In [6] (line 2 of In [4])"


def test_a_file_is_named() -> None:
    assert (
        place_text(SHELL, "put", cell(6), Site("/home/me/train.py", 12, "fit")) == "put in In [6] (train.py, line 12)"
    )
    assert place_text(SHELL, "put", None, Site("/home/me/train.py", 12, "fit")) == "put in train.py, line 12"


def test_what_is_not_known_is_left_out() -> None:
    assert place_text(SHELL, "f", cell(3), None) == "`f` in In [3]"
    assert place_text(SHELL, "", None, None) == "unknown"


def test_a_function_called_on_several_lines_may_come_from_each() -> None:
    text = "a = f.remote(1)\nb = [f.options(num_cpus=2).remote(i) for i in x]\nc = g.remote()\nd = obj.f.remote()\n"
    assert call_lines(text, "f") == [1, 2, 4]
    assert call_lines(text, "Actor.g") == [3]
    assert call_lines("no python (", "f") == []
    linecache.cache["/tmp/cell-4.py"] = (len(text), None, text.splitlines(keepends=True), "/tmp/cell-4.py")
    site = Site("/tmp/cell-4.py", 1, "<module>")
    assert place_text(SHELL, "f", cell(4), site) == "`f` in In [4], line 1, 2 or 4"


def test_frames_of_cells_are_named_by_them_wherever_they_are_seen(kernel: Notebook) -> None:
    started = kernel.run(
        "@himalia.remote\ndef whirl():\n    end = time.monotonic() + 60\n    while time.monotonic() < end: pass\n"
        "ref = whirl.remote()"
    )
    assert not started.error, started.traceback
    cell = kernel.run("from himalia.util import state\nprint(state.get_stack(ref).threads)\nhimalia.cancel(ref)")
    assert not cell.error, cell.traceback
    assert re.search(r"Frame\(name='whirl', file='[^']*', line=4, internal=False, cell='In \[\d+\]'\)", cell.stream())
