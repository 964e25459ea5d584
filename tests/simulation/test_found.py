"""What simulations have found, each as the shortest program that shows it."""

from __future__ import annotations

from himalia.cluster.testing.simulation.api import attempt, get, here, outcome, put, sleep, stream, submit
from himalia.cluster.testing.simulation.book import value_of
from himalia.cluster.testing.simulation.cluster import active
from himalia.cluster.testing.simulation.scenario import kill_some_worker
from himalia.cluster.testing.simulation.services import count, item_of
from himalia.cluster.testing.simulation.workloads import close, echo, lend, own, relay
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


def test_a_worker_that_is_idle_for_long_stays_while_what_it_owns_is_needed() -> None:
    def program() -> None:
        with_work = outcome("lend", submit(lend, "lend", [], 0.0, 0))
        with_value = outcome("own", submit(own, "own", 1, 0.0))
        sleep(30.0)  # three times as long as idle workers are kept
        assert get(with_work) == [value_of("lend+")]
        assert get(with_value)[0] == value_of("own", 0)
        active().book.close("lend")
        active().book.close("own")

    play_program(program, cpus=(2.0,))


def test_a_task_goes_on_when_the_worker_that_submitted_it_is_not_needed_any_more() -> None:
    def program() -> None:
        done.clear()
        outcome("leaver", submit(leave, "leaver", 25.0))
        sleep(40.0)
        assert done == ["leaver/left"]
        active().book.close("leaver/")

    play_program(program, cpus=(2.0,))


done: list[str] = []


def leave(key: str, seconds: float) -> None:
    """Submit a task and think no more of it."""
    attempt(key)
    submit(note, f"{key}/left", seconds)


def note(key: str, seconds: float) -> None:
    """Take so long, and be known to have come to the end."""
    attempt(key)
    sleep(seconds)
    done.append(key)


def test_a_generator_that_starts_again_hears_how_far_its_consumer_is() -> None:
    def program() -> None:
        generator = stream(count, "count", 6, 0.001, retries=-1, backpressure=1)
        for number, ref in enumerate(generator):
            assert get(ref) == item_of("count", number)
            if number in (1, 4):
                kill_some_worker(active())
        active().book.ended("count", "value")

    play_program(program, cpus=(1.0,))


def test_a_task_that_is_cancelled_while_it_waits_for_memory_leaves_none_behind() -> None:
    def program() -> None:
        for number in range(6):
            key = f"count/{number}"
            generator = stream(count, key, 9, 0.0001, retries=-1)
            sleep(number * 0.0003)
            del generator
            active().book.ended(key, "dropped")

    play_program(program)


def test_what_a_worker_announced_before_it_died_is_let_go_by_the_owner() -> None:
    def program() -> None:
        refs = outcome("own", submit(own, "own", 1, 0.0))
        get(refs[1])
        close("own")
        owner = refs[0]._w
        # At each of these moments from its start, the worker dies: before, between and after its word and the result.
        names = {f"relay/{step}": 0.002 + step * 0.0002 for step in range(24)}
        for name, moment in names.items():
            assert outcome(name, submit(relay, name, refs, 0.002, moment, retries=-1, cpus=2.0)) == refs
        cluster = active()
        assert cluster.processes[owner].is_alive
        del refs
        sleep(30.0)
        assert not cluster.processes[owner].core.references.exported
        assert not cluster.processes[owner].core.references.handovers.open

    play_program(program, cpus=(1.0, 2.0))


def test_who_meets_the_reference_of_a_dead_owner_is_told_and_does_not_wait() -> None:
    def program() -> None:
        refs = outcome("own", submit(own, "own", 1, 0.0))
        get(refs[1])
        close("own")
        here().cluster.nodes[active().processes[refs[0]._w].node_id].kill_worker(refs[0]._w)
        active().book.kills += 1
        sleep(20.0)  # until all workers that were told of the death have left as idle
        assert outcome("echo", submit(echo, "echo", refs, 0.0)) == refs

    play_program(program, cpus=(1.0,))
