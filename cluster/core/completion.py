"""How a task's end becomes the state of its references, and who is told. Pure: no IO, no clock.

Both kinds of submission (leases, actors) end their records here. What must happen elsewhere is appended to `out` as
commands; who waits in this process is told by calling what it left in `ref._wait`.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from ..protocol.core_messages import (
    ARG_ERROR,
    ARG_INLINE,
    ARG_STORE,
    Dep,
    Result,
    ReturnValue,
    StreamConsumed,
    StreamItem,
)
from .commands import Send
from .records import Record, Stream
from .references import References
from .refs import BUFFERS, ERROR, FREED, IN_USE, INLINE, PENDING, STORE, Extra, ObjectRef

__all__ = ["NOWHERE", "Completion"]

NOWHERE: Final = -1  # `Dep.offset` of what is not named by its place
QUEUED: Final = -2  # and of a task that is to run: its pin is not given up as idle


class Completion:
    """Ends records. ``on_error(data)`` looks into a pickled error only when a record's options ask for it."""

    def __init__(self, references: References, out: list[Any], node_id: bytes) -> None:
        self.references = references
        self.out = out
        self.node_id = node_id
        self.ready_records: list[Record] = []  # whose last dependency came: their submission takes them from here
        self.parked: deque[Record] = deque(maxlen=10_000)  # whose arguments were not ready; telemetry takes them out
        self.pack: Callable[[ObjectRef], bytes] = lambda ref: ref._data
        self.pinned: Callable[[Extra], None] = lambda extra: None
        self.unplaced: Callable[[ObjectRef], None] = lambda ref: None  # a task goes without the place of this
        self.unused: Callable[[Extra], None] = lambda extra: None  # by tasks, and it is wanted back
        self.finished = 0
        self.failed = 0
        self.failure_hooks: list[Callable[[Record, bytes | BaseException], None]] = []  # told before arguments go

    # -- waiting ----------------------------------------------------------------------------------------------------

    def ready(self, ref: ObjectRef) -> None:
        """Tell who waits for `ref`, which has just left PENDING."""
        waiters, ref._wait = ref._wait, None
        if waiters is None:
            return
        for waiter in waiters:
            if type(waiter) is Record:
                waiter.waiting -= 1
                if waiter.waiting == 0 and not waiter.cancelled and waiter.worker is None:
                    self.ready_records.append(waiter)
            else:
                waiter(ref)

    def await_dependencies(self, record: Record) -> bool:
        """Fill the record's dependencies; True if all are ready. Else it comes to `ready_records` when they are."""
        deps, holds = record.task.deps, record.holds
        assert deps is not None and holds is not None
        if record.waiting:  # it came back before they were ready, and waits for them already
            self._stop_waiting(record)
        waiting = 0
        for ref in holds[: len(deps)]:
            if ref._state == PENDING:
                waiting += 1
                if ref._wait is None:
                    ref._wait = [record]
                else:
                    ref._wait.append(record)
                if ref._x is not None and ref._x.owner is not None:
                    self.references.ask(ref)
        record.waiting = waiting
        if waiting:
            self.parked.append(record)
        return waiting == 0

    @staticmethod
    def _stop_waiting(record: Record) -> None:
        for ref in record.holds or ():
            if ref._wait is not None:
                ref._wait = [waiter for waiter in ref._wait if waiter is not record]
        record.waiting = 0

    def resolve(self, dep: Dep, ref: ObjectRef) -> bool:
        """Fill a dependency from a reference that is ready; False while it is pending."""
        state = ref._state
        if state == INLINE:
            dep.kind, dep.data = ARG_INLINE, ref._data
        elif state == PENDING:
            return False
        elif state == BUFFERS:
            dep.kind, dep.data = ARG_INLINE, self.pack(ref)
        elif state == STORE:
            extra = ref._x
            assert extra is not None
            dep.kind, dep.nodes, dep.size, dep.owner = ARG_STORE, extra.nodes, extra.size, extra.owner
        else:
            dep.kind = ARG_ERROR
            dep.data = ref._data if isinstance(ref._data, bytes) else b""
        return True

    def fill(self, record: Record) -> bytes | None:
        """Put the ready values in place, for a task that is to run; returns the error of an argument that failed."""
        deps, holds = record.task.deps, record.holds
        if deps is None:
            return None
        assert holds is not None
        for dep, ref in zip(deps, holds, strict=False):
            if dep.offset != NOWHERE:
                self._leave(dep, ref)
            if not self.resolve(dep, ref):
                raise AssertionError(f"argument {ref!r} of {record.plan.name} is pending")
            if dep.kind == ARG_ERROR:
                if ref._state == FREED:
                    return self.references.freed_error(ref)
                return dep.data or self.references.pickled_error(ref)
            if dep.kind == ARG_STORE and ref._x is not None:
                dep.offset = QUEUED
                ref._x.queued += 1
        return None

    def place(self, record: Record) -> None:
        """The task leaves for a worker. What lies pinned in the store of this node is read where it is.

        It is kept there until the task ends; not earlier, or queued tasks would hold more than there is room for. Who
        is not told the place asks the raylet, which costs three times as much as a short task.
        """
        for dep, ref in zip(record.task.deps or (), record.holds or (), strict=False):
            if dep.kind != ARG_STORE or dep.offset >= 0:
                continue
            if dep.offset == QUEUED:
                self._leave(dep, ref)
            extra = ref._x
            if extra is None:
                continue  # freed by the user
            dep.nodes = extra.nodes
            if extra.pins > 0 and not extra.path:
                dep.offset = extra.offset
                extra.readers += 1
                extra.last_used = IN_USE
            else:
                self.unplaced(ref)

    def leave(self, record: Record) -> None:
        """It is not going to read its arguments, or has read them."""
        for dep, ref in zip(record.task.deps or (), record.holds or (), strict=False):
            if dep.offset != NOWHERE:
                self._leave(dep, ref)

    def _leave(self, dep: Dep, ref: ObjectRef) -> None:
        extra = ref._x
        if extra is not None:
            if dep.offset == QUEUED:
                extra.queued -= 1
            else:
                extra.readers -= 1
                if extra.wanted and extra.readers == 0:
                    self.unused(extra)
        dep.offset = NOWHERE

    def hold_contained(self, record: Record) -> None:
        """Keep the references inside the arguments findable while the task runs."""
        assert record.holds is not None
        for ref in record.holds[len(record.task.deps or ()) :]:
            self.references.in_transit(ref, 1)

    def release(self, record: Record) -> None:
        """Let go of the arguments."""
        deps, holds = record.task.deps, record.holds
        if deps is not None:
            self.leave(record)
        if record.task.refs is not None and holds is not None:
            for ref in holds[len(deps or ()) :]:
                self.references.in_transit(ref, -1)
        if record.weak is None:
            record.holds = None

    @staticmethod
    def _keeps_lineage(record: Record) -> bool:
        refs = record.refs if record.refs is not None else ((record.ref,) if record.ref is not None else ())
        return any(ref._x is not None and ref._x.lineage is record for ref in refs)

    # -- ends -------------------------------------------------------------------------------------------------------

    def succeed(self, record: Record, result: Result, peer: bytes) -> None:
        """The task returned: one inline value, several, or values in a store."""
        if result.borrows:
            for object_id in result.borrows:
                self.references.add_borrower(object_id, peer)
        self.finished += 1
        if result.returns is None:
            ref = record.ref
            assert ref is not None
            ref._data = result.data
            ref._state = INLINE
            if ref._wait is not None:
                self.ready(ref)
        else:
            refs = record.refs if record.refs is not None else [record.ref]
            for ref, value in zip(refs, result.returns, strict=False):
                assert ref is not None
                self.set_value(ref, value, record, peer)
            if self._keeps_lineage(record):
                record.rest()
        if record.holds is not None:
            self.release(record)

    def set_value(self, ref: ObjectRef, value: ReturnValue, record: Record, peer: bytes) -> None:
        """Give a reference the value that the worker ``peer`` returned."""
        if ref._state != PENDING:
            self._let_go(ref, value, peer)
            return
        if value.refs:
            received = self.references.received
            self._contain(self._extra(ref), [received(info, registered=True, sender=peer) for info in value.refs])
        if value.size and not value.data:
            extra = self._extra(ref)
            extra.nodes, extra.size = [value.node], value.size
            if value.node == self.node_id and value.offset >= 0:
                extra.offset, extra.pins = value.offset, 1  # sealed with a pin in our name
                self.pinned(extra)
            extra.made = record.plan
            if record.plan.actor is None and record.stream is None:  # an item is made again with all of its stream
                extra.lineage = record
            ref._data, ref._state = None, STORE
            self.references.findable[ref.binary()] = ref
        else:
            ref._data, ref._state = value.data, ERROR if value.flags & 1 else INLINE
        if ref._wait is not None:
            self.ready(ref)

    def _let_go(self, ref: ObjectRef, value: ReturnValue, peer: bytes) -> None:
        """It has a value already, and a retry made it once more: what came with this one must not stay."""
        self.unwanted((value,), peer)
        extra = ref._x
        if ref._state != STORE or extra is None or value.data:
            return
        if value.node not in extra.nodes:
            extra.nodes = [*extra.nodes, value.node]  # freed there too, in its time
        if value.node == self.node_id and value.offset >= 0:  # and pinned in our name once more
            if extra.pins == 0:
                extra.offset, extra.path = value.offset, ""
            extra.pins += 1
            self.pinned(extra)

    def unwanted(self, values: Iterable[ReturnValue], peer: bytes) -> None:
        """Nobody takes these values: we are not to stay counted for the references in them."""
        for value in values:
            for info in value.refs or ():
                _ = self.references.received(info, registered=True, sender=peer)

    def _contain(self, extra: Extra, refs: list[ObjectRef]) -> None:
        """A value has these in it: they stay findable for whoever reads it, until it is dropped or made again."""
        before, extra.contained = extra.contained, refs
        for ref in refs:
            self.references.in_transit(ref, 1)
        for ref in before or ():
            self.references.in_transit(ref, -1)

    @staticmethod
    def _extra(ref: ObjectRef) -> Extra:
        if ref._x is None:
            ref._x = Extra(ref._w, ref._n, ref._i)
        return ref._x

    def fail(self, record: Record, error: bytes | BaseException) -> None:
        """The task is over with an error: all its references carry it."""
        self.failed += 1
        for hook in self.failure_hooks:
            hook(record, error)
        refs = record.refs if record.refs is not None else ([record.ref] if record.ref is not None else [])
        for ref in refs:
            if ref._state == PENDING:
                ref._data, ref._state = error, ERROR
                if ref._wait is not None:
                    self.ready(ref)
        if record.stream is not None:
            self._end_stream(record, error)
        if record.waiting:  # what it followed died with it, and would wake it when that comes to an end
            self._stop_waiting(record)
        if record.holds is not None:
            self.release(record)

    # -- streams ----------------------------------------------------------------------------------------------------

    def stream_item(self, record: Record, item: StreamItem, peer: bytes) -> None:
        """A generator yielded."""
        stream = record.stream
        if stream is None:
            return
        stream.peer = peer
        if item.index <= stream.arrived:
            self._repeated(record, stream, item, peer)
            return
        ref = ObjectRef(record_owner(record), record.task.counter, item.index + 1)
        self.set_value(ref, item.value, record, peer)
        if stream.closed:
            return  # nobody will take it: dropped here, its memory is freed as any other's
        if ref._state == STORE:
            stream.stored[item.index] = weakref.ref(ref)
        stream.items[item.index] = ref
        stream.arrived = item.index
        self._tell_stream(stream.waiters)

    def _repeated(self, record: Record, stream: Stream, item: StreamItem, peer: bytes) -> None:
        """A retry yields again what came before; it does not know how far the consumer is, and may wait for it."""
        watch = stream.stored.get(item.index)
        ref = watch() if watch is not None else None
        if ref is None:  # gone, or small: a reference that is dropped lets go of all that came
            ref = ObjectRef(record_owner(record), record.task.counter, item.index + 1)
        self.set_value(ref, item.value, record, peer)
        self.consumed(record)

    def end_stream(self, record: Record) -> None:
        """A generator is exhausted."""
        stream, ref = record.stream, record.ref
        assert stream is not None and ref is not None
        self.finished += 1
        stream.total = stream.arrived
        ref._data, ref._state = b"\x80\x05N.", INLINE
        if ref._wait is not None:
            self.ready(ref)
        self._tell_stream(stream.waiters)
        if record.holds is not None:
            self.release(record)

    def _end_stream(self, record: Record, error: bytes | BaseException) -> None:
        stream = record.stream
        assert stream is not None
        if stream.total < 0:  # the error is the last item
            ref = ObjectRef(record_owner(record), record.task.counter, stream.arrived + 2, ERROR, error)
            stream.arrived += 1
            stream.items[stream.arrived] = ref
            stream.total = stream.arrived
        self._tell_stream(stream.waiters)

    @staticmethod
    def _tell_stream(waiters: list[Any] | None) -> None:
        if waiters:
            waiting = list(waiters)
            waiters.clear()
            for waiter in waiting:
                waiter()

    def consumed(self, record: Record) -> None:
        """The consumer took an item: a producer with backpressure may go on."""
        stream = record.stream
        assert stream is not None
        if record.plan.backpressure > 0 and stream.peer and stream.total < 0:
            self.out.append(Send(stream.peer, StreamConsumed(record.task.counter, stream.taken)))


def record_owner(record: Record) -> bytes:
    """Worker id of the owner, which its references carry."""
    if record.ref is not None:
        return record.ref._w
    assert record.refs
    return record.refs[0]._w
