"""How lines of tasks are marked."""

from __future__ import annotations

from himalia.kernel_ext.output import marked


def test_every_line_is_marked() -> None:
    assert marked("a\nb\n", "(f) ") == "(f) a\n(f) b\n"


def test_text_without_an_end_of_line_gets_one() -> None:
    assert marked("a", "(f) ") == "(f) a\n"


def test_empty_lines_are_kept() -> None:
    assert marked("a\n\nb\n", "> ") == "> a\n> \n> b\n"
    assert marked("\n", "> ") == "> \n"
    assert marked("\n\n", "> ") == "> \n> \n"


def test_equal_lines_are_folded_with_their_count() -> None:
    assert marked("x\n" * 5 + "y\n", "> ") == "> x  [5 times]\n> y\n"
    assert marked("x\n" * 3, "> ") == "> x\n" * 3
    assert marked("\n" * 5, "> ") == ">   [5 times]\n"


def test_a_line_that_was_drawn_over_shows_its_last_state() -> None:
    assert marked(" 10%\r 20%\r100%\n", "> ") == "> 100%\n"
    assert marked(" 10%\r", "> ") == ">  10%\n"
    assert marked("dos\r\nlines\r\n", "> ") == "> dos\n> lines\n"
