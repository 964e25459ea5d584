"""Which cell code belongs to."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from himalia.kernel_ext import cells
from himalia.kernel_ext.cells import CellTable, NotebookCell


class OneCore:
    job_id = b"job1"


class Kernel:
    """Works on whatever the test says."""

    def __init__(self) -> None:
        self.number = 0

    def cell(self, begins: bool) -> NotebookCell | None:
        return NotebookCell(f"message-{self.number}", self.number, {"msg_id": f"message-{self.number}"})

    def run(self, table: CellTable, number: int, code: Callable[[], Any]) -> Any:
        """Execute a cell: in a context of its own, as ipykernel does."""

        def execute() -> Any:
            table.enter()
            return code()

        self.number = number
        return contextvars.copy_context().run(execute)


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def table(kernel: Kernel) -> Iterator[CellTable]:
    made = CellTable(kernel.cell)
    made.follow_threads()
    yield made
    made.unfollow_threads()


def _number(table: CellTable) -> int:
    cell = table.current()
    assert cell is not None
    return cell.execution


def test_code_of_a_cell_belongs_to_it(kernel: Kernel, table: CellTable) -> None:
    assert kernel.run(table, 1, lambda: _number(table)) == 1
    assert kernel.run(table, 2, lambda: _number(table)) == 2


def test_a_thread_belongs_to_the_cell_that_started_it_also_when_another_runs(kernel: Kernel, table: CellTable) -> None:
    go, seen = threading.Event(), []

    def inner() -> None:
        go.wait()
        seen.append(_number(table))

    def outer() -> None:
        thread = threading.Thread(target=inner)
        thread.start()
        thread.join()

    thread = threading.Thread(target=outer)
    kernel.run(table, 1, thread.start)
    kernel.run(table, 2, go.set)
    thread.join()
    assert seen == [1]


def test_a_coroutine_and_what_it_sends_to_threads_keep_their_cell(kernel: Kernel, table: CellTable) -> None:
    async def main() -> list[int]:
        async def one() -> int:
            return await asyncio.to_thread(_number, table)

        return await asyncio.gather(one(), one())

    assert kernel.run(table, 3, lambda: asyncio.run(main())) == [3, 3]


def test_a_thread_of_nobody_belongs_to_no_cell(table: CellTable) -> None:
    seen: list[NotebookCell | None] = []
    table.unfollow_threads()
    thread = threading.Thread(target=lambda: seen.append(table.current()))
    thread.start()
    thread.join()
    assert seen == [None]


def test_a_widgets_callback_belongs_to_what_the_kernel_works_on(kernel: Kernel, table: CellTable) -> None:
    kernel.number = 9
    assert _number(table) == 9


def test_the_name_for_tasks_is_one_object_for_a_cell_and_core() -> None:
    cell, core, other = NotebookCell("m", 1, {}), OneCore(), OneCore()
    assert cell.named() is None
    first = cell.cell(core)  # type: ignore[arg-type]
    assert cell.cell(core) is first  # type: ignore[arg-type]
    assert cell.named() is first
    assert cell.cell(other) is not first  # type: ignore[arg-type]
    assert (first.job_id, first.execution, first.message_id) == (b"job1", 1, "m")


def test_a_cancelled_cell_submits_under_its_next_name(table: CellTable) -> None:
    for cell in (NotebookCell("m", 1, {}), NotebookCell("", 2, {})):
        core = OneCore()
        table.remember(cell)
        first = cell.cell(core)  # type: ignore[arg-type]
        table.renew(first)
        second = cell.cell(core)  # type: ignore[arg-type]
        assert second is cell.cell(core)  # type: ignore[arg-type]
        assert (second.message_id, second.execution) == (first.message_id, first.execution)
        assert second.generation == 1
        table.renew(first)  # which is no news
        assert cell.named() is second


def test_as_many_cells_are_remembered_as_the_limit_says(monkeypatch: pytest.MonkeyPatch, table: CellTable) -> None:
    monkeypatch.setattr(cells, "KEPT", 3)
    for number in range(5):
        table.remember(NotebookCell(f"m{number}", number, {}))
    assert table.find("m1") is None
    kept = table.find("m4")
    assert kept is not None
    assert table.remember(NotebookCell("m4", 4, {})) is kept


def test_threads_are_left_alone_after_unloading(table: CellTable) -> None:
    table.unfollow_threads()
    assert threading.Thread.start.__module__ == "threading"


def test_what_the_kernel_does_after_a_cell_is_not_of_that_cell(kernel: Kernel, table: CellTable) -> None:
    def callback_in_the_same_context() -> int:
        table.leave()
        kernel.number = 5
        return _number(table)

    assert kernel.run(table, 4, callback_in_the_same_context) == 5
