"""How ends become states of references, what waits for them, and what is kept to make a value again."""

from __future__ import annotations

from typing import Any

import pytest

from himalia.cluster.core.completion import Completion
from himalia.cluster.core.records import Plan, Record, Stream
from himalia.cluster.core.references import References
from himalia.cluster.core.refs import BUFFERS, ERROR, FREED, INLINE, PENDING, STORE, Extra, ObjectRef
from himalia.cluster.protocol.core_messages import (
    ARG_ERROR,
    ARG_INLINE,
    ARG_STORE,
    R_INLINE,
    R_MANY,
    Dep,
    RefInfo,
    Result,
    ReturnValue,
    StreamConsumed,
    StreamItem,
    Task,
    Template,
)
from tests.core.owner import OTHER, OWNER, address, done, ready

NODE, WORKER = b"node", b"\x01worker1"
PLAN = Plan(Template(1, "f", b"hash"), "f", None)


@pytest.fixture
def out() -> list[Any]:
    return []


@pytest.fixture
def completion(out: list[Any]) -> Completion:
    return Completion(References(address(OWNER), out), out, NODE)


def task(*deps: ObjectRef, counter: int = 1) -> Record:
    ref = ObjectRef(OWNER, counter)
    named = [Dep(i, dep.binary(), ARG_INLINE) for i, dep in enumerate(deps)]
    record = Record(Task(counter, 1, b"", named or None), PLAN, ref, None, 3, list(deps) or None)
    ref._data = record
    return record


def deps_of(record: Record) -> list[Dep]:
    assert record.task.deps is not None
    return record.task.deps


def in_store(counter: int, *, pins: int = 0, offset: int = -1) -> ObjectRef:
    extra = Extra(OWNER, counter, 0, nodes=[NODE], size=10, pins=pins, offset=offset)
    return ObjectRef(OWNER, counter, 0, STORE, None, None, extra)


# -- arguments --------------------------------------------------------------------------------------------------------


def test_a_task_is_ready_with_the_last_of_its_arguments(completion: Completion) -> None:
    first, second = ObjectRef(OWNER, 10, 0), ObjectRef(OWNER, 11, 0)
    record = task(first, second, first)
    assert not completion.await_dependencies(record)
    assert record.waiting == 3
    for ref in (first, second):
        assert completion.ready_records == []
        ref._state, ref._data = INLINE, b"value"
        completion.ready(ref)
    assert completion.ready_records == [record]
    assert list(completion.parked) == [record]


def test_asking_again_waits_once(completion: Completion) -> None:
    argument = ObjectRef(OWNER, 10, 0)
    record = task(argument)
    for _ in range(3):
        completion.await_dependencies(record)
    assert argument._wait == [record]


def test_a_task_that_was_cancelled_is_not_woken(completion: Completion) -> None:
    argument = ObjectRef(OWNER, 10, 0)
    record = task(argument)
    completion.await_dependencies(record)
    record.cancelled = True
    argument._state = INLINE
    completion.ready(argument)
    assert completion.ready_records == []


def test_values_are_put_in_place_by_where_they_are(completion: Completion) -> None:
    completion.pack = lambda ref: b"packed"
    buffers = ObjectRef(OWNER, 2, 0, BUFFERS, (b"", []))
    record = task(ready(1, b"small"), buffers, in_store(3))
    assert completion.fill(record) is None
    assert [(dep.kind, dep.data, dep.size) for dep in deps_of(record)] == [
        (ARG_INLINE, b"small", 0),
        (ARG_INLINE, b"packed", 0),
        (ARG_STORE, b"", 10),
    ]


def test_a_pinned_value_is_named_by_its_place_and_stays_there_until_the_task_ends(completion: Completion) -> None:
    argument = in_store(3, pins=1, offset=4096)
    record = task(argument)
    completion.fill(record)
    for _ in range(2):  # placing again does not count it again
        completion.place(record)
        assert argument._x is not None
        assert (deps_of(record)[0].offset, argument._x.readers, argument._x.queued) == (4096, 1, 0)
    completion.succeed(record, done(1), WORKER)
    assert argument._x.readers == 0
    assert record.holds is None


def test_a_task_that_is_queued_holds_no_memory(completion: Completion) -> None:
    argument = in_store(3, pins=1, offset=4096)
    record = task(argument)
    for _ in range(2):
        completion.fill(record)
        assert argument._x is not None
        assert (argument._x.readers, argument._x.queued) == (0, 1)
    assert deps_of(record)[0].offset < 0, "it is not there yet when it arrives"
    completion.fail(record, b"cancelled")
    assert (argument._x.readers, argument._x.queued) == (0, 0)


def test_a_task_that_comes_back_unstarted_is_queued_again(completion: Completion) -> None:
    argument = in_store(3, pins=1, offset=4096)
    record = task(argument)
    completion.fill(record)
    completion.place(record)
    completion.fill(record)
    assert argument._x is not None
    assert (deps_of(record)[0].offset, argument._x.readers, argument._x.queued) == (-2, 0, 1)


def test_what_is_wanted_back_goes_with_the_last_task_that_reads_it(completion: Completion) -> None:
    unused: list[Extra] = []
    completion.unused = unused.append
    argument = in_store(3, pins=1, offset=4096)
    records = [task(argument, counter=counter) for counter in (1, 2)]
    for record in records:
        completion.fill(record)
        completion.place(record)
    assert argument._x is not None
    argument._x.wanted = True
    completion.succeed(records[0], done(1), WORKER)
    assert unused == []
    completion.fail(records[1], b"died")
    assert unused == [argument._x]


def test_an_argument_whose_place_is_not_known_is_told(completion: Completion) -> None:
    unplaced: list[ObjectRef] = []
    completion.unplaced = unplaced.append
    argument = in_store(3)
    record = task(argument)
    completion.fill(record)
    assert unplaced == []
    completion.place(record)
    assert unplaced == [argument]
    assert deps_of(record)[0].offset < 0


def test_an_argument_that_failed_is_the_error_of_the_task(completion: Completion) -> None:
    record = task(ready(1), ObjectRef(OWNER, 2, 0, ERROR, b"cause"))
    assert completion.fill(record) == b"cause"
    assert deps_of(record)[1].kind == ARG_ERROR


def test_an_argument_that_was_freed_says_so(completion: Completion) -> None:
    completion.references.error_of = lambda kind, ref: kind.encode()
    assert completion.fill(task(ObjectRef(OWNER, 2, 0, FREED))) == b"freed"


# -- ends -------------------------------------------------------------------------------------------------------------


def test_who_waits_is_told_once(completion: Completion) -> None:
    record = task()
    assert record.ref is not None
    told: list[ObjectRef] = []
    record.ref._wait = [told.append]
    completion.succeed(record, done(1), WORKER)
    completion.fail(record, b"too late")
    assert told == [record.ref]
    assert record.ref._state == INLINE


def test_a_failure_reaches_all_returns(completion: Completion) -> None:
    record = task()
    refs = [ObjectRef(OWNER, 1, index, PENDING, record) for index in (1, 2)]
    record.ref, record.refs = None, refs
    completion.fail(record, b"wrong")
    assert [(ref._state, ref._data) for ref in refs] == [(ERROR, b"wrong")] * 2


def test_a_value_in_our_store_comes_with_a_pin_in_our_name(completion: Completion) -> None:
    pinned: list[Extra] = []
    completion.pinned = pinned.append
    record = task()
    ref = record.ref
    assert ref is not None
    completion.succeed(record, Result(1, R_MANY, b"", [ReturnValue(b"", NODE, 4096, 10)]), WORKER)
    assert ref._x is not None
    assert (ref._state, ref._x.nodes, ref._x.offset, ref._x.pins) == (STORE, [NODE], 4096, 1)
    assert pinned == [ref._x]


def test_a_value_in_another_store_is_only_known_to_be_there(completion: Completion) -> None:
    record = task()
    ref = record.ref
    assert ref is not None
    completion.succeed(record, Result(1, R_MANY, b"", [ReturnValue(b"", b"elsewhere", 64, 10)]), WORKER)
    assert ref._x is not None
    assert (ref._x.nodes, ref._x.pins) == ([b"elsewhere"], 0)


def test_references_inside_a_value_live_as_long_as_the_value(completion: Completion) -> None:
    record = task()
    inside = RefInfo(ObjectRef(OTHER, 7).binary(), address(OTHER))
    completion.succeed(record, Result(1, R_MANY, b"", [ReturnValue(b"list", refs=[inside])]), WORKER)
    assert record.ref is not None
    assert record.ref._x is not None
    (held,) = record.ref._x.contained or ()
    assert held.binary() == inside.object_id
    assert held._x is not None
    assert held._x.registered


# -- lineage ----------------------------------------------------------------------------------------------------------


def stored(completion: Completion, *refs: ObjectRef, deps: tuple[ObjectRef, ...] = ()) -> Record:
    """A task whose returns all lie in a store."""
    record = task(*deps)
    record.ref, record.refs = (refs[0], None) if len(refs) == 1 else (None, list(refs))
    values = [ReturnValue(b"", b"elsewhere", 64, 10) for _ in refs]
    completion.succeed(record, Result(1, R_MANY, b"", values), WORKER)
    return record


def test_a_task_that_made_a_stored_value_rests_and_keeps_its_arguments(completion: Completion) -> None:
    argument = ready(5)
    ref = ObjectRef(OWNER, 1)
    record = stored(completion, ref, deps=(argument,))
    assert ref._x is not None
    assert ref._x.lineage is record
    assert record.holds == [argument]
    assert (record.ref, record.refs) == (None, None), "the record would keep its own return alive"


def test_a_task_that_returned_small_values_is_forgotten(completion: Completion) -> None:
    record = task(ready(5))
    completion.succeed(record, Result(1, R_INLINE, b"small"), WORKER)
    assert record.weak is None
    assert record.holds is None


def test_a_resting_task_comes_to_life_with_the_same_references(completion: Completion) -> None:
    ref = ObjectRef(OWNER, 1)
    record = stored(completion, ref)
    assert record.revive() == [ref]
    assert record.ref is ref
    assert record.weak is None


def test_a_return_that_nobody_holds_any_more_gets_a_new_reference(completion: Completion) -> None:
    kept, dropped = ObjectRef(OWNER, 1, 1), ObjectRef(OWNER, 1, 2)
    record = stored(completion, kept, dropped)
    dropped._x = None  # its destructor would leave a note for a core
    del dropped
    first, second = record.revive()
    assert first is kept
    assert (second._n, second._i, second._state) == (1, 2, PENDING)
    assert record.refs == [first, second]


# -- streams ----------------------------------------------------------------------------------------------------------


def streaming(backpressure: int = -1) -> tuple[Record, Stream]:
    record = task()
    record.plan = Plan(PLAN.template, "f", None, num_returns=-1, backpressure=backpressure)
    record.stream = Stream({}, waiters=[])
    return record, record.stream


def item(index: int, data: bytes = b"item") -> StreamItem:
    return StreamItem(1, index, ReturnValue(data))


def test_items_are_there_as_they_come(completion: Completion) -> None:
    record, stream = streaming()
    told: list[int] = []
    assert stream.waiters is not None
    stream.waiters.append(lambda: told.append(stream.arrived))
    completion.stream_item(record, item(1, b"a"), WORKER)
    completion.stream_item(record, item(2, b"b"), WORKER)
    assert told == [1]
    assert [(ref._i, ref._data) for ref in stream.items.values()] == [(2, b"a"), (3, b"b")]


def test_a_retry_that_yields_again_changes_nothing(completion: Completion) -> None:
    record, stream = streaming()
    completion.stream_item(record, item(1, b"a"), WORKER)
    before = stream.items[1]
    completion.stream_item(record, item(1, b"again"), WORKER)
    assert (stream.items, before._data) == ({1: before}, b"a")


def test_an_exhausted_generator_knows_how_many_there_were(completion: Completion) -> None:
    record, stream = streaming()
    completion.stream_item(record, item(1), WORKER)
    completion.end_stream(record)
    assert record.ref is not None
    assert (stream.total, record.ref._state) == (1, INLINE)


def test_the_error_of_a_generator_is_its_last_item(completion: Completion) -> None:
    record, stream = streaming()
    completion.stream_item(record, item(1), WORKER)
    completion.fail(record, b"wrong")
    assert (stream.total, stream.items[2]._state, stream.items[2]._data) == (2, ERROR, b"wrong")


def test_what_comes_after_the_consumer_left_is_dropped(completion: Completion) -> None:
    record, stream = streaming()
    stream.closed = True
    completion.stream_item(record, item(1), WORKER)
    assert stream.items == {}


def test_a_producer_with_backpressure_hears_what_was_taken(completion: Completion, out: list[Any]) -> None:
    record, stream = streaming(backpressure=2)
    completion.stream_item(record, item(1), WORKER)
    stream.taken = 1
    completion.consumed(record)
    (command,) = out
    assert (command.peer, type(command.message), command.message.consumed) == (WORKER, StreamConsumed, 1)
    completion.end_stream(record)
    completion.consumed(record)
    assert len(out) == 1, "it has ended"
