"""Where an owner sends its tasks: in batches, behind each other, and back from who has too many."""

from __future__ import annotations

import pytest

from himalia.cluster.core.leases import TARGET
from himalia.cluster.core.pushing import MAX_DEPTH
from himalia.cluster.core.refs import ERROR, ObjectRef
from himalia.cluster.protocol.common import Address
from himalia.cluster.protocol.core_messages import (
    ARG_INLINE,
    ARG_LOCAL,
    R_RETURNED,
    PushTasks,
    Result,
    StealTasks,
    TaskResults,
)
from tests.core.owner import OWNER, TestedOwner, done, ready

# -- batches ----------------------------------------------------------------------------------------------------------


def test_short_tasks_travel_together_in_the_order_they_were_submitted() -> None:
    owner = TestedOwner(seconds=0.0001)
    tasks = [owner.queue() for _ in range(50)]
    owner.pump()
    worker = owner.lease()
    assert owner.pushed(worker) == [list(range(1, 51))]
    owner.check(*tasks)


def test_a_worker_gets_no_more_than_is_estimated_to_last_it_for_a_while() -> None:
    owner = TestedOwner(seconds=TARGET / 4)
    for _ in range(10):
        owner.queue()
    owner.pump()
    worker = owner.lease()
    assert owner.pushed(worker) == [[1, 2, 3, 4]]
    owner.results(worker, done(1))
    assert owner.pushed(worker) == [[5]]


@pytest.mark.parametrize("seconds", [-1.0, 60.0])
def test_long_and_unknown_tasks_are_given_one_by_one(seconds: float) -> None:
    owner = TestedOwner(seconds=seconds)
    for _ in range(3):
        owner.queue()
    owner.pump()
    worker = owner.lease()
    assert owner.pushed(worker) == [[1]]
    owner.submission.results(owner.submission.workers[worker], TaskResults([done(1)]), owner.now)
    owner.pump()
    assert owner.pushed(worker) == [[2]]


def test_the_estimate_is_learnt_from_what_workers_report() -> None:
    owner = TestedOwner(seconds=-1.0)
    for _ in range(30):
        owner.queue()
    owner.pump()
    worker = owner.lease()
    owner.pushed(worker)
    leased = owner.submission.workers[worker]
    owner.submission.results(leased, TaskResults([done(1)], busy=0.001), owner.now)
    assert owner.plan.estimate == 0.001
    owner.pump()
    assert len(owner.pushed(worker)[0]) == 10
    owner.submission.results(leased, TaskResults([done(2)], busy=0.003), owner.now)
    assert owner.plan.estimate == pytest.approx(0.002)


def test_no_worker_holds_more_tasks_than_the_depth_allows() -> None:
    owner = TestedOwner(seconds=0.0)
    for _ in range(MAX_DEPTH + 10):
        owner.queue()
    owner.pump()
    worker = owner.lease()
    assert owner.depth(worker) == MAX_DEPTH
    assert len(owner.scheduling.queue) == 10


def test_several_workers_share_what_there_is() -> None:
    owner = TestedOwner(seconds=0.0001)
    first = owner.submit()
    one = owner.lease(1)
    two = owner.lease(2)
    tasks = [owner.queue() for _ in range(20)]
    owner.pump()
    assert abs(owner.depth(one) - owner.depth(two)) <= 1
    owner.check(first, *tasks)


def test_a_function_travels_once_to_each_worker() -> None:
    owner = TestedOwner()
    plan = owner.plan_of("g")
    plan.scheduling = owner.scheduling
    owner.queue(plan=plan)
    owner.pump()
    worker = owner.lease()
    (message,) = owner.told(worker, PushTasks)
    assert [template.payload for template in message.templates] == [b"payload"]
    owner.queue(plan=plan)
    again = owner.plan_of("g")  # the same function from another cell
    again.scheduling = owner.scheduling
    again.template = type(again.template)(99, "g", again.template.function)
    owner.queue(plan=again)
    owner.pump()
    (message,) = owner.told(worker, PushTasks)
    assert [(template.index, template.payload) for template in message.templates] == [(99, None)]


def test_a_worker_is_told_who_we_are_with_its_first_tasks() -> None:
    owner = TestedOwner()
    owner.submit()
    worker = owner.lease(5)
    (message,) = owner.told(worker, PushTasks)
    assert (message.lease_id, message.owner, message.accelerators) == (5, Address(OWNER), {})
    owner.submit()
    (message,) = owner.told(worker, PushTasks)
    assert (message.lease_id, message.owner, message.accelerators) == (0, None, None)


# -- behind tasks in flight -------------------------------------------------------------------------------------------


def test_a_task_that_waits_for_one_in_flight_is_pushed_behind_it() -> None:
    owner = TestedOwner()
    maker = owner.submit()
    worker = owner.lease()
    owner.pushed(worker)
    follower = owner.submit(maker.made)
    (message,) = owner.told(worker, PushTasks)
    (task,) = message.tasks
    assert task.deps is not None
    assert (task.counter, task.deps[0].kind) == (2, ARG_LOCAL)
    assert follower.record.worker is owner.submission.workers[worker]


def test_a_chain_leaves_in_one_message() -> None:
    owner = TestedOwner()
    chain = [owner.queue()]
    for _ in range(9):
        chain.append(owner.queue(chain[-1].made))
    owner.pump()
    worker = owner.lease()
    (message,) = owner.told(worker, PushTasks)
    assert [task.counter for task in message.tasks] == list(range(1, 11))
    assert [task.deps[0].kind for task in message.tasks if task.deps] == [ARG_LOCAL] * 9
    owner.results(worker, *(done(counter) for counter in range(1, 11)))
    assert [link.made._data for link in chain] == [b"value"] * 10


def test_arguments_that_are_here_go_along_with_those_that_follow() -> None:
    owner = TestedOwner()
    maker = owner.submit()
    worker = owner.lease()
    owner.told(worker, PushTasks)
    owner.submit(ready(1000, b"here"), maker.made)
    ((task,),) = [message.tasks for message in owner.told(worker, PushTasks)]
    assert task.deps is not None
    assert [(dep.kind, dep.data) for dep in task.deps] == [(ARG_INLINE, b"here"), (ARG_LOCAL, b"")]


def test_who_waits_for_tasks_at_two_workers_waits_at_the_owner() -> None:
    owner = TestedOwner(seconds=1.0)
    left, right = owner.queue(), owner.queue()
    owner.pump()
    one, two = owner.lease(1), owner.lease(2)
    assert (owner.pushed(one), owner.pushed(two)) == ([[1]], [[2]])
    both = owner.submit(left.made, right.made)
    assert both.record.waiting == 2
    owner.check(left, right, both)
    owner.results(one, done(1))
    assert both.record.worker is None
    owner.results(two, done(2, b"other"))
    assert both.record.worker is not None
    assert both.record.task.deps is not None
    assert [dep.data for dep in both.record.task.deps] == [b"value", b"other"]


def test_a_task_of_another_class_does_not_follow() -> None:
    owner = TestedOwner()
    maker = owner.submit()
    worker = owner.lease()
    owner.pushed(worker)
    other = owner.queue(maker.made, plan=owner.plan_of("g", cpus=2))
    owner.pump()
    assert other.record.worker is None
    assert owner.pushed(worker) == []


def test_nothing_follows_at_a_worker_that_is_blocked_or_reclaimed() -> None:
    owner = TestedOwner()
    maker = owner.submit()
    worker = owner.lease()
    for attribute in ("blocked", "reclaim"):
        setattr(owner.submission.workers[worker], attribute, True)
        assert owner.submit(maker.made).record.worker is None
        setattr(owner.submission.workers[worker], attribute, False)
    assert owner.submit(maker.made).record.worker is not None


def test_a_task_with_a_failed_argument_does_not_follow_but_fails() -> None:
    owner = TestedOwner()
    maker = owner.submit()
    worker = owner.lease()
    failed = ObjectRef(OWNER, 1000, 0, ERROR, b"went wrong")
    follower = owner.submit(failed, maker.made)
    assert follower.record.worker is None
    owner.results(worker, done(1))
    assert (follower.made._state, follower.made._data) == (ERROR, b"went wrong")


def test_a_follower_that_comes_back_waits_for_its_argument_anew() -> None:
    owner = TestedOwner()
    maker = owner.submit()
    worker = owner.lease()
    follower = owner.submit(maker.made)
    owner.results(worker, Result(2, R_RETURNED))
    assert (follower.record.worker, follower.record.waiting) == (None, 1)
    owner.check(maker, follower)
    owner.results(worker, done(1))
    assert follower.record.task.deps is not None
    assert (follower.record.task.deps[0].kind, follower.record.task.deps[0].data) == (ARG_INLINE, b"value")
    assert follower.record.worker is not None


# -- stealing ---------------------------------------------------------------------------------------------------------


def two_workers(tasks: int) -> tuple[TestedOwner, bytes, bytes]:
    """An owner one of whose workers has all the tasks, and one of whom is idle."""
    owner = TestedOwner(seconds=0.0005)
    for _ in range(tasks):
        owner.queue()
    owner.pump()
    full = owner.lease(1)
    # The queue is empty now; that there is a second lease was asked for before.
    return owner, full, owner.lease(2)


def test_an_idle_worker_has_unstarted_tasks_stolen_from_the_fullest() -> None:
    owner, full, idle = two_workers(9)
    assert owner.depth(full) == 9
    assert [message.count for message in owner.told(full, StealTasks)] == [4]
    owner.pushed(idle)
    stolen = TaskResults([Result(counter, R_RETURNED) for counter in (9, 8, 7, 6)], stolen=True)
    owner.submission.results(owner.submission.workers[full], stolen, owner.now)
    owner.pump()
    (given,) = owner.pushed(idle)
    assert given == sorted(given), "they are in another order now"
    assert given == [6, 7, 8, 9], "some went back to where they were stolen"
    assert (owner.depth(full), owner.depth(idle)) == (5, 4)


def test_who_has_less_to_do_gets_more_of_what_is_new() -> None:
    owner = TestedOwner(seconds=0.0001)
    first = [owner.queue() for _ in range(10)]
    owner.pump()
    one, two = owner.lease(1), owner.lease(2)
    assert (owner.depth(one), owner.depth(two)) == (10, 0)
    more = [owner.queue() for _ in range(14)]
    owner.pump()
    assert (owner.depth(one), owner.depth(two)) == (12, 12)
    owner.check(*first, *more)


def test_a_worker_with_a_long_task_keeps_nothing_from_the_others() -> None:
    owner = TestedOwner(seconds=0.0001)
    long = owner.queue(plan=owner.plan_of("long", seconds=60.0))
    owner.pump()
    one = owner.lease(1)
    short = [owner.queue() for _ in range(20)]
    owner.pump()
    two = owner.lease(2)
    assert (owner.depth(one), owner.depth(two)) == (1, 20)
    owner.check(long, *short)


def test_one_theft_at_a_time() -> None:
    owner, full, _ = two_workers(9)
    assert len(owner.told(full, StealTasks)) == 1
    owner.results(full, done(1))
    assert owner.told(full, StealTasks) == []
    stolen = TaskResults([], stolen=True)  # all had begun
    owner.submission.results(owner.submission.workers[full], stolen, owner.now)
    owner.pump()
    assert len(owner.told(full, StealTasks)) == 1


def test_nothing_is_stolen_that_is_too_little_to_be_worth_it() -> None:
    owner = TestedOwner(seconds=0.00001)
    for _ in range(9):
        owner.queue()
    owner.pump()
    full = owner.lease(1)
    owner.lease(2)
    assert owner.told(full, StealTasks) == []


def test_the_only_task_of_a_worker_stays_with_it() -> None:
    owner = TestedOwner(seconds=1.0)
    owner.submit()
    worker = owner.lease(1)
    owner.lease(2)
    assert owner.told(worker, StealTasks) == []


def test_a_chain_is_not_stolen_since_its_links_can_begin_nowhere_else() -> None:
    owner = TestedOwner(seconds=0.0005)
    link = owner.queue()
    for _ in range(8):
        link = owner.queue(link.made)
    owner.pump()
    worker = owner.lease(1)
    assert owner.depth(worker) == 9
    owner.lease(2)
    assert owner.told(worker, StealTasks) == []


def test_a_blocked_worker_gets_nothing_until_its_task_is_done() -> None:
    owner = TestedOwner()
    owner.submit()
    worker = owner.lease()
    owner.pushed(worker)
    leased = owner.submission.workers[worker]
    owner.submission.results(leased, TaskResults([], blocked=True), owner.now)
    task = owner.submit()
    assert owner.pushed(worker) == []
    assert owner.wants()[-1] > 1, "another worker is to take its place"
    owner.results(worker, done(1))
    assert owner.pushed(worker) == [[2]]
    owner.check(task)
