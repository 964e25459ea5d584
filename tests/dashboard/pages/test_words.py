"""What pages call things."""

from __future__ import annotations

import pytest

from himalia.dashboard.pages.words import site_name


@pytest.mark.parametrize(
    ("site", "said"),
    [
        ("In [3], line 4", "In [3], line 4"),
        ("In [3], line 4 in make", "In [3], line 4 in make"),
        ("/home/eva/project/work.py:66 in __init__", "project/work.py:66 in __init__"),
        ("/home/eva/project/work.py:66 in <module>", "project/work.py:66"),
        ("", ""),
    ],
)
def test_a_place_in_a_cell_is_its_line_and_another_the_end_of_its_path(site: str, said: str) -> None:
    assert site_name(site) == said
