"""Values: put, get, wait, and the object store as seen by one process.

Strategy: what is small lives in its owner (`INLINE`, or `BUFFERS` with the arrays' memory beside the stream, so that
reading it again copies nothing). What is large lies in the arena of the node: this process writes and reads the mapped
memory itself and only asks the raylet for places and pins (see pins.py).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

from ..protocol.common import Address
from ..protocol.errors import GetTimeoutError, ObjectFreedError, ObjectStoreFullError
from ..protocol.raylet_messages import (
    CreateObject,
    FreeObjects,
    ObjectCreated,
    ObjectShared,
    SealedObject,
    SealObjects,
    ShareObject,
)
from ..serialization.layout import PICKLE, pack, pack_into, pack_size, unpack
from ..serialization.values import Serialized, deserialize, serialize
from . import failures
from .borrowing import BorrowOps
from .commands import Send
from .refs import BUFFERS, ERROR, FREED, INLINE, PENDING, STORE, Extra, ObjectRef
from .sites import Made, call_site

__all__ = ["INLINE_LIMIT", "ObjectOps"]

_LOCAL_PIN: Final = 0.05
"""Seconds within which a raylet answers for an object that lies on its node, however busy it is. A task that waits for
no longer keeps its CPU: what is lent is not given back before the borrower has ended, and each short wait would add one
task more to a node than it has CPUs."""

INLINE_LIMIT: Final = 100 * 1024
"""Values up to this size travel inside messages and live in their owner; larger ones go to the object store."""


class ObjectOps(BorrowOps):
    """Part of `Core`."""

    def _init_objects(self) -> None:
        self._init_pins()
        self._init_borrowing()
        self._creating: dict[bytes, list[ObjectCreated]] = {}
        self._sharing: dict[bytes, list[ObjectShared]] = {}

    def _install_object_handlers(self) -> None:
        self._install_pin_handlers()
        self._install_borrow_handlers()
        self.answer_handlers[ObjectCreated] = lambda peer, message: self._answered(self._creating, message)
        self.answer_handlers[ObjectShared] = lambda peer, message: self._answered(self._sharing, message)

    def _close_objects(self) -> None:
        self._close_arena()

    # -- put --------------------------------------------------------------------------------------------------------

    def put(self, value: Any) -> ObjectRef:
        """Store a value; its reference."""
        if self.fatal is not None:
            raise self.fatal
        packed = serialize(value)
        if packed.nbytes <= INLINE_LIMIT and not packed.refs:
            if packed.buffers:
                content = (packed.data, [bytes(buffer) for buffer in packed.buffers])
                return ObjectRef(self.worker_id, self.next_counter(), 0, BUFFERS, content)
            return ObjectRef(self.worker_id, self.next_counter(), 0, INLINE, packed.data)
        return self.put_serialized(packed)

    def put_serialized(self, packed: Serialized, what: str = "put") -> ObjectRef:
        """Store a value that is large or contains references; ``what`` tells a user where it came from."""
        counter = self.next_counter()
        ref = ObjectRef(self.worker_id, counter, 0)
        extra = ref._x = Extra(self.worker_id, counter, 0)
        if packed.refs:
            extra.contained = list(packed.refs)
            self.post(lambda: self.hold_contained(extra))
        if packed.nbytes <= INLINE_LIMIT:
            ref._data = bytes(pack(packed)) if packed.buffers else packed.data
            ref._state = INLINE
            return ref
        extra.offset, extra.size, extra.path = self.write_object(
            extra.object_id(), packed, self.address, self.worker_id
        )
        extra.nodes, extra.pins = [self.node_id], 1
        extra.made = Made(what, self.current_cell(), call_site())
        self.references.findable[extra.object_id()] = ref
        ref._state = STORE
        self._own_pin(extra)
        return ref

    def hold_contained(self, extra: Extra) -> None:
        """Keep what a value contains findable for whoever reads it."""
        for ref in extra.contained or ():
            self.references.in_transit(ref, 1)

    def write_object(
        self, object_id: bytes, packed: Serialized, owner: Address, pin_for: bytes
    ) -> tuple[int, int, str]:
        """Write a value into the object store; its offset, size and file (empty: the arena).

        Raises
        ------
        ObjectStoreFullError
            There is no room, neither by evicting nor by spilling.
        """
        source = self._arena.source_of(packed) if self._arena is not None else None
        if source is not None:
            shared: ObjectShared = self._ask_raylet(ShareObject(object_id, *source, pin_for), self._sharing)
            if shared.offset >= 0:
                return shared.offset, shared.size, ""
        size = pack_size(packed)
        part = self._slabs.take(size, time.monotonic())
        if part is not None:
            try:
                self._fill(packed, part.offset, size)
            except BaseException:  # an interrupt, or memory of the user's that can not be read
                self._slabs.give_up(part)
                self.post(self._send_slab_messages)
                raise
            sealed = SealedObject(object_id, pin_for, part.slab, part.offset, size)
            self.post(lambda: self._seal(sealed))
            return part.offset, size, ""
        place: ObjectCreated = self._ask_raylet(CreateObject(object_id, size, owner), self._creating)
        if place.error:
            raise ObjectStoreFullError(
                place.error, requested=size, capacity=place.capacity, used=place.used, holders=place.holders
            )
        try:
            self._fill(packed, place.offset, size, place.path)
        except BaseException:
            self.post(lambda: self.out.append(Send(self.raylet_id, FreeObjects([object_id]))))
            raise
        self.post(lambda: self._seal(SealedObject(object_id, pin_for)))
        return place.offset, size, place.path

    def _fill(self, packed: Serialized, offset: int, size: int, path: str = "") -> None:
        """Write a value into memory that this process was given for it."""
        arena = self.arena()
        target = arena.writer(offset, size, path)
        pack_into(target, packed, copy=arena.copier.copy)
        target.release()

    def _ask_raylet(self, message: CreateObject | ShareObject, asked: dict[bytes, list[Any]]) -> Any:
        """Ask the raylet for the memory of an object, and wait for its answer."""
        box: list[Any] = []
        object_id = message.object_id

        def ask() -> None:
            asked[object_id] = box
            self.out.append(Send(self.raylet_id, message))

        self.post(ask)
        try:
            self.wait_until(lambda: box, None)
        except BaseException:  # an interrupt: the place may be given all the same
            self.post(lambda: self.out.append(Send(self.raylet_id, FreeObjects([object_id]))))
            raise
        return box[0]

    def _seal(self, sealed: SealedObject) -> None:
        self.out.append(Send(self.raylet_id, SealObjects([sealed])))
        self._send_slab_messages()

    @staticmethod
    def _answered(asked: dict[bytes, list[Any]], message: ObjectCreated | ObjectShared) -> None:
        box = asked.pop(message.object_id, None)
        if box is not None:
            box.append(message)

    def pack_ref(self, ref: ObjectRef) -> bytes:
        """The value of a reference that is ready and small, as bytes for a message."""
        if ref._state == BUFFERS:
            data, buffers = ref._data
            ref._data = bytes(pack(Serialized(data, [memoryview(b) for b in buffers], (), 0)))
            ref._state = INLINE
        packed: bytes = ref._data
        return packed

    # -- get --------------------------------------------------------------------------------------------------------

    def get(self, refs: ObjectRef | Sequence[ObjectRef], timeout: float | None) -> Any:
        """The value of a reference, or the values of several.

        Raises
        ------
        GetTimeoutError
            Not all were ready within ``timeout`` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if type(refs) is ObjectRef:
            if refs._w is not self.worker_id:
                self._check_session(refs)
            if refs._state == PENDING:
                self._await([refs], deadline, timeout)
            return self._value(refs, deadline, timeout)
        for ref in refs:
            if ref._w is not self.worker_id:
                self._check_session(ref)
        for ref in refs:
            if ref._state == PENDING:
                self._await(refs, deadline, timeout)
                for done in refs:
                    if done._state == ERROR:  # told at once, though others may still be pending
                        raise self._error(done)
                break
        value = self._value
        return [value(ref, deadline, timeout) for ref in refs]

    def _check_session(self, ref: ObjectRef) -> None:
        """Refuse a reference of an earlier session of this process."""
        if ref._w != self.worker_id and (ref._x is None or ref._x.owner is None):
            raise failures.old_reference(ref)

    def _await(self, refs: Sequence[ObjectRef], deadline: float | None, timeout: float | None) -> None:
        """Block until all are ready."""
        self._ask_owners(refs)
        pending = list(refs)
        position = 0
        count = len(pending)
        completion = self.completion
        found = False
        failed = -1  # look once at those that had failed before

        def done() -> bool:
            nonlocal position, failed, found
            if completion.failed != failed:
                failed = completion.failed
                found = any(ref._state == ERROR for ref in pending)
            if found:
                return True
            while position < count and pending[position]._state:
                position += 1
            return position == count

        with self.blocking():
            watch = self.watch
            ready = self.wait_until(done, deadline) if watch is None else watch.wait(refs, done, deadline)
        if not ready:
            waiting = [ref for ref in refs if ref._state == PENDING]
            raise GetTimeoutError(timeout=timeout, pending=[repr(ref) for ref in waiting[:10]], total=len(refs))

    def _ask_owners(self, refs: Sequence[ObjectRef]) -> None:
        unasked = [ref for ref in refs if ref._x is not None and ref._x.owner is not None and not ref._x.asked]
        if unasked:
            self.post(lambda: self._ask(unasked))

    def _ask(self, refs: list[ObjectRef]) -> None:
        for ref in refs:
            self.references.ask(ref)

    def _value(self, ref: ObjectRef, deadline: float | None = None, timeout: float | None = None) -> Any:
        """The value of a reference that is ready; fetched if it lies in a store."""
        while True:
            state = ref._state
            if state == INLINE:
                data = ref._data
                if data[0] == PICKLE:
                    return deserialize(data) if ref._x is None else self._load(ref, data)
                return self._load(ref, *unpack(memoryview(data)))
            if state == BUFFERS:
                return self._load(ref, *ref._data)
            if state == STORE:
                if self._hold_pin(ref, deadline, timeout):
                    return self._read(ref)
                continue  # lost: it is pending again, or holds the error
            if state == ERROR:
                raise self._error(ref)
            if state == FREED:
                raise ObjectFreedError(ref.hex())
            self._await([ref], deadline, timeout)

    def _error(self, ref: ObjectRef) -> BaseException:
        """What a failed reference raises; it counts as asked for."""
        error = failures.load_error(ref._data)
        if self.unseen is not None:
            self.unseen.seen(ref._data, error)
        return error

    def _hold_pin(self, ref: ObjectRef, deadline: float | None, timeout: float | None) -> bool:
        """Count a reader of a pinned object, pinning it first if need be; False if it turned out to be lost."""
        extra = ref._x
        assert extra is not None
        with self._pin_lock:
            if extra.pins > 0:
                extra.readers += 1
                return True
        box: list[bool] = []

        def pinned(status: int) -> None:
            if not box:  # it is wanted still
                box.append(status == 0 and extra.pins > 0)
                extra.readers += box[0]  # at once: the next message may ask for what is not in use

        def not_wanted() -> None:
            if box and box[0]:
                self._releases.append(extra.object_id())
            box.append(False)

        self.post(lambda: self.request_pin(ref, pinned))
        soon = time.monotonic() + _LOCAL_PIN
        try:
            if not self.wait_until(lambda: box, soon if deadline is None else min(soon, deadline)):
                with self.blocking():
                    if not self.wait_until(lambda: box, deadline):
                        raise GetTimeoutError(timeout=timeout, pending=[repr(ref)], total=1)
        except BaseException:
            self.post(not_wanted)
            raise
        return box[0]

    def _read(self, ref: ObjectRef) -> Any:
        extra = ref._x
        assert extra is not None
        extra.last_used = time.monotonic()
        object_id = ref.binary()
        released = partial(self._releases.append, object_id)
        view = self.arena().reader(extra.offset, extra.size, extra.path, released, object_id)
        return self._load(ref, *unpack(view))

    def _load(self, ref: ObjectRef, stream: bytes | memoryview, buffers: Sequence[Any] = ()) -> Any:
        """Unpickle a value that may contain references: while that lasts, and no longer, `ref` covers these."""
        context = self.context
        outer = getattr(context, "cover", None)
        context.cover = ref
        try:
            return deserialize(stream, buffers)
        finally:
            context.cover = outer

    # -- wait, futures ----------------------------------------------------------------------------------------------

    def wait(
        self, refs: list[ObjectRef], num_returns: int, timeout: float | None, fetch_local: bool
    ) -> tuple[list[ObjectRef], list[ObjectRef]]:
        """Split references into ready and not ready, once ``num_returns`` are ready or the time is over."""
        for ref in refs:
            if ref._w is not self.worker_id:
                self._check_session(ref)
        self._ask_owners(refs)
        deadline = None if timeout is None else time.monotonic() + timeout
        unseen = refs
        ready_count = 0

        def done() -> bool:
            nonlocal unseen, ready_count
            if ready_count >= num_returns:
                return True
            still = [ref for ref in unseen if not self._here(ref, fetch_local)]
            ready_count += len(unseen) - len(still)
            unseen = still
            return ready_count >= num_returns

        if not done():
            with self.blocking():
                if self.watch is None:
                    self.wait_until(done, deadline)
                else:
                    self.watch.wait(refs, done, deadline)
        ready: list[ObjectRef] = []
        rest: list[ObjectRef] = []
        for ref in refs:
            if len(ready) < num_returns and self._here(ref, fetch_local):
                ready.append(ref)
            else:
                rest.append(ref)
        return ready, rest

    def _here(self, ref: ObjectRef, fetch_local: bool) -> bool:
        """Whether `wait` counts a reference as ready; starts fetching one that lies on another node."""
        state = ref._state
        if state == STORE and fetch_local:
            extra = ref._x
            assert extra is not None
            if extra.pins > 0 or self.node_id in extra.nodes:
                return True
            if ref.binary() not in self._pin_waiters:
                self.post(lambda: self.request_pin(ref, lambda status: None))
            return False
        return state != PENDING

    def when_ready(self, ref: ObjectRef, then: Callable[[], None]) -> None:
        """Call ``then`` in the leader as soon as the value can be read without waiting."""

        def look(_: Any = None) -> None:
            if ref._state == PENDING:
                self.references.ask(ref)
                if ref._wait is None:
                    ref._wait = []
                ref._wait.append(look)
            elif ref._state == STORE and ref._x is not None and ref._x.pins == 0:
                self.request_pin(ref, look_again)
            else:
                then()

        def look_again(status: int) -> None:
            look()

        self.post(look)

    def future(self, ref: ObjectRef) -> Future[Any]:
        """A ``concurrent.futures.Future`` of the value."""
        self._check_session(ref)
        result: Future[Any] = Future()

        def deliver() -> None:
            if not result.set_running_or_notify_cancel():
                return
            try:
                result.set_result(self._value(ref))
            except BaseException as error:  # noqa: BLE001 the future carries whatever the task raised
                result.set_exception(error)

        self.when_ready(ref, deliver)
        return result

    def async_future(self, ref: ObjectRef) -> asyncio.Future[Any]:
        """An ``asyncio.Future`` of the value, on the running loop."""
        self._check_session(ref)
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Any] = loop.create_future()

        def deliver() -> None:
            if result.done():
                return
            try:
                result.set_result(self._value(ref))
            except StopIteration as error:  # asyncio refuses it as an exception of a future
                result.set_exception(RuntimeError(f"the task raised StopIteration: {error}"))
            except BaseException as error:  # noqa: BLE001 the future carries whatever the task raised
                result.set_exception(error)

        def arrived() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(deliver)

        if ref._state == PENDING or ref._state == STORE:
            self.when_ready(ref, arrived)
        else:
            loop.call_soon(deliver)
        return result
