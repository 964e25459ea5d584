"""A cell that is over: what an owner ends, whom it tells, what it refuses, and who goes on too long."""

from __future__ import annotations

from himalia.cluster.core.actor_calls import ActorCalls
from himalia.cluster.core.cells import Cells, EndedCells
from himalia.cluster.core.records import Plan, Record
from himalia.cluster.core.refs import ERROR, INLINE, PENDING, ObjectRef
from himalia.cluster.core.submission import GRACE
from himalia.cluster.protocol.common import Address, CancelCell, Cell
from himalia.cluster.protocol.core_messages import R_CANCELLED, CancelTasks, PushTasks, Result, Task, Template
from himalia.cluster.protocol.gcs_messages import ActorInfo
from himalia.cluster.protocol.raylet_messages import KillWorker, LeaseGranted, ReturnLeases
from tests.core.owner import OWNER, RAYLET, TestedOwner, done
from tests.simulation.owner_on_paper import Submitted

STOPPED, KEPT = Cell(b"job", 1, "stopped"), Cell(b"job", 2, "kept")
ACTOR, AT = b"\x01owner!!\0\0\0\0\0\0\0\1", Address(b"\x01actorw!")


class CellOwner(TestedOwner):
    """Two cells with tasks of one class."""

    def __init__(self, seconds: float = 60.0) -> None:
        super().__init__(seconds)
        self.calls = ActorCalls(self.completion, self.out, b"\x01thegcs!", Address(OWNER))
        self.calls.cancel_error = lambda record: b"cancelled"
        self.cells = Cells(self.submission, self.calls)
        self.plans = {cell: self._plan(cell, seconds) for cell in (STOPPED, KEPT)}

    def _plan(self, cell: Cell, seconds: float) -> Plan:
        template = Template(cell.execution, "f", b"hash", cell=cell)
        return Plan(template, "f", self.scheduling, cell=cell, estimate=seconds)

    def task(self, cell: Cell, *deps: ObjectRef, retries: int = 0) -> Submitted:
        task = self.queue(*deps, plan=self.plans[cell], retries=retries)
        self.pump()
        return task

    def call(self, cell: Cell) -> Submitted:
        """A call of the actor."""
        self._last += 1
        template = Template(cell.execution, "method", b"", None, ACTOR, cell=cell)
        plan = Plan(template, "A.method", None, cell=cell)
        plan.actor = self.calls.client(ACTOR, "A")
        ref = ObjectRef(OWNER, self._last)
        record = Record(Task(self._last, template.index), plan, ref)
        ref._data = record
        self.cells.take_call(record)
        self.calls.pump()
        return Submitted(record, ref)

    def end(self, cell: Cell) -> bool:
        ended = self.cells.end(cell, self.now)
        self.pump()
        return ended

    def goes_on(self, seconds: float) -> None:
        """Time passes, and the core looks when it was asked to."""
        self.now += seconds
        if self.submission.next_due is not None and self.submission.next_due <= self.now:
            self.submission.tick(self.now)
        self.pump()


def state(task: Submitted) -> object:
    return task.made._data if task.made._state == ERROR else task.made._state


# -- what ends --------------------------------------------------------------------------------------------------------


def test_what_is_queued_ends_at_once_and_others_keep_their_order() -> None:
    owner = CellOwner()
    kept = [owner.task(KEPT) for _ in range(2)]
    stopped = [owner.task(STOPPED) for _ in range(3)]
    kept.append(owner.task(KEPT))
    owner.end(STOPPED)
    assert [state(task) for task in stopped] == [b"cancelled"] * 3
    assert list(owner.scheduling.queue) == [task.record for task in kept]


def test_leases_are_wanted_no_more_for_what_was_queued() -> None:
    owner = CellOwner()
    for _ in range(8):
        owner.task(STOPPED)
    assert owner.wants()[-1] == 8
    owner.end(STOPPED)
    assert owner.wants() == [0]


def test_leases_go_back_as_soon_as_what_was_cancelled_ends() -> None:
    owner = CellOwner()
    owner.task(STOPPED)
    owner.task(STOPPED)
    busy, idle = owner.lease(1), owner.lease(2)
    owner.results(idle, done(2))
    owner.end(STOPPED)
    assert [message.lease_ids for message in owner.told(RAYLET, ReturnLeases)] == [[2]]
    owner.results(busy, Result(1, R_CANCELLED))
    assert owner.wants()[-1] == 0
    assert [message.lease_ids for message in owner.told(RAYLET, ReturnLeases)] == [[1]]


def test_a_lease_that_comes_while_all_that_runs_is_cancelled_is_not_kept() -> None:
    owner = CellOwner()
    owner.task(STOPPED)
    owner.lease(1)
    owner.end(STOPPED)
    late = owner.lease(2)
    assert late not in owner.submission.workers
    assert [message.lease_ids for message in owner.told(RAYLET, ReturnLeases)] == [[2]]


def test_leases_stay_for_tasks_of_other_cells() -> None:
    owner = CellOwner()
    owner.task(STOPPED)
    kept = [owner.task(KEPT) for _ in range(2)]
    worker = owner.lease(1)
    owner.pushed(worker)
    owner.end(STOPPED)
    owner.results(worker, Result(1, R_CANCELLED))
    assert owner.pushed(worker) == [[2]]
    owner.end(STOPPED)
    other = owner.lease(2)
    assert owner.pushed(other) == [[3]]
    owner.check(*kept)


def test_after_a_cell_ended_the_next_one_asks_for_leases_anew() -> None:
    owner = CellOwner()
    owner.task(STOPPED)
    worker = owner.lease(1)
    owner.end(STOPPED)
    owner.wants()
    owner.task(KEPT)
    assert owner.wants()[-1] >= 1
    owner.results(worker, Result(1, R_CANCELLED))
    assert owner.pushed(owner.lease(2)) == [[2]]


def test_who_waits_for_arguments_ends_too_and_those_of_other_cells_only_with_their_argument() -> None:
    owner = CellOwner()
    kept, stopped = owner.task(KEPT), owner.task(STOPPED)
    after_kept, after_stopped = owner.task(STOPPED, kept.made), owner.task(KEPT, stopped.made)
    waits = owner.task(KEPT, kept.made)
    owner.end(STOPPED)
    assert state(after_kept) == b"cancelled"
    assert state(after_stopped) == b"cancelled", "its argument failed with this"
    assert state(waits) == PENDING
    owner.check(kept, waits)


def test_a_worker_is_told_once_of_all_it_has_of_the_cell() -> None:
    owner = CellOwner(0.0001)
    tasks = [owner.task(cell) for cell in (STOPPED, KEPT, STOPPED)]
    worker = owner.lease()
    owner.end(STOPPED)
    assert owner.told(worker, CancelCell) == [CancelCell(STOPPED)]
    assert owner.told(worker, CancelTasks) == []
    owner.results(worker, Result(1, R_CANCELLED), done(2), Result(3, R_CANCELLED))
    assert [state(task) for task in tasks] == [b"cancelled", INLINE, b"cancelled"]


def test_what_comes_back_from_a_worker_is_not_sent_out_again() -> None:
    owner = CellOwner()
    first, second = owner.task(STOPPED, retries=3), owner.task(KEPT)
    worker = owner.lease(1)
    owner.end(STOPPED)
    owner.dies(worker, last_started=1)
    assert state(first) == b"cancelled"
    assert owner.pushed(owner.lease(2)) == [[2]]
    owner.check(second)


def test_ending_a_cell_twice_is_ending_it_once() -> None:
    owner = CellOwner()
    owner.task(STOPPED)
    worker = owner.lease()
    assert owner.end(STOPPED)
    assert not owner.end(STOPPED)
    assert len(owner.told(worker, CancelCell)) == 1


def test_the_creation_of_an_actor_outlives_its_cell() -> None:
    owner = CellOwner()
    maker = owner.task(STOPPED)
    record = Record(Task(1000, 0), Plan(Template(0, "A", b""), "A", None, cell=STOPPED), None, [], 0, [maker.made])
    record.create = lambda: None
    maker.made._wait = [record]
    assert record in owner.cells.pending()
    owner.end(STOPPED)
    assert not record.cancelled


# -- what comes later -------------------------------------------------------------------------------------------------


def test_what_is_submitted_in_a_cell_that_is_over_is_refused() -> None:
    owner = CellOwner()
    owner.end(STOPPED)
    for cell, expected in ((STOPPED, b"cancelled"), (KEPT, PENDING)):
        ref = ObjectRef(OWNER, 1000 + cell.execution)
        record = Record(Task(1000 + cell.execution, 1), owner.plans[cell], ref)
        owner.cells.take_task(record)
        assert state(Submitted(record, ref)) == expected


def test_a_cell_goes_on_under_its_next_name() -> None:
    ended = EndedCells()
    assert not ended.is_over(STOPPED)
    assert ended.add(STOPPED)
    following = ended.successor(STOPPED)
    assert not ended.is_over(following)
    assert (following.job_id, following.execution, following.message_id) == (b"job", 1, "stopped")
    assert ended.add(following)
    assert ended.is_over(following)
    assert ended.is_over(STOPPED)
    assert ended.successor(STOPPED) == ended.successor(following)


def test_that_an_early_generation_is_over_is_no_news_after_a_later_one() -> None:
    ended = EndedCells()
    later = Cell(b"job", 1, "stopped", 4)
    ended.add(later)
    assert not ended.add(STOPPED)
    assert ended.is_over(STOPPED)


def test_a_cell_is_that_of_one_job() -> None:
    ended = EndedCells()
    ended.add(STOPPED)
    assert not ended.is_over(Cell(b"two", 1, "stopped"))
    assert not ended.is_over(None)


# -- who goes on ------------------------------------------------------------------------------------------------------


def test_a_task_that_goes_on_loses_its_worker_when_the_grace_is_over() -> None:
    owner = CellOwner()
    owner.task(STOPPED)
    worker = owner.lease()
    owner.end(STOPPED)
    owner.goes_on(GRACE - 0.01)
    assert owner.told(RAYLET, KillWorker) == []
    owner.goes_on(0.02)
    assert [(kill.worker_id, kill.counter) for kill in owner.told(RAYLET, KillWorker)] == [(worker, 1)]
    owner.submission.insist(owner.now)  # it had not begun when the raylet looked
    assert len(owner.told(RAYLET, KillWorker)) == 1


def test_a_task_that_ends_in_time_keeps_its_worker() -> None:
    owner = CellOwner()
    owner.task(STOPPED)
    worker = owner.lease()
    owner.end(STOPPED)
    owner.results(worker, Result(1, R_CANCELLED))
    owner.goes_on(GRACE + 1.0)
    assert owner.told(RAYLET, KillWorker) == []


def test_who_was_behind_a_killed_task_is_not_harmed() -> None:
    owner = CellOwner(0.0001)
    stopped, kept = owner.task(STOPPED), owner.task(KEPT, retries=0)
    worker = owner.lease(1)
    assert owner.pushed(worker) == [[1, 2]]
    owner.end(STOPPED)
    owner.goes_on(GRACE + 0.1)
    owner.dies(worker, last_started=1)
    assert state(stopped) == b"cancelled"
    (message,) = owner.told(owner.lease(2), PushTasks)
    assert [(task.counter, task.attempt) for task in message.tasks] == [(2, 0)]
    owner.check(kept)


def test_idle_leases_still_go_back_in_their_time() -> None:
    owner = CellOwner(0.0001)
    other = owner.plan_of("g", seconds=60.0, cpus=2)
    other.cell = STOPPED
    owner.queue(plan=other)
    task = owner.task(KEPT)
    owner.submission.lease_granted(RAYLET, LeaseGranted(2, 2, Address(b"\x01worker2")), owner.now)
    worker = owner.lease(1)
    owner.results(worker, done(task.record.task.counter))
    owner.end(STOPPED)
    assert owner.submission.next_due is not None
    assert owner.submission.next_due < owner.now + GRACE
    owner.goes_on(0.3)
    assert worker not in owner.submission.workers
    assert owner.submission.next_due == GRACE


# -- calls ------------------------------------------------------------------------------------------------------------


def test_calls_that_were_not_sent_end_and_the_actor_is_told_of_others() -> None:
    owner = CellOwner()
    waits, kept = owner.call(STOPPED), owner.call(KEPT)
    owner.end(STOPPED)
    assert (state(waits), state(kept)) == (b"cancelled", PENDING)
    assert owner.told(AT.worker_id, CancelCell) == []
    owner.calls.actor_update(ActorInfo(ACTOR, "ALIVE", AT, 0))
    owner.calls.pump()
    assert [task.counter for message in owner.told(AT.worker_id, PushTasks) for task in message.tasks] == [2]


def test_an_actor_that_runs_calls_of_the_cell_is_told_and_not_killed() -> None:
    owner = CellOwner()
    owner.calls.client(ACTOR, "A")
    owner.calls.actor_update(ActorInfo(ACTOR, "ALIVE", AT, 0))
    running = owner.call(STOPPED)
    owner.end(STOPPED)
    assert owner.told(AT.worker_id, CancelCell) == [CancelCell(STOPPED)]
    owner.goes_on(GRACE + 1.0)
    assert owner.told(RAYLET, KillWorker) == []
    assert state(running) == PENDING
    assert state(owner.call(STOPPED)) == b"cancelled", "and no further call is made"
