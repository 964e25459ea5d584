"""Values that are passed on share the memory of the object they came from."""

from __future__ import annotations

import numpy as np
import pytest

import himalia
from himalia.cluster.core.refs import ObjectRef


@pytest.fixture
def cluster() -> object:
    himalia.init(num_cpus=1)
    yield
    himalia.shutdown()


def _place(ref: ObjectRef) -> tuple[int, int]:
    """Where in the arena a value lies."""
    assert ref._x is not None
    return ref._x.offset, ref._x.size


@pytest.mark.usefixtures("cluster")
def test_a_returned_argument_and_a_value_put_again_are_not_copied() -> None:
    @himalia.remote
    def same(value: np.ndarray) -> np.ndarray:
        return value

    @himalia.remote
    def changed(value: np.ndarray) -> np.ndarray:
        return value + 1

    ref = himalia.put(np.arange(1_000_000))
    returned = same.remote(ref)
    value = himalia.get(returned)
    assert _place(returned) == _place(ref)
    assert _place(himalia.put(value)) == _place(ref)
    assert _place(himalia.put(value[1:])) != _place(ref)
    other = changed.remote(ref)
    himalia.wait([other])
    assert _place(other)[0] != _place(ref)[0]
    del ref, returned
    np.testing.assert_array_equal(value, np.arange(1_000_000))
