"""References inside values are seen on their way out and on their way in, each by the call they belong to."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from himalia.cluster.serialization import context
from himalia.cluster.serialization.error_values import deserialize_error, serialize_error
from himalia.cluster.serialization.functions import export_function, import_function
from himalia.cluster.serialization.values import deserialize, serialize, serialize_args
from himalia.exceptions import RayTaskError


class Ref:
    """A stand-in for `ObjectRef`, which `core` defines."""

    def __init__(self, id_bytes: bytes, owner: Any = None) -> None:
        self.id_bytes = id_bytes
        self.owner = owner

    def __reduce__(self) -> tuple[Any, ...]:
        context.note_ref(self)
        return context.rebuild_ref, (self.id_bytes, self.owner)


@pytest.fixture(autouse=True)
def factory() -> Iterator[None]:
    context.set_ref_factory(Ref)
    yield
    context.set_ref_factory(None)
    context.set_out_of_band_hook(None)


def test_references_anywhere_in_a_value_are_returned_in_their_order() -> None:
    first, second = Ref(b"1", ("ipc", 1)), Ref(b"2")
    packed = serialize({"deep": [{"er": (first,)}], "last": second})
    assert list(packed.refs) == [first, second]


def test_references_made_by_deserialize_are_given_back() -> None:
    made: list[Any] = []
    packed = serialize([Ref(b"1", ("ipc", 1)), 5])
    value = deserialize(packed.data, packed.buffers, made)
    assert made == [value[0]]
    assert (made[0].id_bytes, made[0].owner) == (b"1", ("ipc", 1))


def test_a_bare_reference_and_one_in_the_arguments_are_seen() -> None:
    ref = Ref(b"1")
    assert list(serialize(ref).refs) == [ref]
    assert list(serialize_args((1, [ref]), {}).refs) == [ref]
    assert list(serialize_args((), {"k": [ref]}).refs) == [ref]


def test_plain_values_have_no_references() -> None:
    assert not serialize((1, 2)).refs
    assert not serialize([[1]]).refs


def test_a_reference_pickled_by_others_goes_to_the_hook() -> None:
    seen: list[Any] = []
    context.set_out_of_band_hook(seen.append)
    ref = Ref(b"1")
    pickle.dumps(ref)
    copy.deepcopy(ref)
    assert seen == [ref, ref]
    serialize([ref])
    assert len(seen) == 2


def test_a_serialize_within_a_serialize_keeps_its_references_apart() -> None:
    inner_ref, outer_ref = Ref(b"i"), Ref(b"o")
    inner: list[Any] = []

    class Nested:
        def __reduce__(self) -> tuple[Any, ...]:
            inner.extend(serialize([inner_ref]).refs)
            return str, ("nested",)

    packed = serialize([Nested(), outer_ref])
    assert inner == [inner_ref]
    assert list(packed.refs) == [outer_ref]


def test_a_deserialize_within_a_deserialize_keeps_its_references_apart() -> None:
    packed = serialize([Ref(b"i")])
    inner: list[Any] = []
    outer: list[Any] = []
    deserialize(serialize([_Opener(packed.data, inner), Ref(b"o")]).data, (), outer)
    assert [ref.id_bytes for ref in outer] == [b"o"]
    deserialize(serialize([_Opener(packed.data, None), Ref(b"o")]).data, (), outer)
    assert [ref.id_bytes for ref in outer] == [b"o", b"o"]


def _open(data: bytes, refs: list[Any] | None) -> Any:
    return deserialize(data, (), refs)


class _Opener:
    def __init__(self, data: bytes, refs: list[Any] | None) -> None:
        self.data, self.refs = data, refs

    def __reduce__(self) -> tuple[Any, ...]:
        return _open, (self.data, self.refs)


def test_threads_do_not_see_the_references_of_each_other() -> None:
    ready = threading.Barrier(2)
    found: dict[bytes, list[bytes]] = {}

    class Waits:
        def __reduce__(self) -> tuple[Any, ...]:
            ready.wait(10)
            return int, (0,)

    def run(name: bytes) -> None:
        found[name] = [ref.id_bytes for ref in serialize([Waits(), Ref(name), Waits()]).refs]

    threads = [threading.Thread(target=run, args=(name,)) for name in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {b"a": [b"a"], b"b": [b"b"]}


def test_a_failure_ends_the_collecting() -> None:
    seen: list[Any] = []
    context.set_out_of_band_hook(seen.append)
    with pytest.raises(TypeError):
        serialize([Ref(b"1"), threading.Lock()])
    seen.clear()
    pickle.dumps(Ref(b"2"))
    assert [ref.id_bytes for ref in seen] == [b"2"]


def test_finding_what_can_not_be_pickled_reports_no_references() -> None:
    seen: list[Any] = []
    context.set_out_of_band_hook(seen.append)
    with pytest.raises(TypeError):
        serialize([Ref(b"1"), threading.Lock()])
    assert seen == []


def test_a_function_tells_of_the_references_it_closes_over() -> None:
    ref = Ref(b"1")
    exported = export_function(lambda: ref)
    assert exported.refs == (ref,)
    assert import_function(exported.payload)().id_bytes == b"1"


def test_references_within_an_exception_are_seen_both_ways() -> None:
    seen: list[Any] = []
    context.set_out_of_band_hook(seen.append)
    ref = Ref(b"1")
    error = RayTaskError("f", "traceback", ValueError("lost", ref))
    packed = serialize_error(error)
    assert list(packed.refs) == [ref]
    assert not packed.buffers
    made: list[Any] = []
    back = deserialize_error(packed.data, (), made)
    assert isinstance(back, RayTaskError)
    assert made == [back.cause.args[1]]
    assert seen == []


def test_a_reference_without_a_cluster_says_what_to_do() -> None:
    packed = serialize(Ref(b"\x01"))
    context.set_ref_factory(None)
    with pytest.raises(RuntimeError, match=r"\(01\).*himalia\.init"):
        deserialize(packed.data, packed.buffers)
