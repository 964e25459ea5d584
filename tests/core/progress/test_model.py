"""What a bar says at a time."""

from __future__ import annotations

import pytest

from himalia.cluster.core.progress.model import GONE, INTERRUPTED, STOPPED, TIMEOUT, Model, duration
from himalia.cluster.core.progress.tally import OTHERS, Counts


def steady(model: Model, seconds: int, total: int, per_second: int, name: str = "f") -> None:
    """Tasks that end at a constant rate, looked at four times a second."""
    for step in range(seconds * 4 + 1):
        ended = int(step / 4 * per_second)
        model.frame(step / 4, {name: Counts(done=ended, running=2, waiting=total - ended - 2)})


def test_a_steady_rate_is_found_and_what_is_left_follows_from_it() -> None:
    model = Model(0.0)
    steady(model, 10, 400, 20)
    frame = model.frame(10.25, {"f": Counts(done=205, running=2, waiting=193)})
    assert frame.rows[0].rate == pytest.approx(20, rel=0.05)
    assert frame.left == pytest.approx(195 / 20, rel=0.05)


def test_what_had_ended_before_the_first_look_says_nothing_about_the_rate() -> None:
    model = Model(0.0)
    model.frame(0.2, {"f": Counts(done=10_000, running=2, waiting=98)})
    frame = model.frame(2.2, {"f": Counts(done=10_004, running=2, waiting=94)})
    assert frame.rows[0].rate == pytest.approx(2.0)


def test_the_rate_follows_a_change_and_does_not_jump() -> None:
    model = Model(0.0)
    steady(model, 30, 10_000, 100)
    slow = [model.frame(30 + s, {"f": Counts(done=3000 + s, running=2, waiting=5000)}).rows[0].rate for s in range(60)]
    assert all(rate is not None for rate in slow)
    rates = [rate for rate in slow if rate is not None]
    assert rates[1] > 80
    assert rates[-1] < 20
    assert rates == sorted(rates, reverse=True)


def test_a_function_that_has_not_begun_leaves_the_end_unknown() -> None:
    model = Model(0.0)
    for second in range(5):
        frame = model.frame(
            float(second), {"load": Counts(done=second, running=1, waiting=50 - second), "train": Counts(waiting=51)}
        )
    assert frame.rows[0].left is not None
    assert frame.rows[1].left is None
    assert frame.left is None


def test_the_time_before_a_function_begins_does_not_lower_its_rate() -> None:
    model = Model(0.0)
    for second in range(100):
        model.frame(float(second), {"train": Counts(waiting=100)})
    model.frame(100.0, {"train": Counts(running=2, waiting=98)})
    frame = model.frame(101.0, {"train": Counts(done=10, running=2, waiting=88)})
    assert frame.rows[0].rate == pytest.approx(10.0, rel=0.6)


def test_nothing_is_estimated_where_more_may_come() -> None:
    model = Model(0.0, open_ended=True)
    steady(model, 5, 400, 20)
    frame = model.frame(5.25, {"f": Counts(done=105, running=2, waiting=10)})
    assert frame.rows[0].rate is not None
    assert frame.left is None


def test_a_row_says_what_is_not_usual() -> None:
    row = Model(0.0).frame(1.0, {"f": Counts(done=1, failed=2, cancelled=3, running=4, waiting=5)}).rows[0]
    assert row.notes() == ["4 running", "2 failed", "3 cancelled"]
    assert Model(0.0).frame(1.0, {OTHERS: Counts(waiting=5)}).rows[0].label == "other tasks"


@pytest.mark.parametrize(
    ("counts", "end", "line"),
    [
        ({"f": Counts(done=398, failed=2)}, STOPPED, "400 tasks of `f` done in 12.3 s, 2 failed"),
        ({"f": Counts(done=1)}, STOPPED, "1 task of `f` done in 12.3 s"),
        ({"f": Counts(done=1, cancelled=9)}, STOPPED, "10 tasks of `f` done in 12.3 s, 9 cancelled"),
        ({"a": Counts(done=1), "b": Counts(done=2)}, STOPPED, "3 tasks done in 12.3 s (1 of `a`, 2 of `b`)"),
        ({"a": Counts(done=1), OTHERS: Counts(done=2)}, STOPPED, "3 tasks done in 12.3 s (1 of `a`, 2 others)"),
        ({"f": Counts(done=3, waiting=7)}, STOPPED, "waited 12.3 s: 3 of 10 tasks of `f` done"),
        ({"f": Counts(done=3, waiting=7)}, TIMEOUT, "time was up after 12.3 s: 3 of 10 tasks of `f` done"),
        (
            {"f": Counts(failed=3, waiting=7)},
            INTERRUPTED,
            "interrupted after 12.3 s: 3 of 10 tasks of `f` done, 3 failed",
        ),
        ({"f": Counts(done=3, waiting=7)}, GONE, "the cluster was gone after 12.3 s: 3 of 10 tasks of `f` done"),
    ],
)
def test_the_end_is_one_sentence(counts: dict[str, Counts], end: str, line: str) -> None:
    assert Model(0.0).frame(12.3, counts, end).line() == line


def test_a_title_stands_in_for_the_function() -> None:
    assert (
        Model(0.0, title="the sky").frame(1.0, {"f": Counts(done=2)}, STOPPED).line()
        == "2 tasks of the sky done in 1.0 s"
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (61.0, "1 min 1 s"), (3600.0, "1 h 0 min")]
)
def test_durations_are_written_as_people_read_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
