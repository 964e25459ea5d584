"""Every reference of a process is found, tracked by the garbage collector or not."""

from __future__ import annotations

import gc

from himalia.cluster.core.holdings import all_references
from himalia.cluster.core.refs import INLINE, ObjectRef

OWNER = b"\x01owner__"


def is_found(ref: ObjectRef) -> bool:
    return any(one is ref for one in all_references()[0])


class Holder:
    ref: ObjectRef


def test_a_reference_that_the_collector_does_not_track_is_found_in_what_holds_it() -> None:
    holder = Holder()
    holder.ref = ObjectRef(OWNER, 1, 0, INLINE, b"small")
    assert not gc.is_tracked(holder.ref)
    assert is_found(holder.ref)
    assert is_found([ObjectRef(OWNER, 2, 0, INLINE, b"small")][0])


def test_a_variable_of_a_function_that_runs_holds_its_reference() -> None:
    ref = ObjectRef(OWNER, 1, 0, INLINE, b"small")
    assert is_found(ref)


def test_what_nobody_holds_is_not_found() -> None:
    ref = ObjectRef(OWNER, 77, 0, INLINE, b"small")
    number = ref._n
    del ref
    assert not [one for one in all_references()[0] if one._w == OWNER and one._n == number]
