"""Large values: numpy, Arrow and pandas, read without a copy; and memory that is freed with its last reference."""

from __future__ import annotations

import gc
from types import ModuleType
from typing import Any

import numpy as np
import pytest

BIG = 1_000_000  # float64 elements: 8 MB, far beyond what travels inline


@pytest.mark.parametrize(
    "array",
    [
        np.arange(10),
        np.arange(BIG, dtype=np.float64),
        np.arange(BIG, dtype=np.int32).reshape(1000, 1000),
        np.asfortranarray(np.arange(BIG).reshape(1000, 1000)),
        np.arange(BIG)[::2],
        np.zeros((0, 3)),
        np.array(5.0),
        np.array(["a", "bc"]),
        np.array([{"a": 1}, None], dtype=object),
        np.zeros(1000, dtype=[("x", "f4"), ("y", "i8")]),
        np.array(["2020-01-01"], dtype="datetime64[D]"),
    ],
    ids=["small", "large", "matrix", "fortran", "strided", "empty", "scalar", "text", "object", "record", "date"],
)
def test_arrays_of_all_kinds_survive(ray: ModuleType, array: Any) -> None:
    back = ray.get(ray.put(array))
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    np.testing.assert_array_equal(back, array)


def test_a_large_array_is_read_only(ray: ModuleType) -> None:
    back = ray.get(ray.put(np.zeros(BIG)))
    assert not back.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        back[0] = 1


def test_a_copy_of_a_large_array_can_be_changed(ray: ModuleType) -> None:
    ref = ray.put(np.zeros(BIG))
    copy = ray.get(ref).copy()
    copy[0] = 1
    assert ray.get(ref)[0] == 0


def test_two_gets_share_the_same_memory(ray: ModuleType) -> None:
    ref = ray.put(np.zeros(BIG))
    first, second = ray.get(ref), ray.get(ref)
    assert first.__array_interface__["data"][0] == second.__array_interface__["data"][0]


def test_the_array_of_the_caller_stays_its_own(ray: ModuleType) -> None:
    mine = np.zeros(BIG)
    ref = ray.put(mine)
    mine[0] = 1
    assert ray.get(ref)[0] == 0
    assert mine.flags.writeable


def test_a_task_reads_its_array_without_a_copy(ray: ModuleType) -> None:
    @ray.remote
    def look(a: Any, b: Any) -> tuple[bool, bool, float]:
        same = a.__array_interface__["data"][0] == b.__array_interface__["data"][0]
        return a.flags.writeable, same, float(a.sum())

    ref = ray.put(np.ones(BIG))
    assert ray.get(look.remote(ref, ref)) == (False, True, float(BIG))


def test_a_returned_array_is_read_only(ray: ModuleType) -> None:
    @ray.remote
    def make() -> Any:
        return np.ones(BIG)

    back = ray.get(make.remote())
    assert not back.flags.writeable
    assert back.sum() == BIG


def test_arrays_inside_containers_share_memory_too(ray: ModuleType) -> None:
    ref = ray.put({"x": [np.zeros(BIG)]})
    first, second = ray.get(ref)["x"][0], ray.get(ref)["x"][0]
    assert first.__array_interface__["data"][0] == second.__array_interface__["data"][0]


def test_an_array_outlives_its_reference(ray: ModuleType) -> None:
    ref = ray.put(np.arange(BIG))
    array = ray.get(ref)
    view = array[10:20]
    del ref, array
    gc.collect()
    # Fill the store, so that freed memory would be reused.
    for _ in range(10):
        ray.get(ray.put(np.zeros(BIG * 2)))
    assert view.tolist() == list(range(10, 20))


def test_a_large_buffer_of_pickle_five_survives(ray: ModuleType) -> None:
    import pickle

    class Blob:
        def __init__(self, data: Any) -> None:
            self.data = data

        def __reduce_ex__(self, protocol: Any) -> Any:
            return type(self), (pickle.PickleBuffer(self.data),)

    back = ray.get(ray.put(Blob(b"z" * 2_000_000)))
    assert bytes(back.data) == b"z" * 2_000_000


def test_data_frames_survive(ray: ModuleType) -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {"x": np.arange(200_000), "y": np.linspace(0, 1, 200_000), "name": ["a", "b"] * 100_000},
        index=pd.RangeIndex(200_000),
    )
    pd.testing.assert_frame_equal(ray.get(ray.put(frame)), frame)

    @ray.remote
    def total(f: Any) -> int:
        return int(f["x"].sum())

    assert ray.get(total.remote(frame)) == int(frame["x"].sum())


def test_arrow_tables_survive(ray: ModuleType) -> None:
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"x": np.arange(200_000), "name": ["a", None] * 100_000})
    assert ray.get(ray.put(table)).equals(table)

    @ray.remote
    def rows(t: Any) -> int:
        return int(t.num_rows)

    assert ray.get(rows.remote(table)) == 200_000


def test_arrow_tables_are_not_copied_by_get(ray: ModuleType) -> None:
    pa = pytest.importorskip("pyarrow")
    ref = ray.put(pa.table({"x": np.arange(BIG)}))

    def address() -> int:
        return int(ray.get(ref).column("x").chunk(0).buffers()[1].address)

    assert address() == address()


def _store_available(ray: ModuleType) -> float:
    return float(ray.available_resources().get("object_store_memory", 0.0))


@pytest.fixture
def quiet_store(ray: ModuleType, eventually: Any) -> float:
    """The bytes available in the store once what earlier tests dropped is gone."""
    total = float(ray.cluster_resources()["object_store_memory"])
    gc.collect()
    eventually(lambda: _store_available(ray) > total - 2_000_000)
    return _store_available(ray)


def test_memory_is_freed_when_the_last_reference_goes(ray: ModuleType, quiet_store: float, eventually: Any) -> None:
    refs = [ray.put(np.zeros(BIG)) for _ in range(4)]
    eventually(lambda: _store_available(ray) < quiet_store - 4 * 7_000_000)
    del refs
    eventually(lambda: _store_available(ray) > quiet_store - 1_000_000)


def test_results_of_tasks_are_freed_when_the_last_reference_goes(
    ray: ModuleType, quiet_store: float, eventually: Any
) -> None:
    @ray.remote
    def make() -> Any:
        return np.zeros(BIG)

    refs = [make.remote() for _ in range(4)]
    ray.wait(refs, num_returns=4)
    eventually(lambda: _store_available(ray) < quiet_store - 4 * 7_000_000)
    del refs
    eventually(lambda: _store_available(ray) > quiet_store - 1_000_000)


def test_arguments_are_freed_after_the_task(ray: ModuleType, quiet_store: float, eventually: Any) -> None:
    @ray.remote
    def total(array: Any) -> float:
        return float(array.sum())

    assert ray.get([total.remote(np.ones(BIG)) for _ in range(4)]) == [BIG] * 4
    eventually(lambda: _store_available(ray) > quiet_store - 1_000_000)


def test_a_borrowed_reference_keeps_the_object(ray: ModuleType, quiet_store: float, eventually: Any) -> None:
    @ray.remote
    class Holder:
        def __init__(self) -> None:
            self.items: list[Any] = []

        def hold(self, items: list[Any]) -> None:
            self.items = items

        def total(self) -> float:
            return float(ray.get(self.items[0]).sum())

    holder = Holder.remote()
    ref = ray.put(np.ones(2 * BIG))
    ray.get(holder.hold.remote([ref]))
    del ref
    gc.collect()
    assert ray.get(holder.total.remote()) == 2 * BIG
    ray.get(holder.hold.remote([]))
    eventually(lambda: _store_available(ray) > quiet_store - 1_000_000)


def test_an_object_inside_an_object_lives_as_long_as_the_outer_one(
    ray: ModuleType, quiet_store: float, eventually: Any
) -> None:
    outer = ray.put([ray.put(np.ones(2 * BIG))])
    gc.collect()
    assert ray.get(ray.get(outer)[0]).sum() == 2 * BIG
    del outer
    eventually(lambda: _store_available(ray) > quiet_store - 1_000_000)


def test_far_more_than_the_store_can_pass_through_it(ray: ModuleType) -> None:
    # 50 objects of 16 MB through a store of 200 MB: each must be freed when its reference goes.
    for i in range(50):
        assert ray.get(ray.put(np.full(2 * BIG, i)))[-1] == i


def test_more_than_the_store_can_be_held_and_read_back(ray: ModuleType) -> None:
    # 320 MB in a store of 200 MB: what does not fit is spilled to disk and comes back.
    refs = [ray.put(np.full(2 * BIG, i)) for i in range(20)]
    assert [int(ray.get(ref)[-1]) for ref in refs] == list(range(20))


def test_a_task_that_passes_its_argument_on_returns_the_same_values(ray: ModuleType) -> None:
    @ray.remote
    def same(value: Any) -> Any:
        return value

    @ray.remote
    def part(value: Any) -> Any:
        return {"all": value, "half": value[: BIG // 2]}

    array = np.arange(BIG)
    for _ in range(3):
        np.testing.assert_array_equal(ray.get(same.remote(array)), array)
    ref = ray.put(array)
    passed = same.remote(same.remote(ref))
    parts = part.remote(passed)
    del ref
    np.testing.assert_array_equal(ray.get(passed), array)
    again = ray.put(ray.get(passed))
    del passed
    gc.collect()
    np.testing.assert_array_equal(ray.get(again), array)
    back = ray.get(parts)
    del parts
    np.testing.assert_array_equal(back["all"], array)
    np.testing.assert_array_equal(back["half"], array[: BIG // 2])
