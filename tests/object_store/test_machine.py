"""The life of objects on one node: events in, commands out."""

from __future__ import annotations

import pytest

from himalia.cluster.object_store.events import Send
from himalia.cluster.object_store.lifecycle import FREED, LOST, PINNED, SEAL_WAIT
from himalia.cluster.object_store.machine import LATE_SEAL
from himalia.cluster.object_store.records import TABLE, IllegalTransition, Record, State, Trigger, move
from himalia.cluster.protocol.raylet_messages import (
    FreeObjects,
    PinObjects,
    ReturnSlab,
    SealedObject,
    SealObjects,
    StoreStats,
    StoreStatsRequest,
    UnpinObjects,
)
from tests.object_store.steps import (
    DRIVER,
    KB,
    WORKER,
    A,
    B,
    create,
    pin,
    pinned,
    put,
    reads,
    seal,
    slab,
    state,
    used,
)
from tests.object_store.world import Node, World, content, object_id, process_id


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
