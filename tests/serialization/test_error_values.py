"""Whatever a task raises arrives as something that can be raised, with its traceback."""

from __future__ import annotations

import sys
import threading
import types
from typing import Any

import pytest

from himalia.cluster.serialization.error_values import deserialize_error, serialize_error
from himalia.cluster.serialization.functions import import_function
from himalia.cluster.serialization.values import dumps_by_value
from himalia.exceptions import (
    ActorDiedError,
    GetTimeoutError,
    Origin,
    RayTaskError,
    UnserializableException,
    WorkerCrashedError,
)


def failed(exc: BaseException, name: str = "f", **more: Any) -> RayTaskError:
    try:
        raise exc
    except BaseException as raised:
        return RayTaskError.from_exception(name, raised, **more)


def travel(exc: BaseException) -> BaseException:
    packed = serialize_error(exc)
    return deserialize_error(packed.data, packed.buffers)


class Picky(Exception):
    def __init__(self, first: int, second: str) -> None:
        super().__init__(f"{first} {second}")
        self.first = first


def test_a_task_error_arrives_with_cause_and_data() -> None:
    back = travel(failed(Picky(1, "x"), origin=Origin(task_id="ab", pid=3)))
    assert isinstance(back, RayTaskError)
    assert isinstance(back.cause, Picky)
    assert (back.cause.first, back.origin) == (1, Origin(task_id="ab", pid=3))
    assert "raise exc" in back.traceback_str


def test_the_explicit_cause_of_the_cause_is_kept() -> None:
    exc = ValueError("outer")
    exc.__cause__ = KeyError("inner")
    back = travel(failed(exc))
    assert isinstance(back, RayTaskError)
    assert isinstance(back.cause.__cause__, KeyError)
    assert isinstance(back.as_instanceof_cause().__cause__, KeyError)


def test_a_cause_of_the_cause_that_can_not_travel_is_left_out() -> None:
    exc = ValueError("outer")
    exc.__cause__ = KeyError(threading.Lock())
    back = travel(failed(exc))
    assert isinstance(back, RayTaskError)
    assert isinstance(back.cause, ValueError)
    assert back.cause.__cause__ is None
    assert isinstance(exc.__cause__, KeyError)


def test_an_exception_that_can_not_be_pickled_is_replaced_by_a_clear_stand_in() -> None:
    exc = Picky(1, "x")
    exc.lock = threading.Lock()  # type: ignore[attr-defined]
    back = travel(failed(exc))
    assert isinstance(back, RayTaskError)
    stand_in = back.cause
    assert isinstance(stand_in, UnserializableException)
    assert (stand_in.type_name, stand_in.text) == ("Picky", "1 x")
    assert "exception.lock (a _thread.lock)" in stand_in.reason
    assert "raise exc" in stand_in.original_stack_trace
    text = str(back.as_instanceof_cause())
    assert "Picky itself could not be carried over: can not pickle exception.lock (a _thread.lock)" in text
    assert "task `f` failed: Picky: 1 x" in text


def test_an_exception_whose_text_fails_is_replaced_too() -> None:
    class Awful(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

        def __reduce__(self) -> Any:
            raise RuntimeError("no pickle")

    back = travel(failed(Awful()))
    assert isinstance(back, RayTaskError)
    assert "its str() raised RuntimeError" in str(back.cause)
    assert "Awful" in str(back)


def test_an_exception_that_can_not_be_unpickled_here_is_replaced_by_a_stand_in() -> None:
    module = types.ModuleType("only_on_the_worker")
    exec("class Local(Exception): pass", module.__dict__)
    sys.modules[module.__name__] = module
    try:
        packed = serialize_error(failed(module.Local("gone")))
    finally:
        del sys.modules[module.__name__]
    back = deserialize_error(packed.data, packed.buffers)
    assert isinstance(back, RayTaskError)
    assert isinstance(back.cause, UnserializableException)
    assert "No module named 'only_on_the_worker'" in back.cause.reason
    assert back.cause.text == "gone"


def test_an_exception_that_unpickles_as_something_else_is_replaced_by_a_stand_in() -> None:
    class Shape(Exception):
        def __reduce__(self) -> Any:
            return int, (3,)

    back = travel(failed(Shape("x")))
    assert isinstance(back, RayTaskError)
    assert isinstance(back.cause, UnserializableException)
    assert "unpickled as a int" in back.cause.reason


def test_a_chain_of_tasks_arrives_as_a_chain() -> None:
    inner = failed(Picky(1, "x"), "inner").as_instanceof_cause()
    outer = travel(failed(inner, "outer"))
    assert isinstance(outer, RayTaskError)
    assert outer.function_name == "outer"
    assert isinstance(outer.cause, RayTaskError)
    assert outer.cause.function_name == "inner"
    dual = outer.as_instanceof_cause()
    assert isinstance(dual, Picky)
    assert dual.first == 1


def test_a_chain_as_long_as_a_recursion_arrives_shortened() -> None:
    error: RayTaskError = failed(ValueError("deep"), "f0")
    for number in range(1, 500):
        error = RayTaskError(f"f{number}", "traceback", error)
    back = travel(error)
    assert isinstance(back, RayTaskError)
    assert isinstance(back.as_instanceof_cause(), ValueError)
    assert back.function_name == "f499"
    assert len(str(back)) < 3000


@pytest.mark.parametrize(
    "error",
    [
        WorkerCrashedError(signal_number=9, attempts=3),
        GetTimeoutError(timeout=1.5, pending=["a"], total=2),
        ActorDiedError("killed", actor_id="ab"),
        KeyboardInterrupt("stop"),
        ValueError(3),
    ],
)
def test_errors_that_no_task_raised_travel_as_they_are(error: BaseException) -> None:
    back = travel(error)
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert {k: str(v) for k, v in vars(back).items()} == {k: str(v) for k, v in vars(error).items()}


def test_notes_and_traceback_text_arrive() -> None:
    exc = ValueError("x")
    exc.add_note("seen in row 3")
    back = travel(failed(exc))
    assert isinstance(back, RayTaskError)
    assert "seen in row 3" in back.traceback_str
    assert back.cause.__notes__ == ["seen in row 3"]


def test_an_error_within_a_value_travels_too() -> None:
    error = failed(Picky(1, "x")).as_instanceof_cause()
    [back] = import_function(dumps_by_value((dumps_by_value([error]), {}, {})))
    assert isinstance(back, Picky)
    assert isinstance(back, RayTaskError)
    assert back.first == 1
