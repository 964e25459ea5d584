"""Any value comes back as it was; plain ones cheaply, large ones without a copy, arrays read-only."""

from __future__ import annotations

import dataclasses
import enum
import pickle
import subprocess
import sys
import textwrap
import threading
import timeit
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from himalia.cluster.serialization.values import (
    INLINE_BUFFER_LIMIT,
    LARGE_BYTES,
    Serialized,
    deregister_serializer,
    deserialize,
    deserialize_args,
    register_serializer,
    serialize,
    serialize_args,
)
from himalia.exceptions import SerializationError

ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.complex_numbers(allow_nan=False),
    st.text(),
    st.binary(),
)
KEYS = st.one_of(st.text(), st.integers(), st.binary())
VALUES = st.recursive(
    ATOMS | st.binary().map(bytearray) | st.frozensets(st.integers()) | st.sets(st.text()),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner),
    max_leaves=30,
)
ARRAYS = hnp.arrays(
    dtype=hnp.scalar_dtypes() | hnp.array_dtypes(max_size=3),
    shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=40),
)


def round_trip(value: Any) -> Any:
    packed = serialize(value)
    assert packed.nbytes == len(packed.data) + sum(view.nbytes for view in packed.buffers)
    return deserialize(packed.data, packed.buffers)


@dataclasses.dataclass
class Point:
    x: float
    inner: Any = None


class Colour(enum.Enum):
    RED = 1


# Values ---------------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(VALUES)
def test_every_plain_value_comes_back_equal_and_of_its_type(value: Any) -> None:
    back = round_trip(value)
    assert back == value
    assert type(back) is type(value)


@settings(deadline=None, max_examples=60)
@given(ARRAYS)
def test_every_array_comes_back_with_its_type_shape_and_bytes_and_read_only(array: np.ndarray[Any, Any]) -> None:
    back = round_trip(array)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()
    assert not back.flags.writeable


@settings(deadline=None)
@given(st.lists(VALUES).map(tuple), st.dictionaries(st.text(), VALUES))
def test_arguments_come_back_as_they_were_given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    packed = serialize_args(args, kwargs)
    assert deserialize_args(packed.data, packed.buffers) == (args, kwargs)


def test_true_and_one_stay_apart_within_containers() -> None:
    back = round_trip([True, 1, 1.0, {1: True}])
    assert [type(each) for each in back[:3]] == [bool, int, float]
    assert back[3][1] is True


def test_a_value_that_holds_itself_comes_back_so() -> None:
    value: list[Any] = [1]
    value.append(value)
    back = round_trip(value)
    assert back[1] is back


def test_shared_members_stay_shared() -> None:
    array = np.zeros(10_000)
    first, second = round_trip((array, array))
    assert first is second


def test_instances_of_imported_classes_enums_and_subclasses_of_plain_types() -> None:
    class Dictionary(dict[str, int]):
        pass

    for value in (Point(1.0, Point(2.0)), Colour.RED, np.float64(2.5), Ellipsis, range(3), slice(1, 2)):
        assert round_trip(value) == value
    back = round_trip(Dictionary(a=1))
    assert back == {"a": 1}
    assert type(back).__name__ == "Dictionary"


def test_classes_and_functions_of_the_notebook_travel_by_value(tmp_path: Any) -> None:
    script = """
        import sys, pickle
        from himalia.cluster.serialization.values import serialize

        class Local:
            def __init__(self, n): self.n = n
            def double(self): return self.n * 2

        def add(a, b=3): return a + b

        packed = serialize({"object": Local(21), "function": add})
        sys.stdout.buffer.write(packed.data)
    """
    stream = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, capture_output=True).stdout
    back = deserialize(stream)
    assert back["object"].double() == 42
    assert back["function"](1) == 4


# Buffers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "buffers"),
    [(INLINE_BUFFER_LIMIT // 8 - 1, 0), (INLINE_BUFFER_LIMIT // 8, 1)],
    ids=["small in the stream", "large out of band"],
)
def test_arrays_go_out_of_band_from_the_limit_on(count: int, buffers: int) -> None:
    array = np.arange(count)
    for value in (array, [array], {"a": (array,)}):
        assert len(serialize(value).buffers) == buffers


def test_a_large_array_is_not_copied_on_either_way() -> None:
    array = np.arange(1_000_000)
    packed = serialize(array)
    array[0] = 7
    back = deserialize(packed.data, packed.buffers)
    assert back[0] == 7
    assert np.shares_memory(back, array)
    assert packed.nbytes < array.nbytes + 500


def test_large_buffers_make_a_small_stream_wherever_they_are() -> None:
    array = np.arange(100_000)
    blob = bytes(100_000)
    for value in (array, [array], Point(1.0, array), blob, bytearray(blob), (blob, 1), [blob], {"k": blob}):
        packed = serialize(value)
        assert len(packed.data) < 1000
        assert len(packed.buffers) == 1
    packed = serialize_args((array, blob), {"more": bytearray(blob), "n": 3})
    assert len(packed.data) < 1000
    assert len(packed.buffers) == 3


@pytest.mark.parametrize("size", [0, 1, LARGE_BYTES - 1, LARGE_BYTES, 3 * LARGE_BYTES])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_bytes_of_every_size_come_back_as_their_type(kind: type, size: int) -> None:
    value = kind(b"\x01\x02\x03" * (size // 3 + 1))[:size]
    for holder, inside in ((value, lambda v: v), ((value,), lambda v: v[0]), ({"k": value}, lambda v: v["k"])):
        back = inside(round_trip(holder))
        assert type(back) is kind
        assert back == value


def test_a_large_bytearray_comes_back_as_one_of_its_own() -> None:
    value = bytearray(LARGE_BYTES)
    back = round_trip(value)
    back[0] = 9
    assert value[0] == 0


def test_arrays_within_read_only_buffers_are_read_only_views_of_them() -> None:
    packed = serialize(np.arange(10_000))
    store = [memoryview(bytes(view)) for view in packed.buffers]
    back = deserialize(packed.data, store)
    assert not back.flags.writeable
    assert np.shares_memory(back, np.frombuffer(store[0], dtype=np.uint8))


def test_small_arrays_are_read_only_wherever_they_are() -> None:
    array = np.arange(4)
    for back in (round_trip(array), round_trip([array])[0], round_trip(Point(0.0, array)).inner):
        with pytest.raises(ValueError, match="read-only"):
            back[0] = 1
    assert array.flags.writeable


@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(np.arange(20_000).reshape(100, 200)),
        np.arange(40_000)[::2],
        np.array(["2020-01-01", "NaT"], dtype="datetime64[D]"),
        np.zeros(2000, dtype=[("a", "f8"), ("b", "i4", (3,))]),
        np.array([1, "two", None], dtype=object),
        np.array(5),
        np.zeros((0, 3)),
    ],
    ids=["fortran", "strided", "dates", "structured", "objects", "scalar", "empty"],
)
def test_unusual_arrays_come_back(array: np.ndarray[Any, Any]) -> None:
    back = round_trip(array)
    np.testing.assert_array_equal(back, array)
    assert back.dtype == array.dtype
    assert back.flags.f_contiguous == np.ascontiguousarray(array).flags.f_contiguous or back.flags.f_contiguous


def test_frames_and_tables_keep_their_memory_out_of_band() -> None:
    frame = pd.DataFrame({"a": np.arange(50_000), "b": np.arange(50_000) * 0.5})
    packed = serialize(frame)
    assert len(packed.data) < 5000
    pd.testing.assert_frame_equal(deserialize(packed.data, packed.buffers), frame)

    table = pa.table({"a": np.arange(50_000)})
    packed = serialize(table)
    assert len(packed.data) < 5000
    assert deserialize(packed.data, packed.buffers).equals(table)


# Exceptions, registered serializers, faults ---------------------------------------------------------------------------


def test_exceptions_as_values_do_not_need_their_constructor() -> None:
    class Picky(Exception):
        def __init__(self, code: int, text: str) -> None:
            super().__init__(f"{code}: {text}")
            self.code = code

    back = round_trip([Picky(3, "no")])[0]
    assert (type(back).__name__, back.code, str(back)) == ("Picky", 3, "3: no")


class Handle:
    def __init__(self, number: int) -> None:
        self.number = number
        self.lock = threading.Lock()


def test_a_registered_serializer_is_used_until_it_is_taken_away() -> None:
    register_serializer(Handle, serializer=lambda handle: handle.number, deserializer=Handle)
    try:
        assert round_trip({"h": Handle(5)})["h"].number == 5
    finally:
        deregister_serializer(Handle)
    deregister_serializer(Handle)
    with pytest.raises(SerializationError):
        serialize(Handle(5))


def test_arrays_can_have_a_registered_serializer_too() -> None:
    register_serializer(np.ndarray, serializer=lambda array: array.tolist(), deserializer=tuple)
    try:
        assert round_trip(np.arange(3)) == (0, 1, 2)
        assert round_trip([np.arange(3)]) == [(0, 1, 2)]
    finally:
        deregister_serializer(np.ndarray)


def test_what_can_not_be_pickled_is_named_by_its_path() -> None:
    with pytest.raises(
        SerializationError, match=r"The result of task `f` .*value\['a'\]\[1\] \(a generator\)"
    ) as caught:
        serialize({"a": [1, (each for each in ())]}, "the result of task `f`")
    assert caught.value.path == "value['a'][1]"
    assert caught.value.type_name == "generator"
    assert isinstance(caught.value.__cause__, TypeError)
    with pytest.raises(SerializationError, match=r"args\[1\]\.lock \(a _thread\.lock\)"):
        serialize_args((1, Handle(1)), {})
    with pytest.raises(SerializationError, match=r"connection\.lock"):
        serialize_args((1,), {"connection": Handle(1)})


def test_a_value_nested_too_deeply_is_an_error_that_says_so() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(SerializationError, match="nested too deeply"):
        serialize(value)
    while value:  # taken apart by hand: freeing it would recurse
        value = value.pop()


def test_an_exception_of_the_users_while_pickling_is_the_cause() -> None:
    class Broken:
        def __reduce__(self) -> Any:
            raise LookupError("no state today")

    with pytest.raises(SerializationError, match="no state today") as caught:
        serialize([Broken()])
    assert isinstance(caught.value.__cause__, LookupError)


def test_a_failed_serialize_leaves_the_thread_usable() -> None:
    for _ in range(3):
        with pytest.raises(SerializationError):
            serialize(threading.Lock())
        assert round_trip([1, [2]]) == [1, [2]]


# Cost -----------------------------------------------------------------------------------------------------------------


def _best(function: Any) -> float:
    return min(timeit.repeat(function, number=2000, repeat=15)) / 2000


@pytest.mark.parametrize("value", [None, 17, "text", b"bytes", (1, 2.5, "x"), [1, 2], {"a": 1, "b": "two"}])
def test_a_plain_value_costs_little_more_than_the_c_pickler(value: Any) -> None:
    # Against the pickler itself, since seconds depend on the machine's mood. bench/serialization.py prints seconds.
    floor = _best(lambda: pickle.dumps(value, 5))
    assert _best(lambda: serialize(value)) < 5 * floor
    packed = serialize(value)
    floor = _best(lambda: pickle.loads(packed.data))
    assert _best(lambda: deserialize(packed.data, packed.buffers)) < 4 * floor


def test_serialized_is_immutable() -> None:
    with pytest.raises(AttributeError):
        serialize(1).data = b""  # type: ignore[misc]
    assert isinstance(serialize(1), Serialized)
