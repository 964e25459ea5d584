"""What a worker does with tasks that are cancelled: by their owner, or with their cell."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from himalia.cluster.core.cells import EndedCells
from himalia.cluster.protocol.common import Cell
from himalia.cluster.protocol.core_messages import R_CANCELLED, CancelTasks, PushTasks, Task, Template
from himalia.cluster.worker.executor import Executor
from himalia.cluster.worker.peers import Job

STOPPED, KEPT = Cell(b"job", 1, "stopped"), Cell(b"job", 2, "kept")
OWNER = b"\x01owner!!"


class Worker(Executor):
    """An executor without signals: it notes whom it would interrupt."""

    def __init__(self) -> None:
        self.interrupted: list[int] = []
        self.ended = EndedCells()
        self.reactor = SimpleNamespace(main_inside=False, interrupt=lambda: self.interrupted.append(-1))
        core: Any = SimpleNamespace(
            cells=SimpleNamespace(ended=self.ended),
            handlers={},
            tick_hooks=[],
            out=[],
            reactor=self.reactor,
            cancel_since=lambda counter: None,
            fetch_function=lambda key: b"",
        )
        super().__init__(core, memoryview(bytearray(8)).cast("Q"))

    def interrupt(self, job: Job) -> None:
        self.interrupt_target = job
        self.interrupted.append(job.task.counter)

    def push(self, *cells: Cell | None) -> None:
        """Tasks 1, 2, … of these cells come."""
        templates = [Template(index, "f", b"hash", cell=cell) for index, cell in enumerate(cells, 1)]
        self.on_push(OWNER, PushTasks([Task(index, index) for index in range(1, len(cells) + 1)], templates))

    def begin(self) -> Job:
        """The main thread takes the next task."""
        self.running = self.queue.popleft()
        self.interruptible = True
        return self.running

    def queued(self) -> list[int]:
        return [job.task.counter for job in self.queue]

    def answered(self) -> list[int]:
        """Counters of the tasks whose owner was told that they were cancelled, since the last look."""
        found = [item.counter for _, item, _ in self.outgoing.items if item.kind == R_CANCELLED]
        self.outgoing.items.clear()
        return found


@pytest.fixture(autouse=True)
def _no_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("himalia.cluster.worker.executor.signal", SimpleNamespace(signal=lambda *_: None, SIGINT=2))


def test_tasks_of_a_cell_that_is_over_are_given_up_or_interrupted_and_others_stay() -> None:
    worker = Worker()
    worker.push(STOPPED, KEPT, STOPPED, None)
    running = worker.begin()
    worker.ended.add(STOPPED)
    worker.end_cells()
    assert (worker.queued(), worker.answered()) == ([2, 4], [3])
    assert (running.cancelled, worker.interrupted) == (True, [1])


def test_what_comes_of_a_cell_that_is_over_is_refused() -> None:
    worker = Worker()
    worker.ended.add(STOPPED)
    worker.push(STOPPED, KEPT, STOPPED)
    assert (worker.queued(), worker.answered()) == ([2], [1, 3])


def test_a_running_task_is_not_interrupted_again_while_it_cleans_up() -> None:
    worker = Worker()
    worker.push(STOPPED)
    worker.begin()
    worker.ended.add(STOPPED)
    worker.end_cells()
    with pytest.raises(KeyboardInterrupt):
        worker.on_sigint(2, None)
    worker.end_cells()
    worker.insist(0.0)
    assert worker.interrupted == [1]
    worker.on_sigint(2, None)  # a signal that came late


def test_an_interrupt_at_a_bad_moment_is_repeated() -> None:
    worker = Worker()
    worker.push(None)
    worker.begin()
    worker.interruptible = False
    worker.on_cancel(OWNER, CancelTasks([1]))
    worker.on_sigint(2, None)
    worker.insist(0.0)
    assert worker.interrupted == [1, 1]
    worker.interruptible = True
    with pytest.raises(KeyboardInterrupt):
        worker.on_sigint(2, None)
    worker.insist(0.0)
    assert worker.interrupted == [1, 1]


def test_an_interrupt_for_a_task_that_has_ended_hits_nobody() -> None:
    worker = Worker()
    worker.push(None, None)
    worker.begin()
    worker.on_cancel(OWNER, CancelTasks([1]))
    worker.begin()
    worker.on_sigint(2, None)
    worker.insist(0.0)
    assert worker.interrupted == [1]
    assert worker.interrupt_target is None


def test_a_task_that_waits_is_interrupted_when_the_machines_have_been_left_alone() -> None:
    worker = Worker()
    worker.push(None)
    worker.begin()
    worker.on_cancel(OWNER, CancelTasks([1]))
    worker.reactor.main_inside = True
    worker.on_sigint(2, None)
    worker.insist(0.0)
    assert worker.interrupted == [1, -1]


def test_who_had_left_the_queue_and_not_begun_is_found_a_moment_later() -> None:
    worker = Worker()
    worker.push(STOPPED)
    job = worker.queue.popleft()
    worker.ended.add(STOPPED)
    worker.end_cells()
    worker.running = job
    worker.insist(0.0)
    assert worker.interrupted == [1]


def test_nor_does_one_escape_that_its_owner_cancels_at_that_moment() -> None:
    worker = Worker()
    worker.push(None, None)
    job = worker.queue.popleft()
    worker.on_cancel(OWNER, CancelTasks([1, 2]))
    assert worker.answered() == [2]
    worker.running = job
    worker.insist(0.0)
    assert worker.interrupted == [1]
    worker.interrupt_target = None
    worker.insist(0.0)
    assert worker.interrupted == [1], "it is interrupted once"


def test_results_leave_before_another_function_or_cell_begins() -> None:
    worker = Worker()
    flushed: list[int] = []
    worker.reactor.run_once = lambda flush_only: flushed.append(len(worker.outgoing.items))
    worker.push(None, KEPT)
    for job in worker.queue:
        worker.loaded_functions[b"hash"] = print
        job.loaded.cell = None  # else it would ask for what the job is like
        worker.load(job.loaded)
        worker.answer_cancelled(job)
    assert flushed == [1]


def test_only_the_tasks_of_the_owner_that_says_so_are_cancelled() -> None:
    worker = Worker()
    worker.push(None, None)
    worker.on_cancel(b"\x01other!!", CancelTasks([1, 2]))
    assert worker.queued() == [1, 2]
    worker.on_cancel(OWNER, CancelTasks([2]))
    assert (worker.queued(), worker.answered()) == ([1], [2])
