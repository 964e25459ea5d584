"""Operations that bring a viewer's copy to what a page said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from himalia.dashboard.sources import Rows, Series
from tests.dashboard.viewing import carry_out

tables = st.dictionaries(st.integers(0, 12), st.tuples(st.integers(0, 2), st.sampled_from("abc")), max_size=12)


@given(st.lists(tables, max_size=6), st.integers(0, 5))
def test_a_viewer_has_what_the_page_said_whenever_it_came(steps: list[dict[int, Any]], joined: int) -> None:
    rows = Rows("t", ("key", "n", "text"))
    data = carry_out({}, rows.snapshot())
    for number, table in enumerate(steps):
        if number == joined:
            data = carry_out({}, rows.snapshot())
        rows.set((key, *values) for key, values in table.items())
        for op in rows.changes():
            data = carry_out(data, op)
        assert {row[0]: row[1:] for row in zip(*data.values(), strict=True)} == table
        assert data == rows.snapshot()["data"]


def test_nothing_is_sent_of_what_stayed() -> None:
    rows = Rows("t", ("key", "n", "text"))
    rows.set([(1, 1, "a"), (2, 2, "b"), (3, 3, "c")])
    rows.changes()
    rows.set([(1, 1, "a"), (2, 5, "b"), (3, 3, "c")])
    assert rows.changes() == [{"source": "t", "op": "patch", "data": {"n": ([1], [5])}}]
    rows.set([(1, 1, "a"), (2, 5, "b"), (3, 3, "c")])
    assert rows.changes() == []


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="has 2 values for 3 columns"):
        Rows("t", ("key", "n", "text")).set([(1, 2)])


def test_a_series_keeps_its_newest_rows() -> None:
    series = Series("s", ("time", "value"), 3)
    data = carry_out({}, series.snapshot())
    for time in range(5):
        series.append({"time": [time], "value": [time * 10]})
        for op in series.changes():
            data = carry_out(data, op)
    assert data == series.snapshot()["data"] == {"time": [2, 3, 4], "value": [20, 30, 40]}
    assert len(series) == 3


def test_more_than_a_series_keeps_is_not_even_sent() -> None:
    series = Series("s", ("time",), 3)
    series.append({"time": range(1000)})
    assert [op["data"] for op in series.changes()] == [{"time": [997, 998, 999]}]


def test_columns_of_a_series_belong_together() -> None:
    series = Series("s", ("time", "value"), 3)
    with pytest.raises(ValueError, match="has the columns"):
        series.append({"time": [1]})
    with pytest.raises(ValueError, match="has the columns"):
        series.append({"time": [1, 2], "value": [1]})
