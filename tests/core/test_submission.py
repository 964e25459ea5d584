"""What becomes of a task: it ends, is tried again, comes back, is cancelled."""

from __future__ import annotations

import pytest

from himalia.cluster.core.records import Stream
from himalia.cluster.core.refs import ERROR, INLINE, PENDING, ObjectRef
from himalia.cluster.protocol.common import Death, DeathKind
from himalia.cluster.protocol.core_messages import (
    R_CANCELLED,
    R_ERROR,
    R_EXITING,
    R_MANY,
    R_RETURNED,
    R_STREAM_END,
    CancelTasks,
    RefInfo,
    Result,
    ReturnValue,
)
from himalia.cluster.protocol.raylet_messages import KillWorker, ReturnLeases
from tests.core.owner import OTHER, OWNER, RAYLET, TestedOwner, address, done, ready


def test_the_result_of_a_task_is_the_value_of_its_reference() -> None:
    owner = TestedOwner()
    task = owner.submit()
    assert task.made._state == PENDING
    worker = owner.lease()
    owner.results(worker, done(1, b"42"))
    assert (task.made._state, task.made._data) == (INLINE, b"42")
    owner.check(task)


def test_a_task_with_several_returns_gives_each_its_value() -> None:
    owner = TestedOwner()
    task = owner.queue()
    refs = [ObjectRef(OWNER, 1, index, PENDING, task.record) for index in (1, 2)]
    task.record.ref, task.record.refs = None, refs
    owner.pump()
    worker = owner.lease()
    owner.results(worker, Result(1, R_MANY, b"", [ReturnValue(b"a"), ReturnValue(b"b", flags=1)]))
    assert [(ref._state, ref._data) for ref in refs] == [(INLINE, b"a"), (ERROR, b"b")]


def test_an_error_is_the_value_of_the_reference_too() -> None:
    owner = TestedOwner()
    task = owner.submit()
    worker = owner.lease()
    owner.results(worker, Result(1, R_ERROR, b"pickled"))
    assert (task.made._state, task.made._data) == (ERROR, b"pickled")
    assert owner.completion.failed == 1


def test_a_result_that_nobody_waits_for_is_ignored() -> None:
    owner = TestedOwner()
    task = owner.submit()
    worker = owner.lease()
    owner.results(worker, done(1, b"first"))
    owner.results(worker, done(1, b"again"), done(77))
    assert task.made._data == b"first"


def test_a_task_waits_for_its_arguments() -> None:
    owner = TestedOwner()
    argument = ObjectRef(OWNER, 1000, 0)
    task = owner.submit(argument)
    assert task.record.waiting == 1
    assert not owner.scheduling.queue
    argument._state, argument._data = INLINE, b"here"
    owner.completion.ready(argument)
    owner.pump()
    assert [record.task.counter for record in owner.scheduling.queue] == [1]
    assert task.record.task.deps is not None
    assert task.record.task.deps[0].data == b"here"
    owner.check(task)


def test_a_failed_argument_fails_the_task_without_a_worker() -> None:
    owner = TestedOwner()
    task = owner.submit(ObjectRef(OWNER, 1000, 0, ERROR, b"cause"))
    assert (task.made._state, task.made._data) == (ERROR, b"cause")
    assert owner.wants() == []


def test_a_failure_goes_down_a_chain_at_once() -> None:
    owner = TestedOwner(seconds=1.0)
    chain = [owner.submit()]
    for _ in range(50):
        chain.append(owner.submit(chain[-1].made))
    worker = owner.lease()
    owner.results(worker, Result(1, R_ERROR, b"cause"))
    assert [link.made._data for link in chain] == [b"cause"] * 51
    owner.check(*chain)


# -- retries ----------------------------------------------------------------------------------------------------------


def test_an_exception_is_retried_when_the_options_say_so_and_while_tries_are_left() -> None:
    owner = TestedOwner()
    why: list[str] = []
    owner.submission.should_retry = lambda record, data: data == b"retry me"
    owner.submission.retried = lambda record, reason: why.append(reason)
    task = owner.queue(retries=1)
    owner.pump()
    worker = owner.lease()
    owner.results(worker, Result(1, R_ERROR, b"retry me"))
    assert task.made._state == PENDING
    assert (task.record.retries, task.record.task.attempt, len(why)) == (0, 1, 1)
    assert task.record.worker is not None, "it was pushed again"
    owner.results(worker, Result(1, R_ERROR, b"retry me"))
    assert task.made._data == b"retry me"


def test_other_exceptions_are_not_retried() -> None:
    owner = TestedOwner()
    owner.submission.should_retry = lambda record, data: data == b"retry me"
    task = owner.queue(retries=3)
    owner.pump()
    owner.results(owner.lease(), Result(1, R_ERROR, b"a mistake"))
    assert (task.made._state, task.record.retries) == (ERROR, 3)


def test_retries_without_end_are_not_counted() -> None:
    owner = TestedOwner()
    owner.submission.should_retry = lambda record, data: True
    task = owner.queue(retries=-1)
    owner.pump()
    worker = owner.lease()
    for attempt in range(1, 6):
        owner.results(worker, Result(1, R_ERROR, b"again"))
        assert (task.record.retries, task.record.task.attempt) == (-1, attempt)


def test_a_cancelled_task_is_not_retried() -> None:
    owner = TestedOwner()
    owner.submission.should_retry = lambda record, data: True
    task = owner.queue(retries=3)
    owner.pump()
    worker = owner.lease()
    owner.submission.cancel(task.record, force=False, recursive=True)
    owner.results(worker, Result(1, R_ERROR, b"interrupted"))
    assert task.made._state == ERROR


# -- the death of a worker --------------------------------------------------------------------------------------------


def four_tasks(retries: int) -> tuple[TestedOwner, list[ObjectRef], bytes]:
    owner = TestedOwner()
    made = [owner.queue(retries=retries).made for _ in range(4)]
    owner.pump()
    worker = owner.lease()
    owner.pushed(worker)
    return owner, made, worker


def attempts(owner: TestedOwner) -> dict[int, tuple[int, int]]:
    """Attempt and tries left of each task in the queue, in its order."""
    return {record.task.counter: (record.task.attempt, record.retries) for record in owner.scheduling.queue}


def test_only_what_had_begun_counts_as_tried() -> None:
    owner, _, worker = four_tasks(retries=3)
    owner.dies(worker, last_started=2)
    assert attempts(owner) == {1: (1, 2), 2: (1, 2), 3: (0, 3), 4: (0, 3)}
    assert list(attempts(owner)) == [1, 2, 3, 4], "they are not in their order"


def test_nothing_counts_as_tried_when_no_task_had_begun() -> None:
    owner, made, worker = four_tasks(retries=0)
    owner.dies(worker, last_started=0)
    assert attempts(owner) == {1: (0, 0), 2: (0, 0), 3: (0, 0), 4: (0, 0)}
    assert [ref._state for ref in made] == [PENDING] * 4


def test_everything_counts_as_tried_when_nobody_knows() -> None:
    owner, _, worker = four_tasks(retries=1)
    owner.dies(worker, last_started=-1)
    assert attempts(owner) == dict.fromkeys((1, 2, 3, 4), (1, 0))


def test_a_task_that_ended_before_may_be_the_last_that_began() -> None:
    owner, _, worker = four_tasks(retries=0)
    owner.results(worker, done(1))
    owner.pushed(worker)
    owner.dies(worker, last_started=1)
    assert attempts(owner) == {2: (0, 0), 3: (0, 0), 4: (0, 0)}


def test_what_may_have_run_and_has_no_tries_left_fails_with_the_reason() -> None:
    owner, made, worker = four_tasks(retries=0)
    owner.dies(worker, last_started=1, detail="out of memory")
    assert (made[0]._state, made[0]._data) == (ERROR, b"died: out of memory")
    assert [ref._state for ref in made[1:]] == [PENDING] * 3


def test_a_cancelled_task_whose_worker_died_is_cancelled() -> None:
    owner, made, worker = four_tasks(retries=3)
    record = made[0]._data
    owner.submission.cancel(record, force=True, recursive=True)
    owner.dies(worker, last_started=1)
    assert made[0]._data == b"cancelled"
    assert list(attempts(owner)) == [2, 3, 4]


def test_followers_of_a_worker_that_died_wait_for_their_arguments_again() -> None:
    owner = TestedOwner()
    maker = owner.queue(retries=3)
    follower = owner.queue(maker.made, retries=3)
    owner.pump()
    worker = owner.lease()
    assert owner.depth(worker) == 2
    owner.dies(worker, last_started=1)
    assert (maker.record.task.attempt, follower.record.task.attempt) == (1, 0)
    assert (follower.record.waiting, follower.record.worker) == (1, None)
    owner.check(maker, follower)
    again = owner.lease(2)
    assert owner.pushed(again) == [[1, 2]]


def test_the_death_of_a_worker_that_is_not_leased_means_nothing() -> None:
    owner, _, worker = four_tasks(retries=0)
    owner.dies(worker, last_started=0)
    before = attempts(owner)
    from himalia.cluster.protocol.raylet_messages import WorkerDied

    assert owner.submission.worker_died(WorkerDied(worker, Death(DeathKind.CRASHED)), 0.0) is None
    assert attempts(owner) == before


def test_with_a_raylet_die_all_its_workers() -> None:
    owner = TestedOwner(seconds=1.0)
    tasks = [owner.queue(retries=1) for _ in range(3)]
    owner.pump()
    owner.wants()
    owner.lease(1), owner.lease(2)
    survivor = owner.lease(3, raylet=OTHER)
    owner.submission.raylet_died(RAYLET, Death(DeathKind.NODE_DIED, "the node died"), owner.now)
    owner.pump()
    assert list(owner.submission.workers) == [survivor]
    assert attempts(owner) == {1: (1, 0), 2: (1, 0)} or attempts(owner) == {2: (1, 0), 1: (1, 0)}
    owner.check(*tasks)


def test_a_lease_of_a_raylet_that_died_comes_too_late() -> None:
    owner = TestedOwner(seconds=1.0)
    task = owner.queue(retries=1)
    owner.pump()
    owner.wants()
    owner.submission.raylet_died(RAYLET, Death(DeathKind.NODE_DIED, "the node died"), owner.now)
    owner.lease(1)
    assert not owner.submission.workers
    survivor = owner.lease(2, raylet=OTHER)
    assert owner.pushed(survivor) == [[1]]
    owner.check(task)


# -- tasks that come back ---------------------------------------------------------------------------------------------


def test_what_comes_back_unstarted_is_first_in_the_queue_and_keeps_its_tries() -> None:
    owner, _, worker = four_tasks(retries=2)
    owner.submission.workers[worker].blocked = True
    owner.queue()
    for counter in (4, 3):  # the newest first, as a worker gives them back
        leased = owner.submission.workers[worker]
        record = leased.inflight[counter]
        owner.results(worker, Result(counter, R_RETURNED))
        assert (record.task.attempt, record.retries) == (0, 2)
    assert list(attempts(owner)) == [3, 4, 5]


def test_a_worker_that_leaves_gets_no_more_and_its_lease_goes_back() -> None:
    owner, _, worker = four_tasks(retries=0)
    owner.results(worker, *(Result(counter, R_EXITING) for counter in (4, 3, 2)))
    assert owner.pushed(worker) == []
    owner.results(worker, done(1))
    assert [message.lease_ids for message in owner.told(RAYLET, ReturnLeases)] == [[1]]
    assert list(attempts(owner)) == [2, 3, 4]


# -- cancelling -------------------------------------------------------------------------------------------------------


def test_a_task_in_the_queue_is_cancelled_at_once() -> None:
    owner = TestedOwner()
    task, other = owner.submit(), owner.submit()
    owner.submission.cancel(task.record, force=False, recursive=True)
    assert (task.made._state, task.made._data) == (ERROR, b"cancelled")
    owner.check(task, other)
    worker = owner.lease()
    assert owner.pushed(worker) == [[2]]


def test_a_task_that_waits_for_arguments_is_cancelled_at_once_and_never_runs() -> None:
    owner = TestedOwner()
    argument = ObjectRef(OWNER, 1000, 0)
    task = owner.submit(argument)
    owner.submission.cancel(task.record, force=False, recursive=True)
    assert task.made._data == b"cancelled"
    argument._state, argument._data = INLINE, b"here"
    owner.completion.ready(argument)
    owner.pump()
    assert not owner.scheduling.queue


@pytest.mark.parametrize("recursive", [False, True])
def test_a_worker_is_asked_to_cancel_what_it_has(recursive: bool) -> None:
    owner = TestedOwner()
    task = owner.submit()
    worker = owner.lease()
    owner.submission.cancel(task.record, force=False, recursive=recursive)
    (message,) = owner.told(worker, CancelTasks)
    assert (message.counters, message.recursive) == ([1], recursive)
    assert owner.told(RAYLET, KillWorker) == []
    assert task.made._state == PENDING
    owner.results(worker, Result(1, R_CANCELLED))
    assert task.made._data == b"cancelled"


def test_what_comes_back_after_it_was_cancelled_is_over() -> None:
    owner = TestedOwner()
    task = owner.submit()
    worker = owner.lease()
    owner.submission.cancel(task.record, force=False, recursive=True)
    owner.results(worker, Result(1, R_RETURNED))
    assert task.made._data == b"cancelled"
    assert not owner.scheduling.queue


def test_by_force_the_raylet_ends_the_worker_if_it_runs_this_task() -> None:
    owner = TestedOwner()
    task = owner.submit()
    worker = owner.lease()
    owner.submission.cancel(task.record, force=True, recursive=True)
    assert [(message.worker_id, message.counter) for message in owner.told(RAYLET, KillWorker)] == [(worker, 1)]
    owner.submission.insist(owner.now)
    assert len(owner.told(RAYLET, KillWorker)) == 1, "it may have begun since"
    owner.dies(worker, last_started=1)
    owner.submission.insist(owner.now)
    assert owner.told(RAYLET, KillWorker) == []
    assert task.made._data == b"cancelled"


# -- what values and arguments carry ----------------------------------------------------------------------------------


def test_a_worker_that_keeps_an_argument_is_a_borrower_when_the_result_is_here() -> None:
    owner = TestedOwner()
    argument = ready(1000)
    owner.references.findable[argument.binary()] = argument
    task = owner.submit()
    worker = owner.lease()
    result = done(1)
    result.borrows = [argument.binary()]
    owner.results(worker, result)
    assert owner.references.exported[argument.binary()].borrowers == {worker: 1}
    owner.check(task)


def test_references_inside_arguments_stay_findable_while_the_task_runs() -> None:
    owner = TestedOwner()
    inside = ready(1000)
    task = owner.queue()
    task.record.task.refs = [RefInfo(inside.binary(), address(OWNER))]
    task.record.holds = [inside]
    owner.scheduling.queue.clear()
    owner.submission.submitted(task.record)
    owner.pump()
    assert inside.binary() in owner.references.exported
    worker = owner.lease()
    owner.results(worker, done(1))
    assert inside.binary() not in owner.references.exported


def test_a_generator_ends_with_as_many_items_as_came() -> None:
    owner = TestedOwner()
    task = owner.queue()
    task.record.stream = Stream({})
    owner.pump()
    worker = owner.lease()
    owner.results(worker, Result(1, R_STREAM_END))
    assert task.record.stream.total == 0
    assert task.made._state == INLINE
