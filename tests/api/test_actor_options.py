"""Options of actors and their methods that are refused."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"no_such_option": 1}, ValueError),
        ({"num_cpus": -1}, ValueError),
        ({"resources": {"CPU": 1}}, ValueError),
        ({"max_restarts": -2}, ValueError),
        ({"max_restarts": "1"}, TypeError),
        ({"max_task_retries": -2}, ValueError),
        ({"max_concurrency": -1}, ValueError),
        ({"max_concurrency": "2"}, TypeError),
        ({"max_pending_calls": -2}, ValueError),
        ({"lifetime": "forever"}, ValueError),
        ({"name": 1}, TypeError),
        ({"namespace": 1}, TypeError),
        ({"get_if_exists": "yes"}, TypeError),
        ({"max_calls": 1}, ValueError),
        ({"max_retries": 1}, ValueError),
        ({"retry_exceptions": True}, ValueError),
        ({"num_returns": 2}, ValueError),
    ],
    ids=str,
)
def test_bad_actor_options_are_refused_at_the_decoration(
    ray: ModuleType, options: dict[str, Any], error: type[Exception]
) -> None:
    class Thing:
        pass

    with pytest.raises(error):
        ray.remote(**options)(Thing)


def test_bad_options_of_an_actor_are_refused_by_options_too(ray: ModuleType) -> None:
    @ray.remote
    class Thing:
        pass

    with pytest.raises(ValueError, match="no_such_option"):
        Thing.options(no_such_option=1).remote()
    with pytest.raises(ValueError, match="name"):
        Thing.options(name="").remote()
    with pytest.raises(TypeError):
        Thing.options(name=5).remote()


def test_bad_options_of_methods_are_refused(ray: ModuleType) -> None:
    with pytest.raises((ValueError, AssertionError, TypeError)):

        class Thing:
            @ray.method(no_such_option=1)
            def f(self) -> None: ...
