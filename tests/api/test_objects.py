"""Objects: put, get, wait, and what references are."""

from __future__ import annotations

import pickle
import time
from types import ModuleType
from typing import Any

import pytest


@pytest.mark.parametrize("size", [0, 1, 1000, 100_000, 5_000_000])
def test_bytes_of_any_size_survive(ray: ModuleType, size: int) -> None:
    content = bytes(i % 251 for i in range(min(size, 1000))) * max(1, size // 1000)
    assert ray.get(ray.put(content)) == content


def test_put_takes_the_value_at_the_time_of_the_call(ray: ModuleType) -> None:
    items = [1]
    ref = ray.put(items)
    items.append(2)
    assert ray.get(ref) == [1]


def test_every_get_of_a_mutable_value_gives_a_fresh_copy(ray: ModuleType) -> None:
    ref = ray.put([1])
    ray.get(ref).append(2)
    assert ray.get(ref) == [1]


def test_two_puts_of_one_value_are_two_objects(ray: ModuleType) -> None:
    a, b = ray.put("same"), ray.put("same")
    assert a != b
    assert ray.get([a, b]) == ["same", "same"]


def test_get_of_a_list_keeps_order_and_repeats(ray: ModuleType) -> None:
    a, b = ray.put("a"), ray.put("b")
    assert ray.get([b, a, b]) == ["b", "a", "b"]


def test_get_of_an_empty_list_is_an_empty_list(ray: ModuleType) -> None:
    assert ray.get([]) == []


def test_get_times_out(ray: ModuleType, signal: Any) -> None:
    gate = signal()
    ref = gate.wait.remote()
    with pytest.raises(ray.exceptions.GetTimeoutError):
        ray.get(ref, timeout=0.1)
    with pytest.raises(ray.exceptions.GetTimeoutError):
        ray.get([ray.put(1), ref], timeout=0.1)
    gate.send.remote()
    assert ray.get(ref) is None


def test_a_timeout_is_also_a_builtin_timeout_error(ray: ModuleType, signal: Any) -> None:
    gate = signal()
    with pytest.raises(TimeoutError):
        ray.get(gate.wait.remote(), timeout=0.05)


def test_get_with_timeout_zero_polls(ray: ModuleType, signal: Any) -> None:
    gate = signal()
    begin = time.monotonic()
    with pytest.raises(ray.exceptions.GetTimeoutError):
        ray.get(gate.wait.remote(), timeout=0)
    assert time.monotonic() - begin < 5
    assert ray.get(ray.put(1), timeout=0) == 1


def test_get_returns_before_its_timeout_when_it_can(ray: ModuleType) -> None:
    begin = time.monotonic()
    assert ray.get(ray.put(1), timeout=60) == 1
    assert time.monotonic() - begin < 30


@pytest.mark.parametrize("thing", [1, "ref", None, {"a": 1}, object()], ids=["int", "str", "none", "dict", "object"])
def test_get_takes_references_only(ray: ModuleType, thing: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        ray.get(thing)


def test_get_of_a_list_takes_references_only(ray: ModuleType) -> None:
    with pytest.raises(TypeError):
        ray.get([ray.put(1), 2])


def test_a_timeout_of_minus_one_is_none(ray: ModuleType) -> None:
    assert ray.get(ray.put(1), timeout=-1) == 1


def test_a_reference_cannot_be_put(ray: ModuleType) -> None:
    with pytest.raises(TypeError):
        ray.put(ray.put(1))


def test_a_reference_inside_a_put_value_can_be_got(ray: ModuleType) -> None:
    outer = ray.put({"inner": ray.put("content")})
    inner = ray.get(outer)["inner"]
    assert isinstance(inner, ray.ObjectRef)
    assert ray.get(inner) == "content"


def test_references_are_equal_hashable_and_have_a_hex_id(ray: ModuleType) -> None:
    ref = ray.put(1)
    (same,) = ray.get(ray.put([ref]))
    assert same == ref
    assert hash(same) == hash(ref)
    assert {ref: "a"}[same] == "a"
    assert ref != ray.put(1)
    assert bytes.fromhex(ref.hex()) == ref.binary()
    assert ref.hex() in repr(ref)


def test_a_reference_is_not_its_value(ray: ModuleType) -> None:
    @ray.remote
    def one() -> int:
        return 1

    with pytest.raises(TypeError):
        one.remote() + 1


def test_a_reference_survives_pickling_while_it_is_held(ray: ModuleType) -> None:
    import cloudpickle

    ref = ray.put("content")
    assert ray.get(pickle.loads(cloudpickle.dumps(ref))) == "content"


def test_wait_returns_what_is_ready_and_the_rest(ray: ModuleType, signal: Any, patience: float) -> None:
    gate = signal()
    ready_ref, late_ref = ray.put(1), gate.wait.remote()
    ready, rest = ray.wait([late_ref, ready_ref], timeout=patience)
    assert (ready, rest) == ([ready_ref], [late_ref])
    gate.send.remote()
    ready, rest = ray.wait([late_ref, ready_ref], num_returns=2)
    assert (ready, rest) == ([late_ref, ready_ref], [])


def test_wait_returns_at_most_num_returns_ready(ray: ModuleType) -> None:
    refs = [ray.put(i) for i in range(5)]
    ready, rest = ray.wait(refs, num_returns=2)
    assert len(ready) == 2
    assert len(rest) == 3
    assert set(ready) | set(rest) == set(refs)


def test_wait_keeps_the_order_of_its_argument(ray: ModuleType) -> None:
    refs = [ray.put(i) for i in range(6)]
    ready, rest = ray.wait(refs, num_returns=6)
    assert ready == refs
    assert rest == []


def test_wait_with_a_timeout_returns_what_there_is(ray: ModuleType, signal: Any) -> None:
    gate = signal()
    refs = [ray.put(1), gate.wait.remote()]
    begin = time.monotonic()
    ready, rest = ray.wait(refs, num_returns=2, timeout=0.1)
    assert time.monotonic() - begin < 10
    assert (ready, rest) == (refs[:1], refs[1:])


def test_wait_with_timeout_zero_polls(ray: ModuleType, signal: Any) -> None:
    gate = signal()
    ref = gate.wait.remote()
    assert ray.wait([ref], timeout=0) == ([], [ref])


def test_wait_counts_failed_tasks_as_ready(ray: ModuleType, patience: float) -> None:
    @ray.remote
    def fail() -> None:
        raise ValueError

    ref = fail.remote()
    assert ray.wait([ref], timeout=patience) == ([ref], [])


def test_wait_without_fetching_knows_that_the_object_exists(ray: ModuleType, patience: float) -> None:
    @ray.remote
    def large() -> bytes:
        return b"x" * 1_000_000

    ref = large.remote()
    assert ray.wait([ref], fetch_local=False, timeout=patience) == ([ref], [])
    assert len(ray.get(ref)) == 1_000_000


def test_wait_of_an_empty_list_returns_empty_lists(ray: ModuleType) -> None:
    assert ray.wait([]) == ([], [])


@pytest.mark.parametrize("num_returns", [0, -1, 3])
def test_wait_refuses_an_impossible_num_returns(ray: ModuleType, num_returns: int) -> None:
    with pytest.raises(ValueError):
        ray.wait([ray.put(1), ray.put(2)], num_returns=num_returns)


def test_wait_refuses_duplicates(ray: ModuleType) -> None:
    ref = ray.put(1)
    with pytest.raises(ValueError):
        ray.wait([ref, ref])


def test_wait_refuses_a_negative_timeout(ray: ModuleType) -> None:
    with pytest.raises(ValueError):
        ray.wait([ray.put(1)], timeout=-1)


def test_wait_takes_a_list_of_references_only(ray: ModuleType) -> None:
    with pytest.raises(TypeError):
        ray.wait(ray.put(1))
    with pytest.raises(TypeError):
        ray.wait([1])


def test_wait_in_a_loop_collects_all_results(ray: ModuleType) -> None:
    @ray.remote
    def square(x: int) -> int:
        return x * x

    pending = [square.remote(i) for i in range(20)]
    results = []
    while pending:
        done, pending = ray.wait(pending)
        results.extend(ray.get(done))
    assert sorted(results) == [i * i for i in range(20)]


def test_an_object_put_by_a_task_can_be_got_while_the_worker_lives(ray: ModuleType) -> None:
    @ray.remote
    class Maker:
        def make(self) -> Any:
            return [ray.put(b"x" * 200_000)]

    maker = Maker.remote()
    (ref,) = ray.get(maker.make.remote())
    assert len(ray.get(ref)) == 200_000


def test_ten_thousand_references_can_be_held_and_dropped_at_once(ray: ModuleType) -> None:
    refs = [ray.put(i) for i in range(10_000)]
    assert ray.get(refs[::1000]) == list(range(0, 10_000, 1000))
    del refs
    assert ray.get(ray.put("still works")) == "still works"


def test_deeply_nested_values_survive(ray: ModuleType) -> None:
    value: Any = 0
    for i in range(100):
        value = {"level": i, "inner": [value]}
    assert ray.get(ray.put(value)) == value


def test_shared_and_cyclic_structure_is_kept(ray: ModuleType) -> None:
    shared = [1]
    cyclic: list[Any] = [shared, shared]
    cyclic.append(cyclic)
    back = ray.get(ray.put(cyclic))
    assert back[0] is back[1]
    assert back[2] is back
