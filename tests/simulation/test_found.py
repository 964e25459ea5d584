"""What simulations have found, each as the shortest program that shows it."""

from __future__ import annotations

from himalia.cluster.testing.simulation.api import get, outcome, put, sleep, submit
from himalia.cluster.testing.simulation.workloads import echo
from tests.simulation.play import play_program


def test_references_that_come_back_in_a_result_are_counted_as_often_as_they_are_let_go() -> None:
    def program() -> None:
        mine = put("mine")
        made = outcome("echo", submit(echo, "echo", [mine, mine], 0.001))
        assert get(made) == ["mine", "mine"]
        del made
        sleep(0.1)
        again = submit(echo, "again", [mine], 0.001)
        del mine
        assert get(outcome("again", again)) == ["mine"]

    play_program(program)
