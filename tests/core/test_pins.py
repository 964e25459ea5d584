"""What a process keeps pinned, gives back, and takes over from references that are gone."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from himalia.cluster.core.commands import Send
from himalia.cluster.core.completion import Completion
from himalia.cluster.core.pins import PIN_LINGER, PinOps
from himalia.cluster.core.references import References
from himalia.cluster.core.refs import IN_USE, STORE, Extra, ObjectRef, drops
from himalia.cluster.protocol.raylet_messages import ObjectPinned, ObjectsPinned, PinObjects, UnpinObjects
from tests.core.owner import OWNER, RAYLET, address

NODE = b"node"


class Pins(PinOps):
    """The part of a core that pins, without the rest."""

    def __init__(self) -> None:
        self.worker_id, self.node_id, self.raylet_id = OWNER, NODE, RAYLET
        self.out, self.inbox, self.tick_hooks = [], deque(), []
        self.references = References(address(OWNER), self.out)
        self.completion = Completion(self.references, self.out, NODE)
        self._init_pins()

    def post(self, action: Callable[[], Any]) -> None:
        self.inbox.append(action)

    def look(self) -> None:
        """What the leader does with what there is now."""
        for _ in range(len(self.inbox)):
            self.inbox.popleft()()
        self._settle_memory()

    def wait_until(self, done: Callable[[], Any], deadline: float | None) -> bool:
        while not done():
            self.look()
            for message in self.said(PinObjects):
                self.pinned(*message.object_ids)
        return True

    def pinned(self, *object_ids: bytes) -> None:
        """The raylet says that they are here."""
        found = [ObjectPinned(object_id, 0, 4096, 10) for object_id in object_ids]
        self._on_objects_pinned(RAYLET, ObjectsPinned(found))

    def said(self, kind: type) -> list[Any]:
        """Messages of this type to the raylet since the last look."""
        found = [c.message for c in self.out if isinstance(c, Send) and isinstance(c.message, kind)]
        self.out[:] = [c for c in self.out if not (isinstance(c, Send) and isinstance(c.message, kind))]
        return found

    def unpinned(self) -> list[tuple[bytes, int]]:
        return [pair for m in self.said(UnpinObjects) for pair in zip(m.object_ids, m.counts, strict=True)]


@pytest.fixture
def pins() -> Iterator[Pins]:
    drops.clear()
    yield Pins()
    drops.clear()


def stored(counter: int = 1) -> ObjectRef:
    extra = Extra(OWNER, counter, 0, nodes=[NODE], size=10)
    return ObjectRef(OWNER, counter, 0, STORE, None, None, extra)


def own(pins: Pins, counter: int = 1) -> tuple[ObjectRef, Extra]:
    """An object of ours that was sealed with a pin in our name."""
    ref = stored(counter)
    extra = ref._x
    assert extra is not None
    extra.pins, extra.offset = 1, 4096
    pins._own_pin(extra)
    return ref, extra


def release(pins: Pins, ref: ObjectRef) -> None:
    """A buffer of it died."""
    pins._releases.append(ref.binary())
    pins.look()


# -- idle pins --------------------------------------------------------------------------------------------------------


def test_a_pin_outlasts_its_use_for_a_moment(pins: Pins) -> None:
    ref, extra = own(pins)
    now = extra.last_used
    extra.readers = 1
    pins._unpin_idle(now + 10 * PIN_LINGER)
    release(pins, ref)
    pins._unpin_idle(now + 10.9 * PIN_LINGER)
    assert pins.unpinned() == []
    pins._unpin_idle(now + 11.1 * PIN_LINGER)
    assert pins.unpinned() == [(ref.binary(), 1)]


def test_what_tasks_used_since_the_last_look_is_not_idle(pins: Pins) -> None:
    _, extra = own(pins)
    now = extra.last_used
    extra.last_used = IN_USE
    pins._unpin_idle(now + 10)
    assert pins.unpinned() == []
    assert extra.last_used == now + 10


def test_what_tasks_are_queued_for_is_not_idle_but_is_given_back_if_memory_is_short(pins: Pins) -> None:
    ref, extra = own(pins)
    extra.queued = 1
    pins._unpin_idle(extra.last_used + 10)
    assert pins.unpinned() == []
    pins._release_pins()
    assert pins.unpinned() == [(ref.binary(), 1)]


# -- memory is short --------------------------------------------------------------------------------------------------


def test_a_pin_in_use_that_was_asked_for_goes_back_with_its_last_reader(pins: Pins) -> None:
    ref, extra = own(pins)
    extra.readers = 2
    pins._release_pins()
    release(pins, ref)
    assert pins.unpinned() == []
    release(pins, ref)
    assert pins.unpinned() == [(ref.binary(), 1)]


def test_a_value_that_comes_while_memory_is_short_is_kept_only_if_a_task_takes_it(pins: Pins) -> None:
    pins._release_pins()
    idle, _ = own(pins, 1)
    _, taken = own(pins, 2)
    pins.look()
    taken.readers = 1  # what the first look after its coming may push
    pins.look()
    assert pins.unpinned() == [(idle.binary(), 1)]
    taken.readers = 0
    pins.completion.unused(taken)
    assert len(pins.unpinned()) == 1


# -- several references to an object, one after the other -------------------------------------------------------------


def test_a_reference_that_comes_again_takes_over_what_is_still_read(pins: Pins) -> None:
    """Else the pin of the first would never be given back: buffers are counted by object."""
    before, again = stored(), stored()
    first, second = before._x, again._x
    assert first is not None
    assert second is not None
    pins.request_pin(before, lambda status: None)
    pins.said(PinObjects)
    pins.pinned(before.binary())
    first.readers, first.freed = 1, True  # the reference is gone, a buffer is not
    told: list[int] = []
    pins.request_pin(again, told.append)
    assert told == [0]
    assert pins.said(PinObjects) == []
    assert (second.pins, second.readers, second.offset) == (1, 1, 4096)
    second.readers += 1
    second.freed = True
    release(pins, again)
    assert pins.unpinned() == []
    release(pins, again)
    assert pins.unpinned() == [(again.binary(), 1)]


def test_an_argument_that_a_task_keeps_is_pinned_until_its_last_buffer_dies(pins: Pins) -> None:
    ref = stored()
    pins.covered[ref.binary()] = 2
    pins.pin_covered(ref.binary())
    assert not pins.covered
    release(pins, ref)
    assert pins.unpinned() == []
    release(pins, ref)
    assert pins.unpinned() == [(ref.binary(), 1)]


def test_an_argument_that_is_kept_again_is_pinned_once(pins: Pins) -> None:
    ref = stored()
    for _ in range(3):
        pins.covered[ref.binary()] = 1
        pins.pin_covered(ref.binary())
    for _ in range(2):
        release(pins, ref)
    assert pins.unpinned() == []
    release(pins, ref)
    assert pins.unpinned() == [(ref.binary(), 1)]


# -- places for tasks -------------------------------------------------------------------------------------------------


def test_the_second_task_without_the_place_of_its_argument_has_it_asked_for(pins: Pins) -> None:
    ref = stored()
    extra = ref._x
    assert extra is not None
    pins._unplaced(ref)
    assert pins.said(PinObjects) == []
    pins._unplaced(ref)
    pins._unplaced(ref)
    assert [message.object_ids for message in pins.said(PinObjects)] == [[ref.binary()]]
    pins.pinned(ref.binary())
    assert (extra.pins, extra.offset) == (1, 4096)


def test_places_are_not_asked_for_while_memory_is_short_or_if_it_is_elsewhere(pins: Pins) -> None:
    ref, elsewhere = stored(1), stored(2)
    assert elsewhere._x is not None
    elsewhere._x.nodes = [b"another"]
    pins._release_pins()
    for _ in range(3):
        pins._unplaced(ref)
    pins._pressed_until = time.monotonic()
    for _ in range(3):
        pins._unplaced(elsewhere)
    assert pins.said(PinObjects) == []
