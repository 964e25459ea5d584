"""What stands on the lines that a task draws over."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from himalia.cluster.worker.screen_machine import COLUMNS, ROWS, Screen, redraws


def drawn(*texts: str) -> Screen:
    screen = Screen()
    for text in texts:
        screen.feed(text)
    return screen


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a\rb", True), ("50%\r", True), ("dos\r\nlines\r\n", False), ("dos\r\nthen\rover\n", True), ("plain\n", False)],
)
def test_a_carriage_return_asks_for_a_screen_unless_it_ends_a_line(text: str, expected: bool) -> None:
    assert redraws(text) is expected


def test_a_line_is_drawn_over() -> None:
    assert drawn("\r 10%", "\r 20%", "\r100%").shown() == ["100%"]
    assert drawn("a longer line\rshort").shown() == ["shortger line"]


def test_it_is_at_rest_when_the_cursor_is_below_everything() -> None:
    assert not drawn("\r 10%").at_rest
    assert drawn("\r 10%\n").at_rest
    assert not drawn("\n\r second\x1b[A").at_rest


def test_several_rows_are_reached_by_moving_up_and_down() -> None:
    screen = drawn("\rfirst 1", "\n", "\rsecond 1", "\x1b[A", "\rfirst 2", "\n", "\rsecond 2", "\x1b[A")
    assert screen.shown() == ["first 2", "second 2"]


def test_colours_are_left_out_and_lines_can_be_erased() -> None:
    assert drawn("\x1b[32mgreen\x1b[0m").shown() == ["green"]
    assert drawn("to be erased\r\x1b[Knew").shown() == ["new"]
    assert drawn("to be erased\x1b[2K").shown() == []


def test_rows_that_are_too_many_scroll_off_at_the_top() -> None:
    screen = drawn(*(f"{i}\n" for i in range(ROWS + 10)))
    assert len(screen.rows) == ROWS
    assert [*screen.scrolled, *screen.shown()] == [str(i) for i in range(ROWS + 10)]


def test_bars_of_tqdm_end_as_one_line_each() -> None:
    from tqdm import tqdm

    screen = Screen()

    class File(io.StringIO):
        def write(self, text: str) -> int:
            screen.feed(text)
            return len(text)

    class Bar(tqdm):  # type: ignore[misc]
        monitor_interval = 0  # no thread

    file = File()
    with Bar(total=3, desc="outer", file=file, mininterval=0) as outer:
        for _ in range(3):
            with Bar(total=5, desc="inner", file=file, mininterval=0, leave=False, position=1) as inner:
                for _ in range(5):
                    inner.update()
                shown = screen.shown()
                assert shown[0].startswith("outer:")
                assert shown[1].startswith("inner: 100%")
            outer.update()
    assert len(screen.shown()) == 1
    assert screen.shown()[0].startswith("outer: 100%")
    assert screen.at_rest


@given(st.lists(st.text("ab\r\n\b\x1b[AK2é ", max_size=20)))
def test_anything_can_be_drawn_and_the_size_is_bounded(texts: list[str]) -> None:
    screen = drawn(*texts)
    assert len(screen.rows) <= ROWS
    assert all(len(row) <= COLUMNS for row in screen.rows)
    whole = drawn("".join(texts))
    if "\x1b" not in "".join(texts):  # what is cut through a control sequence reads otherwise
        assert whole.rows == screen.rows
