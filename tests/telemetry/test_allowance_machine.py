"""How much output passes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from himalia.cluster.telemetry.allowance_machine import Allowance


def test_so_much_passes_at_once_and_then_so_much_a_second() -> None:
    allowance = Allowance(100, 10, 0)
    assert allowance.take(100, 0.0)
    assert not allowance.take(1, 0.0)
    assert not allowance.take(11, 1.0)
    assert allowance.take(10, 1.0)
    assert allowance.room(6.0) == 50


def test_it_never_holds_more_than_at_the_beginning() -> None:
    allowance = Allowance(100, 10, 0)
    assert allowance.room(0.0) == 100
    assert allowance.room(1_000.0) == 100


def test_ends_may_overdraw_by_the_reserve() -> None:
    allowance = Allowance(100, 10, 50)
    assert allowance.take_end(150, 0.0)
    assert not allowance.take_end(1, 0.0)
    assert not allowance.take(1, 5.0)
    assert allowance.take(1, 5.2)


@given(st.lists(st.tuples(st.floats(0, 200), st.floats(0, 3), st.booleans())))
def test_the_sum_is_bounded(steps: list[tuple[float, float, bool]]) -> None:
    allowance = Allowance(100, 10, 50)
    now = passed = 0.0
    for cost, seconds, is_end in steps:
        now += seconds
        if allowance.take_end(cost, now) if is_end else allowance.take(cost, now):
            passed += cost
    assert passed <= 150 + 10 * now + 1e-6
