"""Places of boxes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from himalia.dashboard.layout import Layout, Place

EDGES = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=40)


def test_who_comes_after_another_stands_right_of_it() -> None:
    layout: Layout[str] = Layout()
    layout.add(["load", "clean", "merge"], [("load", "clean"), ("clean", "merge")])
    assert layout.places == {"load": Place(0, 0), "clean": Place(1, 0), "merge": Place(2, 0)}


def test_a_box_stays_when_others_come() -> None:
    layout: Layout[str] = Layout()
    layout.add(["a", "b"], [("a", "b")])
    before = dict(layout.places)
    layout.add(["c", "d", "e"], [("a", "c"), ("b", "d"), ("c", "d")])
    assert {box: layout.places[box] for box in before} == before
    assert layout.places["c"] == Place(1, 1)
    assert layout.rows == 2


def test_an_edge_that_is_found_late_moves_only_what_it_must() -> None:
    layout: Layout[str] = Layout()
    layout.add(["a", "b", "c", "x"], [("b", "c")])
    still = {box: layout.places[box] for box in ("a", "x")}
    layout.add([], [("a", "b")])
    assert [layout.places[box].column for box in "abc"] == [0, 1, 2]
    assert {box: layout.places[box] for box in still} == still


def test_a_place_that_was_left_is_taken_again() -> None:
    layout: Layout[str] = Layout()
    layout.add(["a", "b"], [])
    layout.remove(["a"])
    layout.add(["c"], [])
    assert layout.places == {"b": Place(0, 1), "c": Place(0, 0)}


@given(EDGES, EDGES, st.sets(st.integers(0, 12)))
def test_no_two_boxes_share_a_place_and_ways_lead_right_whatever_comes(
    first: list[tuple[int, int]], second: list[tuple[int, int]], gone: set[int]
) -> None:
    layout: Layout[int] = Layout()
    layout.add({box for edge in first for box in edge}, first)
    layout.remove(gone)
    layout.add({box for edge in second for box in edge}, second)
    assert len(set(layout.places.values())) == len(layout.places)
    for one, other in layout._edges:
        if one in layout.places and other in layout.places:
            assert layout.places[one].column < layout.places[other].column
