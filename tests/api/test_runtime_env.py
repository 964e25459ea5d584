"""Runtime environments: of the job, over that of a task or actor, and what these submit inherits them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a module, a package whose modules import each other, and data."""
    (tmp_path / "plain_module_of_the_test.py").write_text("VALUE = 1\n")
    package = tmp_path / "package_of_the_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text("from . import sibling\nfrom .sibling import VALUE\n")
    (package / "sibling.py").write_text("VALUE = 2\n")
    (tmp_path / "data.txt").write_text("data")
    return tmp_path


def test_a_task_runs_in_its_working_dir_and_imports_from_it(ray: ModuleType, folder: Path) -> None:
    @ray.remote(runtime_env={"working_dir": str(folder)})
    def look() -> Any:
        import plain_module_of_the_test
        from package_of_the_test import inner

        with open("data.txt") as file:
            return plain_module_of_the_test.VALUE, inner.VALUE, file.read(), os.environ["OF_JOB"]

    @ray.remote
    def elsewhere() -> bool:
        return os.path.exists("data.txt")

    assert ray.get(look.remote()) == (1, 2, "data", "job")
    assert not any(ray.get([elsewhere.remote() for _ in range(3)]))


def test_a_task_works_on_a_copy_of_its_working_dir(ray: ModuleType, folder: Path) -> None:
    @ray.remote(runtime_env={"working_dir": str(folder)})
    def write() -> list[str]:
        with open("made_by_the_task.txt", "w") as file:
            file.write("made")
        return sorted(os.listdir("."))

    assert "made_by_the_task.txt" in ray.get(write.remote())
    assert not (folder / "made_by_the_task.txt").exists()


def test_children_and_actors_run_in_the_working_dir_too(ray: ModuleType, folder: Path) -> None:
    @ray.remote
    def value() -> int:
        import plain_module_of_the_test

        return int(plain_module_of_the_test.VALUE)

    @ray.remote(runtime_env={"working_dir": str(folder)})
    class Parent:
        def ask(self) -> Any:
            import plain_module_of_the_test

            return plain_module_of_the_test.VALUE, ray.get(value.remote())

    assert ray.get(Parent.remote().ask.remote()) == (1, 1)


def test_a_folder_that_changed_is_sent_again(ray: ModuleType, folder: Path) -> None:
    def value() -> int:
        import plain_module_of_the_test

        return int(plain_module_of_the_test.VALUE)

    environment = {"working_dir": str(folder)}
    assert ray.get(ray.remote(value).options(runtime_env=environment).remote()) == 1
    (folder / "plain_module_of_the_test.py").write_text("VALUE = 11\n")
    found = ray.get(ray.remote(value).options(runtime_env={"working_dir": str(folder)}).remote())
    assert found == 11


def test_a_folder_that_is_not_there_is_an_error_at_once(ray: ModuleType, look: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere"):
        look.options(runtime_env={"working_dir": str(tmp_path / "nowhere")}).remote()
