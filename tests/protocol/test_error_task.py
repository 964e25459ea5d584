"""A task's error arrives as an instance of the exception's own type, and prints what happened in the worker."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from typing import Any, final

import cloudpickle
import pytest

from himalia.cluster.protocol.common import Cell
from himalia.exceptions import ActorDiedError, GetTimeoutError, Origin, RayTaskError, TaskCancelledError


def failure_of(function: Callable[[], Any], name: str = "f", **more: Any) -> RayTaskError:
    try:
        function()
    except BaseException as exc:
        return RayTaskError.from_exception(name, exc, **more)
    raise AssertionError("it did not fail")


def raising(exc: BaseException, name: str = "f", **more: Any) -> RayTaskError:
    def run() -> None:
        raise exc

    return failure_of(run, name, **more)


class Picky(Exception):
    def __init__(self, first: int, second: str) -> None:
        super().__init__(f"{first} {second}")
        self.first = first

    def doubled(self) -> int:
        return self.first * 2


class Clashing(Exception):
    """Has attributes with the names of a RayTaskError's."""

    actor_id = "class attribute"

    def __init__(self) -> None:
        super().__init__("clash")
        self.pid = "mine"
        self.message = "my message"

    @property
    def ip(self) -> str:
        return "a property"


class Refuses(Exception):
    def __init_subclass__(cls, **kwargs: Any) -> None:
        raise TypeError("do not derive from me")


class OwnMeta(type):
    pass


class WithMeta(Exception, metaclass=OwnMeta):
    pass


class Slotted(Exception):
    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        self.code = code


class OwnGroup(ExceptionGroup[Exception]):
    def __new__(cls, errors: list[Exception], code: int) -> OwnGroup:
        return super().__new__(cls, "own", errors)

    def __init__(self, errors: list[Exception], code: int) -> None:
        self.code = code

    def derive(self, excs: Any) -> OwnGroup:
        return OwnGroup(list(excs), self.code)


@final
class Final(Exception):
    pass


# As an instance of its cause's class ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "exc",
    [
        ValueError("x"),
        KeyError("k"),
        OSError(2, "no", "file"),
        UnicodeDecodeError("utf-8", b"ab", 0, 1, "bad"),
        SyntaxError("bad", ("file", 1, 2, "text")),
        Picky(1, "x"),
        Slotted(5),
        WithMeta("m"),
        Final("f"),
        GetTimeoutError(timeout=1, pending=["a"]),
        TaskCancelledError("ab"),
        ActorDiedError("gone", actor_id="ab"),
    ],
    ids=lambda exc: type(exc).__name__,
)
@pytest.mark.parametrize("pickled", [False, True], ids=["made", "pickled"])
def test_the_error_is_an_instance_of_both_classes_with_the_causes_data(exc: Exception, pickled: bool) -> None:
    error = raising(exc).as_instanceof_cause()
    if pickled:
        error = cloudpickle.loads(cloudpickle.dumps(error))
    assert isinstance(error, RayTaskError)
    assert isinstance(error, type(exc))
    assert error.args == exc.args
    assert {name: str(vars(error)[name]) for name in vars(exc)} == {name: str(each) for name, each in vars(exc).items()}
    for name in ("errno", "filename", "start", "reason", "lineno", "code"):
        assert str(getattr(error, name, None)) == str(getattr(exc, name, None))
    assert str(error).startswith("task `f` failed: ")
    assert type(error.cause) is type(exc)


def test_except_clauses_and_methods_work_as_if_the_function_had_been_called_here() -> None:
    with pytest.raises(Picky) as caught:
        raise raising(Picky(4, "x")).as_instanceof_cause()
    assert caught.value.doubled() == 8
    with pytest.raises(FileNotFoundError):
        raise raising(FileNotFoundError(2, "no")).as_instanceof_cause()


def test_the_class_is_made_once_for_each_cause_class_and_is_named_after_it() -> None:
    first, second = raising(Picky(1, "x")).as_instanceof_cause(), raising(Picky(2, "y")).as_instanceof_cause()
    assert type(first) is type(second)
    assert type(first).__name__ == "RayTaskError(Picky)"
    assert type(pickle.loads(pickle.dumps(first))) is type(first)
    assert first.as_instanceof_cause() is first
    assert first.make_dual_exception_instance() is first


def test_the_causes_own_attributes_win_over_ours() -> None:
    error: Any = raising(Clashing(), origin=Origin(pid=5, node_ip="10.0.0.1")).as_instanceof_cause()
    assert (error.pid, error.message, error.ip, error.actor_id) == (
        "mine",
        "my message",
        "a property",
        "class attribute",
    )
    assert "worker pid 5, node 10.0.0.1" in str(error)
    assert "worker pid 5, node 10.0.0.1" in str(pickle.loads(pickle.dumps(error)))


def test_groups_can_be_split_by_except_star() -> None:
    for group in (ExceptionGroup("g", [ValueError(1), KeyError(2)]), OwnGroup([ValueError(1), KeyError(2)], 3)):
        error = raising(group).as_instanceof_cause()
        assert isinstance(error, type(group))
        seen: list[str] = []
        try:
            raise pickle.loads(pickle.dumps(error))
        except* ValueError as some:
            seen.append(str(some.exceptions[0]))
        except* KeyError as some:
            seen.append(str(some.exceptions[0]))
        assert seen == ["1", "2"]
    assert isinstance(error, OwnGroup)
    assert error.code == 3


def test_the_explicit_cause_and_notes_of_the_cause_are_kept() -> None:
    exc = ValueError("a")
    exc.__cause__ = KeyError("b")
    exc.add_note("row 3")
    error = pickle.loads(pickle.dumps(raising(exc).as_instanceof_cause()))
    assert isinstance(error.__cause__, KeyError)
    assert error.__notes__ == ["row 3"]


@pytest.mark.parametrize(
    ("exc", "reason"),
    [
        (KeyboardInterrupt(), "would stop this process"),
        (SystemExit(3), "would stop this process"),
        (asyncio.CancelledError(), "would stop this process"),
        (GeneratorExit(), "would stop this process"),
        (BaseExceptionGroup("g", [KeyboardInterrupt()]), "would stop this process"),
        (StopIteration(1), "would be taken for the end of a loop"),
        (StopAsyncIteration(), "would be taken for the end of a loop"),
        (Refuses("x"), "can not be derived from (TypeError: do not derive from me)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_can_not_or_must_not_be_derived_from_is_raised_as_a_task_error_that_says_why(
    exc: BaseException, reason: str
) -> None:
    error = raising(exc).as_instanceof_cause()
    assert type(error) is RayTaskError
    assert reason in str(error)
    assert f"failed: {type(exc).__name__}" in str(error)
    assert type(error.cause) is type(exc)
    assert type(pickle.loads(pickle.dumps(error)).cause) is type(exc)


def test_exceptions_made_by_c_extensions_are_not_derived_from() -> None:
    pydantic = pytest.importorskip("pydantic")
    error = failure_of(lambda: pydantic.TypeAdapter(int).validate_python("x")).as_instanceof_cause()
    assert type(error) is RayTaskError
    assert "is made by C code" in str(error)


# The text -------------------------------------------------------------------------------------------------------------


def test_the_text_says_what_where_and_shows_the_remote_traceback() -> None:
    def divide() -> float:
        return 1 / 0

    origin = Origin(task_id="ab12", cell=Cell(job_id=b"j", execution=3), worker_id="cd", pid=7, node_ip="10.0.0.1")
    text = str(failure_of(divide, "divide", origin=origin).as_instanceof_cause())
    lines = text.splitlines()
    assert lines[0] == "task `divide` failed: ZeroDivisionError: division by zero"
    assert lines[2] == "In task `divide` (id ab12), cell In [3], worker cd, pid 7, node 10.0.0.1:"
    assert "    return 1 / 0" in text
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_a_method_names_its_actor() -> None:
    error = raising(ValueError("x"), "Counter.add", actor_repr="Counter(3)", actor_id="ab")
    assert "In task `Counter.add`, actor (id ab), Counter(3):" in str(error)
    assert (error.actor_repr, error.actor_id, error.function_name) == ("Counter(3)", "ab", "Counter.add")


def test_a_chain_of_tasks_is_shown_innermost_first_each_with_its_own_frames_once() -> None:
    inner = raising(Picky(1, "x"), "inner").as_instanceof_cause()

    def middle_code() -> None:
        raise inner

    middle = failure_of(middle_code, "middle").as_instanceof_cause()

    def outer_code() -> None:
        raise pickle.loads(pickle.dumps(middle))

    outer = failure_of(outer_code, "outer").as_instanceof_cause()
    text = str(outer)
    assert text.splitlines()[0] == (
        "task `outer` failed because task `inner`, whose result it wanted, failed: Picky: 1 x"
    )
    assert text.index("In task `inner`") < text.index("wanted in task `middle`") < text.index("wanted in task `outer`")
    assert text.count("raise exc") == 1
    assert text.count("raise pickle.loads") == 1
    assert isinstance(outer, Picky)
    assert isinstance(outer.cause, RayTaskError)
    assert type(outer.root_cause) is Picky


def test_an_error_raised_from_a_remote_error_shows_both() -> None:
    remote = raising(Picky(1, "x"), "inner").as_instanceof_cause()

    def run() -> None:
        try:
            raise remote
        except Picky as error:
            raise LookupError("outer") from error

    error = pickle.loads(pickle.dumps(failure_of(run, "g").as_instanceof_cause()))
    assert isinstance(error, LookupError)
    assert isinstance(error.__cause__, Picky)
    text = str(error)
    assert "task `inner` failed: Picky: 1 x" in text
    assert "direct cause" in text
    assert text.endswith("LookupError: outer")


def test_a_long_chain_is_cut_in_the_middle() -> None:
    error = raising(ValueError("deep"), "f0")
    for number in range(1, 40):
        error = RayTaskError(f"f{number}", "traceback", error)
    text = str(error)
    assert "… 34 more tasks that waited for each other …" in text
    assert "`f0`" in text
    assert "`f39`" in text
    assert "`f20`" not in text
    assert len(text) < 2500


def test_a_broken_str_does_not_hide_the_error() -> None:
    class Awful(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert "Awful: <its str() raised RuntimeError>" in str(raising(Awful()).as_instanceof_cause())


def test_a_hint_is_shown() -> None:
    error = RayTaskError("f", "tb", ValueError("x"), hint="Try less.")
    assert "What to do: Try less." in str(error)
    assert error.hint == "Try less."


def test_ray_style_construction_keeps_every_field() -> None:
    error = RayTaskError("f", "tb", ValueError("x"), "title", 5, "10.0.0.1", "A()", "ab")
    back = pickle.loads(pickle.dumps(error))
    for each in (error, back):
        assert (each.function_name, each.traceback_str, each.proctitle, each.pid) == ("f", "tb", "title", 5)
        assert (each.ip, each.actor_repr, each.actor_id) == ("10.0.0.1", "A()", "ab")
        assert each.message == "task `f` failed: ValueError: x"
        assert repr(each) == "RayTaskError('f', ValueError('x'))"
