"""What a worker makes of what its tasks print: messages for their drivers, and a log."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from himalia.cluster.protocol.common import Address, Cell
from himalia.cluster.protocol.core_messages import DisplayData, LogLines, Task, TaskScreen, Template
from himalia.cluster.worker.output import Output
from himalia.cluster.worker.peers import Job, Loaded, Peer

CELL = Cell(b"job1", 7, "message")
DRIVER = Address(b"driver01")


class Worker:
    """An `Output` without a core around it."""

    def __init__(self, folder: Path) -> None:
        self.wakes = 0
        self.counter = 0
        core: Any = SimpleNamespace(
            worker_id=b"worker01", node_id=b"node0001", pid=7, actor_name="", actor_id=b"", reactor=self
        )
        self.job: Job | None = None
        self.output = Output(core, str(folder), lambda: self.job)

    def wake(self) -> None:
        self.wakes += 1

    def begin(self, root: Address | None = None) -> Job:
        self.counter += 1
        loaded = Loaded(Template(1, "f", b""), "f", cell=CELL, root=root)
        self.job = Job(Peer(b"owner001"), Task(self.counter, 1), loaded)
        return self.job

    def sent(self) -> list[Any]:
        return [message for _, message in self.output.collect()]


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    made = Worker(tmp_path)
    yield made
    made.output.close()


def test_lines_go_with_the_next_flush_and_half_ones_at_the_end_of_the_task(worker: Worker) -> None:
    job = worker.begin()
    worker.output.write(job, 1, "one\ntw")
    assert worker.wakes == 1
    [lines] = worker.sent()
    assert (lines.text, lines.stream, lines.cell, lines.task, lines.pid) == ("one\n", 1, CELL, "f", 7)
    worker.output.write(job, 1, "o")
    assert worker.sent() == []
    worker.output.finish(job)
    assert [message.text for message in worker.sent()] == ["two"]


def test_streams_and_tasks_are_kept_apart_and_in_order(worker: Worker) -> None:
    first, second = worker.begin(), worker.begin()
    for job, number, text in ((first, 1, "a\n"), (first, 1, "b\n"), (first, 2, "c\n"), (second, 2, "d\n")):
        worker.output.write(job, number, text)
    sent = worker.sent()
    assert [(message.text, message.stream) for message in sent] == [("a\nb\n", 1), ("c\n", 2), ("d\n", 2)]
    assert sent[0].task_id == sent[1].task_id != sent[2].task_id


def test_a_nested_task_names_its_driver(worker: Worker) -> None:
    worker.output.write(worker.begin(DRIVER), 1, "a\n")
    [(channel, _)] = worker.output.collect()
    assert channel.driver == DRIVER
    worker.output.write(worker.begin(), 1, "a\n")
    [(channel, _)] = worker.output.collect()
    assert channel.driver is None
    assert channel.owner == b"owner001"


def test_what_is_drawn_over_goes_as_a_screen_and_text_after_it_as_text(worker: Worker) -> None:
    job = worker.begin()
    worker.output.write(job, 2, "\r 10%")
    [screen] = worker.sent()
    assert isinstance(screen, TaskScreen)
    assert (screen.rows, screen.is_over) == ([" 10%"], False)
    worker.output.write(job, 2, "\r100%")
    worker.output.write(job, 2, "\n")
    worker.output.write(job, 2, "text\n")
    over, lines = worker.sent()
    assert (over.rows, over.is_over, over.part) == (["100%"], True, screen.part)
    assert isinstance(lines, LogLines)
    assert lines.text == "text\n"


def test_bars_below_each_other_are_one_screen(worker: Worker) -> None:
    job = worker.begin()
    for text in ("\rfirst", "\n", "\rsecond", "\x1b[A", "\rfirst again", "\n", "\rsecond again", "\x1b[A"):
        worker.output.write(job, 2, text)
    worker.output.finish(job)
    assert [message.rows for message in worker.sent()] == [["first again", "second again"]]


def test_half_a_line_that_is_flushed_is_drawn(worker: Worker) -> None:
    job = worker.begin()
    worker.output.write(job, 1, "loading ... ")
    worker.output.flush(job, 1)
    assert [message.rows for message in worker.sent()] == [["loading ..."]]
    worker.output.write(job, 1, "done\n")
    worker.output.finish(job)
    assert [(message.rows, message.is_over) for message in worker.sent()] == [(["loading ... done"], True)]


def test_displays_keep_their_place_and_replace_those_before_a_clear(worker: Worker) -> None:
    job = worker.begin()
    worker.output.write(job, 1, "before\n")
    worker.output.show(job, {"text/plain": "1"}, {}, "", False)
    worker.output.write(job, 1, "after\n")
    before, display, after = worker.sent()
    assert isinstance(display, DisplayData)
    assert (before.text, display.data, display.update, after.text) == (
        "before\n",
        {"text/plain": "1"},
        False,
        "after\n",
    )
    worker.output.clear(job)
    worker.output.show(job, {"text/plain": "2"}, {}, "", False)
    worker.output.show(job, {"text/plain": "3"}, {}, "", False)
    again, new = worker.sent()
    assert (again.display_id, again.update) == (display.display_id, True)
    assert (new.display_id != display.display_id, new.update) == (True, False)


def test_an_interrupt_in_the_middle_of_a_print_comes_when_it_is_over(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = worker.begin()
    raised: list[int] = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    assert not worker.output.busy_in_main()

    def interrupted() -> None:
        assert worker.output.busy_in_main()
        assert raised == []

    monkeypatch.setattr(worker, "wake", interrupted)
    worker.output.write(job, 1, "a\n")
    assert raised == [signal.SIGINT]


def test_a_log_that_can_not_be_written_is_told_once(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "missing")
    job = worker.begin()
    worker.output.write(job, 1, "a\n")
    worker.output.write(job, 1, "b\n")
    told = [message for message in worker.sent() if message.stream == 2]
    assert len(told) == 1
    assert "can not keep its log" in told[0].text
