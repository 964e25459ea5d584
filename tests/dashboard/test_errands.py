"""Questions that take seconds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from himalia.dashboard.errands import UNDER_WAY, Errands


class Played:
    """Time and threads of a test."""

    def __init__(self) -> None:
        self.now = 0.0
        self.begun: list[Callable[[], None]] = []
        self.errands = Errands(lambda: self.now, self.begun.append)


def test_an_answer_is_under_way_until_it_is_there_and_is_worked_on_once() -> None:
    played = Played()
    assert played.errands.ask("a", lambda: [{"it": 1}]) == [{UNDER_WAY: 0.0}]
    played.now = 2.0
    assert played.errands.ask("a", lambda: [{"it": 2}]) == [{UNDER_WAY: 2.0}]
    (run,) = played.begun
    run()
    assert played.errands.ask("a", lambda: [{"it": 3}]) == [{"it": 1}]


def test_what_the_work_raised_is_raised_where_it_is_asked_for() -> None:
    played = Played()
    played.errands.ask("a", lambda: [{"it": {}["x"]}])
    played.begun.pop()()
    for _ in range(2):
        with pytest.raises(KeyError):
            played.errands.ask("a", list)


def test_what_nobody_asks_for_is_forgotten_and_begun_anew() -> None:
    played = Played()
    played.errands.ask("a", lambda: [{"it": 1}])
    played.begun.pop()()
    played.now = 61.0
    assert played.errands.ask("a", lambda: [{"it": 2}]) == [{UNDER_WAY: 0.0}]


def test_not_too_many_are_worked_on_at_a_time() -> None:
    played = Played()
    for name in "abcd":
        played.errands.ask(name, list)
    with pytest.raises(RuntimeError, match="4 profiles or stack dumps are being taken"):
        played.errands.ask("e", list)
    played.begun[0]()
    assert played.errands.ask("e", list) == [{UNDER_WAY: 0.0}]
