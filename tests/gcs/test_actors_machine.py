"""How actors come, move, live again and end."""

from __future__ import annotations

import pytest

from himalia.cluster.gcs.actor_record import ActorState
from himalia.cluster.gcs.actors_machine import Actors
from himalia.cluster.protocol.common import Address, DeathKind
from himalia.cluster.protocol.gcs_messages import (
    CreateActor,
    Failed,
    GetActor,
    KillActor,
    Notice,
    ReplaceClass,
    ReportActor,
    ReportJobEnd,
)
from himalia.cluster.protocol.ids import make_task_id
from himalia.cluster.protocol.raylet_messages import StartActor, StopActor
from himalia.cluster.protocol.transitions import IllegalTransition
from tests.gcs.cluster_on_paper import Driver, OnPaper, Raylet, an_id


@pytest.fixture
def paper() -> OnPaper:
    return OnPaper()


@pytest.fixture
def node(paper: OnPaper) -> Raylet:
    return paper.node(1, CPU=2)


@pytest.fixture
def driver(paper: OnPaper, node: Raylet) -> Driver:
    return paper.driver(1, node)


# -- creation ---------------------------------------------------------------------------------------------------------


def test_an_actor_is_sent_to_its_node_in_the_same_step(node: Raylet, driver: Driver) -> None:
    actor_id = driver.create()
    (order,) = node.took(StartActor)
    assert order.actor_id == actor_id
    assert order.restart == 0


def test_who_makes_an_actor_is_told_where_it_is_without_asking(node: Raylet, driver: Driver) -> None:
    actor_id = driver.create()
    address = node.start(actor_id)
    assert driver.states(actor_id) == ["ALIVE"]
    assert driver.updates(actor_id)[-1].address == address


def test_a_failed_constructor_is_told_with_what_it_raised(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    actor_id = driver.create(max_restarts=3)
    paper.say(node.peer, ReportActor(actor_id, error=b"pickled"))
    (info,) = driver.updates(actor_id)
    assert info.state == "DEAD"
    assert info.error == b"pickled"
    assert info.death is not None
    assert info.death.kind is DeathKind.CREATION_FAILED


def test_one_actor_without_room_is_sent_so_that_the_raylet_makes_room(node: Raylet, driver: Driver) -> None:
    first, second, third = (driver.create({"CPU": 2}) for _ in range(3))
    assert [order.actor_id for order in node.took(StartActor)] == [first, second]
    node.start(first)
    node.report(CPU=0)
    assert len(node.took(StartActor)) == 2
    node.lost(first)
    node.start(second)
    node.report(CPU=0)
    assert [order.actor_id for order in node.took(StartActor)] == [first, second, third]


def test_an_actor_whose_raylet_made_no_room_starts_where_something_came_free(
    paper: OnPaper, node: Raylet, driver: Driver
) -> None:
    node.report(CPU=0)
    actor_id = driver.create({"CPU": 2})
    other = paper.node(2, CPU=2)
    assert not other.took(StartActor)
    paper.say(node.peer, ReportActor(actor_id, rejected=True))
    assert [order.actor_id for order in other.took(StartActor)] == [actor_id]


def test_what_an_actor_took_is_not_free_before_a_report_says_so(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    other = paper.node(2, CPU=2)
    node.start(driver.create({"CPU": 2}))
    assert node.took(StartActor)
    driver.create({"CPU": 2})
    assert len(node.took(StartActor)) == len(other.took(StartActor)) == 1


def test_an_actor_that_holds_nothing_does_not_wait_for_a_busy_cpu(node: Raylet, driver: Driver) -> None:
    node.report(CPU=0)
    driver.create()
    assert len(node.took(StartActor)) == 1


def test_a_burst_is_spread_without_waiting_for_reports(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    other = paper.node(2, CPU=2)
    for _ in range(4):
        driver.create({"CPU": 1})
    assert len(node.took(StartActor)) == 2
    assert len(other.took(StartActor)) == 2


def test_actors_that_hold_nothing_are_spread_by_what_they_ask_for_placement(
    paper: OnPaper, node: Raylet, driver: Driver
) -> None:
    other = paper.node(2, CPU=2)
    for _ in range(6):
        driver.create()
    assert len(node.took(StartActor)) == len(other.took(StartActor)) == 3


def test_a_refused_actor_goes_elsewhere_at_once(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    other = paper.node(2, CPU=2)
    actor_id = driver.create({"CPU": 1})
    paper.say(node.peer, ReportActor(actor_id, rejected=True))
    assert [order.actor_id for order in other.took(StartActor)] == [actor_id]


def test_a_refused_actor_waits_for_the_nodes_next_report_where_there_is_no_other(
    paper: OnPaper, node: Raylet, driver: Driver
) -> None:
    actor_id = driver.create({"CPU": 1})
    paper.say(node.peer, ReportActor(actor_id, rejected=True))
    assert len(node.took(StartActor)) == 1
    node.heartbeat()
    assert len(node.took(StartActor)) == 2


def test_an_actor_that_fits_nowhere_warns_once_for_its_class_and_stays_pending(
    paper: OnPaper, node: Raylet, driver: Driver
) -> None:
    for _ in range(3):
        driver.create({"GPU": 1})
    (notice,) = paper.got(driver.peer, Notice)
    assert notice.kind == "infeasible"
    assert "GPU" in notice.text
    assert "host1 has {'CPU': 2.0}" in notice.text
    assert not node.took(StartActor)


def test_an_actor_that_fitted_nowhere_starts_when_its_node_joins(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    actor_id = driver.create({"GPU": 1})
    other = paper.node(2, CPU=1, GPU=1)
    assert [order.actor_id for order in other.took(StartActor)] == [actor_id]


# -- strategies -------------------------------------------------------------------------------------------------------


def test_hard_affinity_waits_for_its_node(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    other = paper.node(2, CPU=2)
    other.report(CPU=0)
    driver.create({"CPU": 1}, strategy=f"node:{other.node_id.hex()}")
    assert not node.took(StartActor)
    other.report(CPU=1)
    assert len(other.took(StartActor)) == 1


def test_hard_affinity_to_a_node_that_is_not_there_fails(driver: Driver, node: Raylet) -> None:
    actor_id = driver.create(strategy=f"node:{an_id('n', 9).hex()}")
    (info,) = driver.updates(actor_id)
    assert info.state == "DEAD"
    assert info.death is not None
    assert info.death.kind is DeathKind.UNSCHEDULABLE


def test_waiting_for_a_node_that_dies_fails(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    other = paper.node(2, CPU=2)
    other.report(CPU=0)
    actor_id = driver.create({"CPU": 1}, strategy=f"node:{other.node_id.hex()}")
    other.process_died(other.peer)
    assert driver.states(actor_id) == ["DEAD"]


def test_soft_affinity_goes_elsewhere_when_its_node_is_gone(node: Raylet, driver: Driver) -> None:
    driver.create(strategy=f"node~:{an_id('n', 9).hex()}")
    assert len(node.took(StartActor)) == 1


def test_spread_goes_to_each_node_in_turn(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    others = [paper.node(number, CPU=8) for number in (2, 3)]
    for _ in range(6):
        driver.create(strategy="SPREAD")
    assert [len(n.took(StartActor)) for n in (node, *others)] == [2, 2, 2]


def test_labels_choose_the_node(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    other = paper.node(2, labels={"zone": "b"}, CPU=2)
    driver.create(labels={"zone": "b"})
    assert len(other.took(StartActor)) == 1


def test_an_unknown_strategy_is_refused(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    message = CreateActor(make_task_id(driver.peer, 77), driver.spec(strategy="BEST"))
    answer = paper.ask(driver.peer, message)
    assert isinstance(answer, Failed)
    assert answer.kind == "bad_request"
    assert "BEST" in answer.text


# -- names ------------------------------------------------------------------------------------------------------------


def test_a_taken_name_is_refused(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    driver.create(name="it")
    answer = paper.ask(driver.peer, CreateActor(make_task_id(driver.peer, 77), driver.spec(name="it")))
    assert isinstance(answer, Failed)
    assert answer.kind == "name_taken"


def test_get_if_exists_answers_with_the_one_there_is(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    actor_id = driver.create(name="it")
    message = CreateActor(make_task_id(driver.peer, 77), driver.spec(name="it"), get_if_exists=True)
    assert paper.ask(driver.peer, message)[0] == actor_id
    assert len(node.took(StartActor)) == 1


def test_namespaces_keep_names_apart(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    driver.create(name="it", namespace="a")
    driver.create(name="it", namespace="b")
    assert len(node.took(StartActor)) == 2
    assert isinstance(paper.ask(driver.peer, GetActor(name="it", namespace="c")), Failed)


def test_a_name_leads_to_info_and_a_specification_without_the_arguments(
    paper: OnPaper, node: Raylet, driver: Driver
) -> None:
    actor_id = driver.create(name="it", args=b"large", methods={"f": {"num_returns": 2}})
    info, spec = paper.ask(driver.peer, GetActor(name="it"))
    assert info[0] == actor_id
    assert spec["methods"] == {"f": {"num_returns": 2}}
    assert spec["args"] == b""


def test_the_name_of_a_dead_actor_is_free(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    first = driver.create(name="it")
    node.start(first)
    paper.ask(driver.peer, KillActor(first))
    second = driver.create(name="it")
    assert [order.actor_id for order in node.took(StartActor)] == [first, second]


def test_the_name_of_an_actor_that_finishes_its_last_calls_is_free(
    paper: OnPaper, node: Raylet, driver: Driver
) -> None:
    first = driver.create(name="it")
    node.start(first)
    paper.say(driver.peer, KillActor(first, out_of_scope=True))
    assert isinstance(paper.ask(driver.peer, GetActor(name="it")), Failed)
    driver.create(name="it")
    assert len(node.took(StartActor)) == 2


# -- the end ----------------------------------------------------------------------------------------------------------


def test_kill_is_told_at_once_and_ends_the_worker(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    actor_id = driver.create(max_restarts=5)
    node.start(actor_id)
    assert paper.ask(driver.peer, KillActor(actor_id)) is True
    assert driver.states(actor_id) == ["ALIVE", "DEAD"]
    (order,) = node.took(StopActor)
    assert order.force
    node.lost(actor_id, DeathKind.KILLED)  # the raylet's report of what was asked changes nothing
    assert driver.states(actor_id) == ["ALIVE", "DEAD"]


def test_kill_of_a_dead_actor_is_no_error(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    actor_id = driver.create()
    paper.ask(driver.peer, KillActor(actor_id))
    assert paper.ask(driver.peer, KillActor(actor_id)) is True


def test_kill_of_an_unknown_actor_fails(paper: OnPaper, driver: Driver) -> None:
    answer = paper.ask(driver.peer, KillActor(make_task_id(driver.peer, 77)))
    assert isinstance(answer, Failed)
    assert answer.kind == "not_found"


def test_a_waiting_actor_can_be_killed(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    actor_id = driver.create({"GPU": 1})
    paper.ask(driver.peer, KillActor(actor_id))
    assert driver.states(actor_id) == ["DEAD"]
    paper.node(2, GPU=1)


def test_the_last_handle_lets_it_finish_its_calls(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    actor_id = driver.create(max_restarts=5)
    node.start(actor_id)
    paper.say(driver.peer, KillActor(actor_id, out_of_scope=True))
    (order,) = node.took(StopActor)
    assert not order.force
    assert driver.states(actor_id) == ["ALIVE"]
    node.lost(actor_id, DeathKind.EXITED)
    info = driver.updates(actor_id)[-1]
    assert info.death is not None
    assert info.death.kind is DeathKind.OUT_OF_SCOPE


def test_the_last_handle_may_go_while_the_constructor_runs(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    actor_id = driver.create()
    paper.say(driver.peer, KillActor(actor_id, out_of_scope=True))
    assert not node.took(StopActor)
    node.start(actor_id)
    assert len(node.took(StopActor)) == 1
    assert paper.machine.actors.by_id[actor_id].state is ActorState.ENDING


def test_a_detached_actor_needs_no_handle(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    actor_id = driver.create(detached=True)
    node.start(actor_id)
    paper.say(driver.peer, KillActor(actor_id, out_of_scope=True))
    assert not node.took(StopActor)


def test_the_end_of_a_job_ends_its_actors_but_the_detached(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    plain, detached = driver.create(), driver.create(detached=True)
    node.start(plain)
    node.start(detached)
    paper.ask(driver.peer, ReportJobEnd(driver.job_id))
    assert [order.actor_id for order in node.took(StopActor)] == [plain]
    assert paper.machine.actors.by_id[detached].state is ActorState.ALIVE


def test_actors_made_by_a_detached_one_outlive_the_job(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    detached = driver.create(detached=True)
    home = node.start(detached)
    child = driver.create(owner=home)
    node.start(child)
    paper.ask(driver.peer, ReportJobEnd(driver.job_id))
    assert paper.machine.actors.by_id[child].state is ActorState.ALIVE
    node.process_died(home.worker_id)
    assert paper.machine.actors.by_id[child].is_dead


def test_the_death_of_its_owner_ends_an_actor(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    maker = Address(an_id("w", 900), node.node_id)
    actor_id = driver.create(owner=maker)
    node.start(actor_id)
    node.process_died(maker.worker_id)
    info = driver.updates(actor_id)[-1]
    assert info.death is not None
    assert info.death.kind is DeathKind.OWNER_DIED


def test_a_creation_that_arrives_after_its_owners_death_ends_at_once(
    paper: OnPaper, node: Raylet, driver: Driver
) -> None:
    node.process_died(an_id("w", 900))
    actor_id = driver.create(owner=Address(an_id("w", 900), node.node_id))
    assert driver.states(actor_id)[-1] == "DEAD"


# -- what cannot be ---------------------------------------------------------------------------------------------------


def test_an_impossible_report_raises_with_the_story_of_the_actor(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    actor_id = driver.create()
    node.start(actor_id)
    with pytest.raises(IllegalTransition) as caught:
        paper.say(node.peer, ReportActor(actor_id, error=b"too late"))
    text = str(caught.value)
    assert actor_id.hex() in text
    assert "STARTING -> ALIVE" in text
    paper.machine.check_invariants()


def test_an_actor_that_nobody_asked_for_is_stopped(paper: OnPaper, node: Raylet) -> None:
    paper.say(node.peer, ReportActor(make_task_id(an_id("d", 5), 1), address=Address(an_id("w", 5), node.node_id)))
    assert len(node.took(StopActor)) == 1


def test_every_living_state_knows_what_to_do_about_every_end() -> None:
    living = set(ActorState) - {ActorState.DEAD, ActorState.WAITING}
    ends = {"Lost", "End", "CallsEnd", "Restart"}
    for state in living:
        known = {fact.__name__ for at, fact in Actors._EDGES if at is state}
        assert ends <= known, state


def test_a_class_that_was_replaced_is_what_restarts_and_who_asks_by_name_get(
    paper: OnPaper, node: Raylet, driver: Driver
) -> None:
    actor_id = driver.create(max_restarts=1, name="upgraded")
    node.start(actor_id)
    assert paper.ask(driver.peer, ReplaceClass(actor_id, b"newer", "Newer", {"m": {}}, {"lib": (2, "ab")})) is True
    paper.restart()
    node.hello()
    _, spec = paper.ask(driver.peer, GetActor("upgraded", ""))
    assert (spec["class_hash"], spec["class_name"], spec["methods"]) == (b"newer", "Newer", {"m": {}})
    node.lost(actor_id)
    order = node.took(StartActor)[-1]
    assert (order.spec.class_hash, order.spec.code) == (b"newer", {"lib": (2, "ab")})


def test_the_class_of_an_actor_that_is_dead_or_unknown_can_not_be_replaced(
    paper: OnPaper, node: Raylet, driver: Driver
) -> None:
    actor_id = driver.create()
    node.start(actor_id)
    node.lost(actor_id)
    for each in (actor_id, b"nobody"):
        refused = paper.ask(driver.peer, ReplaceClass(each, b"newer", "Newer"))
        assert isinstance(refused, Failed)
        assert refused.kind == "not_found"
