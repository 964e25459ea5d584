"""What of a worker's output goes to the driver."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from himalia.cluster.telemetry.allowance_machine import Allowance
from himalia.cluster.worker.throttle_machine import TAIL, Piece, Throttle


def make(burst: float = 1e6, rate: float = 0.0, reserve: float = 0.0) -> tuple[Throttle, list[Any]]:
    ready: list[Any] = []
    return Throttle(Allowance(burst, rate, reserve), ready), ready


def told(ready: list[Piece]) -> list[tuple[str, int, int]]:
    return [(piece.text, piece.count, piece.omitted) for piece in ready]


def test_lines_pass_at_once() -> None:
    throttle, ready = make()
    throttle.add("me", 1, "a\n", 0.0)
    throttle.add("you", 2, "b\nc\n", 0.0)
    assert [(piece.voice, piece.stream, piece.text) for piece in ready] == [("me", 1, "a\n"), ("you", 2, "b\nc\n")]
    assert not throttle.restless


def test_equal_lines_are_counted_until_another_comes() -> None:
    throttle, ready = make()
    for _ in range(100):
        throttle.add("me", 1, "x\n", 0.0)
    assert told(ready) == [("x\n", 1, 0)] * 3
    assert throttle.restless
    throttle.add("me", 1, "y\n", 0.0)
    assert told(ready)[3:] == [("x\n", 97, 0), ("y\n", 1, 0)]


def test_equal_lines_are_told_at_the_next_tick() -> None:
    throttle, ready = make()
    for _ in range(5):
        throttle.add("me", 1, "x\n", 0.0)
    throttle.settle(0.5)
    assert told(ready)[3:] == [("x\n", 2, 0)]
    assert not throttle.restless


def test_equal_texts_of_several_lines_pass_each() -> None:
    throttle, ready = make()
    for _ in range(10):
        throttle.add("me", 1, "x\ny\n", 0.0)
    assert told(ready) == [("x\ny\n", 1, 0)] * 10


def test_what_there_is_no_room_for_is_dropped_but_for_its_end() -> None:
    throttle, ready = make(burst=1_000, reserve=TAIL)
    for i in range(10_000):
        throttle.add("me", 1, f"{i}\n", 0.0)
    passed = len(ready)
    assert sum(len(piece.text) for piece in ready) <= 1_000
    throttle.end(0.0)
    end = ready[passed:]
    assert end[-1].text == "9999\n"
    assert end[0].omitted == 10_000 - passed - len(end)
    assert sum(piece.omitted for piece in ready) == end[0].omitted


def test_the_end_leaves_when_the_allowance_has_filled_up() -> None:
    throttle, ready = make(burst=TAIL, rate=100)
    for i in range(10_000):
        throttle.add("me", 1, f"{i}\n", 0.0)
    passed = len(ready)
    throttle.settle(1.0)
    assert len(ready) == passed
    throttle.settle(100.0)
    assert ready[-1].text == "9999\n"


def test_a_long_text_passes_as_far_as_there_is_room() -> None:
    throttle, ready = make(burst=100, reserve=TAIL)
    throttle.add("me", 1, "".join(f"{i:03}\n" for i in range(10_000)), 0.0)
    assert ready[0].text == "".join(f"{i:03}\n" for i in range(25))
    throttle.end(0.0)
    assert ready[1].text.endswith("9999\n")
    assert ready[1].omitted + 25 + ready[1].text.count("\n") == 10_000


@given(st.lists(st.tuples(st.text("ab\n", min_size=1, max_size=50), st.floats(0, 1)), max_size=60))
def test_every_line_passes_or_is_counted(steps: list[tuple[str, float]]) -> None:
    ready: list[Any] = []
    allowance = Allowance(60, 5, 20)
    throttle = Throttle(allowance, ready)
    now, came = 0.0, 0
    for text, passed in steps:
        now += passed
        throttle.settle(now)
        throttle.add("me", 1, text + "\n", now)
        came += text.count("\n") + 1
    assert sum(len(piece.text) for piece in ready) <= 60 + 20 + 5 * now + 1e-6
    allowance.reserve = 10 * TAIL
    throttle.settle(now)
    throttle.end(now)
    assert sum(piece.text.count("\n") * piece.count + piece.omitted for piece in ready) == came
