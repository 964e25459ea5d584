"""The table of references to objects of others."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from himalia.cluster.core.borrowed import Borrowed
from himalia.cluster.core.refs import ObjectRef, drops, ref_from_id
from tests.core.owner import OTHER, address


@pytest.fixture
def table() -> Iterator[Borrowed]:
    drops.clear()
    table = Borrowed()
    yield table
    table.clear()
    drops.clear()


def theirs(counter: int = 1) -> ObjectRef:
    return ref_from_id(ObjectRef(OTHER, counter).binary(), address(OTHER))


def test_a_reference_is_found_as_long_as_it_lives(table: Borrowed) -> None:
    ref = table.add(theirs())
    object_id = ref.binary()
    assert table.get(object_id) is ref
    assert object_id in table
    assert list(table) == [object_id]
    assert table.values() == [ref]
    del ref
    assert table.get(object_id) is None
    assert object_id not in table
    assert not len(table)


def test_its_end_is_noted_once(table: Borrowed) -> None:
    ref = table.add(theirs())
    extra = ref._x
    assert not drops
    del ref
    assert list(drops) == [extra]


def test_the_end_of_one_in_a_cycle_is_noted_too(table: Borrowed) -> None:
    cycle: list[object] = [table.add(theirs())]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert len(drops) == 1


def test_of_two_that_were_made_at_once_the_first_is_used_and_the_other_is_nothing(table: Borrowed) -> None:
    first, second = theirs(), theirs()
    assert table.add(first) is first
    assert table.add(second) is first
    del second
    assert not drops
    assert table.values() == [first]


def test_the_end_of_one_leaves_what_came_again_in_its_place(table: Borrowed) -> None:
    before = table.add(theirs())
    del before
    again = table.add(theirs())
    table.forget(drops.pop())
    assert table.values() == [again]
    extra = again._x
    assert extra is not None
    table.forget(extra)
    assert not table.values()


def test_after_the_end_of_a_session_nothing_is_noted(table: Borrowed) -> None:
    ref = table.add(theirs())
    table.clear()
    del ref
    assert not drops
