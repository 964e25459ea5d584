"""Cells that are over, in whole clusters."""

from __future__ import annotations

import pytest

from himalia.cluster.protocol.errors import TaskCancelledError
from himalia.cluster.testing.simulation import Scenario, play
from himalia.cluster.testing.simulation.api import get, here, outcome, sleep, submit, wait
from himalia.cluster.testing.simulation.book import value_of
from himalia.cluster.testing.simulation.cells import in_cell
from himalia.cluster.testing.simulation.cluster import active
from himalia.cluster.testing.simulation.servers import Node
from himalia.cluster.testing.simulation.services import large_value, make_large
from himalia.cluster.testing.simulation.workloads import work
from tests.simulation.play import play_program

_SEEDS = 200
_CHUNK = 50


@pytest.mark.parametrize("first", range(0, _SEEDS, _CHUNK))
def test_nothing_of_a_cell_is_left_and_nothing_else_is_touched(first: int) -> None:
    for seed in range(first, first + _CHUNK):
        play(Scenario.of_seed(seed, ("stopped",)))


def test_a_value_that_was_there_before_the_interrupt_is_made_again_when_its_node_dies() -> None:
    def program() -> None:
        there = list(active().nodes.values())[1]
        with in_cell(1) as cell:
            ref = submit(make_large, "large", 0.0, retries=-1, strategy=f"node~:{there.node_id.hex()}")
            wait([ref], 1, None)
            here().core.cancel_cell(cell)
        sleep(0.1)
        assert len(active().book.entries["large"].starts) == 1
        there.end()
        sleep(10.0)
        assert bytes(get(ref)) == large_value("large")
        assert len(active().book.entries["large"].starts) == 2
        active().book.ended("large", "value")

    play_program(program, cpus=(1.0, 1.0))


def test_a_node_that_joins_meanwhile_knows_which_cells_are_over() -> None:
    joined: list[Node] = []

    def program() -> None:
        with in_cell(1) as cell:
            ref = submit(work, "stopped", 100.0)
            sleep(0.1)
            here().core.cancel_cell(cell)
            sleep(1.0)
            joined.append(active().add_node({"CPU": 1.0, "there": 1.0}, prestart=1))
            sleep(1.0)
            assert isinstance(outcome("stopped", ref), TaskCancelledError)
        (worker,) = [process for process in active().living("worker") if process.node_id == joined[-1].node_id]
        assert worker.core.cells.ended.is_over(cell)
        with in_cell(2):
            assert get(submit(work, "next", 0.0, there=1.0)) == value_of("next")
        active().book.ended("next", "value")

    play_program(program, seeds=range(3), cpus=(1.0,))


def test_what_a_cell_submits_after_its_end_is_refused() -> None:
    def program() -> None:
        with in_cell(1) as cell:
            here().core.cancel_cell(cell)
            found = outcome("late", submit(work, "late", 0.0))
            assert isinstance(found, TaskCancelledError)
            assert not active().book.entries["late"].starts

    play_program(program, seeds=range(3))
