"""Errors: what a caller sees when its task or actor raised, and what the error tells."""

from __future__ import annotations

import pickle
from types import ModuleType
from typing import Any

import pytest


def test_the_exception_of_a_task_is_raised_by_get(ray: ModuleType) -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("which")

    with pytest.raises(KeyError, match="which"):
        ray.get(fail.remote())


def test_the_error_is_a_task_error_and_of_the_type_of_its_cause(ray: ModuleType) -> None:
    @ray.remote
    def fail() -> None:
        raise ValueError("both")

    with pytest.raises(ray.exceptions.RayTaskError) as caught:
        ray.get(fail.remote())
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, ray.exceptions.RayError)
    assert type(caught.value.cause) is ValueError
    assert str(caught.value.cause) == "both"


def test_exception_classes_defined_here_can_be_caught_by_type(ray: ModuleType) -> None:
    class MyError(Exception):
        pass

    class MyChildError(MyError):
        pass

    @ray.remote
    def fail() -> None:
        raise MyChildError("mine")

    with pytest.raises(MyError, match="mine") as caught:
        ray.get(fail.remote())
    assert isinstance(caught.value, MyChildError)
    assert isinstance(caught.value.cause, MyChildError)


def test_attributes_of_the_exception_are_kept(ray: ModuleType) -> None:
    class CodedError(Exception):
        def __init__(self, code: int) -> None:
            super().__init__(f"code {code}")
            self.code = code

    @ray.remote
    def fail() -> None:
        raise CodedError(42)

    with pytest.raises(CodedError) as caught:
        ray.get(fail.remote())
    assert caught.value.cause.code == 42
    assert caught.value.code == 42


def test_the_text_has_the_remote_traceback_function_and_process(ray: ModuleType) -> None:
    @ray.remote
    def distinctive_function() -> None:
        helper()

    def helper() -> None:
        raise ValueError("deep inside")

    with pytest.raises(ValueError) as caught:
        ray.get(distinctive_function.remote())
    text = str(caught.value)
    assert "distinctive_function" in text
    assert "in helper" in text
    assert "test_errors.py" in text
    assert "deep inside" in text
    assert "pid" in text


def test_an_error_raised_again_by_another_task_keeps_its_type_and_both_places(ray: ModuleType) -> None:
    @ray.remote
    def innermost() -> None:
        raise ZeroDivisionError("origin")

    @ray.remote
    def middle() -> Any:
        return ray.get(innermost.remote())

    with pytest.raises(ZeroDivisionError) as caught:
        ray.get(middle.remote())
    text = str(caught.value)
    assert "innermost" in text
    assert "middle" in text
    assert "origin" in text


def test_a_chain_of_causes_is_shown(ray: ModuleType) -> None:
    @ray.remote
    def fail() -> None:
        try:
            raise KeyError("first cause")
        except KeyError as error:
            raise RuntimeError("second") from error

    with pytest.raises(RuntimeError) as caught:
        ray.get(fail.remote())
    assert "first cause" in str(caught.value)
    assert "second" in str(caught.value)


def test_an_error_can_be_got_again(ray: ModuleType) -> None:
    @ray.remote
    def fail() -> None:
        raise ValueError("again")

    ref = fail.remote()
    for _ in range(3):
        with pytest.raises(ValueError, match="again"):
            ray.get(ref)


def test_get_of_a_list_raises_the_error_of_one_of_them(ray: ModuleType) -> None:
    @ray.remote
    def fail() -> None:
        raise ValueError("one of them")

    with pytest.raises(ValueError, match="one of them"):
        ray.get([ray.put(1), fail.remote(), ray.put(2)])


def test_an_error_is_raised_before_slow_tasks_of_the_same_list_end(ray: ModuleType, signal: Any) -> None:
    gate = signal()

    @ray.remote
    def fail() -> None:
        raise ValueError("early")

    failed = fail.remote()
    ray.wait([failed])
    with pytest.raises(ValueError, match="early"):
        ray.get([failed, gate.wait.remote()])
    gate.send.remote()


@pytest.mark.parametrize(
    "error",
    [AssertionError("a"), RecursionError("r"), OSError(2, "no file"), UnicodeError("u")],
    ids=lambda error: type(error).__name__,
)
def test_builtin_exceptions_arrive_as_their_type(ray: ModuleType, error: Exception) -> None:
    @ray.remote
    def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        ray.get(fail.remote())


def test_an_exception_group_arrives_as_a_group(ray: ModuleType) -> None:
    @ray.remote
    def fail() -> None:
        raise ExceptionGroup("several", [ValueError("a"), KeyError("b")])

    with pytest.raises(ray.exceptions.RayTaskError) as caught:
        ray.get(fail.remote())
    assert isinstance(caught.value.cause, ExceptionGroup)
    assert [type(e) for e in caught.value.cause.exceptions] == [ValueError, KeyError]


def test_an_exception_with_a_constructor_of_many_arguments_arrives(ray: ModuleType) -> None:
    class Awkward(Exception):
        def __init__(self, a: int, b: int, *, c: int) -> None:
            super().__init__("awkward text")
            self.total = a + b + c

    @ray.remote
    def fail() -> None:
        raise Awkward(1, 2, c=3)

    with pytest.raises(ray.exceptions.RayError, match="awkward text"):
        ray.get(fail.remote())


def test_a_task_error_survives_pickling(ray: ModuleType) -> None:
    import cloudpickle

    @ray.remote
    def fail() -> None:
        raise ValueError("kept")

    with pytest.raises(ValueError) as caught:
        ray.get(fail.remote())
    again = pickle.loads(cloudpickle.dumps(caught.value))
    assert "kept" in str(again)
    assert isinstance(again, ray.exceptions.RayTaskError)


def test_an_error_can_be_a_return_value(ray: ModuleType) -> None:
    @ray.remote
    def give() -> Exception:
        return ValueError("just a value")

    value = ray.get(give.remote())
    assert type(value) is ValueError
    assert str(value) == "just a value"


def test_an_error_in_the_constructor_of_an_actor_reaches_its_calls(ray: ModuleType) -> None:
    @ray.remote
    class Broken:
        def __init__(self) -> None:
            raise ValueError("cannot start")

        def ping(self) -> None: ...

    with pytest.raises(ray.exceptions.RayActorError, match="cannot start"):
        ray.get(Broken.remote().ping.remote())


def test_an_actor_that_failed_to_start_is_dead(ray: ModuleType) -> None:
    @ray.remote
    class Broken:
        def __init__(self) -> None:
            raise ValueError("cannot start")

        def ping(self) -> None: ...

    broken = Broken.remote()
    for _ in range(2):
        with pytest.raises(ray.exceptions.ActorDiedError):
            ray.get(broken.ping.remote())


def test_a_failed_argument_of_a_constructor_fails_the_actor(ray: ModuleType) -> None:
    @ray.remote
    def fail() -> None:
        raise ValueError("the argument")

    @ray.remote
    class Thing:
        def __init__(self, x: Any) -> None: ...

        def ping(self) -> None: ...

    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(Thing.remote(fail.remote()).ping.remote())


def test_the_death_of_an_actor_tells_the_reason(ray: ModuleType) -> None:
    @ray.remote
    class Named:
        def ping(self) -> str:
            return "pong"

    actor = Named.remote()
    ray.get(actor.ping.remote())
    ray.kill(actor)
    with pytest.raises(ray.exceptions.ActorDiedError) as caught:
        while True:  # a kill need not take effect before the next call
            ray.get(actor.ping.remote())
    assert "kill" in str(caught.value)
    assert actor._actor_id.hex() in str(caught.value)
    assert caught.value.actor_id == actor._actor_id.hex()


def test_the_error_of_a_call_to_a_dead_actor_is_distinct_from_a_task_error(ray: ModuleType) -> None:
    assert issubclass(ray.exceptions.ActorDiedError, ray.exceptions.RayActorError)
    assert issubclass(ray.exceptions.ActorUnavailableError, ray.exceptions.RayActorError)
    assert issubclass(ray.exceptions.RayActorError, ray.exceptions.RayError)
    assert not issubclass(ray.exceptions.RayActorError, ray.exceptions.RayTaskError)


@pytest.mark.parametrize(
    "name",
    [
        "ActorDiedError",
        "ActorUnavailableError",
        "ActorUnschedulableError",
        "GetTimeoutError",
        "LocalRayletDiedError",
        "NodeDiedError",
        "ObjectFetchTimedOutError",
        "ObjectFreedError",
        "ObjectLostError",
        "ObjectReconstructionFailedError",
        "ObjectStoreFullError",
        "OutOfDiskError",
        "OutOfMemoryError",
        "OwnerDiedError",
        "PendingCallsLimitExceeded",
        "RayActorError",
        "RaySystemError",
        "RayTaskError",
        "RuntimeEnvSetupError",
        "TaskCancelledError",
        "TaskUnschedulableError",
        "WorkerCrashedError",
    ],
)
def test_every_public_exception_is_a_ray_error(ray: ModuleType, name: str) -> None:
    assert issubclass(getattr(ray.exceptions, name), ray.exceptions.RayError)


def test_an_error_of_one_task_does_not_disturb_others(ray: ModuleType) -> None:
    @ray.remote
    def maybe(i: int) -> int:
        if i % 2:
            raise ValueError(i)
        return i

    refs = [maybe.remote(i) for i in range(10)]
    results = []
    for ref in refs:
        try:
            results.append(ray.get(ref))
        except ValueError:
            results.append(None)
    assert results == [0, None, 2, None, 4, None, 6, None, 8, None]


def test_a_worker_that_raised_runs_later_tasks(ray: ModuleType) -> None:
    @ray.remote(num_cpus=4)
    def fail() -> None:
        raise ValueError

    @ray.remote(num_cpus=4)
    def fine() -> str:
        return "fine"

    with pytest.raises(ValueError):
        ray.get(fail.remote())
    assert ray.get(fine.remote()) == "fine"


def test_a_function_that_can_not_be_unpickled_fails_its_task_with_the_reason(ray: ModuleType) -> None:
    class Unreadable:
        def __reduce__(self) -> Any:
            return eval, ("1 +",)

    taken = Unreadable()

    @ray.remote(max_retries=0)
    def task() -> Any:
        return taken

    with pytest.raises(Exception, match="invalid syntax") as caught:
        ray.get(task.remote())
    assert not isinstance(caught.value, ray.exceptions.WorkerCrashedError)


def test_a_keyboard_interrupt_raised_by_a_task_reaches_the_caller(ray: ModuleType) -> None:
    @ray.remote(max_retries=0)
    def fail() -> None:
        raise KeyboardInterrupt

    with pytest.raises(ray.exceptions.RayError):
        ray.get(fail.remote())


def test_a_task_that_overflows_the_stack_raises_recursion_error(ray: ModuleType) -> None:
    @ray.remote
    def deep() -> Any:
        def down(n: int) -> int:
            return down(n + 1) + 1

        return down(0)

    with pytest.raises(RecursionError):
        ray.get(deep.remote())
