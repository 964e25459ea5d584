"""Calls to actors: their order, and what restarts and ends do to them."""

from __future__ import annotations

import weakref
from typing import Any

import pytest

from himalia.cluster.core.actor_calls import BATCH, ActorCalls, Creation
from himalia.cluster.core.commands import Connect, Disconnect, Send
from himalia.cluster.core.completion import Completion
from himalia.cluster.core.records import Plan, Record
from himalia.cluster.core.references import References
from himalia.cluster.core.refs import ERROR, INLINE, PENDING, ObjectRef
from himalia.cluster.protocol.common import Death, DeathKind
from himalia.cluster.protocol.core_messages import (
    ARG_INLINE,
    R_CANCELLED,
    R_ERROR,
    R_EXITING,
    R_RETURNED,
    CancelTasks,
    Dep,
    PushTasks,
    RefInfo,
    Result,
    Task,
    TaskResults,
    Template,
)
from himalia.cluster.protocol.gcs_messages import ActorInfo, WatchActor
from tests.core.owner import OTHER, OWNER, address, done, ready

GCS, ACTOR = b"\x01thegcs!", b"\x01owner!!" + bytes(8)
FIRST, SECOND = b"\x01worker1", b"\x01worker2"


class Caller:
    """A process that calls one actor."""

    def __init__(self) -> None:
        self.out: list[Any] = []
        self.completion = Completion(References(address(OWNER), self.out), self.out, b"node")
        self.calls = ActorCalls(self.completion, self.out, GCS, address(OWNER))
        self.calls.death_error = lambda client, record: b"died"
        self.calls.unavailable_error = lambda client, record: b"unavailable"
        self.calls.cancel_error = lambda record: b"cancelled"
        self.client = self.calls.client(ACTOR, "Counter")
        self.plan = Plan(Template(1, "add", b"", None, ACTOR), "Counter.add", None)
        self.plan.actor = self.client
        self.made: list[ObjectRef] = []

    def call(self, *deps: ObjectRef, retries: int = 0) -> Record:
        counter = len(self.made) + 1
        ref = ObjectRef(OWNER, counter)
        named = [Dep(i, dep.binary(), ARG_INLINE) for i, dep in enumerate(deps)]
        record = Record(Task(counter, 1, b"", named or None), self.plan, ref, None, retries, list(deps) or None)
        ref._data = record
        self.made.append(ref)
        self.client.pending += 1
        self.calls.submitted(record)
        self.calls.pump()
        return record

    def told(self, state: str, worker: bytes | None = None, restarts: int = 0) -> None:
        """The GCS says where the actor is."""
        death = None if state == "ALIVE" else Death(DeathKind.CRASHED, "it crashed")
        info = ActorInfo(ACTOR, state, address(worker) if worker is not None else None, restarts, death)
        self.calls.actor_update(info)
        self.calls.pump()

    def results(self, *results: Result) -> None:
        self.calls.results(self.client, TaskResults(list(results)), 0.0)
        self.calls.pump()

    def sent(self, peer: bytes, kind: type = PushTasks) -> list[Any]:
        found = [c.message for c in self.out if isinstance(c, Send) and c.peer == peer and isinstance(c.message, kind)]
        self.out[:] = [c for c in self.out if not (isinstance(c, Send) and isinstance(c.message, kind))]
        return found

    def pushed(self, worker: bytes = FIRST) -> list[int]:
        return [task.counter for message in self.sent(worker) for task in message.tasks]


@pytest.fixture
def caller() -> Caller:
    return Caller()


@pytest.fixture
def alive(caller: Caller) -> Caller:
    caller.told("ALIVE", FIRST)
    return caller


def test_calls_wait_until_the_actor_is_somewhere(caller: Caller) -> None:
    caller.call()
    caller.call()
    assert [message.actor_id for message in caller.sent(GCS, WatchActor)] == [ACTOR], "the GCS is asked once"
    assert caller.pushed() == []
    caller.told("ALIVE", FIRST)
    assert Connect(address(FIRST)) in caller.out
    assert caller.pushed() == [1, 2]


def test_the_worker_is_told_once_who_we_are_and_what_the_method_is(alive: Caller) -> None:
    alive.call()
    (message,) = alive.sent(FIRST)
    assert (message.owner, [template.name for template in message.templates]) == (address(OWNER), ["add"])
    alive.call()
    (message,) = alive.sent(FIRST)
    assert (message.owner, message.templates) == (None, [])


def test_results_end_calls(alive: Caller) -> None:
    for _ in range(3):
        alive.call()
    assert alive.client.pending == 3
    alive.results(done(1, b"a"), Result(2, R_ERROR, b"wrong"), Result(3, R_CANCELLED))
    assert [(ref._state, ref._data) for ref in alive.made] == [(INLINE, b"a"), (ERROR, b"wrong"), (ERROR, b"cancelled")]
    assert alive.client.pending == 0
    assert alive.client.inflight == {}


def test_a_call_that_waits_for_its_argument_holds_back_those_after_it(alive: Caller) -> None:
    argument = ObjectRef(OWNER, 1000, 0)
    alive.call()
    alive.call(argument)
    alive.call()
    assert alive.pushed() == [1]
    argument._state, argument._data = INLINE, b"here"
    alive.completion.ready(argument)
    alive.calls.pump()
    assert alive.pushed() == [2, 3]


def test_where_order_does_not_matter_others_go_first(alive: Caller) -> None:
    argument = ObjectRef(OWNER, 1000, 0)
    alive.client.unordered = True
    alive.call(argument)
    alive.call()
    assert alive.pushed() == [2]
    argument._state, argument._data = INLINE, b"here"
    alive.completion.ready(argument)
    alive.calls.pump()
    assert alive.pushed() == [1]


def test_a_failed_argument_fails_its_call_and_no_other(alive: Caller) -> None:
    alive.call(ObjectRef(OWNER, 1000, 0, ERROR, b"cause"))
    alive.call()
    assert alive.made[0]._data == b"cause"
    assert alive.pushed() == [2]
    assert alive.client.pending == 1


def test_many_calls_leave_in_several_messages(caller: Caller) -> None:
    for _ in range(BATCH + 1):
        caller.call()
    caller.told("ALIVE", FIRST)
    assert [len(message.tasks) for message in caller.sent(FIRST)] == [BATCH, 1]


# -- restarts and ends ------------------------------------------------------------------------------------------------


def test_after_a_restart_calls_are_tried_again_in_the_old_order(alive: Caller) -> None:
    records = [alive.call(retries=1) for _ in range(3)]
    alive.pushed()
    alive.results(done(1))
    alive.told("RESTARTING")
    assert Disconnect(FIRST) in alive.out
    alive.call(retries=1)
    alive.told("ALIVE", SECOND, restarts=1)
    (message,) = alive.sent(SECOND)
    assert [task.counter for task in message.tasks] == [2, 3, 4]
    assert message.owner == address(OWNER), "the new process does not know us"
    assert len(message.templates) == 1
    assert [(r.retries, r.task.attempt) for r in records] == [(1, 0), (0, 1), (0, 1)]


def test_calls_in_flight_that_must_not_be_repeated_fail_when_the_process_goes(alive: Caller) -> None:
    alive.call()
    alive.told("RESTARTING")
    assert alive.made[0]._data == b"unavailable"
    alive.call()
    assert alive.made[1]._state == PENDING, "it was made after the process was gone"


def test_when_the_actor_is_dead_all_calls_fail_now_and_later(alive: Caller) -> None:
    alive.call(retries=5)
    alive.call(ObjectRef(OWNER, 1000, 0))
    alive.told("DEAD")
    alive.call()
    assert [ref._data for ref in alive.made] == [b"died"] * 3
    assert alive.client.pending == 0


def test_the_death_of_its_worker_is_not_yet_the_death_of_the_actor(alive: Caller) -> None:
    alive.call(retries=-1)
    alive.pushed()
    alive.calls.process_died(FIRST)
    alive.call()
    assert alive.pushed() == []
    assert [record.task.counter for record in alive.client.queue] == [1, 2]
    alive.told("ALIVE", SECOND, restarts=1)
    assert alive.pushed(SECOND) == [1, 2]


def test_old_news_of_an_actor_changes_nothing(alive: Caller) -> None:
    alive.told("RESTARTING")
    alive.told("ALIVE", SECOND, restarts=1)
    alive.call()
    alive.pushed(SECOND)
    alive.told("RESTARTING", restarts=0)
    alive.told("ALIVE", SECOND, restarts=1)
    assert alive.made[0]._state == PENDING
    assert alive.client.address == address(SECOND)


def test_no_call_after_a_kill_reaches_the_life_that_was_ended(alive: Caller) -> None:
    alive.calls.killed(ACTOR, no_restart=False)
    alive.call()
    assert alive.pushed() == []
    alive.told("ALIVE", SECOND, restarts=1)
    assert alive.pushed(SECOND) == [1]


def test_a_kill_for_good_fails_calls_at_once(alive: Caller) -> None:
    alive.call(retries=5)
    alive.calls.killed(ACTOR, no_restart=True)
    alive.call()
    assert [ref._data for ref in alive.made] == [b"died"] * 2


def test_calls_that_the_leaving_worker_returns_wait_for_the_next_one(alive: Caller) -> None:
    for _ in range(3):
        alive.call()
    alive.pushed()
    alive.results(Result(3, R_EXITING), Result(2, R_EXITING))
    assert alive.pushed() == []
    assert [record.task.counter for record in alive.client.queue] == [2, 3]


def test_calls_that_come_back_are_pushed_again_in_order(alive: Caller) -> None:
    for _ in range(3):
        alive.call()
    alive.pushed()
    alive.results(Result(3, R_RETURNED), Result(2, R_RETURNED))
    assert alive.pushed() == [2, 3]


def test_an_exception_is_retried_when_the_options_say_so(alive: Caller) -> None:
    alive.calls.should_retry = lambda record, data: True
    record = alive.call(retries=1)
    alive.pushed()
    alive.results(Result(1, R_ERROR, b"wrong"))
    assert (alive.pushed(), record.task.attempt) == ([1], 1)
    alive.results(Result(1, R_ERROR, b"wrong again"))
    assert alive.made[0]._data == b"wrong again"
    assert alive.client.pending == 0


# -- cancelling -------------------------------------------------------------------------------------------------------


def test_a_waiting_call_is_cancelled_at_once(caller: Caller) -> None:
    record = caller.call()
    caller.calls.cancel(record, recursive=True)
    assert caller.made[0]._data == b"cancelled"
    assert (len(caller.client.queue), caller.client.pending) == (0, 0)


def test_a_call_in_flight_is_cancelled_by_the_actor(alive: Caller) -> None:
    record = alive.call()
    alive.calls.cancel(record, recursive=False)
    assert [(m.counters, m.recursive) for m in alive.sent(FIRST, CancelTasks)] == [([1], False)]
    assert alive.made[0]._state == PENDING


def test_a_cancelled_call_is_not_repeated_after_a_restart(alive: Caller) -> None:
    record = alive.call(retries=5)
    alive.calls.cancel(record, recursive=True)
    alive.told("RESTARTING")
    assert alive.made[0]._data == b"cancelled"


def test_an_actor_is_forgotten_when_nothing_is_under_way(alive: Caller) -> None:
    alive.call()
    alive.calls.forget(alive.client)
    assert ACTOR in alive.calls.clients
    alive.results(done(1))
    alive.calls.forget(alive.client)
    assert alive.calls.clients == {}
    assert alive.calls.by_worker == {}
    alive.calls.process_died(OTHER)


def test_how_a_constructor_ends_is_heard_also_when_no_handle_is_left() -> None:
    caller, ended = Caller(), []
    caller.calls.on_dead = ended.append
    caller.client.creation = Creation(caller.plan, weakref.ref(ObjectRef(OWNER, 9)))
    caller.calls.forget(caller.client)
    assert ACTOR in caller.calls.clients
    caller.told("DEAD")
    assert ended == [caller.client]
    assert ACTOR not in caller.calls.clients


def test_a_call_of_a_dead_actor_lets_go_of_references_as_often_as_it_took_them() -> None:
    caller = Caller()
    caller.told("DEAD")
    inside = ready(7)
    ref = ObjectRef(OWNER, 1)
    record = Record(
        Task(1, 1, b"", None, [RefInfo(inside.binary(), address(OWNER))]), caller.plan, ref, None, 0, [inside]
    )
    ref._data = record
    caller.calls.submitted(record)
    assert (ref._state, ref._data) == (ERROR, b"died")
    assert not caller.completion.references.exported
