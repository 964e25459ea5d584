"""Runtime environments: of the job, over that of a task or actor, and what these submit inherits them."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

CLUSTER: dict[str, Any] = {
    "num_cpus": 2,
    "include_dashboard": False,
    "log_to_driver": False,
    "runtime_env": {"env_vars": {"OF_JOB": "job", "OF_BOTH": "job"}},
}


@pytest.fixture
def look(ray: ModuleType) -> Any:
    """A task that tells the variables it sees."""

    @ray.remote
    def look() -> dict[str, str | None]:
        return {name: os.environ.get(name) for name in ("OF_JOB", "OF_BOTH", "OF_TASK")}

    return look


OF_TASK = {"env_vars": {"OF_BOTH": "task", "OF_TASK": "task"}}
SEEN_BY_TASK = {"OF_JOB": "job", "OF_BOTH": "task", "OF_TASK": "task"}


def test_variables_of_a_task_are_over_those_of_the_job(ray: ModuleType, look: Any) -> None:
    assert ray.get(look.remote()) == {"OF_JOB": "job", "OF_BOTH": "job", "OF_TASK": None}
    assert ray.get(look.options(runtime_env=OF_TASK).remote()) == SEEN_BY_TASK
    assert ray.get(look.remote()) == {"OF_JOB": "job", "OF_BOTH": "job", "OF_TASK": None}


def test_what_a_task_submits_inherits_its_environment(ray: ModuleType, look: Any) -> None:
    @ray.remote(runtime_env=OF_TASK)
    def parent() -> Any:
        return ray.get(look.remote())

    assert ray.get(parent.remote()) == SEEN_BY_TASK


def test_what_an_actor_submits_inherits_its_environment(ray: ModuleType, look: Any) -> None:
    @ray.remote(runtime_env=OF_TASK)
    class Parent:
        def ask(self) -> Any:
            more = {"env_vars": {"OF_TASK": "child"}}
            return ray.get([look.remote(), look.options(runtime_env=more).remote()])

    parent = Parent.remote()
    assert ray.get(parent.ask.remote()) == [SEEN_BY_TASK, {**SEEN_BY_TASK, "OF_TASK": "child"}]


def test_the_runtime_context_tells_the_environment(ray: ModuleType) -> None:
    @ray.remote
    def tell() -> Any:
        context = ray.get_runtime_context()
        return dict(context.runtime_env), context.get_runtime_env_string()

    of_job = {"env_vars": {"OF_JOB": "job", "OF_BOTH": "job"}}
    seen, text = ray.get(tell.remote())
    assert seen == of_job
    assert "OF_JOB" in text
    assert dict(ray.get_runtime_context().runtime_env)["env_vars"] == of_job["env_vars"]
    seen, text = ray.get(tell.options(runtime_env=OF_TASK).remote())
    assert seen["env_vars"] == SEEN_BY_TASK
    assert "OF_TASK" in text


@pytest.mark.only_engine("himalia", reason="Ray installs these")
@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"py_modules": ["/tmp"]}, "py_modules"),
        ({"pip": ["numpy"]}, "pip"),
        ({"conda": "base"}, "conda"),
        ({"config": {"no_such": 1}}, "no_such"),
        ({"no_such": 1}, "no_such"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(look: Any, env: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        look.options(runtime_env=env)


def test_variables_have_to_be_strings(look: Callable[..., Any]) -> None:
    with pytest.raises(TypeError):
        look.options(runtime_env={"env_vars": {"A": 1}}).remote()  # type: ignore[attr-defined]
