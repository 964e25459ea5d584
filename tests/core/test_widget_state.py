"""The binary parts of a widget's state, apart and together."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from himalia.cluster.core.widget_state import join_state, split_state

VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=3) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=4))
def test_what_is_taken_apart_is_put_together_again(state: dict[str, Any]) -> None:
    before = copy.deepcopy(state)
    parts = split_state(state)
    assert join_state(*parts) == state == before


@settings(deadline=None)  # the first one imports it
@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=4))
def test_ipywidgets_takes_apart_in_the_same_way(state: dict[str, Any]) -> None:
    from ipywidgets.widgets.widget import _remove_buffers

    theirs, paths, buffers = _remove_buffers(copy.deepcopy(state))
    ours = split_state(state)
    assert ours == (theirs, [list(path) for path in paths], [bytes(buffer) for buffer in buffers])


def test_putting_together_leaves_what_was_given_as_it_was() -> None:
    state: dict[str, Any] = {"a": {"b": [None]}}
    assert join_state(state, [["a", "b", 0]], [memoryview(b"x")]) == {"a": {"b": [b"x"]}}
    assert state == {"a": {"b": [None]}}


def test_a_path_that_leads_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing at"):
        join_state({"a": 1}, [["b", "c"]], [b""])
