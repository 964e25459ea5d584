"""Memory is short: objects go to disk and come back, writers wait, and at last an error says who holds it."""

from __future__ import annotations

from himalia.cluster.object_store.events import MakeFallback, ReadSpill, WriteSpill
from himalia.cluster.object_store.lifecycle import FREED, LOST, NO_ROOM, PINNED, SEAL_WAIT
from himalia.cluster.object_store.records import State
from himalia.cluster.object_store.room import FALLBACK_AFTER
from himalia.cluster.protocol.common import Address
from himalia.cluster.protocol.raylet_messages import (
    CreateObject,
    FreeObjects,
    ObjectCreated,
    PinObjects,
    ReleasePins,
    UnpinObjects,
)
from tests.object_store.steps import (
    DRIVER,
    KB,
    WORKER,
    A,
    B,
    C,
    pin,
    pinned,
    put,
    reads,
    seal,
    state,
    used,
)
from tests.object_store.world import Node, World, content, object_id


def test_unpinned_objects_are_spilled_to_make_room_and_come_back(node: Node) -> None:
    put(node, A, 600 * KB)
    put(node, B, 600 * KB)
    assert state(node, A) is State.SPILLED
    answer = pin(node, A)
    assert answer.status == PINNED
    assert reads(node, answer)
    assert state(node, B) is State.SPILLED
    node.tell(DRIVER, FreeObjects([A, B]))
    node.tell(DRIVER, UnpinObjects([A], [1]))
    assert used(node) == 0
    assert not node.disk.files


def test_the_least_recently_used_is_spilled_first(node: Node) -> None:
    for of in (A, B, C):
        put(node, of, 300 * KB)
    pin(node, A)
    node.tell(DRIVER, UnpinObjects([A], [1]))
    put(node, object_id(DRIVER, 4), 300 * KB)
    assert [state(node, of) for of in (A, B, C)] == [State.SEALED, State.SPILLED, State.SEALED]


def test_what_was_restored_is_dropped_without_being_written_again(node: Node) -> None:
    put(node, A, 600 * KB)
    put(node, B, 600 * KB)
    pin(node, A)
    node.tell(DRIVER, UnpinObjects([A], [1]))
    spilled = node.machine.relief.spilled_bytes
    pin(node, B)
    assert state(node, A) is State.SPILLED
    assert node.machine.relief.spilled_bytes == spilled


def test_an_object_pinned_while_it_is_spilled_stays(node: Node) -> None:
    put(node, A, 600 * KB)
    commands = node.tell(DRIVER, CreateObject(B, 600 * KB, Address(DRIVER)))
    assert any(isinstance(command, WriteSpill) for command in commands)
    node.tell(WORKER, PinObjects([A], [[]]))
    (answer,) = pinned(node, WORKER)
    node.world.settle()
    assert state(node, A) is State.SEALED
    assert reads(node, answer)


def test_an_object_freed_while_it_is_spilled_leaves_no_file(node: Node) -> None:
    put(node, A, 600 * KB)
    node.tell(DRIVER, CreateObject(B, 600 * KB, Address(DRIVER)))
    assert state(node, A) is State.SPILLING
    node.tell(DRIVER, FreeObjects([A]))
    node.world.settle()
    assert not node.disk.files
    assert state(node, B) is State.CREATED


def test_an_object_freed_while_it_is_restored_leaves_nothing(node: Node) -> None:
    put(node, A, 600 * KB)
    put(node, B, 600 * KB)
    node.tell(DRIVER, FreeObjects([B]))
    commands = node.tell(DRIVER, PinObjects([A], [[]]))
    assert any(isinstance(command, ReadSpill) for command in commands)
    node.tell(DRIVER, FreeObjects([A]))
    node.world.settle()
    assert used(node) == 0
    assert not node.disk.files
    assert [answer.status for answer in pinned(node)] == [FREED]


def test_pins_kept_for_speed_are_asked_for(node: Node) -> None:
    put(node, A, 600 * KB, pin_for=DRIVER)
    node.answers(DRIVER)
    node.tell(WORKER, CreateObject(B, 600 * KB, Address(WORKER)))
    assert ReleasePins() in node.answers(DRIVER)
    node.tell(DRIVER, UnpinObjects([A], [1]))
    node.world.settle()
    assert state(node, A) is State.SPILLED
    assert state(node, B) is State.CREATED


def test_a_writer_waits_for_memory_that_is_freed(node: Node) -> None:
    put(node, A, 600 * KB, pin_for=DRIVER)
    node.tell(WORKER, CreateObject(B, 600 * KB, Address(WORKER)))
    assert not [m for m in node.answers(WORKER) if isinstance(m, ObjectCreated)]
    node.tell(DRIVER, FreeObjects([A]))
    node.tell(DRIVER, UnpinObjects([A], [1]))
    assert [m.object_id for m in node.answers(WORKER) if isinstance(m, ObjectCreated)] == [B]


def test_small_requests_do_not_pass_a_large_one(node: Node) -> None:
    put(node, A, 600 * KB, pin_for=DRIVER)
    node.tell(WORKER, CreateObject(B, 600 * KB, Address(WORKER)))
    node.tell(WORKER, CreateObject(C, KB, Address(WORKER)))
    assert not [m for m in node.answers(WORKER) if isinstance(m, ObjectCreated)]


def test_who_waits_too_long_gets_a_file(world: World, node: Node) -> None:
    put(node, A, 600 * KB, pin_for=DRIVER)
    node.tell(WORKER, CreateObject(B, 600 * KB, Address(WORKER)))
    world.pass_time(FALLBACK_AFTER + 0.5)
    (place,) = [m for m in node.answers(WORKER) if isinstance(m, ObjectCreated)]
    assert place.path
    node.view(0, place.size, place.path)[:] = content(B, 0, place.size)[: place.size]
    seal(node, B, WORKER)
    assert reads(node, pin(node, B))
    assert node.machine.stats(detail=False).fallback == 600 * KB
    node.tell(DRIVER, FreeObjects([B]))
    node.tell(DRIVER, UnpinObjects([B], [1]))
    assert not node.disk.files


def test_the_next_to_wait_for_the_same_memory_waits_less(world: World, node: Node) -> None:
    put(node, A, 600 * KB, pin_for=DRIVER)
    node.tell(WORKER, CreateObject(B, 600 * KB, Address(WORKER)))
    world.pass_time(FALLBACK_AFTER + 0.5)
    node.answers(WORKER)
    node.tell(WORKER, CreateObject(C, 600 * KB, Address(WORKER)))
    world.pass_time(0.5)
    assert [m.object_id for m in node.answers(WORKER) if isinstance(m, ObjectCreated)] == [C]


def test_what_is_larger_than_the_arena_gets_a_file_at_once(node: Node) -> None:
    commands = node.tell(DRIVER, CreateObject(A, 2 << 20, Address(DRIVER)))
    assert any(isinstance(command, MakeFallback) for command in commands)


def test_without_room_anywhere_the_error_names_the_largest_holders(world: World, node: Node) -> None:
    put(node, A, 600 * KB, pin_for=DRIVER)
    put(node, object_id(WORKER, 1), 200 * KB, by=WORKER, pin_for=WORKER)
    node.disk.room = 0
    node.tell(WORKER, CreateObject(B, 600 * KB, Address(WORKER)))
    world.pass_time(FALLBACK_AFTER + 0.5)
    (answer,) = [m for m in node.answers(WORKER) if isinstance(m, ObjectCreated)]
    assert "no room for 614400 bytes" in answer.error
    assert "No space left on device" in answer.error
    assert answer.holders == [(DRIVER.hex(), 600 * KB), (WORKER.hex(), 200 * KB)]
    assert (answer.capacity, answer.used) == (1 << 20, 800 * KB)
    assert state(node, B) is not State.CREATED


def test_a_disk_that_is_full_stops_spilling_for_a_while(world: World, node: Node) -> None:
    put(node, A, 600 * KB)
    node.disk.room = 0
    node.tell(DRIVER, CreateObject(B, 600 * KB, Address(DRIVER)))
    world.pass_time(FALLBACK_AFTER + 1)
    (answer,) = [m for m in node.answers(DRIVER) if isinstance(m, ObjectCreated)]
    assert "spilling failed" in answer.error
    assert sum("could not spill" in text for text in node.warnings) == 1
    assert state(node, A) is State.SEALED
    assert reads(node, pin(node, A))


def test_a_full_shared_memory_is_spilled_like_a_full_arena(world: World, node: Node) -> None:
    node.shared_memory = 700 * KB
    put(node, A, 600 * KB)
    put(node, B, 600 * KB)
    assert (state(node, A), state(node, B)) == (State.SPILLED, State.SEALED)
    assert node.machine.room.allocator.limit == 700 * KB
    assert any("cannot grow" in text for text in node.warnings)


def test_a_restore_without_room_tells_those_who_wait_and_keeps_the_object(world: World, node: Node) -> None:
    put(node, A, 600 * KB)
    put(node, B, 600 * KB, pin_for=DRIVER)
    node.disk.room = 0
    node.tell(WORKER, PinObjects([A], [[]]))
    world.pass_time(FALLBACK_AFTER + 0.5)
    (answer,) = pinned(node, WORKER)
    assert answer.status == NO_ROOM
    assert "no room" in answer.error
    assert state(node, A) is State.SPILLED


def test_a_spilled_object_whose_file_is_gone_is_lost(world: World, node: Node) -> None:
    put(node, A, 600 * KB)
    put(node, B, 600 * KB)
    node.disk.files.clear()
    assert pin(node, A, WORKER).status == LOST
    world.pass_time(SEAL_WAIT + 1)
    assert state(node, A) is None
