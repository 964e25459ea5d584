"""Two nodes: work goes where there is room or what it asks for, and values follow it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.integration.conftest import Nodes
from tests.support.clusters import eventually, took_less_than

IN_STORES = [("stored", "!=", "")]  # small values lie in their owners

MB = 1 << 20


def test_tasks_spill_over_to_the_node_with_room(two_nodes: Nodes) -> None:
    hv = two_nodes.hv

    @hv.remote
    def where() -> str:
        time.sleep(0.3)
        return str(hv.get_runtime_context().get_node_id())

    with took_less_than(10):
        seen = hv.get([where.remote() for _ in range(9)])
    assert set(seen) == {two_nodes.head.node_id, two_nodes.other.node_id}


def tellers_of_place(hv: Any) -> tuple[Any, type[Any]]:
    """A remote function and a class for actors that tell on which node they are."""

    @hv.remote
    def where() -> str:
        return str(hv.get_runtime_context().get_node_id())

    class Place:
        def where(self) -> str:
            return str(hv.get_runtime_context().get_node_id())

    return where, Place


def test_tasks_and_actors_go_to_the_node_that_has_the_resource_they_ask_for(
    two_nodes: Nodes, on: Callable[..., dict[str, Any]]
) -> None:
    hv = two_nodes.hv

    where, place = tellers_of_place(hv)

    for resource, node in (("head", two_nodes.head), ("other", two_nodes.other)):
        assert hv.get(where.options(**on(resource)).remote()) == node.node_id
        assert hv.get(hv.remote(**on(resource))(place).remote().where.remote()) == node.node_id


def test_a_task_that_no_node_can_run_yet_runs_when_one_joins(
    one_node: Nodes, on: Callable[..., dict[str, Any]]
) -> None:
    hv = one_node.hv

    where, place = tellers_of_place(hv)

    ref = where.options(**on("late")).remote()
    actor = hv.remote(**on("late"))(place).remote()
    assert not hv.wait([ref], timeout=0.3)[0]
    late = one_node.add(resources={"late": 5})
    with took_less_than(10):
        assert hv.get(ref) == late.node_id
        assert hv.get(actor.where.remote()) == late.node_id


@pytest.mark.parametrize("size", [1_000, 200_000, 50 * MB])
def test_arguments_and_results_move_between_the_nodes(
    size: int, two_nodes: Nodes, on: Callable[..., dict[str, Any]]
) -> None:
    hv = two_nodes.hv

    @hv.remote
    def add_one(x: np.ndarray) -> np.ndarray:
        return x + 1

    array = np.arange(size, dtype=np.uint8)
    there = add_one.options(**on("other")).remote(array)
    back = add_one.options(**on("head")).remote(there)
    with took_less_than(20):
        assert np.array_equal(hv.get(back), array + 2)
        assert np.array_equal(hv.get(there), array + 1)
        again = add_one.options(**on("other")).remote(hv.put(array))
        assert np.array_equal(hv.get(again), array + 1)


def test_memory_on_both_nodes_is_freed_with_the_last_reference(
    two_nodes: Nodes, on: Callable[..., dict[str, Any]]
) -> None:
    from himalia.util.state import list_objects

    hv = two_nodes.hv

    @hv.remote
    def make() -> np.ndarray:
        return np.ones(5 * MB, np.uint8)

    @hv.remote
    def total(x: np.ndarray) -> int:
        return int(x.sum())

    made = [make.options(**on(resource)).remote() for resource in ("head", "other")]
    sums = [total.options(**on(resource)).remote(ref) for resource in ("head", "other") for ref in made]
    assert hv.get(sums) == [5 * MB] * 4
    assert list_objects(filters=IN_STORES)
    del made, sums
    eventually(lambda: not list_objects(filters=IN_STORES), "both stores to be empty")


def test_a_reference_inside_a_value_is_borrowed_by_the_other_node(
    two_nodes: Nodes, on: Callable[..., dict[str, Any]]
) -> None:
    hv = two_nodes.hv

    class Keeper:
        def keep(self, refs: list[Any]) -> None:
            self.refs = refs

        def read(self) -> int:
            return int(hv.get(self.refs[0]).sum())

        def lend(self) -> list[Any]:
            return self.refs

    @hv.remote
    def read(refs: list[Any]) -> int:
        return int(hv.get(refs[0]).sum())

    keeper = hv.remote(**on("other"))(Keeper).remote()
    ref = hv.put(np.ones(2 * MB, np.uint8))
    hv.get(keeper.keep.remote([ref]))
    del ref
    with took_less_than(15):
        assert hv.get(keeper.read.remote()) == 2 * MB
        assert hv.get(read.options(**on("head")).remote(hv.get(keeper.lend.remote()))) == 2 * MB
        assert hv.get(read.options(**on("other")).remote(keeper.lend.remote())) == 2 * MB


def test_objects_owned_by_a_worker_of_another_node_are_read_and_freed(
    two_nodes: Nodes, on: Callable[..., dict[str, Any]]
) -> None:
    from himalia.util.state import list_objects

    hv = two_nodes.hv

    class Owner:
        def put(self, size: int) -> list[Any]:
            return [hv.put(np.ones(size, np.uint8))]

    owner = hv.remote(**on("other"))(Owner).remote()
    for size in (10, 3 * MB):
        [ref] = hv.get(owner.put.remote(size))
        assert int(hv.get(ref).sum()) == size
        del ref
    eventually(lambda: not list_objects(filters=IN_STORES), "both stores to be empty")


def test_nested_tasks_use_the_nodes_they_need(two_nodes: Nodes, on: Callable[..., dict[str, Any]]) -> None:
    hv = two_nodes.hv

    @hv.remote
    def leaf(x: int) -> tuple[str, int]:
        return str(hv.get_runtime_context().get_node_id()), x

    @hv.remote
    def root(n: int) -> list[Any]:
        return list(hv.get([leaf.options(num_cpus=0, resources={"head": 1}).remote(i) for i in range(n)]))

    with took_less_than(10):
        seen = hv.get(root.options(**on("other")).remote(20))
    assert [x for _, x in seen] == list(range(20))
    assert {node for node, _ in seen} == {two_nodes.head.node_id}


def test_a_generator_streams_from_the_other_node(two_nodes: Nodes, on: Callable[..., dict[str, Any]]) -> None:
    hv = two_nodes.hv

    @hv.remote
    def items(n: int, size: int) -> Any:
        for i in range(n):
            yield np.full(size, i, np.uint8)

    for size in (10, MB):
        with took_less_than(10):
            seen = [int(hv.get(ref)[-1]) for ref in items.options(**on("other")).remote(8, size)]
        assert seen == list(range(8))


def test_a_named_actor_is_found_from_every_node(two_nodes: Nodes, on: Callable[..., dict[str, Any]]) -> None:
    hv = two_nodes.hv

    class Counter:
        def __init__(self) -> None:
            self.count = 0

        def add(self) -> int:
            self.count += 1
            return self.count

    @hv.remote
    def add() -> int:
        return int(hv.get(hv.get_actor("counter").add.remote()))

    keep = hv.remote(name="counter", **on("other"))(Counter).remote()
    with took_less_than(10):
        assert hv.get(keep.add.remote()) == 1
        assert hv.get(add.options(**on("head")).remote()) == 2
        assert hv.get(add.options(**on("other")).remote()) == 3
    hv.kill(keep)

    def is_gone() -> bool:
        try:
            hv.get_actor("counter")
        except ValueError:
            return True
        return False

    eventually(is_gone, "the name to be free")


def test_the_state_of_both_nodes_is_shown(two_nodes: Nodes) -> None:
    hv = two_nodes.hv
    assert hv.cluster_resources()["CPU"] == 3
    assert hv.cluster_resources()["other"] == 10
    assert len([node for node in hv.nodes() if node["Alive"]]) == 2
    eventually(lambda: hv.available_resources().get("CPU") == 3, "all CPUs to be free")


def test_many_small_tasks_use_both_nodes_to_the_end(two_nodes: Nodes) -> None:
    hv = two_nodes.hv

    @hv.remote
    def pid(i: int) -> tuple[int, int]:
        return i, os.getpid()

    with took_less_than(20):
        seen = hv.get([pid.remote(i) for i in range(3_000)])
    assert [i for i, _ in seen] == list(range(3_000))


def test_what_was_printed_on_either_node_is_read_from_its_raylet(
    two_nodes: Nodes, on: Callable[..., dict[str, Any]]
) -> None:
    from himalia.util import state

    hv = two_nodes.hv

    @hv.remote
    def talk(word: str) -> None:
        for i in range(3):
            print(word, i)

    refs = {resource: talk.options(**on(resource)).remote(resource) for resource in ("head", "other")}
    hv.get(list(refs.values()))
    for resource, ref in refs.items():
        assert state.logs(ref).splitlines() == [f"{resource} {i}" for i in range(3)]
    task_id = refs["other"].task_id().hex()
    assert "".join(state.get_log(task_id=task_id, node_id=two_nodes.other.node_id)).startswith("other 0")
    assert list(state.get_log(task_id=task_id, node_id=two_nodes.head.node_id)) == []
