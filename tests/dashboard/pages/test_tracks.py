"""Lines and stacks of things that come and go."""

from __future__ import annotations

from himalia.dashboard.pages.tracks import Stack, Tracks


def test_a_line_is_the_segments_between_the_samples_of_a_thing() -> None:
    tracks = Tracks("cpu")
    tracks.add(1.0, {"a": 10.0})
    tracks.add(2.0, {"a": 20.0, "b": 5.0})
    data = tracks.series.snapshot()["data"]
    assert list(zip(data["name"], data["begin"], data["end"], data["before"], data["value"], strict=True)) == [
        ("a", 1000.0, 1000.0, 10.0, 10.0),
        ("a", 1000.0, 2000.0, 10.0, 20.0),
        ("b", 2000.0, 2000.0, 5.0, 5.0),
    ]
    assert data["colour"][0] == data["colour"][1] != data["colour"][2]


def test_a_line_is_not_drawn_over_a_time_without_samples() -> None:
    tracks = Tracks("cpu")
    tracks.add(1.0, {"a": 10.0})
    tracks.add(60.0, {"a": 20.0})
    assert tracks.series.snapshot()["data"]["begin"] == [1000.0, 60_000.0]


def test_a_stack_lies_one_above_the_other() -> None:
    stack = Stack("store")
    stack.add(5.0, {"a": 10.0, "b": 5.0})
    stack.add(6.0, {"a": 1.0, "b": 2.0})
    data = stack.series.snapshot()["data"]
    assert list(zip(data["begin"], data["end"], data["low"], data["high"], strict=True)) == [
        (4000.0, 5000.0, 0.0, 10.0),
        (4000.0, 5000.0, 10.0, 15.0),
        (5000.0, 6000.0, 0.0, 1.0),
        (5000.0, 6000.0, 1.0, 3.0),
    ]
