"""What the tables of a process tell about the objects it knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import himalia
from himalia.cluster.core.census import Keeper, KnownObject, take_census
from himalia.cluster.core.current import get_core
from tests.support.leaks import LeakGuard

LARGE = 200_000


@pytest.fixture(scope="module")
def cluster(leak_guard: LeakGuard) -> Iterator[None]:
    with leak_guard.shared("the cluster of this module"):
        himalia.init(num_cpus=2, log_to_driver=False)
        yield
        himalia.shutdown()


pytestmark = pytest.mark.usefixtures("cluster")


def known() -> list[KnownObject]:
    return take_census(get_core())


def row_of(ref: Any) -> KnownObject:
    [row] = [row for row in known() if row.ref is ref]
    return row


def keepers(ref: Any) -> dict[Keeper, str]:
    return {kept.keeper: kept.name for kept in row_of(ref).kept}


def make(size: int) -> Any:
    return np.ones(size, np.uint8)


def test_a_put_tells_its_line_and_size() -> None:
    ref = himalia.put(np.zeros(LARGE, np.uint8))
    row = row_of(ref)
    assert (row.maker, row.owner, row.nodes) == ("put", None, [get_core().node_id])
    assert LARGE <= row.size < LARGE + 10_000
    assert row.site is not None
    assert (row.site.filename, row.site.function) == (__file__, "test_a_put_tells_its_line_and_size")


def test_a_result_tells_its_function_and_the_line_of_the_call() -> None:
    ref = himalia.remote(make).remote(LARGE)
    himalia.wait([ref])
    row = row_of(ref)
    assert row.maker == "make"
    assert row.site is not None
    assert row.site.function == "test_a_result_tells_its_function_and_the_line_of_the_call"


def test_what_is_small_is_not_listed() -> None:
    ref = himalia.put(np.zeros(10))
    assert [row for row in known() if row.ref is ref] == []


def test_a_value_outlives_its_reference_with_the_place_of_its_memory() -> None:
    ref = himalia.put(np.zeros(LARGE, np.uint8))
    object_id, value = ref.binary(), himalia.get(ref)
    del ref
    [row] = [row for row in known() if row.object_id == object_id]
    assert row.ref is None
    [(start, end)] = row.spans
    assert start <= value.__array_interface__["data"][0] < end
    del value, row
    get_core().drain_releases()
    assert [row for row in known() if row.object_id == object_id] == []


def test_everything_that_keeps_an_object_is_told() -> None:
    ref = himalia.put(np.zeros(LARGE, np.uint8))
    assert row_of(ref).kept == []
    box = himalia.put([ref])
    assert keepers(ref) == {Keeper.OBJECT: f"ObjectRef {box._n}"}
    waiting = himalia.remote(num_cpus=1000)(len).remote(ref)
    assert keepers(ref)[Keeper.TASK] == "len"
    himalia.cancel(waiting)
    copy = himalia.remote(lambda value: value + 1).remote(ref)
    himalia.wait([copy])
    assert keepers(ref)[Keeper.LINEAGE] == f"ObjectRef {copy._n}"
    taken = himalia.remote(lambda: himalia.get(ref).size).options(name="taker").remote()
    assert himalia.get(taken) == LARGE
    assert keepers(ref)[Keeper.FUNCTION] == "taker"


def test_who_borrows_is_told() -> None:
    class Holder:
        def hold(self, refs: list[Any]) -> None:
            self.refs = refs

    ref = himalia.put(np.zeros(LARGE, np.uint8))
    actor = himalia.remote(Holder).remote()
    himalia.get(actor.hold.remote([ref]))
    [kept] = row_of(ref).kept
    assert kept.keeper is Keeper.PROCESS
    assert kept.process == get_core().actor_calls.clients[actor._id].address.worker_id  # type: ignore[union-attr]
