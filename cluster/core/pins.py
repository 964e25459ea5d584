"""What this process holds of the object store, and what becomes of memory that nobody uses any more.

Strategy: this process reads the mapped memory of its node itself, so what it reads is pinned at the raylet in its name.
Pins are counted, not taken for each reader: one lasts while a buffer is alive, and for a moment after (`PIN_LINGER`),
so that the next `get` of the object asks nobody, and tasks of ours that have it as an argument are told its place. Of
all references that a process has had to an object one has its pins, and counts the buffers of all.

A raylet that is short of memory asks for idle pins (`ReleasePins`). From then on none is kept idle for `PRESSED`
seconds: what becomes idle goes back at that moment. Rejected: to give back only what is idle when it is asked for; who
needs memory then waited for the raylet to ask once more.

Buffers and references die wherever Python lets them: their destructors only leave notes, and whoever leads settles
these.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from ..object_store.slab import SlabPool
from ..protocol.core_messages import ReportLost
from ..protocol.errors import ObjectFreedError, ObjectLostError
from ..protocol.ids import object_counter, object_index, object_owner
from ..protocol.raylet_messages import (
    FreeObjects,
    ObjectsPinned,
    PinObjects,
    ReleasePins,
    SlabCreated,
    UnpinObjects,
)
from . import failures
from .commands import Send
from .completion import NOWHERE
from .refs import ERROR, FREED, IN_USE, PENDING, STORE, Extra, ObjectRef, drops, set_drop_hook
from .requests import RequestOps

if TYPE_CHECKING:
    from ..object_store.client import ArenaClient

__all__ = ["PinOps"]

PIN_LINGER: Final = 1.0  # seconds that an unused pin is kept

PRESSED: Final = 1.0
"""Seconds after a raylet asked for pins: twice as long as until it asks again, if memory is still short."""


class PinOps(RequestOps):
    """Part of `Core`."""

    def _init_pins(self) -> None:
        self._arena: ArenaClient | None = None
        self._arena_place: tuple[str, int] | None = None
        self._pin_lock = threading.Lock()  # guards Extra.readers against unpinning
        self._pins: dict[bytes, Extra] = {}  # what this process has pinned
        self._pin_waiters: dict[bytes, list[Callable[[int], None]]] = {}
        self._pinning: dict[bytes, ObjectRef] = {}
        self._releases: deque[bytes] = deque()  # ids of objects, one for each buffer that died
        self.covered: dict[bytes, int] = {}  # buffers alive that a task's submitter has pinned, by object
        self._slabs = SlabPool()
        self._pressed_until = 0.0
        self.completion.pinned = self._own_pin
        self.completion.unplaced = self._unplaced
        self.completion.unused = lambda extra: self._unpin([extra])
        self.tick_hooks.append(self._unpin_idle)

    def _install_pin_handlers(self) -> None:
        answers = self.answer_handlers
        answers[ObjectsPinned] = self._on_objects_pinned
        answers[SlabCreated] = self._on_slab_created
        answers[ReleasePins] = lambda peer, message: self._release_pins()

    def _open_store(self, path: str, nbytes: int) -> None:
        self._arena_place = (path, nbytes)

    def arena(self) -> ArenaClient:
        """The node's object memory, mapped when it is first needed."""
        if self._arena is None:
            from ..object_store.client import ArenaClient

            if self._arena_place is None:
                self.wait_until(lambda: self._arena_place is not None, time.monotonic() + 10)
            assert self._arena_place is not None
            self._arena = ArenaClient(*self._arena_place)
        return self._arena

    def _close_arena(self) -> None:
        set_drop_hook(None)
        drops.clear()
        if self._arena is not None:
            self._arena.close()

    def _send_slab_messages(self) -> None:
        for message in self._slabs.messages():
            self.out.append(Send(self.raylet_id, message))

    def _on_slab_created(self, peer: bytes, message: SlabCreated) -> None:
        self._slabs.on_created(message, time.monotonic())
        self._send_slab_messages()

    # -- pinning ----------------------------------------------------------------------------------------------------

    def request_pin(self, ref: ObjectRef, then: Callable[[int], None]) -> None:
        """Have an object here and pinned; ``then(status)`` with 0, or 1 if it was lost. In the leader."""
        extra = ref._x
        assert extra is not None
        if extra.pins > 0 or self._take_over(extra):
            then(0)
            return
        object_id = ref.binary()
        waiters = self._pin_waiters.get(object_id)
        if waiters is not None:
            waiters.append(then)
            return
        if extra.owner is None and not extra.nodes:
            self.object_lost(ref, False)  # with its last node
            then(1)
            return
        self._pin_waiters[object_id] = [then]
        self._pinning[object_id] = ref
        self.out.append(Send(self.raylet_id, PinObjects([object_id], [extra.nodes])))

    def _take_over(self, extra: Extra) -> bool:
        """An earlier reference to the object is gone, and buffers of it are alive: its pins are this one's now."""
        object_id = extra.object_id()
        before = self._pins.get(object_id)
        if before is None or before is extra or not before.freed:
            return False
        with self._pin_lock:
            extra.offset, extra.size, extra.path = before.offset, before.size, before.path
            extra.pins, extra.readers = before.pins, extra.readers + before.readers
            before.pins = before.readers = 0
        extra.last_used, extra.wanted = time.monotonic(), before.wanted
        self._pins[object_id] = extra
        return True

    def _unplaced(self, ref: ObjectRef) -> None:
        """A task goes without the place of its argument. If it is not the first, learn the place for those to come."""
        extra = ref._x
        assert extra is not None
        if extra.unplaced and self.node_id in extra.nodes and not extra.path and not self._is_pressed():
            self.request_pin(ref, lambda status: None)
        extra.unplaced = True

    def _is_pressed(self) -> bool:
        return time.monotonic() < self._pressed_until

    def _on_objects_pinned(self, peer: bytes, message: ObjectsPinned) -> None:
        for pinned in message.objects:
            object_id = pinned.object_id
            ref = self._pinning.pop(object_id, None)
            waiters = self._pin_waiters.pop(object_id, [])
            if ref is None or ref._x is None or ref._state != STORE:
                if pinned.status == 0:
                    self.out.append(Send(self.raylet_id, UnpinObjects([object_id], [1])))
                for then in waiters:
                    then(1)
                continue
            extra = ref._x
            if pinned.status == 0:
                extra.offset, extra.size, extra.path = pinned.offset, pinned.size, pinned.path
                extra.pins += 1
                extra.last_used, extra.wanted = time.monotonic(), self._is_pressed()
                self._pins[object_id] = extra
            else:
                self.object_lost(ref, pinned.status == 2, pinned.error)
            for then in waiters:
                then(pinned.status)

    def object_lost(self, ref: ObjectRef, freed: bool, why: str = "") -> None:
        """No node has the object: rebuild it if we own it, else ask its owner to."""
        extra = ref._x
        assert extra is not None
        if extra.owner is not None:
            ref._state = PENDING
            extra.asked = True
            extra.nodes = []
            self.out.append(Send(ref._w, ReportLost([ref.binary()])))
            return
        record = extra.lineage
        if not freed and record is not None and record.retries:
            if record.retries > 0:
                record.retries -= 1
            record.task.attempt += 1
            record.worker, record.at, record.local = None, None, 0
            for again in record.revive() if record.weak is not None else (ref,):
                if again._state == PENDING or again is ref:
                    again._state, again._data = PENDING, record
            extra.nodes, extra.lineage = [], None
            for dep in record.task.deps or ():
                dep.offset, dep.data = NOWHERE, b""
            self._begin_again(record)
            return
        error: Exception = ObjectFreedError(ref.hex()) if freed else ObjectLostError(ref.hex(), hint=why or None)
        ref._data, ref._state = failures.pickle_error(error), ERROR

    def _node_lost(self, node_id: bytes) -> None:
        """A node's store is gone: objects that lay only there are rebuilt when they are needed."""
        for watch in self.references.findable.valuerefs():
            ref = watch()
            extra = ref._x if ref is not None else None
            if extra is not None and node_id in extra.nodes:
                extra.nodes = [node for node in extra.nodes if node != node_id]

    # -- letting go -------------------------------------------------------------------------------------------------

    def _woken_by_drop(self) -> None:
        if self.reactor.sleeping:
            self.reactor.wake()

    def _unpin_idle(self, now: float) -> None:
        self._settle_memory()
        self._slabs.tick(now)
        self._send_slab_messages()
        held = list(self._pins.values())  # a thread that puts adds to it
        for extra in held:
            if extra.readers or extra.queued or extra.last_used == IN_USE:
                extra.last_used = now
        self._unpin([extra for extra in held if now - extra.last_used > PIN_LINGER])

    def _release_pins(self) -> None:
        self._pressed_until = time.monotonic() + PRESSED
        self._settle_memory()
        held = list(self._pins.values())
        for extra in held:
            extra.wanted = True
        self._unpin(held)
        self._slabs.release(time.monotonic())
        self._send_slab_messages()

    def _unpin(self, candidates: list[Extra]) -> None:
        ids: list[bytes] = []
        counts: list[int] = []
        with self._pin_lock:
            for extra in candidates:
                if extra.readers == 0 and extra.pins > 0:
                    ids.append(extra.object_id())
                    counts.append(extra.pins)
                    extra.pins, extra.offset, extra.wanted, extra.unplaced = 0, -1, False, False
        for object_id in ids:
            self._pins.pop(object_id, None)
        if ids:
            self.out.append(Send(self.raylet_id, UnpinObjects(ids, counts)))

    def _settle_memory(self) -> None:
        """Account for buffers and references that died. In the leader."""
        releases = self._releases
        finished: list[Extra] = []
        with self._pin_lock:
            while releases:
                object_id = releases.popleft()
                extra = self._pins.get(object_id)
                if extra is None or extra.readers == 0:
                    left = self.covered.get(object_id, 1) - 1
                    if left:
                        self.covered[object_id] = left
                    else:
                        self.covered.pop(object_id, None)
                    continue
                extra.readers -= 1
                if extra.readers == 0 and (extra.freed or extra.wanted):
                    finished.append(extra)
        if finished:
            self._unpin(finished)
        frees: dict[bytes, int] = {}  # and how many pins are kept, for buffers in use
        nodes: set[bytes] = set()
        while drops:
            extra = drops.popleft()
            if extra.owner is not None:
                self.references.dropped(extra)
                if extra.pins > 0 and self._pins.get(extra.object_id()) is extra:
                    extra.freed = True
                    self._unpin([extra])
            elif extra.worker_id == self.worker_id:
                self._dropped(extra, frees, nodes)
        if frees:
            nodes.discard(self.node_id)
            self.out.append(Send(self.raylet_id, FreeObjects(list(frees), list(nodes), False, list(frees.values()))))

    def _dropped(self, extra: Extra, frees: dict[bytes, int], nodes: set[bytes]) -> None:
        """The last reference to an object of ours is gone."""
        if extra.contained:
            for ref in extra.contained:
                self.references.in_transit(ref, -1)
        if extra.actor is not None:
            self._actor_out_of_scope(extra.actor)
        if extra.size:
            extra.freed = True
            nodes.update(extra.nodes)
            if extra.pins > 0:
                self._unpin([extra])
            frees[extra.object_id()] = extra.pins

    def _own_pin(self, extra: Extra) -> None:
        """An object was sealed with a pin in our name. From any thread."""
        extra.last_used = time.monotonic()
        self._pins[extra.object_id()] = extra
        if self._is_pressed():
            extra.wanted = True
            # After the next look at what can run: a task may take it at once.
            self.post(lambda: self.post(lambda: self._unpin([extra])))

    def drain_releases(self) -> None:
        """Account for buffers that died, from any thread."""
        done: list[bool] = []

        def act() -> None:
            self._settle_memory()
            done.append(True)

        self.post(act)
        self.wait_until(lambda: done, None)

    def pin_covered(self, object_id: bytes) -> None:
        """A task keeps an argument that its submitter pinned: take a pin of our own before the task ends."""
        worker_id, counter, index = object_owner(object_id), object_counter(object_id), object_index(object_id)
        extra = Extra(worker_id, counter, index, nodes=[self.node_id], freed=True)  # it goes with the last buffer
        ref = ObjectRef(worker_id, counter, index, STORE, None, None, extra)
        done: list[bool] = []

        def pinned(status: int) -> None:
            has_pin = self._pins.get(object_id)
            if has_pin is not None:
                with self._pin_lock:
                    has_pin.readers += self.covered.pop(object_id, 0)
            ref._x = None
            done.append(True)

        def act() -> None:
            if object_id in self._pins:
                pinned(0)
            else:
                self.request_pin(ref, pinned)

        self.post(act)
        self.wait_until(lambda: done, None)

    def free(self, refs: Sequence[ObjectRef]) -> None:
        """Delete values although references exist: `get` raises `ObjectFreedError` from now on."""

        def act() -> None:
            for ref in refs:
                if ref._state == PENDING or ref._w != self.worker_id:
                    continue
                extra, ref._data, ref._state = ref._x, None, FREED
                if extra is not None:
                    drops.append(extra)
                    ref._x = None
            self._settle_memory()
            done.append(True)

        done: list[bool] = []
        self.post(act)
        self.wait_until(lambda: done, None)
