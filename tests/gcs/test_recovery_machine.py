"""A GCS that was killed and started again, and raylets that come back."""

from __future__ import annotations

import pytest

from himalia.cluster.gcs.actor_record import ActorState
from himalia.cluster.protocol.common import Address
from himalia.cluster.protocol.gcs_messages import GetActor, KillActor, NodeReport, ReportActor, SayHello
from himalia.cluster.protocol.raylet_messages import StartActor, StopActor
from tests.gcs.cluster_on_paper import Driver, OnPaper, Raylet, an_id


@pytest.fixture
def paper() -> OnPaper:
    return OnPaper()


@pytest.fixture
def node(paper: OnPaper) -> Raylet:
    return paper.node(1, CPU=4)


@pytest.fixture
def driver(paper: OnPaper, node: Raylet) -> Driver:
    return paper.driver(1, node)


def test_a_living_actor_is_found_again(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    actor_id = driver.create(name="it", max_restarts=1)
    home = node.start(actor_id)
    paper.restart()
    node.hello([(actor_id, home)])
    assert paper.ask(driver.peer, GetActor(name="it"))[0][1] == "ALIVE"
    assert not node.took(StartActor)
    node.process_died(home.worker_id)
    assert [order.restart for order in node.took(StartActor)] == [1]
    assert driver.states(actor_id) == ["RESTARTING"], "who watched it before still does"


def test_an_actor_that_died_meanwhile_lives_again(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    actor_id = driver.create(max_restarts=1)
    node.start(actor_id)
    paper.restart()
    node.hello([])
    assert [order.restart for order in node.took(StartActor)] == [1]


def test_an_actor_on_its_way_is_sent_again(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    actor_id = driver.create()
    paper.restart()
    node.hello([])
    assert [order.restart for order in node.took(StartActor)] == [0]
    node.start(actor_id)
    assert driver.states(actor_id) == ["ALIVE"]


def test_an_actor_that_started_meanwhile_is_alive(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    actor_id = driver.create()
    paper.restart()
    node.hello([(actor_id, Address(an_id("w", 1), node.node_id))])
    assert driver.states(actor_id) == ["ALIVE"]


def test_a_waiting_actor_still_waits(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    actor_id = driver.create({"GPU": 1})
    paper.restart()
    other = paper.node(2, GPU=1)
    assert [order.actor_id for order in other.took(StartActor)] == [actor_id]


def test_an_actor_killed_before_is_stopped_again(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    actor_id = driver.create()
    home = node.start(actor_id)
    paper.ask(driver.peer, KillActor(actor_id))
    paper.restart()
    node.hello([(actor_id, home)])
    assert [order.actor_id for order in node.took(StopActor)] == [actor_id]
    assert paper.machine.actors.by_id[actor_id].is_dead


@pytest.mark.parametrize("alive", [True, False])
def test_an_actor_that_was_to_live_again_does(paper: OnPaper, node: Raylet, driver: Driver, alive: bool) -> None:
    actor_id = driver.create(max_restarts=1)
    home = node.start(actor_id)
    paper.ask(driver.peer, KillActor(actor_id, no_restart=False))
    paper.restart()
    node.hello([(actor_id, home)] if alive else [])
    if alive:
        assert len(node.took(StopActor)) == 1
        node.process_died(home.worker_id)
        paper.say(node.peer, ReportActor(actor_id, death=paper.machine.processes.dead[home.worker_id][1], restart=0))
    assert [order.restart for order in node.took(StartActor)] == [1]


def test_an_actor_that_finishes_its_calls_still_ends(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    actor_id = driver.create()
    home = node.start(actor_id)
    paper.say(driver.peer, KillActor(actor_id, out_of_scope=True))
    paper.restart()
    node.hello([(actor_id, home)])
    assert not node.took(StopActor)[0].force
    assert paper.machine.actors.by_id[actor_id].state is ActorState.ENDING


def test_an_actor_that_storage_lost_is_stopped(paper: OnPaper, node: Raylet) -> None:
    paper.restart()
    node.hello([(b"unknown" * 2 + b"__", Address(an_id("w", 1), node.node_id))])
    assert len(node.took(StopActor)) == 1


def test_a_raylet_that_reports_is_asked_for_its_hello(paper: OnPaper, node: Raylet) -> None:
    paper.restart()
    paper.say(node.peer, NodeReport({}))
    assert len(paper.got(node.peer, SayHello)) == 1


def test_a_node_that_does_not_come_back_is_dead(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    other = paper.node(2, CPU=4)
    actor_id = driver.create(max_restarts=1)
    node.start(actor_id)
    paper.restart()
    for _ in range(7):
        other.hello()
        paper.wait(1)
    assert paper.machine.nodes.by_id[node.node_id].is_dead
    assert [order.restart for order in other.took(StartActor)] == [1]


def test_jobs_and_their_numbers_outlive_a_restart(paper: OnPaper, driver: Driver) -> None:
    paper.restart()
    assert paper.driver(1).job_id == driver.job_id
    assert paper.driver(2).job_id == b"\0\0\0\2"


def test_dead_actors_are_still_known(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    actor_id = driver.create()
    paper.ask(driver.peer, KillActor(actor_id))
    paper.restart()
    assert paper.ask(driver.peer, GetActor(actor_id=actor_id))[0][1] == "DEAD"


def test_a_connection_that_comes_back_changes_nothing(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    actor_id = driver.create()
    home = node.start(actor_id)
    paper.lose(node.peer)
    node.hello([(actor_id, home)])
    paper.wait(1)
    assert driver.states(actor_id) == ["ALIVE"]
