"""Options of remote functions: decorator, ``.options()``, number of returns, and what is refused."""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

import pytest


def test_options_override_the_decorator_for_one_call(ray: ModuleType) -> None:
    @ray.remote(num_returns=2)
    def pair() -> tuple[int, int]:
        return 1, 2

    first, second = pair.remote()
    assert ray.get([first, second]) == [1, 2]
    assert ray.get(pair.options(num_returns=1).remote()) == (1, 2)
    assert len(pair.remote()) == 2


def test_options_can_be_kept_and_called_again(ray: ModuleType) -> None:
    @ray.remote
    def f(x: int) -> tuple[int, int]:
        return x, x + 1

    two = f.options(num_returns=2)
    assert [ray.get(two.remote(i)) for i in range(2)] == [[0, 1], [1, 2]]


@pytest.mark.parametrize("returned", [(1, 2, 3), [1, 2, 3]], ids=["tuple", "list"])
def test_several_returns_give_as_many_references(ray: ModuleType, returned: Any) -> None:
    @ray.remote(num_returns=3)
    def f() -> Any:
        return returned

    refs = f.remote()
    assert len(refs) == 3
    assert ray.get(refs) == [1, 2, 3]


def test_a_generator_may_produce_a_fixed_number_of_returns(ray: ModuleType) -> None:
    @ray.remote(num_returns=3)
    def f() -> Any:
        yield from range(3)

    assert ray.get(f.remote()) == [0, 1, 2]


def test_zero_returns_give_none_and_the_task_still_runs(ray: ModuleType, counter: Any, eventually: Any) -> None:
    runs = counter()

    @ray.remote(num_returns=0)
    def f() -> None:
        ray.get(runs.add.remote())

    assert f.remote() is None
    eventually(lambda: ray.get(runs.get.remote()) == 1)


@pytest.mark.parametrize("count", [1, 3])
def test_a_wrong_number_of_returned_values_is_an_error_of_every_reference(ray: ModuleType, count: int) -> None:
    @ray.remote(num_returns=2)
    def f() -> list[int]:
        return list(range(count))

    for ref in f.remote():
        with pytest.raises(ValueError, match="2"):
            ray.get(ref)


def test_a_value_that_is_not_iterable_cannot_be_several_returns(ray: ModuleType) -> None:
    @ray.remote(num_returns=2)
    def f() -> int:
        return 1

    with pytest.raises(ray.exceptions.RayTaskError):
        ray.get(f.remote()[0])


def test_an_exception_reaches_every_return(ray: ModuleType) -> None:
    @ray.remote(num_returns=2)
    def f() -> None:
        raise KeyError("both")

    for ref in f.remote():
        with pytest.raises(KeyError, match="both"):
            ray.get(ref)


def test_resources_of_a_task_can_be_fractions(ray: ModuleType) -> None:
    @ray.remote(num_cpus=0.25)
    def assigned() -> Any:
        return ray.get_runtime_context().get_assigned_resources()

    assert ray.get(assigned.remote())["CPU"] == 0.25


def test_a_task_takes_one_cpu_unless_told_otherwise(ray: ModuleType) -> None:
    @ray.remote
    def assigned() -> Any:
        return ray.get_runtime_context().get_assigned_resources()

    assert ray.get(assigned.remote()) == {"CPU": 1.0}
    assert ray.get(assigned.options(num_cpus=0).remote()).get("CPU", 0) == 0
    assert ray.get(assigned.options(resources={"slot": 1}).remote()) == {"CPU": 1.0, "slot": 1.0}


def test_a_task_can_be_named(ray: ModuleType) -> None:
    @ray.remote
    def f() -> str:
        return ray.get_runtime_context().get_task_name()

    assert ray.get(f.options(name="my name").remote()) == "my name"


def test_environment_variables_of_a_runtime_env_are_set_in_the_task_only(ray: ModuleType) -> None:
    @ray.remote(runtime_env={"env_vars": {"API_TEST_VARIABLE": "set"}})
    def with_env() -> str | None:
        return os.environ.get("API_TEST_VARIABLE")

    @ray.remote
    def without_env() -> str | None:
        return os.environ.get("API_TEST_VARIABLE")

    assert ray.get([with_env.remote(), without_env.remote()]) == ["set", None]


@pytest.mark.parametrize("strategy", ["DEFAULT", "SPREAD"])
def test_scheduling_strategies_by_name_are_accepted(ray: ModuleType, strategy: str) -> None:
    @ray.remote(scheduling_strategy=strategy)
    def f() -> int:
        return 1

    assert ray.get(f.remote()) == 1


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"no_such_option": 1}, ValueError),
        ({"num_cpus": -1}, ValueError),
        ({"num_cpus": "1"}, TypeError),
        ({"num_gpus": -0.5}, ValueError),
        ({"memory": -1}, ValueError),
        ({"resources": {"CPU": 1}}, ValueError),
        ({"resources": {"GPU": 1}}, ValueError),
        ({"resources": {"slot": -1}}, ValueError),
        ({"resources": ["slot"]}, TypeError),
        ({"num_returns": -1}, ValueError),
        ({"num_returns": 1.5}, TypeError),
        ({"max_retries": -2}, ValueError),
        ({"max_retries": "3"}, TypeError),
        ({"max_calls": -1}, ValueError),
        ({"retry_exceptions": "ValueError"}, TypeError),
        ({"retry_exceptions": [1]}, (TypeError, ValueError)),
        ({"name": 1}, TypeError),
        ({"runtime_env": "env"}, TypeError),
        ({"max_restarts": 1}, ValueError),
        ({"max_concurrency": 2}, ValueError),
        ({"lifetime": "detached"}, ValueError),
        ({"_generator_backpressure_num_objects": 0}, ValueError),
    ],
    ids=str,
)
def test_bad_task_options_are_refused_at_the_decoration(
    ray: ModuleType, options: dict[str, Any], error: type[Exception] | tuple[type[Exception], ...]
) -> None:
    def f() -> None: ...

    with pytest.raises(error):
        ray.remote(**options)(f)


def test_bad_options_are_refused_by_options_too(ray: ModuleType) -> None:
    @ray.remote
    def f() -> None: ...

    with pytest.raises(ValueError, match="num_cpus"):
        f.options(num_cpus=-1)
    with pytest.raises(ValueError, match="no_such_option"):
        f.options(no_such_option=1)
    with pytest.raises(ValueError, match="max_calls"):
        f.options(max_calls=1)


def test_remote_with_parentheses_needs_options(ray: ModuleType) -> None:
    with pytest.raises((TypeError, AssertionError, ValueError)):
        ray.remote()


def test_remote_refuses_positional_options(ray: ModuleType) -> None:
    with pytest.raises((TypeError, AssertionError, ValueError)):
        ray.remote(1)


def test_remote_refuses_what_is_neither_function_nor_class(ray: ModuleType) -> None:
    class Thing:
        pass

    with pytest.raises(TypeError):
        ray.remote(num_cpus=1)(Thing())
