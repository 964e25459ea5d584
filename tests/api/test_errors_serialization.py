"""What cannot be sent: arguments, results, exceptions, closures."""

from __future__ import annotations

import io
import threading
from types import ModuleType
from typing import Any

import pytest


def test_an_argument_that_cannot_be_pickled_is_a_type_error_at_the_call(ray: ModuleType) -> None:
    @ray.remote
    def f(x: Any) -> None: ...

    with pytest.raises(TypeError, match="lock"):
        f.remote(threading.Lock())


def test_an_argument_of_an_actor_that_cannot_be_pickled_is_a_type_error_at_the_call(ray: ModuleType) -> None:
    @ray.remote
    class Thing:
        def __init__(self, x: Any = None) -> None: ...

        def f(self, x: Any) -> None: ...

    with pytest.raises(TypeError, match="lock"):
        Thing.remote(threading.Lock())
    with pytest.raises(TypeError, match="lock"):
        Thing.remote().f.remote(threading.Lock())


def test_a_function_that_closes_over_a_lock_is_a_type_error_at_the_call(ray: ModuleType) -> None:
    lock = threading.Lock()

    @ray.remote
    def f() -> None:
        with lock:
            pass

    with pytest.raises(TypeError, match="lock"):
        f.remote()


def test_a_function_that_closes_over_a_generator_is_a_type_error_at_the_call(ray: ModuleType) -> None:
    numbers = (i for i in range(3))

    @ray.remote
    def f() -> int:
        return next(numbers)

    with pytest.raises(TypeError, match="generator"):
        f.remote()


def test_put_of_what_cannot_be_pickled_is_a_type_error(ray: ModuleType) -> None:
    with pytest.raises(TypeError, match="lock"):
        ray.put({"inner": threading.Lock()})


def test_a_result_that_cannot_be_pickled_is_an_error_of_the_task(ray: ModuleType) -> None:
    @ray.remote
    def give() -> Any:
        return threading.Lock()

    with pytest.raises(TypeError, match="lock"):
        ray.get(give.remote())


def test_a_result_of_an_actor_that_cannot_be_pickled_leaves_it_alive(ray: ModuleType) -> None:
    @ray.remote
    class Thing:
        def give(self) -> Any:
            return threading.Lock()

        def ping(self) -> str:
            return "pong"

    thing = Thing.remote()
    with pytest.raises(TypeError, match="lock"):
        ray.get(thing.give.remote())
    assert ray.get(thing.ping.remote()) == "pong"


def test_an_exception_that_cannot_be_pickled_still_tells_what_happened(ray: ModuleType) -> None:
    class Locked(Exception):
        def __init__(self, text: str) -> None:
            super().__init__(text)
            self.lock = threading.Lock()

    @ray.remote
    def fail() -> None:
        raise Locked("told anyway")

    with pytest.raises(ray.exceptions.RayTaskError, match="told anyway"):
        ray.get(fail.remote())


def test_an_exception_that_cannot_be_unpickled_is_still_an_error(ray: ModuleType) -> None:
    class Poison(Exception):
        def __reduce__(self) -> Any:
            return _explode, ()

    @ray.remote
    def fail() -> None:
        raise Poison("poisoned")

    with pytest.raises(ray.exceptions.RayError):
        ray.get(fail.remote())


def _explode() -> None:
    raise RuntimeError("cannot be unpickled")


def test_a_value_that_cannot_be_unpickled_raises_where_it_is_got(ray: ModuleType) -> None:
    def explode() -> None:
        raise RuntimeError("cannot be unpickled")

    class Poison:
        def __reduce__(self) -> Any:
            return explode, ()

    ref = ray.put(Poison())
    with pytest.raises((RuntimeError, ray.exceptions.RaySystemError), match="cannot be unpickled"):
        ray.get(ref)


def test_an_argument_that_cannot_be_unpickled_fails_the_task(ray: ModuleType) -> None:
    def explode() -> None:
        raise RuntimeError("cannot be unpickled")

    class Poison:
        def __reduce__(self) -> Any:
            return explode, ()

    @ray.remote
    def f(x: Any) -> None: ...

    @ray.remote
    def fine() -> str:
        return "fine"

    with pytest.raises(ray.exceptions.RayError, match="cannot be unpickled"):
        ray.get(f.remote(Poison()))
    assert ray.get(fine.remote()) == "fine"


def test_inspect_serializability_accepts_what_can_be_sent(ray: ModuleType, engine: Any) -> None:
    inspect = engine.submodule("util").inspect_serializability
    ok, failures = inspect(lambda x: x + 1, name="fine", print_file=io.StringIO())
    assert ok is True
    assert failures == set()


def test_inspect_serializability_names_the_culprit(ray: ModuleType, engine: Any) -> None:
    inspect = engine.submodule("util").inspect_serializability
    lock = threading.Lock()
    out = io.StringIO()

    def uses_lock() -> Any:
        return lock

    ok, failures = inspect(uses_lock, name="uses_lock", print_file=out)
    assert ok is False
    assert any(failure.path[-1] == "lock" and failure.obj is lock for failure in failures)
    assert "lock" in out.getvalue()


def test_inspect_serializability_looks_into_attributes(ray: ModuleType, engine: Any) -> None:
    inspect = engine.submodule("util").inspect_serializability

    class Holder:
        def __init__(self) -> None:
            self.fine = 1
            self.broken = threading.Lock()

    ok, failures = inspect(Holder(), name="holder", print_file=io.StringIO())
    assert ok is False
    assert any(failure.path[-1] == "broken" for failure in failures)


def test_classes_can_define_how_they_are_pickled(ray: ModuleType) -> None:
    class Connection:
        def __init__(self, address: str) -> None:
            self.address = address
            self.lock = threading.Lock()

        def __reduce__(self) -> Any:
            return Connection, (self.address,)

    @ray.remote
    def address(connection: Any) -> str:
        return str(connection.address)

    assert ray.get(address.remote(Connection("here"))) == "here"


def test_serializers_can_be_registered_for_foreign_classes(ray: ModuleType, engine: Any) -> None:
    util = engine.submodule("util")

    class Foreign:
        def __init__(self, x: int) -> None:
            self.x = x
            self.lock = threading.Lock()

    util.register_serializer(Foreign, serializer=lambda v: v.x, deserializer=lambda x: Foreign(x))
    try:
        assert ray.get(ray.put(Foreign(5))).x == 5
    finally:
        util.deregister_serializer(Foreign)
    with pytest.raises(TypeError, match="lock"):
        ray.put(Foreign(5))
