"""Tasks: what a remote function accepts, returns, and refuses."""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

import pytest


def test_a_remote_function_runs_in_another_process(ray: ModuleType) -> None:
    @ray.remote
    def pid() -> int:
        return os.getpid()

    assert ray.get(pid.remote()) != os.getpid()


def test_remote_returns_a_reference_at_once(ray: ModuleType) -> None:
    @ray.remote
    def one() -> int:
        return 1

    ref = one.remote()
    assert isinstance(ref, ray.ObjectRef)
    assert ray.get(ref) == 1


def test_a_result_can_be_got_many_times(ray: ModuleType) -> None:
    @ray.remote
    def value() -> list[int]:
        return [1, 2]

    ref = value.remote()
    assert [ray.get(ref) for _ in range(3)] == [[1, 2]] * 3


def test_remote_can_be_applied_as_a_function(ray: ModuleType) -> None:
    def double(x: int) -> int:
        return 2 * x

    assert ray.get(ray.remote(double).remote(4)) == 8
    assert ray.get(ray.remote(num_cpus=1)(double).remote(4)) == 8


def test_a_lambda_can_be_remote(ray: ModuleType) -> None:
    assert ray.get(ray.remote(lambda x: x + 1).remote(1)) == 2


def test_a_remote_function_cannot_be_called_directly(ray: ModuleType) -> None:
    @ray.remote
    def f() -> int:
        return 1

    with pytest.raises(TypeError, match="remote"):
        f()


@pytest.mark.only_engine("himalia", reason="in Ray it has the docstring of its class")
def test_a_remote_function_keeps_its_docstring(ray: ModuleType) -> None:
    @ray.remote
    def documented() -> None:
        """What it does."""

    assert documented.__doc__ == "What it does."


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1,
        2**100,
        1.5,
        float("inf"),
        1j,
        "",
        "text ✓",
        b"",
        b"\x00\xff",
        (),
        (1, (2,)),
        [],
        [1, [2]],
        {},
        {"a": {"b": 1}, 2: None},
        {1, 2},
        frozenset({3}),
        range(3),
        slice(1, 2, 3),
        Ellipsis,
        int,
    ],
    ids=repr,
)
def test_plain_values_survive_the_way_there_and_back(ray: ModuleType, value: Any) -> None:
    @ray.remote
    def echo(x: Any) -> tuple[Any, str]:
        return x, type(x).__name__

    back, type_name = ray.get(echo.remote(value))
    assert back == value
    assert type(back) is type(value)
    assert type_name == type(value).__name__


def test_a_bytearray_arrives_with_its_content(ray: ModuleType) -> None:
    # Ray hands it over as bytes, so the type is not part of the specification.
    assert ray.get(ray.put(bytearray(b"ab"))) == b"ab"


def test_subclasses_of_plain_types_keep_their_type(ray: ModuleType) -> None:
    import collections
    import enum

    Point = collections.namedtuple("Point", "x y")

    class Colour(enum.IntEnum):
        RED = 1

    class Name(str):
        pass

    @ray.remote
    def kinds(*values: Any) -> list[str]:
        return [type(value).__name__ for value in values]

    values = [Point(1, 2), Colour.RED, Name("n"), collections.OrderedDict(a=1), collections.Counter("aa")]
    assert ray.get(kinds.remote(*values)) == ["Point", "Colour", "Name", "OrderedDict", "Counter"]


def test_instances_of_classes_defined_here_can_be_passed_and_returned(ray: ModuleType) -> None:
    class Box:
        def __init__(self, content: int) -> None:
            self.content = content

    @ray.remote
    def grow(box: Box) -> Box:
        return Box(box.content + 1)

    grown = ray.get(grow.remote(Box(1)))
    assert isinstance(grown, Box)
    assert grown.content == 2


def test_an_argument_is_a_copy_that_the_task_cannot_change_for_the_caller(ray: ModuleType) -> None:
    @ray.remote
    def append(items: list[int]) -> list[int]:
        items.append(3)
        return items

    items = [1, 2]
    assert ray.get(append.remote(items)) == [1, 2, 3]
    assert items == [1, 2]


def test_an_argument_is_taken_when_the_task_is_submitted(ray: ModuleType) -> None:
    @ray.remote
    def total(items: list[int]) -> int:
        return sum(items)

    items = [1, 2]
    ref = total.remote(items)
    items.append(1000)
    assert ray.get(ref) == 3


def test_positional_keyword_and_default_arguments_are_passed(ray: ModuleType) -> None:
    @ray.remote
    def f(a: int, b: int = 2, *rest: int, c: int, d: int = 4, **extra: int) -> Any:
        return a, b, rest, c, d, extra

    assert ray.get(f.remote(1, c=3)) == (1, 2, (), 3, 4, {})
    assert ray.get(f.remote(1, 5, 6, 7, c=3, d=8, e=9)) == (1, 5, (6, 7), 3, 8, {"e": 9})
    assert ray.get(f.remote(a=1, b=0, c=3)) == (1, 0, (), 3, 4, {})


def test_positional_only_arguments_are_passed(ray: ModuleType) -> None:
    @ray.remote
    def f(a: int, /, b: int) -> tuple[int, int]:
        return a, b

    assert ray.get(f.remote(1, b=2)) == (1, 2)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((), {}), ((1,), {}), ((1, 2, 3), {"c": 1}), ((1, 2), {"c": 1, "z": 1}), ((1, 2), {"a": 1, "c": 1})],
    ids=["nothing", "no_keyword_only", "too_many", "unknown_keyword", "twice"],
)
def test_arguments_that_do_not_fit_raise_type_error_at_the_call(
    ray: ModuleType, args: tuple[int, ...], kwargs: dict[str, int]
) -> None:
    @ray.remote
    def f(a: int, b: int = 0, *, c: int) -> None: ...

    with pytest.raises(TypeError):
        f.remote(*args, **kwargs)


def test_keywords_of_any_name_are_passed(ray: ModuleType) -> None:
    @ray.remote
    def names(**keywords: Any) -> list[str]:
        return sorted(keywords)

    @ray.remote
    class Thing:
        def __init__(self, **keywords: Any) -> None:
            self.keywords = sorted(keywords)

        def names(this, **keywords: Any) -> Any:  # noqa: N805 so that a keyword can be called self
            return this.keywords, sorted(keywords)

    assert ray.get(names.remote(self=1, args=2, kwargs=3)) == ["args", "kwargs", "self"]
    thing = Thing.remote(args=1, kwargs=2)
    assert ray.get(thing.names.remote(args=1, kwargs=2)) == (["args", "kwargs"], ["args", "kwargs"])


def test_many_arguments_and_keywords_are_passed(ray: ModuleType) -> None:
    @ray.remote
    def total(*args: int, **kwargs: int) -> int:
        return sum(args) + sum(kwargs.values())

    assert ray.get(total.remote(*range(300), **{f"k{i}": i for i in range(300)})) == 2 * sum(range(300))


def test_a_function_may_close_over_values_and_use_globals_and_recursion(ray: ModuleType) -> None:
    offset = 10

    def helper(n: int) -> int:
        return 1 if n == 0 else n * helper(n - 1)

    @ray.remote
    def f(n: int) -> int:
        return helper(n) + offset + len(os.sep)

    assert ray.get(f.remote(4)) == 35


def test_a_function_defined_again_runs_its_new_definition(ray: ModuleType) -> None:
    for version in range(3):

        @ray.remote
        def f() -> int:
            return version  # noqa: B023 - the value at the submission is what counts here

        assert ray.get(f.remote()) == version


def test_many_tasks_return_in_the_order_asked_for(ray: ModuleType) -> None:
    @ray.remote
    def square(x: int) -> int:
        return x * x

    refs = [square.remote(i) for i in range(500)]
    assert ray.get(refs) == [i * i for i in range(500)]


def test_tasks_run_at_the_same_time_on_different_cpus(ray: ModuleType, counter: Any) -> None:
    arrivals = counter()

    @ray.remote
    def meet() -> bool:
        import time

        ray.get(arrivals.add.remote())
        while ray.get(arrivals.get.remote()) < 2:
            time.sleep(0.01)
        return True

    assert ray.get([meet.remote(), meet.remote()]) == [True, True]


def test_a_task_can_submit_tasks_and_return_their_references(ray: ModuleType) -> None:
    @ray.remote
    def inner(x: int) -> int:
        return x + 1

    @ray.remote
    def outer() -> Any:
        return [inner.remote(i) for i in range(3)]

    refs = ray.get(outer.remote())
    assert all(isinstance(ref, ray.ObjectRef) for ref in refs)
    assert ray.get(refs) == [1, 2, 3]


def test_a_remote_function_can_be_passed_as_an_argument(ray: ModuleType) -> None:
    @ray.remote
    def inner(x: int) -> int:
        return 2 * x

    @ray.remote
    def apply(function: Any, x: int) -> Any:
        return ray.get(function.remote(x))

    assert ray.get(apply.remote(inner, 4)) == 8


def test_a_remote_function_can_call_itself(ray: ModuleType) -> None:
    @ray.remote
    def fib(n: int) -> int:
        if n < 2:
            return n
        return sum(ray.get([fib.remote(n - 1), fib.remote(n - 2)]))

    assert ray.get(fib.remote(5)) == 5


def test_mutually_recursive_remote_functions_work(ray: ModuleType) -> None:
    @ray.remote
    def even(n: int, functions: list[Any]) -> bool:
        return True if n == 0 else ray.get(functions[1].remote(n - 1, functions))

    @ray.remote
    def odd(n: int, functions: list[Any]) -> bool:
        return False if n == 0 else ray.get(functions[0].remote(n - 1, functions))

    assert ray.get(even.remote(3, [even, odd])) is False


def test_a_module_level_builtin_can_be_wrapped_in_a_remote_function(ray: ModuleType) -> None:
    import math

    @ray.remote
    def root(x: float) -> float:
        return math.sqrt(x)

    assert ray.get(root.remote(9.0)) == 3.0


def test_environment_changes_of_a_task_do_not_reach_the_driver(ray: ModuleType) -> None:
    @ray.remote
    def change() -> None:
        os.environ["API_TEST_CHANGED"] = "1"

    ray.get(change.remote())
    assert "API_TEST_CHANGED" not in os.environ


def test_threads_of_the_driver_can_submit_and_get(ray: ModuleType) -> None:
    from concurrent.futures import ThreadPoolExecutor

    @ray.remote
    def square(x: int) -> int:
        return x * x

    def one(start: int) -> list[int]:
        return ray.get([square.remote(start + i) for i in range(20)])

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(one, range(0, 160, 20)))
    assert [x for batch in results for x in batch] == [i * i for i in range(160)]


def test_threads_inside_a_task_can_submit_and_get(ray: ModuleType) -> None:
    @ray.remote(num_cpus=0.1)
    def square(x: int) -> int:
        return x * x

    @ray.remote
    def outer() -> list[int]:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(lambda x: ray.get(square.remote(x)), range(8)))

    assert ray.get(outer.remote()) == [i * i for i in range(8)]
