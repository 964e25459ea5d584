"""From names to what they keep alive."""

from __future__ import annotations

import functools
from collections import deque, namedtuple
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from himalia.cluster.core import holders
from himalia.cluster.core.holders import Holder, Kind, Root, find_holders
from himalia.cluster.core.refs import ObjectRef

OWNER = b"owner001"


def ref(number: int = 1) -> ObjectRef:
    return ObjectRef(OWNER, number)


def found(wanted: ObjectRef, **variables: Any) -> list[Holder]:
    roots = [Root(Kind.VARIABLE, name, value) for name, value in variables.items()]
    by_key, complete = find_holders(roots, {id(wanted): "it"}, [])
    assert complete
    return by_key.get("it", [])


def paths(wanted: ObjectRef, **variables: Any) -> list[str]:
    return [holder.path for holder in found(wanted, **variables)]


def test_a_variable_holds_its_reference() -> None:
    it = ref()
    assert found(it, a=it, b=ref(2)) == [Holder(Kind.VARIABLE, "a", "", "a", False)]


Pair = namedtuple("Pair", "left right")


class Model:
    def __init__(self, weights: Any) -> None:
        self.weights = weights

    def method(self) -> None: ...


class Slotted:
    __slots__ = ("inside",)

    def __init__(self, inside: Any) -> None:
        self.inside = inside


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda it: [0, 1, 2, it], "x[3]"),
        (lambda it: {"k": (1, it)}, "x['k'][1]"),
        (lambda it: deque([it]), "x[0]"),
        (lambda it: Model({"w": it}), "x.weights['w']"),
        (lambda it: Pair(1, it), "x.right"),
        (lambda it: SimpleNamespace(a=it), "x.a"),
        (lambda it: functools.partial(print, 1, it), "x(argument 1)"),
        (lambda it: {it}, "x"),
        (Slotted, "x"),
        (lambda it: Model(it).method, "x.__self__.weights"),
        (lambda it: np.array([None, it], dtype=object), "x[1]"),
    ],
)
def test_a_path_leads_through_containers(make: Callable[[ObjectRef], Any], path: str) -> None:
    it = ref()
    assert paths(it, x=make(it)) == [path]


def test_a_closure_is_named_with_its_variable() -> None:
    it = ref()
    results = [it]

    def use() -> Any:
        return results

    [holder] = found(it, fs={"use": use})
    assert (holder.kind, holder.path, holder.variable, holder.root) == (Kind.CLOSURE, "fs['use']", "results[0]", "fs")


def test_a_default_argument_holds_too() -> None:
    it = ref()

    def use(value: Any = it) -> Any:
        return value

    [holder] = found(it, use=use)
    assert (holder.kind, holder.variable) == (Kind.CLOSURE, "a default argument")


def test_all_names_of_one_container_are_told_each_by_its_shortest_path() -> None:
    it = ref()
    shared = [it]
    assert paths(it, a={"deep": {"er": shared}, "flat": shared}, b=shared, c=it) == ["a['flat'][0]", "b[0]", "c"]


def test_a_circle_ends() -> None:
    it = ref()
    ring: list[Any] = [it]
    ring.append(ring)
    assert paths(it, ring=ring) == ["ring[0]"]


def test_a_value_is_known_by_its_memory_also_a_slice_of_it() -> None:
    memory = np.zeros(1000, np.uint8)
    start = memory.__array_interface__["data"][0]
    other = np.zeros(10)
    roots = [Root(Kind.OUT, "Out[5]", memory), Root(Kind.VARIABLE, "x", {"part": memory[500:600]})]
    roots += [Root(Kind.VARIABLE, "other", other), Root(Kind.VARIABLE, "view", memoryview(memory)[3:])]
    by_key, _ = find_holders(roots, {}, [(start, start + 1000, "it")])
    assert sorted(holder.path for holder in by_key["it"] if holder.is_value) == ["Out[5]", "view", "x['part']"]
    assert len(by_key.pop("it")) == 3
    assert by_key == {}


def test_what_can_not_be_looked_at_is_passed_over() -> None:
    class Hostile:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

        def __iter__(self) -> Any:
            raise RuntimeError("no")

    it = ref()
    assert paths(it, hostile=Hostile(), a=it) == ["a"]


def test_too_much_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holders, "LIMIT", 10)
    roots = [Root(Kind.VARIABLE, "many", list(range(100)))]
    assert find_holders(roots, {}, []) == ({}, False)


def test_a_long_key_is_cut() -> None:
    it = ref()
    [path] = paths(it, x={"k" * 500: it})
    assert len(path) < 80
