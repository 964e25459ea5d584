"""Named actors, namespaces, get_if_exists, detached actors."""

from __future__ import annotations

import uuid
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"actor-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def box(ray: ModuleType) -> Any:
    @ray.remote(num_cpus=0)
    class Box:
        def __init__(self, content: Any = None) -> None:
            self.content = content

        def get(self) -> Any:
            return self.content

        def set(self, content: Any) -> None:
            self.content = content

    return Box


def test_a_named_actor_is_found_by_its_name(ray: ModuleType, box: Any, name: str) -> None:
    made = box.options(name=name).remote("mine")
    assert ray.get(ray.get_actor(name).get.remote()) == "mine"
    ray.get(ray.get_actor(name).set.remote("changed"))
    assert ray.get(made.get.remote()) == "changed"


def test_a_name_can_be_given_in_the_decorator(ray: ModuleType, name: str) -> None:
    @ray.remote(name=name)
    class Thing:
        def ping(self) -> str:
            return "pong"

    thing = Thing.remote()
    assert ray.get(ray.get_actor(name).ping.remote()) == "pong"
    del thing


def test_a_named_actor_is_found_by_tasks_and_actors(ray: ModuleType, box: Any, name: str) -> None:
    made = box.options(name=name).remote(7)
    ray.get(made.get.remote())

    @ray.remote
    def look() -> Any:
        return ray.get(ray.get_actor(name).get.remote())

    assert ray.get(look.remote()) == 7


def test_an_unknown_name_is_a_value_error(ray: ModuleType, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        ray.get_actor(name)


def test_a_name_cannot_be_empty(ray: ModuleType, box: Any) -> None:
    with pytest.raises(ValueError):
        ray.get_actor("")
    with pytest.raises(ValueError):
        box.options(name="").remote()


def test_a_name_can_be_used_once(ray: ModuleType, box: Any, name: str) -> None:
    first = box.options(name=name).remote()
    ray.get(first.get.remote())
    with pytest.raises(ValueError, match=name) as caught:
        box.options(name=name).remote()
    assert isinstance(caught.value, ray.exceptions.ActorAlreadyExistsError)


def test_a_name_is_free_again_when_its_actor_was_killed(ray: ModuleType, box: Any, name: str, eventually: Any) -> None:
    first = box.options(name=name).remote(1)
    ray.get(first.get.remote())
    ray.kill(first)

    def make_again() -> Any:
        try:
            return box.options(name=name).remote(2)
        except ValueError:
            return None

    second = eventually(make_again)
    assert ray.get(second.get.remote()) == 2


def test_a_name_is_free_again_when_the_last_handle_went(ray: ModuleType, box: Any, name: str, eventually: Any) -> None:
    first = box.options(name=name).remote(1)
    ray.get(first.get.remote())
    del first

    def is_gone() -> bool:
        try:
            ray.get_actor(name)
        except ValueError:
            return True
        return False

    eventually(is_gone)


def test_the_same_name_lives_in_several_namespaces(ray: ModuleType, box: Any, name: str) -> None:
    a = box.options(name=name, namespace="space-a").remote("a")
    b = box.options(name=name, namespace="space-b").remote("b")
    assert ray.get(ray.get_actor(name, namespace="space-a").get.remote()) == "a"
    assert ray.get(ray.get_actor(name, namespace="space-b").get.remote()) == "b"
    with pytest.raises(ValueError):
        ray.get_actor(name)
    del a, b


def test_get_if_exists_returns_the_actor_that_is_there(ray: ModuleType, box: Any, name: str) -> None:
    first = box.options(name=name, get_if_exists=True).remote("first")
    second = box.options(name=name, get_if_exists=True).remote("second")
    assert ray.get(second.get.remote()) == "first"
    assert first._actor_id == second._actor_id


def test_get_if_exists_needs_a_name(ray: ModuleType, box: Any) -> None:
    with pytest.raises(ValueError, match="name"):
        box.options(get_if_exists=True).remote()


def test_callers_that_race_to_create_get_the_same_actor(ray: ModuleType, box: Any, name: str) -> None:
    keeper = box.options(name=f"{name}-keeper").remote()

    @ray.remote(num_cpus=0.5)
    def create(i: int) -> Any:
        handle = box.options(name=name, get_if_exists=True, lifetime="detached").remote(i)
        return ray.get(handle.get.remote())

    contents = ray.get([create.remote(i) for i in range(6)])
    ray.kill(ray.get_actor(name))
    assert len(set(contents)) == 1
    del keeper


def test_a_detached_actor_outlives_its_handles(ray: ModuleType, box: Any, name: str) -> None:
    @ray.remote
    def create() -> None:
        ray.get(box.options(name=name, lifetime="detached").remote("kept").get.remote())

    ray.get(create.remote())
    found = ray.get_actor(name)
    assert ray.get(found.get.remote()) == "kept"
    del found
    again = ray.get_actor(name)
    assert ray.get(again.get.remote()) == "kept"
    ray.kill(again)


def test_named_actors_are_listed(ray: ModuleType, engine: Any, box: Any, name: str) -> None:
    listing = engine.submodule("util").list_named_actors
    here = box.options(name=name).remote()
    there = box.options(name=name, namespace="elsewhere").remote()
    ray.get([here.get.remote(), there.get.remote()])
    assert name in listing()
    everywhere = listing(all_namespaces=True)
    assert {"name": name, "namespace": "elsewhere"} in everywhere
    assert sum(entry["name"] == name for entry in everywhere) == 2


def test_a_handle_found_by_name_knows_the_methods_and_their_options(ray: ModuleType, name: str) -> None:
    @ray.remote
    class Thing:
        @ray.method(num_returns=2)
        def pair(self) -> tuple[int, int]:
            return 1, 2

    thing = Thing.options(name=name).remote()
    a, b = ray.get_actor(name).pair.remote()
    assert ray.get([a, b]) == [1, 2]
    with pytest.raises(AttributeError):
        ray.get_actor(name).missing.remote()
    with pytest.raises(TypeError):
        ray.get_actor(name).pair.remote(1)
    del thing
