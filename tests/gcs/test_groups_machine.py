"""Placement groups are there as a whole or not at all, whatever dies and whoever refuses."""

from __future__ import annotations

from typing import Any

import pytest

from himalia.cluster.gcs.group_record import Group, GroupState
from himalia.cluster.protocol.common import DeathKind, to_units
from himalia.cluster.protocol.constraints import in_group
from himalia.cluster.protocol.gcs_messages import ListState, NodeReport, Notice, ReportJobEnd
from himalia.cluster.protocol.group_messages import (
    CommitBundles,
    CreateGroup,
    GetGroup,
    GroupSpec,
    GroupUpdate,
    PrepareBundles,
    RemoveGroup,
    ReportBundles,
    ReturnBundles,
    WatchGroup,
)
from himalia.cluster.protocol.ids import make_task_id
from himalia.cluster.protocol.raylet_messages import StartActor, StopActor
from tests.gcs.cluster_on_paper import Driver, OnPaper, Raylet


@pytest.fixture
def paper() -> OnPaper:
    return OnPaper()


@pytest.fixture
def nodes(paper: OnPaper) -> list[Raylet]:
    return [paper.node(number, CPU=2) for number in (1, 2)]


@pytest.fixture
def driver(paper: OnPaper, nodes: list[Raylet]) -> Driver:
    return paper.driver(1, nodes[0])


def create(driver: Driver, *bundles: dict[str, float], strategy: str = "SPREAD", **more: Any) -> bytes:
    paper = driver.paper
    group_id = make_task_id(driver.peer, paper.new_counter())
    spec = GroupSpec([to_units(bundle) for bundle in bundles], strategy, driver.job_id, driver.address, **more)
    assert isinstance(paper.ask(driver.peer, CreateGroup(group_id, spec)), list)
    return group_id


def answer(node: Raylet, *, refused: bool = False) -> PrepareBundles:
    """The node says whether it holds what it was asked for last."""
    asked: PrepareBundles = node.took(PrepareBundles)[-1]
    node.paper.say(node.peer, ReportBundles(asked.group_id, asked.attempt, refused))
    return asked


def group_of(paper: OnPaper, group_id: bytes) -> Group:
    return paper.machine.groups.by_id[group_id]


def told(driver: Driver) -> list[str]:
    return [update.info.state for update in driver.paper.got(driver.peer, GroupUpdate)]


CPU: dict[str, float] = {"CPU": 1}


def test_bundles_are_committed_once_all_nodes_hold_theirs(paper: OnPaper, nodes: list[Raylet], driver: Driver) -> None:
    group_id = create(driver, CPU, CPU, strategy="STRICT_SPREAD")
    answer(nodes[0])
    assert not nodes[0].took(CommitBundles)
    answer(nodes[1])
    assert [len(node.took(CommitBundles)) for node in nodes] == [1, 1]
    assert told(driver) == ["CREATED"]
    info = paper.ask(driver.peer, GetGroup(group_id=group_id))
    assert sorted(info[3]) == sorted(node.node_id for node in nodes)


def test_one_refusal_gives_everything_back(paper: OnPaper, nodes: list[Raylet], driver: Driver) -> None:
    group_id = create(driver, CPU, CPU, strategy="STRICT_SPREAD")
    answer(nodes[0])
    answer(nodes[1], refused=True)
    assert [back.attempt for back in nodes[0].took(ReturnBundles)] == [1]
    assert not nodes[1].took(ReturnBundles)
    assert group_of(paper, group_id).state is GroupState.WAITING
    assert told(driver) == []
    for node in nodes:
        node.report()
    assert [node.took(PrepareBundles)[-1].attempt for node in nodes] == [2, 2]
    for node in nodes:
        answer(node)
    assert told(driver) == ["CREATED"]


def test_what_is_said_of_an_earlier_placement_is_given_back(
    paper: OnPaper, nodes: list[Raylet], driver: Driver
) -> None:
    group_id = create(driver, CPU, CPU, strategy="STRICT_SPREAD")
    answer(nodes[1], refused=True)
    paper.say(nodes[0].peer, ReportBundles(group_id, 1))  # it had not heard yet
    assert [back.attempt for back in nodes[0].took(ReturnBundles)] == [1, 1]
    assert group_of(paper, group_id).state is GroupState.WAITING


def test_a_node_that_dies_while_bundles_are_prepared_ends_the_placement(
    paper: OnPaper, nodes: list[Raylet], driver: Driver
) -> None:
    third = paper.node(3, CPU=2)
    group_id = create(driver, {"CPU": 2}, {"CPU": 2}, strategy="STRICT_SPREAD")
    asked = [node for node in (*nodes, third) if node.took(PrepareBundles)]
    answer(asked[0])
    asked[1].process_died(asked[1].peer, DeathKind.CRASHED)
    assert asked[0].took(ReturnBundles)
    group = group_of(paper, group_id)
    assert group.state is GroupState.PREPARING, "two nodes are left, so it is tried with these"
    assert group.attempt == 2
    assert group.public_state == "PENDING"


def test_bundles_lost_with_their_node_are_placed_around_those_that_are_left(
    paper: OnPaper, nodes: list[Raylet], driver: Driver
) -> None:
    group_id = create(driver, CPU, CPU, strategy="STRICT_SPREAD")
    for node in nodes:
        answer(node)
    nodes[1].process_died(nodes[1].peer, DeathKind.CRASHED)
    group = group_of(paper, group_id)
    assert group.public_state == "RESCHEDULING"
    assert sorted(group.info().nodes) == sorted([b"", nodes[0].node_id]), "the other one is used all the while"
    third = paper.node(3, CPU=2)
    assert len(answer(third).bundles) == 1
    assert third.took(CommitBundles)
    assert len(nodes[0].took(CommitBundles)) == 1
    assert told(driver) == ["CREATED", "RESCHEDULING", "CREATED"]


def test_a_removed_group_gives_back_everything_and_ends_its_actors(
    paper: OnPaper, nodes: list[Raylet], driver: Driver
) -> None:
    group_id = create(driver, CPU, CPU, strategy="STRICT_SPREAD", name="it")
    for node in nodes:
        answer(node)
    actors = [driver.create({"CPU": 1}, strategy=in_group(group_id, index)) for index in (0, 1)]
    waiting = driver.create({"CPU": 1}, strategy=in_group(group_id, -1))
    started = {order.actor_id: (node, order.bundle) for node in nodes for order in node.took(StartActor)}
    assert {actor_id: bundle for actor_id, (_, bundle) in started.items()} == {actors[0]: 0, actors[1]: 1}
    assert paper.ask(driver.peer, RemoveGroup(group_id)) is True
    for node in nodes:
        assert [stop.death.kind for stop in node.took(StopActor)] == [DeathKind.GROUP_REMOVED]
        assert [back.attempt for back in node.took(ReturnBundles)] == [0]
    for actor_id in (*actors, waiting):
        assert driver.states(actor_id)[-1] == "DEAD"
    assert paper.ask(driver.peer, RemoveGroup(group_id)) is False
    assert paper.ask(driver.peer, GetGroup(name="it")).kind == "not_found"
    late = driver.create({"CPU": 1}, strategy=in_group(group_id, 0))
    assert driver.states(late) == ["DEAD"]
    paper.say(driver.peer, WatchGroup(group_id))
    assert told(driver)[-1] == "REMOVED"


def test_an_actor_that_no_bundle_could_hold_is_dead(paper: OnPaper, nodes: list[Raylet], driver: Driver) -> None:
    group_id = create(driver, CPU)
    actor_id = driver.create({"CPU": 2}, strategy=in_group(group_id, -1))
    (info,) = driver.updates(actor_id)
    assert info.death is not None
    assert info.death.kind is DeathKind.UNSCHEDULABLE


def test_actors_of_a_bundle_wait_for_each_other_and_not_for_the_node(
    paper: OnPaper, nodes: list[Raylet], driver: Driver
) -> None:
    group_id = create(driver, CPU, strategy="PACK")
    (node,) = [node for node in nodes if node.took(PrepareBundles)]
    first, second = (driver.create({"CPU": 1}, strategy=in_group(group_id, 0)) for _ in range(2))
    assert not node.took(StartActor), "its group is not there yet"
    answer(node)
    paper.say(node.peer, NodeReport(to_units({"CPU": 0})))  # all of the node is in use: that is not its business
    assert [order.actor_id for order in node.took(StartActor)] == [first]
    node.start(first)
    node.lost(first)
    assert [order.actor_id for order in node.took(StartActor)] == [first, second]


def test_an_actor_that_a_bundle_refused_is_sent_again_when_its_node_has_reported(
    paper: OnPaper, nodes: list[Raylet], driver: Driver
) -> None:
    from himalia.cluster.protocol.gcs_messages import ReportActor

    group_id = create(driver, CPU, strategy="PACK")
    (node,) = [node for node in nodes if node.took(PrepareBundles)]
    answer(node)
    actor_id = driver.create({"CPU": 1}, strategy=in_group(group_id, 0))
    paper.say(node.peer, ReportActor(actor_id, rejected=True))
    assert len(node.took(StartActor)) == 1
    elsewhere = driver.create({"CPU": 1})
    assert any(order.actor_id == elsewhere for each in nodes for order in each.took(StartActor)), "others go on"
    node.report()
    assert [order.actor_id for order in node.took(StartActor)].count(actor_id) == 2


def test_groups_end_with_their_job_unless_they_are_detached(
    paper: OnPaper, nodes: list[Raylet], driver: Driver
) -> None:
    mine, detached = create(driver, CPU), create(driver, CPU, detached=True)
    paper.ask(driver.peer, ReportJobEnd(driver.job_id))
    assert group_of(paper, mine).is_removed
    assert not group_of(paper, detached).is_removed


def test_a_group_that_a_detached_actor_made_ends_with_that(paper: OnPaper, nodes: list[Raylet], driver: Driver) -> None:
    maker = driver.create(name="maker", detached=True)
    (home,) = [node for node in nodes if node.took(StartActor)]
    address = home.start(maker)
    group_id = make_task_id(address.worker_id, 1)
    spec = GroupSpec([to_units(CPU)], "PACK", driver.job_id, address)
    paper.ask(address.worker_id, CreateGroup(group_id, spec))
    paper.ask(driver.peer, ReportJobEnd(driver.job_id))
    assert not group_of(paper, group_id).is_removed
    home.lost(maker)
    assert group_of(paper, group_id).is_removed


def test_a_group_that_fits_nowhere_is_told_once_and_placed_when_nodes_join(
    paper: OnPaper, nodes: list[Raylet], driver: Driver
) -> None:
    group_id = create(driver, {"CPU": 3})
    for node in nodes:
        node.report(CPU=1)
    (notice,) = paper.got(driver.peer, Notice)
    assert "bundle 0 asks for 3 CPU" in notice.text
    (row,) = paper.ask(driver.peer, ListState("placement_groups"))
    assert (row["verdict"], row["state"]) == ("never", "PENDING")
    large = paper.node(3, CPU=4)
    assert answer(large).group_id == group_id
    assert told(driver) == ["CREATED"]


def test_room_that_tasks_hold_is_asked_for_one_group_at_a_node(
    paper: OnPaper, nodes: list[Raylet], driver: Driver
) -> None:
    for node in nodes:
        paper.say(node.peer, NodeReport(to_units({"CPU": 0})))
    first, second = (create(driver, {"CPU": 2}, {"CPU": 2}, strategy="STRICT_SPREAD") for _ in range(2))
    assert [asked.group_id for node in nodes for asked in node.took(PrepareBundles)] == [first, first]
    answer(nodes[0], refused=True)
    assert [back.group_id for back in nodes[1].took(ReturnBundles)] == [first]
    assert group_of(paper, second).state is GroupState.WAITING


def test_alike_groups_wait_in_their_order_and_those_that_lost_bundles_first(
    paper: OnPaper, nodes: list[Raylet], driver: Driver
) -> None:
    old = create(driver, {"CPU": 2}, {"CPU": 2}, strategy="STRICT_SPREAD")
    for node in nodes:
        answer(node)
        paper.say(node.peer, NodeReport(to_units({"CPU": 0})))
    later = [create(driver, {"CPU": 2}) for _ in range(2)]
    nodes[1].process_died(nodes[1].peer, DeathKind.CRASHED)
    third = paper.node(3, CPU=2)
    assert [asked.group_id for asked in third.took(PrepareBundles)] == [old]
    answer(third)
    fourth = paper.node(4, CPU=2)
    assert [asked.group_id for asked in fourth.took(PrepareBundles)] == [later[0]]


# -- restarts ----------------------------------------------------------------------------------------------------------


def test_a_group_is_found_again_after_a_restart(paper: OnPaper, nodes: list[Raylet], driver: Driver) -> None:
    group_id = create(driver, CPU, CPU, strategy="STRICT_SPREAD", name="it")
    held = [answer(node) for node in nodes]
    actor_id = driver.create({"CPU": 1}, strategy=in_group(group_id, 0))
    (home,) = [node for node in nodes if node.took(StartActor)]
    address = home.start(actor_id)
    paper.restart()
    for node, asked in zip(nodes, held, strict=True):
        bundles = [(group_id, asked.attempt, list(asked.bundles), True)]
        node.hello([(actor_id, address)] if node is home else [], bundles)
    assert paper.ask(driver.peer, GetGroup(name="it"))[1] == "CREATED"
    assert not any(node.took(PrepareBundles) or node.took(CommitBundles) for node in nodes)
    second = driver.create({"CPU": 1}, strategy=in_group(group_id, 0))
    assert driver.states(second) == [], "the first one still holds the bundle"
    nodes[1].process_died(nodes[1].peer, DeathKind.CRASHED)
    assert told(driver) == ["RESCHEDULING"], "who watched it before still does"


def test_a_placement_goes_on_after_a_restart(paper: OnPaper, nodes: list[Raylet], driver: Driver) -> None:
    group_id = create(driver, CPU, CPU, strategy="STRICT_SPREAD")
    first = answer(nodes[0])
    paper.restart()
    nodes[0].hello([], [(group_id, first.attempt, list(first.bundles), False)])
    nodes[1].hello([])
    assert len(nodes[1].took(PrepareBundles)) == 1, "it may not have heard"
    answer(nodes[1])
    assert [len(node.took(CommitBundles)) for node in nodes] == [1, 1]
    assert told(driver) == ["CREATED"]


def test_a_placement_whose_node_is_gone_after_a_restart_begins_anew(
    paper: OnPaper, nodes: list[Raylet], driver: Driver
) -> None:
    group_id = create(driver, CPU, CPU, strategy="STRICT_SPREAD")
    first = answer(nodes[0])
    stored = {table: dict(rows) for table, rows in paper.stored.items()}
    nodes[1].process_died(nodes[1].peer, DeathKind.CRASHED)
    for table in ("groups", "group_specs"):  # storage ends between two records of that step
        paper.stored[table] = stored[table]
    paper.restart()
    assert group_of(paper, group_id).state is GroupState.WAITING
    assert group_of(paper, group_id).info().nodes == [b"", b""], "nothing of it is there"
    nodes[0].hello([], [(group_id, first.attempt, list(first.bundles), False)])
    assert [back.attempt for back in nodes[0].took(ReturnBundles)] == [first.attempt]
    third = paper.node(3, CPU=2)
    nodes[0].report()
    assert [node.took(PrepareBundles)[-1].attempt for node in (nodes[0], third)] == [3, 3]


def test_a_commit_that_was_lost_is_said_again(paper: OnPaper, nodes: list[Raylet], driver: Driver) -> None:
    group_id = create(driver, CPU, strategy="PACK")
    (node,) = [node for node in nodes if node.took(PrepareBundles)]
    asked = answer(node)
    node.hello([], [(group_id, asked.attempt, [0], False)])
    assert len(node.took(CommitBundles)) == 2


def test_what_a_raylet_holds_of_no_group_is_given_back_and_what_it_lost_is_placed_anew(
    paper: OnPaper, nodes: list[Raylet], driver: Driver
) -> None:
    group_id = create(driver, CPU, strategy="PACK")
    (node,) = [node for node in nodes if node.took(PrepareBundles)]
    answer(node)
    node.hello([], [(b"nobody's group__", 3, [0], True)])
    assert b"nobody's group__" in [back.group_id for back in node.took(ReturnBundles)]
    assert group_of(paper, group_id).public_state == "RESCHEDULING"


def test_removed_groups_are_kept_for_a_while_and_then_forgotten(paper: OnPaper) -> None:
    paper = OnPaper(type(paper.config)(removed_groups_kept=2))
    node = paper.node(1, CPU=2)
    driver = paper.driver(1, node)
    made = [create(driver, CPU) for _ in range(4)]
    for group_id in made:
        paper.ask(driver.peer, RemoveGroup(group_id))
    assert list(paper.machine.groups.by_id) == made[2:]
    paper.restart()
    assert [group_of(paper, group_id).is_removed for group_id in made[2:]] == [True, True]


def test_many_groups_without_room_are_not_tried_all_the_time(paper: OnPaper, driver: Driver) -> None:
    nodes = [paper.node(number, CPU=4) for number in range(3, 13)]
    for node in nodes:
        node.report(CPU=0.5)
    waiting = [create(driver, *[{"CPU": 1}] * (10 + number), strategy="PACK") for number in range(12)]
    assert paper.machine.groups.try_at is not None
    for node in nodes:
        for asked in node.took(PrepareBundles):
            paper.say(node.peer, ReportBundles(asked.group_id, asked.attempt, refused=True))
        node.report(CPU=4)
    before = paper.now
    paper.wait(1.0)
    assert paper.now > before
    states = {group_of(paper, group_id).state for group_id in waiting}
    assert GroupState.PREPARING in states, "the pause is over, and there is room"
