"""Actors that live again, and those who watch them."""

from __future__ import annotations

import pytest

from himalia.cluster.gcs.config import GcsConfig
from himalia.cluster.protocol.common import DeathKind
from himalia.cluster.protocol.gcs_messages import CreateActor, KillActor, ReportActor, WatchActor
from himalia.cluster.protocol.ids import make_task_id
from himalia.cluster.protocol.raylet_messages import StartActor
from tests.gcs.cluster_on_paper import Driver, OnPaper, Raylet


@pytest.fixture
def paper() -> OnPaper:
    return OnPaper()


@pytest.fixture
def node(paper: OnPaper) -> Raylet:
    return paper.node(1, CPU=2)


@pytest.fixture
def driver(paper: OnPaper, node: Raylet) -> Driver:
    return paper.driver(1, node)


# -- living again -----------------------------------------------------------------------------------------------------


def test_a_crashed_actor_lives_again_as_often_as_allowed(node: Raylet, driver: Driver) -> None:
    actor_id = driver.create(max_restarts=1)
    node.start(actor_id)
    node.lost(actor_id)
    assert [order.restart for order in node.took(StartActor)] == [0, 1]
    node.start(actor_id)
    node.lost(actor_id)
    assert driver.states(actor_id) == ["ALIVE", "RESTARTING", "ALIVE", "DEAD"]


def test_max_restarts_of_minus_one_is_without_limit(node: Raylet, driver: Driver) -> None:
    actor_id = driver.create(max_restarts=-1)
    for life in range(5):
        node.start(actor_id)
        node.lost(actor_id)
        assert node.took(StartActor)[-1].restart == life + 1


def test_an_actor_that_left_on_purpose_stays_dead(node: Raylet, driver: Driver) -> None:
    actor_id = driver.create(max_restarts=-1)
    node.start(actor_id)
    node.lost(actor_id, DeathKind.EXITED)
    assert driver.states(actor_id) == ["ALIVE", "DEAD"]


def test_kill_with_restart_waits_for_the_old_worker(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    actor_id = driver.create(max_restarts=1)
    node.start(actor_id)
    paper.ask(driver.peer, KillActor(actor_id, no_restart=False))
    assert driver.states(actor_id) == ["ALIVE", "RESTARTING"]
    assert len(node.took(StartActor)) == 1
    node.lost(actor_id, DeathKind.KILLED)
    assert [order.restart for order in node.took(StartActor)] == [0, 1]


def test_kill_with_restart_ends_an_actor_without_lives_left(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    actor_id = driver.create()
    node.start(actor_id)
    paper.ask(driver.peer, KillActor(actor_id, no_restart=False))
    assert driver.states(actor_id) == ["ALIVE", "DEAD"]


def test_the_death_of_a_node_moves_its_actors(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    other = paper.node(2, CPU=2)
    restartable, mortal = driver.create(max_restarts=1, strategy="SPREAD"), b""
    node.start(restartable)
    mortal = driver.create(strategy=f"node:{node.node_id.hex()}")
    node.start(mortal)
    node.process_died(node.peer)
    assert [order.actor_id for order in other.took(StartActor)] == [restartable]


def test_a_report_of_an_earlier_life_changes_nothing(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    actor_id = driver.create(max_restarts=2)
    node.start(actor_id)
    node.lost(actor_id)
    node.start(actor_id)
    paper.say(node.peer, ReportActor(actor_id, restart=0, death=None, rejected=True))
    assert driver.states(actor_id)[-1] == "ALIVE"


def test_the_death_of_its_worker_counts_once_whoever_says_it(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    actor_id = driver.create(max_restarts=5)
    home = node.start(actor_id)
    node.process_died(home.worker_id)
    paper.say(node.peer, ReportActor(actor_id, death=None, address=home, restart=0))
    assert [order.restart for order in node.took(StartActor)] == [0, 1]


# -- watching ---------------------------------------------------------------------------------------------------------


def test_a_watcher_is_told_now_and_on_each_change(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    other = paper.driver(2, node)
    actor_id = driver.create()
    paper.say(other.peer, WatchActor(actor_id))
    node.start(actor_id)
    node.lost(actor_id)
    assert other.states(actor_id) == ["PENDING", "ALIVE", "DEAD"]


def test_a_watch_may_arrive_before_the_actor(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    other = paper.driver(2, node)
    spec = driver.spec()
    actor_id = make_task_id(driver.peer, 500)
    paper.say(other.peer, WatchActor(actor_id))
    assert other.states(actor_id) == []
    paper.say(driver.peer, CreateActor(actor_id, spec))
    node.start(actor_id)
    assert other.states(actor_id) == ["ALIVE"]


def test_a_watch_for_an_actor_that_will_never_be_made_is_told_so(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    other = paper.driver(2, node)
    actor_id = make_task_id(driver.peer, 500)
    paper.say(other.peer, WatchActor(actor_id))
    node.process_died(driver.peer)
    assert other.states(actor_id) == ["DEAD"]
    paper.say(other.peer, WatchActor(actor_id))
    assert other.states(actor_id) == ["DEAD", "DEAD"]


def test_a_watch_for_an_actor_long_dead_is_told_so(node: Raylet) -> None:
    paper = OnPaper(GcsConfig(dead_actors_kept=1))
    raylet = paper.node(1, CPU=2)
    driver = paper.driver(1, raylet)
    first, second = driver.create(), driver.create()
    for actor_id in (first, second):
        paper.ask(driver.peer, KillActor(actor_id))
    assert first not in paper.machine.actors.by_id
    assert first not in paper.stored["actors"]
    paper.say(driver.peer, WatchActor(first))
    assert driver.states(first)[-1] == "DEAD"
