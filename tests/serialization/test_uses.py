"""What names meant, and whether they still do."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

from himalia.cluster.serialization.functions import globals_of
from himalia.cluster.serialization.uses import use_of


@pytest.mark.parametrize("value", [3, "text", None, [1], {"a": 1}, np.zeros(3), len, object])
def test_a_name_that_is_bound_anew_is_noticed(value: Any) -> None:
    space = {"x": value}
    use = use_of(space, "x")
    assert use.is_current()
    space["x"] = object()
    assert not use.is_current()
    del space["x"]
    assert not use.is_current()


def test_a_large_value_does_not_live_longer_for_it() -> None:
    space: dict[str, Any] = {"x": np.zeros(1000)}
    watch = weakref.ref(space["x"])
    use = use_of(space, "x")
    space["x"] = None
    gc.collect()
    assert watch() is None
    assert not use.is_current()


def test_helpers_of_the_notebook_count_with_their_own_globals() -> None:
    space: dict[str, Any] = {"__name__": "__main__", "rate": 2}
    exec("def helper(): return rate\ndef task(): return helper()", space)
    assert {use.name for use in globals_of(space["task"])} == {"helper", "rate"}
