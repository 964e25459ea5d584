"""Demand, and the life of a lease at its owner."""

from __future__ import annotations

from himalia.cluster.core.leases import LINGER, lease_key
from himalia.cluster.protocol.core_messages import R_RETURNED, Result, StealTasks
from himalia.cluster.protocol.raylet_messages import (
    LeaseReclaim,
    LeaseRefused,
    LeaseSpec,
    ReturnLeases,
    SetDemand,
)
from tests.core.owner import RAYLET, TestedOwner, done


def test_demand_grows_in_powers_of_two_so_that_a_burst_costs_few_messages() -> None:
    owner = TestedOwner(seconds=1.0)
    for _ in range(100):
        owner.submit()
    assert owner.wants() == [1, 2, 4, 8, 16, 32, 64, 128]


def test_a_burst_that_came_at_once_is_told_in_one_message_with_its_specification() -> None:
    owner = TestedOwner(seconds=1.0)
    for _ in range(100):
        owner.queue()
    owner.pump()
    (demand,) = owner.told(RAYLET, SetDemand)
    assert (demand.want, demand.queued, demand.spec) == (128, 100, owner.scheduling.spec)
    for _ in range(100):
        owner.queue()
    owner.pump()
    (demand,) = owner.told(RAYLET, SetDemand)
    assert (demand.want, demand.spec) == (256, None), "the raylet knows the class by now"


def test_short_tasks_want_only_the_workers_that_they_keep_busy() -> None:
    owner = TestedOwner(seconds=0.0001)
    for _ in range(39):
        owner.queue()
    owner.pump()
    assert owner.wants() == [4], "3.9 ms of work are worth three leases, told as four"


def test_tasks_that_nothing_is_known_of_count_as_long() -> None:
    owner = TestedOwner(seconds=-1.0)
    for _ in range(3):
        owner.queue()
    owner.pump()
    assert owner.wants() == [4]


def test_no_owner_asks_for_more_than_the_limit() -> None:
    owner = TestedOwner(seconds=1.0)
    for _ in range(5_000):
        owner.queue()
    owner.pump()
    assert owner.wants() == [4_096]


def test_a_wish_that_was_not_met_ends_with_the_work() -> None:
    owner = TestedOwner(seconds=1.0)
    tasks = [owner.queue() for _ in range(4)]
    owner.pump()
    assert owner.wants() == [4]
    worker = owner.lease()
    for task in tasks:
        owner.results(worker, done(task.record.task.counter))
    assert owner.wants()[-1] == 1, "only the lease that it still holds"
    owner.check(*tasks)


def test_an_idle_lease_is_kept_for_a_moment_and_then_returned() -> None:
    owner = TestedOwner()
    owner.submit()
    worker = owner.lease()
    owner.now = 1.0
    owner.results(worker, done(1))
    assert owner.submission.next_due == 1.0 + LINGER
    owner.submission.tick(1.0 + LINGER / 2)
    assert owner.told(RAYLET, ReturnLeases) == []
    owner.submission.tick(1.0 + LINGER)
    assert [message.lease_ids for message in owner.told(RAYLET, ReturnLeases)] == [[1]]
    assert owner.submission.workers == {}
    assert owner.submission.leases == {}
    assert owner.submission.next_due is None


def test_a_lease_that_works_again_is_not_returned() -> None:
    owner = TestedOwner()
    owner.submit()
    worker = owner.lease()
    owner.results(worker, done(1))
    owner.submit()
    owner.submission.tick(10.0)
    assert owner.told(RAYLET, ReturnLeases) == []
    assert worker in owner.submission.workers


def test_a_reclaimed_lease_goes_back_when_what_has_started_is_done() -> None:
    owner = TestedOwner()
    tasks = [owner.queue() for _ in range(3)]
    owner.pump()
    worker = owner.lease()
    assert owner.depth(worker) == 3
    owner.submission.lease_reclaim(LeaseReclaim(1))
    owner.pump()
    assert [message.count for message in owner.told(worker, StealTasks)] == [3]
    owner.submit()
    assert owner.depth(worker) == 3, "it was given another task"
    owner.results(worker, Result(3, R_RETURNED), Result(2, R_RETURNED))
    assert owner.told(RAYLET, ReturnLeases) == []
    owner.results(worker, done(1))
    assert [message.lease_ids for message in owner.told(RAYLET, ReturnLeases)] == [[1]]
    assert [record.task.counter for record in owner.scheduling.queue] == [2, 3, 4]
    owner.check(*tasks)


def test_what_was_reclaimed_and_lies_idle_goes_back_at_once() -> None:
    owner = TestedOwner()
    owner.submit()
    worker = owner.lease()
    owner.results(worker, done(1))
    owner.submission.lease_reclaim(LeaseReclaim(1))
    owner.pump()
    assert [message.lease_ids for message in owner.told(RAYLET, ReturnLeases)] == [[1]]
    assert owner.told(worker, StealTasks) == []


def test_a_reclaim_of_a_lease_that_was_returned_means_nothing() -> None:
    owner = TestedOwner()
    owner.submission.lease_reclaim(LeaseReclaim(7))
    owner.pump()
    assert owner.out == []


def test_that_nobody_can_meet_the_demand_is_said_once() -> None:
    owner = TestedOwner()
    said: list[str] = []
    owner.submission.warn = said.append
    task = owner.submit()
    for _ in range(2):
        owner.submission.lease_refused(RAYLET, LeaseRefused(1, "no node has a GPU"))
    assert said == ["Task `f` cannot run. no node has a GPU"]
    owner.check(task)
    owner.lease()
    owner.submission.lease_refused(RAYLET, LeaseRefused(1, "no node has a GPU"))
    assert len(said) == 2, "in between there was one"


def test_what_can_never_be_met_fails_the_tasks_that_wait_for_it() -> None:
    owner = TestedOwner()
    tasks = [owner.submit() for _ in range(2)]
    owner.submission.lease_refused(RAYLET, LeaseRefused(1, "the node is gone", fatal=True))
    assert [task.made._data for task in tasks] == [b"refused"] * 2
    owner.check(*tasks)


def test_equal_specifications_are_one_class_in_whatever_order_they_are_written() -> None:
    one = LeaseSpec({"CPU": 1, "GPU": 2}, b"job", labels={"a": "1", "b": "2"})
    same = LeaseSpec({"GPU": 2, "CPU": 1}, b"job", labels={"b": "2", "a": "1"})
    assert lease_key(one) == lease_key(same)
    others = [
        LeaseSpec({"CPU": 1}, b"job"),
        LeaseSpec({"CPU": 1, "GPU": 2}, b"other job", labels=one.labels),
        LeaseSpec({"CPU": 1, "GPU": 2}, b"job", "SPREAD", labels=one.labels),
        LeaseSpec({"CPU": 1, "GPU": 2}, b"job", runtime_env="{}", labels=one.labels),
        LeaseSpec({"CPU": 1, "GPU": 2}, b"job", labels={"a": "1"}),
    ]
    assert len({lease_key(spec) for spec in [one, *others]}) == 6
