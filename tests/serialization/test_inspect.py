"""What can not be pickled is found and named, however deep it is."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest

from himalia.cluster.serialization.inspect import FailureTuple, explain_unpicklable, inspect_serializability


class Slotted:
    __slots__ = ("lock", "number")

    def __init__(self) -> None:
        self.number = 1
        self.lock = threading.Lock()


class Connection:
    def __init__(self, lock: Any = None) -> None:
        self.host = "h"
        self.lock = lock or threading.Lock()


class Reducing:
    def __init__(self) -> None:
        self.inner = Connection()

    def __reduce__(self) -> Any:
        return Reducing._make, (self.inner,)

    @staticmethod
    def _make(inner: Any) -> Any:
        return inner


class WithState:
    def __getstate__(self) -> Any:
        return [1, threading.Lock()]


class Items(list[Any]):
    pass


LOCK = threading.Lock()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (LOCK, "value (a _thread.lock)"),
        ([1, [2, LOCK]], "value[1][1] (a _thread.lock)"),
        ({"a": {3: LOCK}}, "value['a'][3] (a _thread.lock)"),
        ({(1, LOCK): 1}, "a key of value[1] (a _thread.lock)"),
        ({LOCK}, "an element of value (a _thread.lock)"),
        (Connection(), "value.lock (a _thread.lock)"),
        ([Connection()], "value[0].lock (a _thread.lock)"),
        (Slotted(), "value.lock (a _thread.lock)"),
        (Reducing(), "value.inner.lock (a _thread.lock)"),
        (WithState(), "value.__getstate__()[1] (a _thread.lock)"),
        (Items([1, LOCK]), "value[1] (a _thread.lock)"),
        ((i for i in ()), "value (a generator)"),
        (lambda: LOCK, "value, which uses the global LOCK (a _thread.lock)"),
        ([Connection().__init__], "value[0].__self__.lock (a _thread.lock)"),
        (ValueError("x", LOCK), "value.args[1] (a _thread.lock)"),
    ],
)
def test_the_innermost_member_is_named(value: Any, expected: str) -> None:
    if isinstance(value, type(lambda: None)):
        value.__module__ = "__main__"  # by value, as in a notebook
    assert explain_unpicklable(value) == expected


def test_what_can_be_pickled_has_no_explanation() -> None:
    assert explain_unpicklable([1, {"a": (2, None)}]) == ""


def test_the_root_has_the_name_that_is_given() -> None:
    assert explain_unpicklable([Connection()], "args") == "args[0].lock (a _thread.lock)"


def test_closure_variables_are_named() -> None:
    connection = Connection()

    def function() -> Any:
        return connection

    assert explain_unpicklable([function]) == "value[0], which closes over connection.lock (a _thread.lock)"


def test_a_value_that_holds_itself_is_searched_once() -> None:
    value: list[Any] = [Connection()]
    value.insert(0, value)
    assert explain_unpicklable(value) == "value[1].lock (a _thread.lock)"


def test_a_class_that_refuses_is_the_culprit_itself() -> None:
    class Refuses:
        def __reduce__(self) -> Any:
            raise TypeError("never")

    assert explain_unpicklable({"k": Refuses()}).startswith("value['k'] (a ")


def test_a_long_list_is_searched_in_bounded_time() -> None:
    assert explain_unpicklable([object() for _ in range(20_000)] + [LOCK]).startswith("value")


# inspect_serializability ----------------------------------------------------------------------------------------------


def test_inspect_serializability_answers_and_prints_yes(capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect_serializability([1, 2], name="numbers") == (True, set())
    assert capsys.readouterr().out == "Can `numbers` be pickled? Yes.\n"


def test_inspect_serializability_finds_all_innermost_members_with_their_parents() -> None:
    first, second = Connection(), Connection()

    def function() -> Any:
        return first, second

    file = io.StringIO()
    serializable, failures = inspect_serializability(function, print_file=file)
    assert not serializable
    assert {(each.obj is first.lock or each.obj is second.lock, each.name) for each in failures} == {(True, "lock")}
    assert {id(each.parent) for each in failures} == {id(first), id(second)}
    text = file.getvalue()
    assert "which closes over first (a " in text
    assert "first.lock (a _thread.lock): cannot pickle '_thread.lock' object" in text


def test_inspect_serializability_goes_as_deep_as_asked() -> None:
    value = [[[Connection()]]]
    _, failures = inspect_serializability(value, depth=1, print_file=io.StringIO())
    assert [each.obj for each in failures] == [value[0]]
    _, failures = inspect_serializability(value, depth=4, print_file=io.StringIO())
    assert [each.path[1:] for each in failures] == [("0", "0", "0", "lock")]
    assert [each.name for each in failures] == ["lock"]


def test_failures_are_told_apart_by_identity() -> None:
    lock = threading.Lock()
    assert FailureTuple(lock, ("a",), None) == FailureTuple(lock, ("a",), 1)
    assert len({FailureTuple(lock, ("a",), None), FailureTuple(threading.Lock(), ("a",), None)}) == 2
