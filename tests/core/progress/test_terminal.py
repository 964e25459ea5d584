"""Bars in a terminal, as the characters that it gets."""

from __future__ import annotations

import io
import sys

import pytest

from himalia.cluster.core.progress.line import erase
from himalia.cluster.core.progress.model import STOPPED, Frame, Model
from himalia.cluster.core.progress.tally import Counts
from himalia.cluster.core.progress.terminal import LinesFront, TerminalFront, terminal_front, text_of

CLEAR = "\r\x1b[2K"


def frame(done: int = 5, total: int = 10, name: str = "f", end: str = "") -> Frame:
    return Model(0.0).frame(2.0, {name: Counts(done=done, running=min(2, total - done))}, end)


class Screen:
    """What was written to standard error."""

    def __init__(self, captured: pytest.CaptureFixture[str]) -> None:
        self._captured = captured
        self._text = ""

    def getvalue(self) -> str:
        self._text += self._captured.readouterr().err
        return self._text


@pytest.fixture
def screen(capsys: pytest.CaptureFixture[str]) -> Screen:
    return Screen(capsys)


def test_a_bar_is_drawn_over_itself_and_ends_as_a_line(screen: Screen) -> None:
    bar = TerminalFront().open()
    bar.draw(frame(2, 4))
    bar.draw(frame(3, 4))
    bar.end(frame(4, 4, end=STOPPED))
    assert screen.getvalue().split(CLEAR) == [
        "",
        "[########--------] 2/4 in 2.0 s | f, 2 running",
        "[############----] 3/4 in 2.0 s | f, 1 running",
        "4 tasks of `f` done in 2.0 s\n",
    ]


def test_other_text_is_written_above_the_bar(screen: Screen) -> None:
    bar = TerminalFront().open()
    bar.draw(frame())
    erase()
    sys.stderr.write("text\n")
    bar.draw(frame())
    before, after = screen.getvalue().split("text\n")
    assert before.endswith(CLEAR)
    assert after.startswith(CLEAR + "[")
    bar.end(frame(end=STOPPED))
    erase()
    assert screen.getvalue().endswith("done\n")


def test_bars_of_several_threads_share_the_line(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    front = TerminalFront()
    first, second = front.open(), front.open()
    first.draw(frame(name="a"))
    second.draw(frame(name="b"))
    assert "a, 2" in screen.getvalue().split(CLEAR)[-1]
    assert "b, 2" in screen.getvalue().split(CLEAR)[-1]
    first.end(frame(end=STOPPED))
    assert "b, 2" in screen.getvalue().split(CLEAR)[-1]
    second.end(frame(end=STOPPED))
    assert screen.getvalue().endswith("\n")


def test_a_line_is_never_wider_than_the_terminal() -> None:
    assert len(text_of(frame(name="f" * 200), 80)) == 80
    assert text_of(frame(name="f" * 200), 80).endswith("…")


def test_functions_that_run_are_named_first() -> None:
    counts = {"waits": Counts(waiting=3), "runs": Counts(running=1), "is over": Counts(done=1)}
    text = text_of(Model(0.0).frame(1.0, counts), 200)
    assert text.endswith("| runs 0/1, 1 running | waits 0/3")


def test_a_stream_that_is_closed_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    bar = TerminalFront().open()
    bar.draw(frame())
    stream.close()
    bar.draw(frame())
    bar.end(frame(end=STOPPED))
    assert terminal_front() is None


def test_somebody_looks_at_a_terminal_that_can_clear_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    assert terminal_front() is None
    monkeypatch.setattr(stream, "isatty", lambda: True)
    assert terminal_front() is not None
    monkeypatch.setenv("TERM", "dumb")
    assert terminal_front() is None


def test_lines_are_written_seldom_and_at_the_end(screen: Screen) -> None:
    bar = LinesFront().open()
    for _ in range(100):
        bar.draw(frame())
    bar.end(frame(10, 10, end=STOPPED))
    assert screen.getvalue() == "10 tasks of `f` done in 2.0 s\n"
