"""Arguments of magics."""

from __future__ import annotations

import pytest

from himalia.kernel_ext.arguments import MagicParser, UsageProblem, byte_count, positive


@pytest.mark.parametrize(
    ("text", "expected"),
    [("12", 12), ("500MB", 500 * 10**6), ("2GiB", 2 * 2**30), ("1.5 kb", 1500), ("3g", 3 * 10**9)],
)
def test_sizes_are_read_as_people_write_them(text: str, expected: int) -> None:
    assert byte_count(text) == expected


@pytest.mark.parametrize("text", ["", "-5", "MB", "5 XB", "1e3", "five"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(Exception, match="is no size"):
        byte_count(text)


@pytest.mark.parametrize("text", ["-1", "inf", "nan", "two"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(Exception, match="is no quantity"):
        positive(text)


def test_a_parser_raises_instead_of_ending_the_process() -> None:
    parser = MagicParser("%thing")
    parser.add_argument("--number", type=int)
    assert parser.parse_line("--number 3").number == 3
    for line in ("--nmber 3", "--number x", "--number", "'open", "extra"):
        with pytest.raises(UsageProblem):
            parser.parse_line(line)
