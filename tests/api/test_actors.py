"""Actors: creation, state, arguments, methods, order of calls, handles."""

from __future__ import annotations

import os
import pickle
from types import ModuleType
from typing import Any

import pytest


def test_an_actor_keeps_state_between_calls(ray: ModuleType) -> None:
    @ray.remote
    class Counter:
        def __init__(self, start: int, step: int = 1) -> None:
            self.value, self.step = start, step

        def add(self) -> int:
            self.value += self.step
            return self.value

    counter = Counter.remote(10, step=2)
    assert ray.get([counter.add.remote() for _ in range(3)]) == [12, 14, 16]


def test_each_actor_has_its_own_process_and_state(ray: ModuleType) -> None:
    @ray.remote
    class Box:
        def __init__(self) -> None:
            self.value: Any = None

        def set(self, value: Any) -> int:
            self.value = value
            return os.getpid()

        def get(self) -> Any:
            return self.value

    a, b = Box.remote(), Box.remote()
    pids = ray.get([a.set.remote("a"), b.set.remote("b")])
    assert len({*pids, os.getpid()}) == 3
    assert ray.get([a.get.remote(), b.get.remote()]) == ["a", "b"]


def test_a_class_can_be_wrapped_by_calling_remote(ray: ModuleType) -> None:
    class Plain:
        def one(self) -> int:
            return 1

    assert ray.get(ray.remote(Plain).remote().one.remote()) == 1
    assert ray.get(ray.remote(num_cpus=0)(Plain).remote().one.remote()) == 1
    assert Plain().one() == 1


def test_an_actor_class_cannot_be_instantiated_directly(ray: ModuleType) -> None:
    @ray.remote
    class Thing:
        pass

    with pytest.raises(TypeError, match="remote"):
        Thing()


def test_a_method_of_a_handle_cannot_be_called_directly(ray: ModuleType) -> None:
    @ray.remote
    class Thing:
        def f(self) -> int:
            return 1

    with pytest.raises(TypeError, match="remote"):
        Thing.remote().f()


def test_a_method_that_does_not_exist_is_an_attribute_error(ray: ModuleType) -> None:
    @ray.remote
    class Thing:
        pass

    with pytest.raises(AttributeError, match="missing"):
        Thing.remote().missing.remote()


def test_arguments_of_the_constructor_are_checked_at_the_call(ray: ModuleType) -> None:
    @ray.remote
    class Thing:
        def __init__(self, a: int, *, b: int) -> None: ...

    for args, kwargs in [((), {}), ((1,), {}), ((1, 2), {"b": 1}), ((1,), {"b": 1, "c": 2})]:
        with pytest.raises(TypeError):
            Thing.remote(*args, **kwargs)


def test_arguments_of_methods_are_checked_at_the_call(ray: ModuleType) -> None:
    @ray.remote
    class Thing:
        def f(self, a: int, *, b: int = 0) -> tuple[int, int]:
            return a, b

    thing = Thing.remote()
    for args, kwargs in [((), {}), ((1, 2), {}), ((1,), {"c": 2})]:
        with pytest.raises(TypeError):
            thing.f.remote(*args, **kwargs)
    assert ray.get(thing.f.remote(1, b=2)) == (1, 2)


def test_a_class_without_constructor_takes_no_arguments(ray: ModuleType) -> None:
    @ray.remote
    class Empty:
        pass

    with pytest.raises(TypeError):
        Empty.remote(1)


def test_references_as_arguments_of_constructor_and_methods_are_resolved(ray: ModuleType) -> None:
    @ray.remote
    class Adder:
        def __init__(self, start: int) -> None:
            self.start = start

        def add(self, x: int, items: list[Any]) -> Any:
            return self.start + x + ray.get(items[0])

    adder = Adder.remote(ray.put(1))
    assert ray.get(adder.add.remote(ray.put(10), [ray.put(100)])) == 111


def test_calls_of_one_caller_run_in_the_order_of_submission(ray: ModuleType) -> None:
    @ray.remote
    class Log:
        def __init__(self) -> None:
            self.items: list[int] = []

        def append(self, i: int) -> None:
            self.items.append(i)

        def get(self) -> list[int]:
            return self.items

    log = Log.remote()
    for i in range(300):
        log.append.remote(i)
    assert ray.get(log.get.remote()) == list(range(300))


def test_a_call_waits_for_its_arguments_and_later_calls_wait_for_it(ray: ModuleType, signal: Any) -> None:
    gate = signal()

    @ray.remote
    def late() -> str:
        ray.get(gate.wait.remote())
        return "late"

    @ray.remote
    class Log:
        def __init__(self) -> None:
            self.items: list[str] = []

        def append(self, item: str) -> list[str]:
            self.items.append(item)
            return list(self.items)

    log = Log.remote()
    first = log.append.remote(late.remote())
    second = log.append.remote("early")
    ready, _ = ray.wait([second], timeout=0.2)
    assert not ready
    gate.send.remote()
    assert ray.get([first, second]) == [["late"], ["late", "early"]]


def test_calls_made_before_the_constructor_ends_are_queued(ray: ModuleType, signal: Any) -> None:
    gate = signal()

    @ray.remote
    class Slow:
        def __init__(self) -> None:
            ray.get(gate.wait.remote())

        def ping(self) -> str:
            return "pong"

    slow = Slow.remote()
    refs = [slow.ping.remote() for _ in range(5)]
    gate.send.remote()
    assert ray.get(refs) == ["pong"] * 5


def test_an_exception_in_a_method_leaves_the_actor_alive(ray: ModuleType) -> None:
    @ray.remote
    class Fragile:
        def fail(self) -> None:
            raise ValueError("broken")

        def work(self) -> str:
            return "fine"

    fragile = Fragile.remote()
    with pytest.raises(ValueError, match="broken"):
        ray.get(fragile.fail.remote())
    assert ray.get(fragile.work.remote()) == "fine"


def test_methods_can_have_several_returns(ray: ModuleType) -> None:
    @ray.remote
    class Thing:
        @ray.method(num_returns=2)
        def pair(self) -> tuple[int, int]:
            return 1, 2

        def triple(self) -> tuple[int, int, int]:
            return 1, 2, 3

    thing = Thing.remote()
    a, b = thing.pair.remote()
    assert ray.get([a, b]) == [1, 2]
    assert ray.get(thing.triple.options(num_returns=3).remote()) == [1, 2, 3]
    assert ray.get(thing.pair.options(num_returns=1).remote()) == (1, 2)


def test_a_method_with_zero_returns_gives_none_and_runs(ray: ModuleType) -> None:
    @ray.remote
    class Thing:
        def __init__(self) -> None:
            self.ran = False

        @ray.method(num_returns=0)
        def run(self) -> None:
            self.ran = True

        def has_run(self) -> bool:
            return self.ran

    thing = Thing.remote()
    assert thing.run.remote() is None
    assert ray.get(thing.has_run.remote()) is True


def test_methods_are_inherited_and_overridden(ray: ModuleType) -> None:
    class Base:
        def __init__(self, x: int) -> None:
            self.x = x

        def name(self) -> str:
            return "base"

        def value(self) -> int:
            return self.x

    @ray.remote
    class Derived(Base):
        def __init__(self, x: int) -> None:
            super().__init__(x + 1)

        def name(self) -> str:
            return "derived of " + super().name()

    derived = Derived.remote(1)
    assert ray.get([derived.name.remote(), derived.value.remote()]) == ["derived of base", 2]


def test_static_and_class_methods_can_be_called(ray: ModuleType) -> None:
    @ray.remote
    class Thing:
        offset = 10

        @staticmethod
        def double(x: int) -> int:
            return 2 * x

        @classmethod
        def shift(cls, x: int) -> int:
            return x + cls.offset

    thing = Thing.remote()
    assert ray.get([thing.double.remote(4), thing.shift.remote(1)]) == [8, 11]


def test_private_methods_can_be_called(ray: ModuleType) -> None:
    @ray.remote
    class Thing:
        def _hidden(self) -> str:
            return "found"

    assert ray.get(Thing.remote()._hidden.remote()) == "found"


def test_a_method_can_call_its_own_actor_through_a_handle(ray: ModuleType) -> None:
    @ray.remote
    class Thing:
        def start(self) -> Any:
            me = ray.get_runtime_context().current_actor
            return [me.finish.remote()]

        def finish(self) -> str:
            return "finished"

    thing = Thing.remote()
    (ref,) = ray.get(thing.start.remote())
    assert ray.get(ref) == "finished"


def test_actors_can_create_actors(ray: ModuleType) -> None:
    @ray.remote
    class Child:
        def name(self) -> str:
            return "child"

    @ray.remote
    class Parent:
        def __init__(self) -> None:
            self.child = Child.remote()

        def ask(self) -> Any:
            return ray.get(self.child.name.remote())

        def hand_over(self) -> Any:
            return self.child

    parent = Parent.remote()
    assert ray.get(parent.ask.remote()) == "child"
    child = ray.get(parent.hand_over.remote())
    assert ray.get(child.name.remote()) == "child"


def test_actors_can_submit_tasks(ray: ModuleType) -> None:
    @ray.remote
    def double(x: int) -> int:
        return 2 * x

    @ray.remote
    class Manager:
        def run(self) -> Any:
            return sum(ray.get([double.remote(i) for i in range(4)]))

    assert ray.get(Manager.remote().run.remote()) == 12


def test_handles_pass_through_tasks_and_actors(ray: ModuleType, counter: Any) -> None:
    shared = counter()

    @ray.remote
    def bump(handle: Any) -> Any:
        return ray.get(handle.add.remote())

    @ray.remote
    class Holder:
        def __init__(self, handles: list[Any]) -> None:
            self.handle = handles[0]

        def bump(self) -> Any:
            return ray.get(self.handle.add.remote())

    ray.get([bump.remote(shared) for _ in range(3)])
    assert ray.get(Holder.remote([shared]).bump.remote()) == 4
    assert ray.get(shared.get.remote()) == 4


def test_a_handle_survives_pickling(ray: ModuleType, counter: Any) -> None:
    shared = counter()
    import cloudpickle

    again = pickle.loads(cloudpickle.dumps(shared))
    assert ray.get(again.add.remote()) == 1
    assert ray.get(shared.get.remote()) == 1


def test_a_handle_can_be_put_and_got(ray: ModuleType, counter: Any) -> None:
    ref = ray.put(counter())
    assert ray.get(ray.get(ref).add.remote()) == 1


def test_a_bound_method_of_a_handle_can_be_kept(ray: ModuleType, counter: Any) -> None:
    shared = counter()
    add = shared.add
    assert ray.get([add.remote() for _ in range(2)]) == [1, 2]


def test_the_repr_of_a_handle_names_the_class(ray: ModuleType) -> None:
    @ray.remote
    class Distinctive:
        pass

    handle = Distinctive.remote()
    assert "Distinctive" in repr(handle)
    assert handle._actor_id.hex() in repr(handle)


def test_readiness_can_be_waited_for(ray: ModuleType, signal: Any) -> None:
    gate = signal()

    @ray.remote
    class Slow:
        def __init__(self) -> None:
            ray.get(gate.wait.remote())

    slow = Slow.remote()
    ready = slow.__ray_ready__.remote()
    assert ray.wait([ready], timeout=0)[0] == []
    gate.send.remote()
    assert ray.get(ready) is True


def test_an_actor_can_run_a_function_on_itself(ray: ModuleType) -> None:
    @ray.remote
    class Thing:
        def __init__(self) -> None:
            self.value = 5

    thing = Thing.remote()
    assert ray.get(thing.__ray_call__.remote(lambda self, x: self.value + x, 2)) == 7


def test_a_class_attribute_is_shared_within_the_process_only(ray: ModuleType) -> None:
    class Thing:
        calls = 0

        def bump(self) -> int:
            type(self).calls += 1
            return type(self).calls

    thing = ray.remote(Thing).remote()
    assert ray.get([thing.bump.remote(), thing.bump.remote()]) == [1, 2]
    assert Thing.calls == 0


def test_an_actor_class_can_be_passed_to_a_task(ray: ModuleType) -> None:
    @ray.remote
    class Thing:
        def name(self) -> str:
            return "made elsewhere"

    @ray.remote
    def make(actor_class: Any) -> Any:
        return ray.get(actor_class.remote().name.remote())

    assert ray.get(make.remote(Thing)) == "made elsewhere"


def test_a_class_defined_again_uses_its_new_definition(ray: ModuleType) -> None:
    for version in range(2):

        @ray.remote
        class Thing:
            def tell(self) -> int:
                return version  # noqa: B023 - the value at the creation is what counts here

        assert ray.get(Thing.remote().tell.remote()) == version


def test_many_actors_answer(ray: ModuleType) -> None:
    @ray.remote(num_cpus=0)
    class Small:
        def __init__(self, i: int) -> None:
            self.i = i

        def get(self) -> int:
            return self.i

    actors = [Small.remote(i) for i in range(8)]
    assert ray.get([actor.get.remote() for actor in actors]) == list(range(8))
