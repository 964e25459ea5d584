"""A call that Python would refuse is refused before it travels, with Python's words."""

from __future__ import annotations

import functools
import pickle
import timeit
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from himalia.cluster.serialization.signature import CallSignature


def none() -> None: ...
def one(a: int) -> None: ...
def defaults(a: int, b: int = 2, c: int = 3) -> None: ...
def only_keywords(*, a: int, b: int = 2) -> None: ...
def mixed(a: int, /, b: int, *rest: int, c: int, d: int = 4, **more: int) -> None: ...
def positional_only(a: int, b: int = 1, /) -> None: ...
def anything(*args: int, **kwargs: int) -> None: ...
def keywords(a: int = 1, **kwargs: int) -> None: ...


NOTHING = object()


class Counter:
    def __init__(self, start: int, step: int = 1) -> None: ...
    def add(self, n: int, *, twice: bool = False) -> None: ...
    def starred(*args: int) -> None: ...


FUNCTIONS = [none, one, defaults, only_keywords, mixed, positional_only, anything, keywords]


def outcome(call: Callable[..., Any], *args: Any, **kwargs: Any) -> str | None:
    try:
        call(*args, **kwargs)
    except TypeError as error:
        return str(error)
    return None


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(FUNCTIONS),
    st.lists(st.integers(), max_size=5).map(tuple),
    st.dictionaries(st.sampled_from(["a", "b", "c", "d", "x"]), st.integers()),
)
def test_check_refuses_what_the_call_refuses_with_the_same_words(
    function: Callable[..., None], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    check = CallSignature.compile(function).check
    assert outcome(check, args, kwargs) == outcome(function, *args, **kwargs)


@settings(deadline=None)
@given(
    st.sampled_from(["__init__", "add", "starred"]),
    st.lists(st.integers(), max_size=4).map(tuple),
    st.dictionaries(st.sampled_from(["start", "n", "twice", "self"]), st.integers()),
)
def test_self_is_given_by_us(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    method = getattr(Counter, name)
    check = CallSignature.compile(method, skip_self=True).check
    assert outcome(check, args, kwargs) == outcome(method, object.__new__(Counter), *args, **kwargs)


def test_the_message_names_the_function() -> None:
    with pytest.raises(TypeError, match=r"one\(\) takes 1 positional argument but 2 were given"):
        CallSignature.compile(one).check((1, 2), {})
    with pytest.raises(TypeError, match=r"Counter\.add\(\) missing 1 required positional argument: 'n'"):
        CallSignature.compile(Counter.add, skip_self=True).check((), {})
    with pytest.raises(TypeError, match=r"trainer\(\) got an unexpected keyword argument 'z'"):
        CallSignature.compile(one, name="trainer").check((1,), {"z": 1})


def test_parameters_leave_out_self() -> None:
    assert [each.name for each in CallSignature.compile(Counter.add, skip_self=True).parameters or ()] == ["n", "twice"]
    assert [each.name for each in CallSignature.compile(Counter.starred, skip_self=True).parameters or ()] == ["args"]


def test_a_wrapper_is_checked_by_its_own_parameters() -> None:
    @functools.wraps(one)
    def wrapper(*args: Any) -> None: ...

    signature = CallSignature.compile(wrapper)
    signature.check((1, 2, 3), {})
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        signature.check((), {"a": 1})


def test_partials_builtins_and_callable_objects_are_checked_as_far_as_they_tell() -> None:
    signature = CallSignature.compile(functools.partial(defaults, 1))
    signature.check((2, 3), {})
    with pytest.raises(TypeError):
        signature.check((2, 3, 4), {})
    CallSignature.compile(max).check((1, 2), {"key": abs})
    CallSignature.compile(dict).check((), {"anything": 1})
    with pytest.raises(TypeError):
        CallSignature.compile(len).check((), {})


class Empty: ...


class Derived(Counter): ...


class ByNew:
    def __new__(cls, a: int) -> ByNew:
        return super().__new__(cls)


class Meta(type):
    def __call__(cls, *args: Any) -> Any:
        return super().__call__()


class ByMeta(metaclass=Meta): ...


class Dictionary(dict[str, int]): ...


@settings(deadline=None)
@given(
    st.sampled_from([Empty, Counter, Derived, ByNew, ByMeta]),
    st.lists(st.integers(), max_size=3).map(tuple),
    st.dictionaries(st.sampled_from(["start", "a"]), st.integers(), max_size=1),
)
def test_classes_are_checked_by_what_makes_their_instances(
    cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    if cls is ByMeta:  # a metaclass may take what it likes: the worker finds out
        kwargs = {}
    assert outcome(CallSignature.compile_class(cls).check, args, kwargs) == outcome(cls, *args, **kwargs)


def test_a_class_derived_from_a_builtin_takes_what_that_takes() -> None:
    CallSignature.compile_class(Dictionary).check(({"a": 1},), {"b": 2})


def test_defaults_do_not_have_to_be_expressions() -> None:
    def function(a: Any = NOTHING, *, b: Any = lambda: None) -> None: ...

    CallSignature.compile(function).check((), {"b": 1})


def test_a_signature_travels_without_its_defaults() -> None:
    def function(a: int, lock: Any = one, *, b: int = 3) -> None: ...

    back = pickle.loads(pickle.dumps(CallSignature.compile(function)))
    back.check((1,), {"b": 2})
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'a'"):
        back.check((), {})


def test_positional_calls_cost_a_comparison() -> None:
    check = CallSignature.compile(defaults).check
    args: tuple[Any, ...] = (1, 2)
    kwargs: dict[str, Any] = {}
    ours = min(timeit.repeat(lambda: check(args, kwargs), number=2000, repeat=15))
    floor = min(timeit.repeat(lambda: one(1), number=2000, repeat=15))
    assert ours < 4 * floor
