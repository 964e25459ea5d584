"""Rules of an owner that simulations have found broken, each as the few messages that break it."""

from __future__ import annotations

from himalia.cluster.core.refs import ref_from_id
from himalia.cluster.protocol.common import Address, Death, DeathKind
from himalia.cluster.protocol.core_messages import R_INLINE, R_RETURNED, PushTasks, Result, TaskResults
from himalia.cluster.protocol.ids import make_object_id
from himalia.cluster.protocol.raylet_messages import LeaseRefused, LeaseSpill, ReturnLeases, SetDemand, WorkerDied
from tests.simulation.owner_on_paper import OTHER, RAYLET, Owner


def test_a_task_that_comes_back_with_the_result_it_waited_for_is_pushed_once() -> None:
    owner = Owner()
    maker = owner.submit()
    worker = owner.lease()
    follower = owner.submit(maker.made)
    assert follower.record.worker is not None, "it was not pushed behind what it waits for"
    owner.told(worker, PushTasks)
    owner.results(worker, Result(2, R_RETURNED), Result(1, R_INLINE, b"value"))
    pushed = [task.counter for message in owner.told(worker, PushTasks) for task in message.tasks]
    assert pushed == [2]


def test_a_task_that_is_cancelled_in_the_moment_it_becomes_ready_is_over() -> None:
    owner = Owner()
    maker = owner.submit()
    follower = owner.submit(maker.made)
    worker = owner.lease()
    inflight = owner.submission.workers[worker].inflight
    if 2 in inflight:  # a follower went along: it comes back
        owner.results(worker, Result(2, R_RETURNED))
    message = TaskResults([Result(1, R_INLINE, b"value")])
    owner.submission.results(owner.submission.workers[worker], message, owner.now)
    owner.submission.cancel(follower.record, False, True)
    owner.submission.pump(owner.now)
    assert follower.made._data == b"cancelled"
    assert not owner.scheduling.queue


def test_a_lease_whose_worker_died_when_nothing_was_left_to_do_is_not_wanted_again() -> None:
    owner = Owner()
    owner.submit()
    assert [demand.want for demand in owner.told(RAYLET, SetDemand)] == [1]
    worker = owner.lease()
    owner.results(worker, Result(1, R_INLINE, b"value"))
    owner.submission.worker_died(WorkerDied(worker, Death(DeathKind.CRASHED), 1), owner.now)
    owner.submission.pump(owner.now)
    assert [demand.want for demand in owner.told(RAYLET, SetDemand)] == [0]


def test_who_returns_a_lease_that_it_does_not_need_says_that_it_wants_none() -> None:
    owner = Owner()
    record = owner.submit()
    owner.told(RAYLET, SetDemand)
    owner.submission.cancel(record.record, False, True)
    owner.submission.pump(owner.now)
    assert [demand.want for demand in owner.told(RAYLET, SetDemand)] == [0]
    owner.lease()  # granted before the raylet knew
    assert [demand.want for demand in owner.told(RAYLET, SetDemand)] == [0]
    assert [message.lease_ids for message in owner.told(RAYLET, ReturnLeases)] == [[1]]


def test_what_a_raylet_passes_on_is_taken_from_what_was_asked_of_it() -> None:
    owner = Owner()
    owner.plan.estimate = 1.0
    for _ in range(4):
        owner.submit()
    owner.submission.lease_spill(RAYLET, LeaseSpill(1, 2, Address(OTHER), 1))
    assert owner.scheduling.asked == {RAYLET: 2, OTHER: 2}
    third = b"\x01raylet3"
    owner.submission.lease_spill(OTHER, LeaseSpill(1, 1, Address(third), 2))
    assert owner.scheduling.asked == {RAYLET: 2, OTHER: 1, third: 1}


def test_after_a_refusal_for_good_later_tasks_ask_again() -> None:
    owner = Owner()
    record = owner.submit()
    owner.told(RAYLET, SetDemand)
    owner.submission.lease_refused(RAYLET, LeaseRefused(1, "never", True))
    assert record.made._data == b"refused"
    owner.submit()
    assert [demand.want for demand in owner.told(RAYLET, SetDemand)] == [1]


def test_a_follower_that_died_with_what_it_followed_is_not_woken_by_its_end() -> None:
    owner = Owner()
    maker = owner.submit()
    worker = owner.lease()
    follower = owner.submit(maker.made)
    assert follower.record.worker is not None
    owner.submission.death_error = lambda record, death, worker: b"died"
    owner.submission.worker_died(WorkerDied(worker, Death(DeathKind.CRASHED), 1, 2), owner.now)  # it had begun both
    owner.submission.pump(owner.now)
    assert maker.made._data == b"died"
    assert follower.made._data == b"died"
    assert not owner.completion.ready_records
    assert not owner.scheduling.queue


def test_a_reference_on_its_way_back_is_forgotten_with_the_worker_that_sent_it() -> None:
    owner = Owner()
    ref = owner.submit().made
    owner.references.export(ref)
    worker = b"\x01worker1"
    owner.references.in_transit(ref, 1)
    owner.references.add_borrower(ref.binary(), worker)  # for us: its result, with the reference in it, is to come
    owner.references.in_transit(ref, -1)
    assert ref.binary() in owner.references.exported
    owner.references.process_died(worker)
    assert ref.binary() not in owner.references.exported


def test_what_a_dead_process_gives_up_late_is_not_counted_below_nothing() -> None:
    owner = Owner()
    ref = owner.submit().made
    owner.references.in_transit(ref, 1)
    owner.references.add_borrower(ref.binary(), b"\x01worker1")
    owner.references.process_died(b"\x01worker1")
    owner.references.remove_borrower(ref.binary(), b"\x01worker1")
    assert owner.references.exported[ref.binary()].borrowers == {}


def test_nobody_waits_for_the_word_of_a_dead_owner() -> None:
    owner = Owner()
    elsewhere = ref_from_id(make_object_id(OTHER, 1, 1), Address(OTHER))
    done: list[bool] = []
    assert owner.references.register([elsewhere], owner.references.address, lambda: done.append(True)) == 1
    owner.references.process_died(OTHER)
    assert done == [True]
    assert not owner.references.acks


def test_who_is_sent_to_a_dead_node_asks_again_at_home() -> None:
    owner = Owner()
    owner.submit()
    owner.submission.raylet_died(OTHER, Death(DeathKind.NODE_DIED), owner.now)
    owner.told(RAYLET, SetDemand)
    owner.submission.lease_spill(RAYLET, LeaseSpill(1, 1, Address(OTHER), 1))
    owner.submission.pump(owner.now)
    assert owner.told(OTHER, SetDemand) == []
    assert [demand.want for demand in owner.told(RAYLET, SetDemand)] == [1]
