"""Exceptions are taken apart and put together without their constructors."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from himalia.cluster.protocol.exception_state import can_make, can_rebuild, copy_state, new_exception, reduce_exception


class _Reduced:
    """Pickles as an exception, by our way."""

    def __init__(self, exc: BaseException, chain: bool) -> None:
        self.exc, self.chain = exc, chain

    def __reduce__(self) -> Any:
        return reduce_exception(self.exc, chain=self.chain)


def round_trip(exc: BaseException, *, chain: bool = True) -> Any:
    assert can_rebuild(type(exc))
    return pickle.loads(pickle.dumps(_Reduced(exc, chain)))


class TwoArguments(Exception):
    def __init__(self, first: int, second: str) -> None:
        super().__init__(f"{first}{second}")
        self.first = first


class KeywordsOnly(OSError):
    def __init__(self, *, path: str) -> None:
        super().__init__(5, "cannot", path)
        self.path = path


class Slotted(Exception):
    __slots__ = ("code", "unset")

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


class OwnNew(ValueError):
    def __new__(cls, one: int, two: int) -> OwnNew:
        return super().__new__(cls, one)

    def __init__(self, one: int, two: int) -> None:
        self.two = two


class Frozen(Exception):
    def __setattr__(self, name: str, value: object) -> None:
        if name.startswith("__"):
            return super().__setattr__(name, value)
        raise AttributeError("frozen")


class OwnGroup(ExceptionGroup[Exception]):
    def __new__(cls, errors: list[Exception], code: int) -> OwnGroup:
        return super().__new__(cls, "own", errors)

    def __init__(self, errors: list[Exception], code: int) -> None:
        self.code = code


class OwnReduce(Exception):
    def __reduce__(self) -> Any:
        return OwnReduce, ()


@pytest.mark.parametrize(
    "exc",
    [
        Exception(),
        TwoArguments(1, "x"),
        KeywordsOnly(path="/p"),
        Slotted(3),
        OwnNew(1, 2),
        OSError(2, "no", "a", None, "b"),
        UnicodeDecodeError("utf-8", b"ab", 0, 1, "bad"),
        UnicodeEncodeError("ascii", "ä", 0, 1, "bad"),
        SyntaxError("bad", ("file", 1, 2, "text", 1, 3)),
        StopIteration(5),
        SystemExit(4),
        ImportError("no", name="n", path="p"),
        NameError("no", name="n"),
        KeyError("k"),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_every_kind_comes_back_with_text_arguments_and_members(exc: BaseException) -> None:
    back = round_trip(exc)
    assert type(back) is type(exc)
    assert (str(back), back.args) == (str(exc), exc.args)
    assert vars(back) == vars(exc)
    for name in ("errno", "strerror", "filename", "filename2", "start", "object", "lineno", "text", "value", "code"):
        assert getattr(back, name, None) == getattr(exc, name, None)
    for name in ("name", "path", "reason", "encoding"):
        assert getattr(back, name, None) == getattr(exc, name, None)


def test_groups_come_back_with_their_exceptions_also_with_a_constructor_of_their_own() -> None:
    for group in (ExceptionGroup("g", [ValueError(1), TwoArguments(1, "x")]), OwnGroup([ValueError(1)], 7)):
        plain = ExceptionGroup(group.message, [ValueError(1)]) if isinstance(group, ExceptionGroup) else group
        back = round_trip(OwnGroup([ValueError(1)], 7) if isinstance(group, OwnGroup) else plain)
        assert type(back) is (OwnGroup if isinstance(group, OwnGroup) else ExceptionGroup)
        assert back.message == group.message
        assert [str(each) for each in back.exceptions] == ["1"]
    assert round_trip(OwnGroup([ValueError(1)], 7)).code == 7


def test_the_explicit_cause_comes_along_unless_it_is_left_out() -> None:
    exc = ValueError("a")
    exc.__cause__ = KeyError("b")
    assert isinstance(round_trip(exc).__cause__, KeyError)
    assert round_trip(exc).__suppress_context__
    assert round_trip(exc, chain=False).__cause__ is None


def test_notes_come_along() -> None:
    exc = ValueError("a")
    exc.add_note("n")
    assert round_trip(exc).__notes__ == ["n"]


def test_the_object_that_lacks_an_attribute_stays_behind() -> None:
    with pytest.raises(AttributeError) as caught:
        (lambda: None).missing  # type: ignore[attr-defined] # noqa: B018 - a lambda can not be pickled
    assert caught.value.obj is not None
    assert round_trip(caught.value).obj is None


def test_an_exception_that_refers_to_itself_comes_back() -> None:
    exc = ValueError("a")
    exc.me = exc  # type: ignore[attr-defined]
    back = round_trip(exc)
    # Reduced through a stand-in here; within our pickler the exception itself is remembered.
    assert isinstance(back.me, ValueError)


def test_who_says_how_it_is_reduced_is_left_alone() -> None:
    assert not can_rebuild(OwnReduce)
    assert can_make(OwnReduce)
    assert can_rebuild(Frozen)


def test_exceptions_of_c_extensions_are_left_alone() -> None:
    pydantic_core = pytest.importorskip("pydantic_core")
    assert not can_make(pydantic_core.ValidationError)


def test_state_is_copied_around_setattr() -> None:
    exc = Frozen("x")
    exc.__dict__["value"] = 3
    copy = new_exception(Frozen, exc, exc.args)
    copy_state(exc, copy)
    assert vars(copy) == {"value": 3}


@given(st.lists(st.integers() | st.text()).map(tuple))
def test_any_arguments_are_kept(args: tuple[Any, ...]) -> None:
    assert round_trip(ValueError(*args)).args == args
