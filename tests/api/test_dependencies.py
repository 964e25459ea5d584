"""References as arguments: resolved at the top level, borrowed inside containers; nested work that blocks."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest


def test_a_reference_as_an_argument_arrives_as_its_value(ray: ModuleType) -> None:
    @ray.remote
    def add(a: int, b: int) -> int:
        return a + b

    first = add.remote(1, 2)
    assert ray.get(add.remote(first, b=ray.put(10))) == 13


def test_a_reference_inside_a_container_arrives_as_a_reference(ray: ModuleType) -> None:
    @ray.remote
    def look(items: list[Any], named: dict[str, Any]) -> Any:
        refs = [items[0], named["x"]]
        return [isinstance(ref, ray.ObjectRef) for ref in refs], ray.get(refs)

    assert ray.get(look.remote([ray.put(1)], {"x": ray.put(2)})) == ([True, True], [1, 2])


def test_a_reference_in_an_attribute_of_an_argument_is_borrowed(ray: ModuleType) -> None:
    class Holder:
        def __init__(self, ref: Any) -> None:
            self.ref = ref

    @ray.remote
    def look(holder: Holder) -> int:
        return ray.get(holder.ref)

    assert ray.get(look.remote(Holder(ray.put(5)))) == 5


def test_a_long_chain_of_dependent_tasks_completes(ray: ModuleType) -> None:
    @ray.remote
    def increment(x: int) -> int:
        return x + 1

    ref = increment.remote(0)
    for _ in range(99):
        ref = increment.remote(ref)
    assert ray.get(ref) == 100


def test_a_tree_of_dependent_tasks_completes(ray: ModuleType) -> None:
    @ray.remote
    def add(a: int, b: int) -> int:
        return a + b

    refs = [ray.put(i) for i in range(32)]
    while len(refs) > 1:
        refs = [add.remote(a, b) for a, b in zip(refs[::2], refs[1::2], strict=True)]
    assert ray.get(refs[0]) == sum(range(32))


def test_a_task_waits_for_its_arguments_without_holding_a_cpu(ray: ModuleType, signal: Any) -> None:
    gate = signal()

    @ray.remote
    def blocked() -> int:
        ray.get(gate.wait.remote())
        return 1

    @ray.remote
    def consumer(x: int) -> int:
        return x

    @ray.remote
    def free() -> str:
        return "ran"

    first = blocked.remote()
    consumers = [consumer.remote(first) for _ in range(8)]
    assert ray.get(free.remote()) == "ran"
    gate.send.remote()
    assert ray.get(consumers) == [1] * 8


def test_a_failed_argument_fails_the_task_with_the_cause(ray: ModuleType) -> None:
    @ray.remote
    def fail() -> None:
        raise ValueError("the cause")

    @ray.remote
    def consume(x: Any) -> Any:
        return x

    with pytest.raises(ValueError, match="the cause"):
        ray.get(consume.remote(consume.remote(fail.remote())))


def test_a_failed_reference_in_a_container_fails_only_when_it_is_got(ray: ModuleType) -> None:
    @ray.remote
    def fail() -> None:
        raise ValueError("the cause")

    @ray.remote
    def look(items: list[Any]) -> str:
        try:
            ray.get(items[0])
        except ValueError:
            return "caught"
        return "nothing"

    assert ray.get(look.remote([fail.remote()])) == "caught"


def test_a_reference_to_a_large_object_can_be_an_argument(ray: ModuleType) -> None:
    import numpy as np

    @ray.remote
    def total(array: Any) -> float:
        return float(array.sum())

    array = np.ones(500_000)
    assert ray.get([total.remote(array), total.remote(ray.put(array))]) == [500_000.0] * 2


def test_the_same_reference_can_be_several_arguments(ray: ModuleType) -> None:
    @ray.remote
    def add(*values: int) -> int:
        return sum(values)

    ref = ray.put(3)
    assert ray.get(add.remote(ref, ref, ref)) == 9


def test_a_reference_travels_through_several_tasks_and_back(ray: ModuleType) -> None:
    @ray.remote
    def pass_on(items: list[Any], depth: int) -> list[Any]:
        return items if depth == 0 else ray.get(pass_on.remote(items, depth - 1))

    ref = ray.put("content")
    (back,) = ray.get(pass_on.remote([ref], 3))
    assert back == ref
    assert ray.get(back) == "content"


def test_a_returned_reference_is_not_resolved(ray: ModuleType) -> None:
    @ray.remote
    def make() -> Any:
        return ray.put(7)

    inner = ray.get(make.remote())
    assert isinstance(inner, ray.ObjectRef)
    assert ray.get(inner) == 7


def test_deeply_nested_blocking_gets_do_not_deadlock(ray: ModuleType) -> None:
    # Ten levels on four CPUs: each blocked level must lend its CPU to the next.
    @ray.remote
    def down(depth: int) -> int:
        return 0 if depth == 0 else 1 + ray.get(down.remote(depth - 1))

    assert ray.get(down.remote(10)) == 10


def test_wide_nested_blocking_gets_do_not_deadlock(ray: ModuleType) -> None:
    @ray.remote
    def leaf(x: int) -> int:
        return x

    @ray.remote
    def branch(x: int) -> int:
        return sum(ray.get([leaf.remote(x) for _ in range(2)]))

    assert ray.get([branch.remote(i) for i in range(8)]) == [2 * i for i in range(8)]


def test_a_blocking_wait_in_a_task_does_not_deadlock(ray: ModuleType) -> None:
    @ray.remote(num_cpus=4)
    def inner() -> int:
        return 1

    @ray.remote(num_cpus=4)
    def outer() -> Any:
        ready, rest = ray.wait([inner.remote()], num_returns=1)
        return len(ready), len(rest)

    assert ray.get(outer.remote()) == (1, 0)


def test_a_task_that_blocks_on_an_actor_lends_its_cpu(ray: ModuleType) -> None:
    @ray.remote(num_cpus=4)
    class Worker:
        def work(self) -> int:
            return 1

    @ray.remote(num_cpus=4)
    def outer() -> int:
        return ray.get(Worker.remote().work.remote())

    assert ray.get(outer.remote()) == 1


def test_an_argument_larger_than_inline_sizes_is_the_same_in_all_tasks(ray: ModuleType) -> None:
    @ray.remote
    def digest(blob: bytes) -> int:
        return len(blob) + blob[-1]

    blob = bytes(range(256)) * 8192
    assert ray.get([digest.remote(blob) for _ in range(6)]) == [len(blob) + 255] * 6
