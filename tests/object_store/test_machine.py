"""The life of objects on one node: events in, commands out."""

from __future__ import annotations

import pytest

from himalia.cluster.object_store.events import MakeFallback, ReadSpill, Send, WriteSpill
from himalia.cluster.object_store.lifecycle import FREED, LOST, NO_ROOM, PINNED, SEAL_WAIT
from himalia.cluster.object_store.machine import LATE_SEAL
from himalia.cluster.object_store.records import TABLE, IllegalTransition, Record, State, Trigger, move
from himalia.cluster.object_store.room import FALLBACK_AFTER
from himalia.cluster.protocol.common import Address
from himalia.cluster.protocol.raylet_messages import (
    CreateObject,
    CreateSlab,
    FreeObjects,
    ObjectCreated,
    ObjectPinned,
    ObjectsPinned,
    PinObjects,
    ReleasePins,
    ReturnSlab,
    SealedObject,
    SealObjects,
    SlabCreated,
    StoreStats,
    StoreStatsRequest,
    UnpinObjects,
)
from tests.object_store.world import Node, World, content, object_id, process_id

KB = 1024
DRIVER, WORKER = process_id(0), process_id(1)
A, B, C = (object_id(DRIVER, number) for number in (1, 2, 3))


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def node(world: World) -> Node:
    return world[0]


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


# -- writing and reading -----------------------------------------------------------------------------------------------


def test_an_object_is_created_sealed_pinned_and_freed(node: Node) -> None:
    put(node, A, 100 * KB, pin_for=DRIVER)
    answer = pin(node, A, WORKER)
    assert answer.status == PINNED
    assert reads(node, answer)
    node.tell(DRIVER, FreeObjects([A]))
    assert state(node, A) is State.FREED
    assert pin(node, A, WORKER).status == FREED
    node.tell(WORKER, UnpinObjects([A], [1]))
    assert used(node) > 0
    node.tell(DRIVER, UnpinObjects([A], [1]))
    assert used(node) == 0
    assert state(node, A) is None


def test_a_pin_waits_for_the_seal(node: Node) -> None:
    create(node, A, KB)
    node.tell(WORKER, PinObjects([A], [[]]))
    assert not pinned(node, WORKER)
    seal(node, A)
    (answer,) = pinned(node, WORKER)
    assert answer.status == PINNED
    assert answer.size == KB


def test_answers_to_one_process_travel_in_one_message(node: Node) -> None:
    for of in (A, B):
        put(node, of)
    node.tell(DRIVER, PinObjects([A, B], [[], []]))
    (message,) = node.answers(DRIVER)
    assert [answer.object_id for answer in message.objects] == [A, B]


def test_several_pins_of_a_process_are_counted(node: Node) -> None:
    put(node, A, pin_for=WORKER)
    pin(node, A, WORKER)
    node.tell(DRIVER, FreeObjects([A]))
    node.tell(WORKER, UnpinObjects([A], [1]))
    assert used(node) > 0
    node.tell(WORKER, UnpinObjects([A], [1]))
    assert used(node) == 0


def test_a_pin_of_what_nobody_has_is_lost_after_a_while(world: World, node: Node) -> None:
    node.tell(DRIVER, PinObjects([A], [[node.id]]))
    world.pass_time(SEAL_WAIT - 0.5)
    assert not pinned(node)
    world.pass_time(1)
    assert [answer.status for answer in pinned(node)] == [LOST]
    assert state(node, A) is None


def test_a_writer_that_frees_gives_the_writing_up(node: Node) -> None:
    create(node, A, KB)
    node.tell(DRIVER, FreeObjects([A]))
    assert used(node) == 0
    assert state(node, A) is None


def test_an_object_freed_while_another_process_writes_it_goes_with_its_seal(node: Node) -> None:
    create(node, A, KB, by=WORKER)
    node.tell(DRIVER, FreeObjects([A]))
    assert used(node) > 0
    seal(node, A, by=WORKER, pin_for=DRIVER)
    assert used(node) == 0
    assert state(node, A) is None


def test_a_seal_of_memory_that_was_not_given_is_refused_with_a_warning(node: Node) -> None:
    seal(node, A)
    node.tell(DRIVER, SealObjects([SealedObject(A, slab=7, offset=0, size=10)]))
    assert len(node.warnings) == 2
    assert state(node, A) is None


def test_a_value_made_again_replaces_the_old_one_whose_readers_keep_it(node: Node) -> None:
    put(node, A)
    old = pin(node, A, DRIVER)
    place = create(node, A, 50 * KB, by=WORKER)
    assert state(node, A) is State.SEALED, "readable until the new one is sealed"
    node.view(place.offset, place.size)[:] = content(A, 1, place.size)[: place.size]
    seal(node, A, by=WORKER)
    new = pin(node, A, WORKER)
    assert reads(node, old)
    assert reads(node, new, version=1)
    node.tell(DRIVER, UnpinObjects([A], [1]))
    node.tell(WORKER, UnpinObjects([A], [1]))
    assert used(node) == 50 * KB


def test_lists_of_different_lengths_are_refused_with_a_warning(node: Node) -> None:
    put(node, A)
    node.tell(WORKER, PinObjects([A], []))
    node.tell(WORKER, UnpinObjects([A], []))
    assert len(node.warnings) == 2
    assert not pinned(node, WORKER)


# -- messages that overtake each other ---------------------------------------------------------------------------------


def slab(node: Node, size: int, by: bytes = WORKER, number: int = 1) -> SlabCreated:
    node.tell(by, CreateSlab(number, size))
    node.world.settle()
    (answer,) = [message for message in node.answers(by) if isinstance(message, SlabCreated)]
    return answer


def test_an_unpin_may_come_before_the_seal(node: Node) -> None:
    place = slab(node, 512 * KB)
    node.tell(DRIVER, UnpinObjects([A], [1]))
    node.tell(WORKER, SealObjects([SealedObject(A, DRIVER, 1, place.offset, 100 * KB)]))
    node.tell(DRIVER, FreeObjects([A]))
    assert state(node, A) is None


def test_a_free_may_come_before_the_seal(node: Node) -> None:
    place = slab(node, 512 * KB)
    node.tell(DRIVER, FreeObjects([A]))
    node.tell(DRIVER, UnpinObjects([A], [1]))
    node.tell(WORKER, SealObjects([SealedObject(A, DRIVER, 1, place.offset, 100 * KB)]))
    assert state(node, A) is None
    assert used(node) == 412 * KB


def test_a_free_whose_seal_never_comes_is_forgotten(world: World, node: Node) -> None:
    node.tell(DRIVER, FreeObjects([A]))
    assert state(node, A) is State.FREED
    world.pass_time(SEAL_WAIT + 1)
    assert state(node, A) is None


def test_a_forwarded_free_of_something_unknown_leaves_no_trace(node: Node) -> None:
    node.tell(process_id(9), FreeObjects([A], forwarded=True))
    assert state(node, A) is None


def test_a_seal_may_come_after_the_death_of_its_process(world: World, node: Node) -> None:
    place = slab(node, 512 * KB)
    world.kill_process(WORKER)
    node.tell(WORKER, SealObjects([SealedObject(A, DRIVER, 1, place.offset, 100 * KB)]))
    world.pass_time(LATE_SEAL + 0.5)
    assert state(node, A) is State.SEALED
    assert used(node) == 100 * KB, "the slab's rest went"


# -- deaths ------------------------------------------------------------------------------------------------------------


def test_a_death_releases_pins_at_once_and_memory_soon(world: World, node: Node) -> None:
    put(node, A)
    pin(node, A, WORKER)
    create(node, object_id(WORKER, 1), 10 * KB, by=WORKER)
    slab(node, 100 * KB)
    world.kill_process(WORKER)
    record = node.machine.index.get(A)
    assert record is not None
    assert not record.pins
    world.pass_time(LATE_SEAL + 0.5)
    assert used(node) == 100 * KB


def test_the_death_of_an_owner_frees_its_objects_also_those_that_tasks_make_later(world: World, node: Node) -> None:
    put(node, A, pin_for=DRIVER)
    world.kill_process(DRIVER)
    world.pass_time(LATE_SEAL + 0.5)
    assert used(node) == 0
    put(node, B, by=WORKER, pin_for=DRIVER)
    assert used(node) == 0


def test_a_dead_process_waits_for_nothing(world: World, node: Node) -> None:
    create(node, A, KB)
    node.tell(WORKER, PinObjects([A], [[]]))
    world.kill_process(WORKER)
    seal(node, A)
    record = node.machine.index.get(A)
    assert record is not None
    assert not record.pins


# -- slabs -------------------------------------------------------------------------------------------------------------


def test_objects_are_cut_out_of_a_slab_in_any_order(node: Node) -> None:
    place = slab(node, 400 * KB)
    middle = SealedObject(B, b"", 1, place.offset + 100 * KB, 100 * KB)
    first = SealedObject(A, b"", 1, place.offset, 100 * KB)
    node.tell(WORKER, SealObjects([middle, first]))
    assert [pin(node, of).offset - place.offset for of in (A, B)] == [0, 100 * KB]
    node.tell(WORKER, ReturnSlab(1, place.offset + 200 * KB, 200 * KB))
    assert used(node) == 200 * KB
    assert not node.machine.slabs.holders()


def test_a_slab_is_refused_when_memory_is_short(node: Node) -> None:
    put(node, A, 900 * KB)
    assert slab(node, 512 * KB).offset == -1


def test_a_slab_of_used_memory_may_be_smaller_than_asked_for(node: Node) -> None:
    put(node, A, 200 * KB)
    put(node, B, 100 * KB)
    node.tell(DRIVER, FreeObjects([A]))
    place = slab(node, 300 * KB)
    assert (place.offset, place.size) == (0, 152 * KB)


def test_returning_what_is_not_held_is_a_warning(node: Node) -> None:
    node.tell(WORKER, ReturnSlab(5, 0, KB))
    assert node.warnings


# -- memory is short ---------------------------------------------------------------------------------------------------


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


# -- reports and the table ---------------------------------------------------------------------------------------------


def test_statistics_count_bytes_and_objects(node: Node) -> None:
    put(node, A, 100 * KB, pin_for=DRIVER)
    (command,) = node.tell(WORKER, StoreStatsRequest(detail=True))
    assert isinstance(command, Send)
    stats = command.message
    assert isinstance(stats, StoreStats)
    assert (stats.capacity, stats.used, stats.count) == (1 << 20, 100 * KB, 1)
    assert stats.objects == [(A, 100 * KB, "sealed", 1, DRIVER)]


def test_an_edge_that_is_not_in_the_table_raises_with_the_story() -> None:
    record = Record(A, "made by a test")
    move(record, Trigger.CREATE, "somebody writes it")
    with pytest.raises(IllegalTransition, match=r"allow restored[^$]*expected: made by a test\n  created: some"):
        move(record, Trigger.RESTORED, "nonsense")


def test_every_state_but_the_last_can_be_left_and_be_freed() -> None:
    for state_ in State:
        triggers = {trigger for source, trigger in TABLE if source is state_}
        assert (triggers == set()) == (state_ is State.GONE)
        assert state_ is State.GONE or Trigger.FREE in triggers
