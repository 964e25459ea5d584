"""What a tally sees in the records of an owner."""

from __future__ import annotations

from himalia.cluster.core.progress.tally import OTHERS, Counts, Tally
from himalia.cluster.core.refs import ERROR, INLINE, ObjectRef, ref_from_id
from himalia.cluster.protocol.ids import make_object_id
from tests.core.owner import OTHER, OWNER, TestedOwner, address, done


def counts_of(tally: Tally) -> dict[str, Counts]:
    return tally.look()


def test_the_first_task_of_a_worker_runs_and_those_behind_it_wait() -> None:
    owner = TestedOwner()
    tasks = [owner.submit() for _ in range(3)]
    tally = Tally()
    tally.add([task.made for task in tasks])
    assert counts_of(tally) == {"f": Counts(waiting=3)}
    owner.lease()
    assert counts_of(tally) == {"f": Counts(running=1, waiting=2)}


def test_tasks_that_ended_are_counted_by_how() -> None:
    owner = TestedOwner()
    tasks = [owner.submit() for _ in range(3)]
    worker = owner.lease()
    tally = Tally()
    tally.add([task.made for task in tasks])
    owner.results(worker, done(tasks[0].record.task.counter))
    owner.completion.fail(tasks[1].record, b"error")
    owner.submission.cancel(tasks[2].record, False, False)
    owner.completion.fail(tasks[2].record, b"cancelled")
    assert counts_of(tally) == {"f": Counts(done=1, failed=1, cancelled=1)}
    assert tally.over


def test_a_task_counts_once_however_often_it_is_waited_for() -> None:
    owner = TestedOwner()
    task = owner.submit()
    tally = Tally()
    tally.add([task.made, task.made])
    tally.add([task.made])
    assert counts_of(tally) == {"f": Counts(waiting=1)}


def test_tasks_of_arguments_count_by_their_function_and_come_first() -> None:
    owner = TestedOwner()
    loads = [owner.queue(plan=owner.plan_of("load")) for _ in range(2)]
    train = owner.queue(*(load.made for load in loads), plan=owner.plan_of("train"))
    tally = Tally()
    tally.add([train.made])
    seen = counts_of(tally)
    assert list(seen) == ["load", "train"]
    assert seen == {"load": Counts(waiting=2), "train": Counts(waiting=1)}


def test_arguments_that_were_there_count_to_the_function_that_makes_the_others() -> None:
    owner = TestedOwner()
    train, load = owner.plan_of("train"), owner.plan_of("load")
    old = ObjectRef(OWNER, 1000, 1, INLINE, b"value")
    there, coming = ObjectRef(OWNER, 1001, 1, INLINE, b"value"), owner.queue(plan=load).made
    tally = Tally()
    tally.add([owner.queue(given, old, plan=train).made for given in (there, coming)])
    assert counts_of(tally) == {"load": Counts(done=1, waiting=1), "train": Counts(waiting=2)}


def test_a_chain_longer_than_the_stack_is_followed() -> None:
    owner = TestedOwner()
    task = owner.queue()
    for _ in range(20_000):
        task = owner.queue(task.made)
    tally = Tally()
    tally.add([task.made])
    assert counts_of(tally) == {"f": Counts(waiting=20_001)}


def test_what_had_ended_before_counts_to_the_only_function_there_is() -> None:
    owner = TestedOwner()
    task = owner.submit()
    tally = Tally()
    tally.add([ObjectRef(OWNER, 1000, 1, INLINE, b"value"), ObjectRef(OWNER, 1001, 1, ERROR, b""), task.made])
    tally.add_ended(5)
    assert counts_of(tally) == {"f": Counts(done=6, failed=1, waiting=1)}


def test_what_had_ended_before_is_not_taken_for_one_of_several_functions() -> None:
    owner = TestedOwner()
    tally = Tally()
    tally.add([owner.queue(plan=owner.plan_of(name)).made for name in ("f", "longer")])
    tally.add([ObjectRef(OWNER, 1000, 1, INLINE, b"value")])
    assert counts_of(tally)[OTHERS] == Counts(done=1)


def test_what_other_processes_make_is_counted_without_a_name() -> None:
    theirs = ref_from_id(make_object_id(OTHER, 1, 1), address(OTHER))
    tally = Tally()
    tally.add([theirs])
    assert counts_of(tally) == {OTHERS: Counts(waiting=1)}
    theirs._state = INLINE
    assert counts_of(tally) == {OTHERS: Counts(done=1)}
    assert tally.over


def test_what_was_put_is_no_task() -> None:
    tally = Tally()
    tally.add([ObjectRef(OWNER, 1, 0, INLINE, b"value")])
    assert counts_of(tally) == {}


def test_what_was_left_can_be_waited_for_again() -> None:
    owner = TestedOwner()
    tasks = [owner.submit(), owner.submit()]
    worker = owner.lease()
    tally = Tally()
    tally.add([task.made for task in tasks])
    owner.results(worker, done(tasks[0].record.task.counter))
    assert counts_of(tally) == {"f": Counts(done=1, running=1)}
    tally.leave()
    assert counts_of(tally) == {"f": Counts(done=1)}
    tally.add([task.made for task in tasks])
    assert counts_of(tally) == {"f": Counts(done=1, running=1)}


def test_nothing_is_kept_of_a_task_that_has_ended() -> None:
    import sys

    owner = TestedOwner()
    task = owner.submit()
    worker = owner.lease()
    tally = Tally()
    tally.add([task.made])
    record = task.record
    before = sys.getrefcount(record)
    owner.results(worker, done(1))
    counts_of(tally)
    assert sys.getrefcount(record) < before
