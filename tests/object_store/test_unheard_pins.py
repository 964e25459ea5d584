"""Pins that a seal made in an owner's name, of which the owner never heard."""

from __future__ import annotations

from himalia.cluster.protocol.raylet_messages import FreeObjects, UnpinObjects
from tests.object_store.test_machine import DRIVER, A, put, used
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
