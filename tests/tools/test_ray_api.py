"""The comparison of signatures finds what would break a call, and nothing else."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools.ray_api import Row, read_page, signature_differences, signature_of


def ref(a: int, b: int = 1, *, c: int = 2, _private: int = 3) -> None: ...
def same(a: int, b: int = 1, *, c: int = 2, extra: int = 0) -> None: ...
def moved(b: int = 1, a: int = 0, *, c: int = 2) -> None: ...
def other_default(a: int, b: int = 5, *, c: int = 2) -> None: ...
def lacks(a: int, b: int = 1) -> None: ...
def takes_any(*args: int, **kwargs: int) -> None: ...
def asks_more(a: int, b: int = 1, *, c: int = 2, needed: int) -> None: ...
def all_optional(a: int = 0, b: int = 1, *, c: int = 2) -> None: ...
def only_keyword(a: int, *, b: int = 1, c: int = 2) -> None: ...


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (same, []),
        (moved, ["a", "b"]),
        (other_default, ["b"]),
        (lacks, ["c"]),
        (takes_any, []),
        (asks_more, ["needed"]),
        (only_keyword, ["b"]),
        (all_optional, []),
    ],
)
def test_parameters_that_would_break_a_call_are_named(function: Callable[..., Any], expected: list[str]) -> None:
    assert signature_differences(inspect.signature(ref), inspect.signature(function)) == expected


def test_signatures_of_static_and_class_methods_are_read_and_of_properties_not() -> None:
    class Some:
        @staticmethod
        def static(a: int) -> None: ...

        @property
        def value(self) -> int:
            return 1

    assert signature_of(vars(Some)["static"]) == inspect.signature(Some.static)
    assert signature_of(vars(Some)["value"]) is None
    assert signature_of(3) is None


def test_rows_are_read_with_their_section(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Title\n| `not` | in |\n## One\n| name | status | note |\n| --- | --- | --- |\n| `a.b` | same | |\n"
        "## Two `x`\n| `c` | absent | because of `d` |\n"
    )
    assert read_page(page) == [Row("One", "a.b", "same", ""), Row("Two `x`", "c", "absent", "because of `d`")]
