"""Objects that lie in the memory of others."""

from __future__ import annotations

from himalia.cluster.object_store.lifecycle import PINNED
from himalia.cluster.object_store.records import State
from himalia.cluster.protocol.raylet_messages import FreeObjects, ObjectShared, ShareObject, UnpinObjects
from tests.object_store.steps import DRIVER, KB, WORKER, A, B, pin, put, state, used
from tests.object_store.world import Node


def share(node: Node, of: bytes, source: bytes, offset: int, pin_for: bytes = b"") -> ObjectShared:
    node.tell(WORKER, ShareObject(of, source, offset, pin_for))
    (answer,) = [message for message in node.answers(WORKER) if isinstance(message, ObjectShared)]
    return answer


def test_a_shared_object_takes_no_memory(node: Node) -> None:
    place = put(node, A, 100 * KB, pin_for=WORKER)
    before = used(node)
    assert share(node, B, A, place.offset) == ObjectShared(B, place.offset, place.size)
    assert used(node) == before
    assert state(node, B) is State.SEALED
    answer = pin(node, B)
    assert (answer.status, answer.offset, answer.size) == (PINNED, place.offset, place.size)


def test_the_memory_goes_with_the_last_of_those_that_share_it(node: Node) -> None:
    place = put(node, A, 100 * KB, pin_for=WORKER)
    share(node, B, A, place.offset, DRIVER)
    node.tell(DRIVER, FreeObjects([A]))
    node.tell(WORKER, UnpinObjects([A], [1]))
    assert state(node, A) is None
    assert used(node) > 0
    node.tell(DRIVER, FreeObjects([B]))
    assert used(node) > 0
    node.tell(DRIVER, UnpinObjects([B], [1]))
    assert used(node) == 0


def test_an_object_freed_and_still_pinned_can_be_shared(node: Node) -> None:
    place = put(node, A, 100 * KB, pin_for=WORKER)
    node.tell(DRIVER, FreeObjects([A]))
    assert share(node, B, A, place.offset).offset == place.offset
    assert pin(node, B).status == PINNED


def test_memory_that_is_no_object_any_more_is_not_shared(node: Node) -> None:
    place = put(node, A, 100 * KB)
    node.tell(DRIVER, FreeObjects([A]))
    assert share(node, B, A, place.offset).offset == -1
    assert state(node, B) is None


def test_memory_of_another_object_is_not_shared(node: Node) -> None:
    place = put(node, A, 100 * KB)
    assert share(node, B, A, place.offset + 4096).offset == -1


def test_an_object_freed_before_it_is_shared_stays_freed(node: Node) -> None:
    place = put(node, A, 100 * KB, pin_for=WORKER)
    node.tell(DRIVER, FreeObjects([B]))
    assert share(node, B, A, place.offset).offset == place.offset
    assert state(node, B) is None
    node.tell(DRIVER, FreeObjects([A]))
    node.tell(WORKER, UnpinObjects([A], [1]))
    assert used(node) == 0


def test_each_of_those_that_share_is_spilled_for_itself(node: Node) -> None:
    capacity = node.machine.room.allocator.capacity
    size = capacity // 2
    place = put(node, A, size, pin_for=WORKER)
    share(node, B, A, place.offset)
    node.tell(WORKER, UnpinObjects([A], [1]))
    other = put(node, B[:-4] + b"more", capacity - 64 * KB)
    assert not other.path
    assert (state(node, A), state(node, B)) == (State.SPILLED, State.SPILLED)


def test_the_report_tells_which_objects_share(node: Node) -> None:
    place = put(node, A, 100 * KB, pin_for=WORKER)
    share(node, B, A, place.offset)
    stats = node.machine.stats(detail=True)
    assert dict(zip((row[0] for row in stats.objects), stats.shares, strict=True)) == {A: b"", B: A}
