"""What pages call things."""

from __future__ import annotations

import pytest

from himalia.dashboard.pages.words import site_name


@pytest.mark.parametrize(
    ("site", "cell", "said"),
    [
        ("/tmp/ipykernel_77/2293004732.py:4 in <module>", 3, "line 4"),
        ("/tmp/ipykernel_77/2293004732.py:4 in make", 3, "line 4 in make"),
        ("/home/eva/project/work.py:66 in __init__", None, "project/work.py:66 in __init__"),
        ("/home/eva/project/work.py:66 in load", 3, "project/work.py:66 in load"),
        ("", None, ""),
    ],
)
def test_a_place_in_a_cell_is_its_line_and_another_the_end_of_its_path(site: str, cell: int | None, said: str) -> None:
    assert site_name(site, cell) == said
