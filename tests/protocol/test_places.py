"""Places in words."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from himalia.cluster.protocol import places

FILE = "/tmp/ipykernel_7/123.py"


@pytest.fixture
def kernel() -> Iterator[None]:
    places.ask_kernel(lambda file: "In [5]" if file == FILE else "")
    yield
    places.ask_kernel(None)


@pytest.mark.usefixtures("kernel")
def test_code_of_a_cell_is_told_by_the_cell_and_other_code_by_the_end_of_its_path() -> None:
    assert places.place_text(FILE, 3) == "In [5], line 3"
    assert places.place_text("/home/eva/project/work.py", 12) == "project/work.py:12"
    assert places.place_text("In [9]", 2) == "In [9], line 2"
    assert places.cells_among([FILE, "/home/eva/work.py"]) == {FILE: "In [5]"}
    assert places.frame_place(FILE, 3) == "In [5], line 3, in "
    assert places.frame_place("/home/eva/work.py", 3) == "/home/eva/work.py(3)"


@pytest.mark.usefixtures("kernel")
def test_a_traceback_names_cells_and_leaves_files_as_they_are() -> None:
    text = f'  File "{FILE}", line 3, in f\n    g()\n  File "/home/eva/work.py", line 4, in g\n'
    assert places.name_cells(text) == '  In [5], line 3, in f\n    g()\n  File "/home/eva/work.py", line 4, in g\n'


def test_what_came_with_a_function_is_known_without_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_noted", {})
    assert places.cell_of(FILE) == ""
    places.note({FILE: "In [8]"})
    assert places.cell_of(FILE) == "In [8]"
