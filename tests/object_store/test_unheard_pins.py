"""Pins that a seal made in an owner's name, of which the owner never heard."""

from __future__ import annotations

from himalia.cluster.object_store.events import ProcessDied
from himalia.cluster.object_store.machine import LATE_SEAL
from himalia.cluster.protocol.raylet_messages import FreeObjects, UnpinObjects
from tests.object_store.steps import DRIVER, KB, A, B, create, put, seal, used
from tests.object_store.world import World, process_id


def test_a_worker_that_died_before_it_told_leaves_no_pin_when_the_object_is_freed() -> None:
    node = World()[0]
    put(node, A, by=process_id(7), pin_for=DRIVER)  # and dies
    put(node, A, by=process_id(8), pin_for=DRIVER)  # the retry, whose result the owner has
    node.tell(DRIVER, UnpinObjects([A], [1]))
    node.tell(DRIVER, FreeObjects([A], pins=[0]))
    assert used(node) == 0


def test_a_buffer_in_use_outlives_the_object() -> None:
    node = World()[0]
    put(node, A, by=process_id(7), pin_for=DRIVER)
    node.tell(DRIVER, FreeObjects([A], pins=[1]))
    assert used(node) > 0
    node.tell(DRIVER, UnpinObjects([A], [1]))
    assert used(node) == 0


def test_a_buffer_in_use_outlives_an_object_that_is_freed_before_its_seal_comes() -> None:
    """The owner has the value from the result, which is sent first, and drops the reference at once."""
    node = World()[0]
    block = create(node, A, KB, by=process_id(7))
    node.tell(DRIVER, FreeObjects([A], pins=[1]))
    seal(node, A, by=process_id(7), pin_for=DRIVER)
    assert used(node) > 0
    assert create(node, B, KB).offset != block.offset, "it was recycled while it is read"
    node.tell(DRIVER, FreeObjects([B]))
    node.tell(DRIVER, UnpinObjects([A], [1]))
    assert used(node) == 0


def test_a_buffer_that_is_gone_before_the_seal_comes_keeps_nothing() -> None:
    node = World()[0]
    create(node, A, KB, by=process_id(7))
    node.tell(DRIVER, FreeObjects([A], pins=[1]))
    node.tell(DRIVER, UnpinObjects([A], [1]))
    seal(node, A, by=process_id(7), pin_for=DRIVER)
    assert used(node) == 0


def test_a_reader_that_dies_before_the_seal_comes_keeps_nothing() -> None:
    world = World()
    node = world[0]
    create(node, A, KB, by=process_id(7))
    node.tell(DRIVER, FreeObjects([A], pins=[1]))
    node.happen(ProcessDied(DRIVER))
    seal(node, A, by=process_id(7), pin_for=DRIVER)
    world.pass_time(LATE_SEAL + 1)
    assert used(node) == 0
