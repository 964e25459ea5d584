"""What processes do with the object store of a node on paper: write, seal, pin, and look at what came back."""

from __future__ import annotations

from himalia.cluster.object_store.records import State
from himalia.cluster.protocol.common import Address
from himalia.cluster.protocol.raylet_messages import (
    CreateObject,
    CreateSlab,
    ObjectCreated,
    ObjectPinned,
    ObjectsPinned,
    PinObjects,
    SealedObject,
    SealObjects,
    SlabCreated,
)
from tests.object_store.world import Node, content, object_id, process_id

KB = 1024
DRIVER, WORKER = process_id(0), process_id(1)
A, B, C = (object_id(DRIVER, number) for number in (1, 2, 3))


def create(node: Node, of: bytes, size: int, by: bytes = DRIVER) -> ObjectCreated:
    node.tell(by, CreateObject(of, size, Address(by)))
    node.world.settle()
    (answer,) = [message for message in node.answers(by) if isinstance(message, ObjectCreated)]
    assert answer.object_id == of
    return answer


def seal(node: Node, of: bytes, by: bytes = DRIVER, pin_for: bytes = b"") -> None:
    node.tell(by, SealObjects([SealedObject(of, pin_for)]))


def put(node: Node, of: bytes, size: int = 100 * KB, by: bytes = DRIVER, pin_for: bytes = b"") -> ObjectCreated:
    """Write an object and seal it."""
    place = create(node, of, size, by)
    assert not place.error, place
    node.view(place.offset, size, place.path)[:] = content(of, 0, size)[:size]
    seal(node, of, by, pin_for)
    return place


def pinned(node: Node, by: bytes = DRIVER) -> list[ObjectPinned]:
    return [o for message in node.answers(by) if isinstance(message, ObjectsPinned) for o in message.objects]


def pin(node: Node, of: bytes, by: bytes = DRIVER) -> ObjectPinned:
    """Pin an object, letting everything end that this needs."""
    node.tell(by, PinObjects([of], [[]]))
    node.world.settle()
    (answer,) = pinned(node, by)
    return answer


def state(node: Node, of: bytes) -> State | None:
    record = node.machine.index.get(of)
    return None if record is None else record.state


def used(node: Node) -> int:
    return node.machine.room.allocator.used


def reads(node: Node, answer: ObjectPinned, version: int = 0) -> bool:
    view = node.view(answer.offset, answer.size, answer.path)
    return bytes(view) == content(answer.object_id, version, answer.size)[: answer.size]


def slab(node: Node, size: int, by: bytes = WORKER, number: int = 1) -> SlabCreated:
    node.tell(by, CreateSlab(number, size))
    node.world.settle()
    (answer,) = [message for message in node.answers(by) if isinstance(message, SlabCreated)]
    return answer
