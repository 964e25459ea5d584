"""How nodes come, report, fall silent and go."""

from __future__ import annotations

import msgspec
import pytest

from himalia.cluster.gcs.config import GcsConfig
from himalia.cluster.gcs.nodes_machine import Gone, NodeState
from himalia.cluster.protocol.common import Address, Death, DeathKind, to_units
from himalia.cluster.protocol.gcs_messages import (
    DriverHello,
    Failed,
    NodeHello,
    NodeReport,
    NodeUpdate,
    ProcessDead,
    RemoveNode,
    ResourceView,
    SayHello,
    Stop,
    Welcome,
)
from himalia.cluster.protocol.raylet_messages import StartActor, StopRaylet
from himalia.cluster.protocol.transitions import IllegalTransition
from tests.gcs.cluster_on_paper import OnPaper, an_id


@pytest.fixture
def paper() -> OnPaper:
    return OnPaper()


def test_a_node_that_joins_is_told_of_all_and_all_of_it(paper: OnPaper) -> None:
    first = paper.node(1)
    driver = paper.driver(1, first)
    second = paper.node(2)
    (welcome,) = paper.got(second.peer, Welcome)
    assert [node.node_id for node in welcome.nodes] == [first.node_id, second.node_id]
    assert [update.node.node_id for update in paper.got(driver.peer, NodeUpdate)] == [second.node_id]
    assert [update.node.node_id for update in paper.got(first.peer, NodeUpdate)] == [second.node_id]


def test_another_protocol_is_refused_with_what_to_do(paper: OnPaper) -> None:
    node = paper.node(1)
    paper.say(an_id("r", 7), NodeHello(99, msgspec.structs.replace(node.info, node_id=an_id("n", 7))))
    (welcome,) = paper.got(an_id("r", 7), Welcome)
    assert "install one version everywhere" in welcome.error
    assert len(paper.machine.nodes.by_id) == 1


def test_a_silent_node_dies_after_the_timeout(paper: OnPaper) -> None:
    node, other = paper.node(1), paper.node(2)
    for _ in range(8):
        paper.wait(1)
        other.heartbeat()
    (update,) = [u for u in paper.got(other.peer, NodeUpdate) if not u.node.alive]
    assert update.node.node_id == node.node_id
    assert update.node.death.kind is DeathKind.NODE_DIED
    assert paper.machine.nodes.by_id[other.node_id].state is NodeState.ALIVE


def test_heartbeats_keep_a_node_alive(paper: OnPaper) -> None:
    node = paper.node(1)
    for _ in range(30):
        paper.wait(1)
        node.heartbeat()
    assert not paper.machine.nodes.by_id[node.node_id].is_dead


def test_a_broken_connection_is_a_death_unless_it_comes_back_soon(paper: OnPaper) -> None:
    node, other = paper.node(1), paper.node(2)
    paper.lose(node.peer)
    paper.lose(other.peer)
    paper.wait(0.4)
    node.heartbeat()
    paper.wait(0.4)
    assert not paper.machine.nodes.by_id[node.node_id].is_dead
    assert paper.machine.nodes.by_id[other.node_id].is_dead


def test_a_connection_that_is_made_again_needs_no_message_to_count(paper: OnPaper) -> None:
    node = paper.node(1)
    paper.lose(node.peer)
    paper.regain(node.peer)
    paper.wait(0.9)
    assert not paper.machine.nodes.by_id[node.node_id].is_dead
    paper.lose(node.peer)
    node.heartbeat()  # on its way when the connection broke
    paper.lose(node.peer)  # the attempt to connect again is refused
    paper.wait(0.6)
    assert paper.machine.nodes.by_id[node.node_id].is_dead
    paper.regain(node.peer)  # which changes nothing any more


def test_a_gcs_that_was_stopped_does_not_blame_the_nodes(paper: OnPaper) -> None:
    node = paper.node(1)
    paper.now += 60
    paper.wait(0)
    assert not paper.machine.nodes.by_id[node.node_id].is_dead
    paper.wait(6)
    assert paper.machine.nodes.by_id[node.node_id].is_dead


def test_the_death_of_a_raylet_that_its_host_reports_is_the_nodes(paper: OnPaper) -> None:
    node = paper.node(1)
    node.process_died(node.peer)
    assert paper.machine.nodes.by_id[node.node_id].is_dead


def test_the_death_of_a_node_is_that_of_its_processes(paper: OnPaper) -> None:
    node, other = paper.node(1), paper.node(2)
    listener = paper.driver(1, other)
    lost = paper.driver(2, node)
    paper.say(node.peer, NodeReport({}, workers=[{"worker_id": an_id("w", 1)}]))
    node.process_died(node.peer)
    dead = {message.worker_id for message in paper.got(listener.peer, ProcessDead)}
    assert dead == {lost.peer, an_id("w", 1)}
    assert paper.machine.jobs.by_id[lost.job_id].info.ended is not None


def test_a_node_declared_dead_is_told_to_stop_and_refused(paper: OnPaper) -> None:
    node = paper.node(1)
    paper.wait(6)
    assert len(node.took(StopRaylet)) == 1
    node.hello()
    assert "declared dead" in paper.got(node.peer, Welcome)[-1].error


def test_a_core_of_a_dead_node_is_refused(paper: OnPaper) -> None:
    node = paper.node(1)
    driver = paper.driver(1, node)
    paper.wait(6)
    paper.say(driver.peer, DriverHello(1, driver.address))
    assert "declared dead" in paper.got(driver.peer, Welcome)[-1].error


def test_a_core_that_was_not_known_on_its_dead_node_is_dead_for_all(paper: OnPaper) -> None:
    node, other = paper.node(1), paper.node(2)
    listener = paper.driver(1, other)
    node.process_died(node.peer)
    late = Address(an_id("w", 7), node.info.node_id)
    paper.say(late.worker_id, DriverHello(1, late))
    assert late.worker_id in {message.worker_id for message in paper.got(listener.peer, ProcessDead)}


def test_a_report_of_an_unknown_raylet_is_answered_with_say_hello(paper: OnPaper) -> None:
    paper.say(an_id("r", 1), NodeReport({}))
    assert len(paper.got(an_id("r", 1), SayHello)) == 1


def test_the_view_goes_to_the_others_as_differences(paper: OnPaper) -> None:
    first, second = paper.node(1, CPU=2), paper.node(2, CPU=4)
    paper.wait(1)
    paper.inbox.clear()
    first.report(CPU=1)
    assert paper.got(second.peer, ResourceView) == [
        ResourceView([(first.node_id, to_units({"CPU": 1}), to_units({"CPU": 2}))])
    ]
    assert paper.got(first.peer, ResourceView) == []


def test_the_view_is_sent_at_most_so_often(paper: OnPaper) -> None:
    first, second = paper.node(1, CPU=2), paper.node(2, CPU=2)
    paper.wait(1)
    paper.inbox.clear()
    for step in range(20):
        first.report(CPU=1 + step % 2)
        paper.wait(0.01)
    paper.wait(0.1)
    views = paper.got(second.peer, ResourceView)
    assert 4 <= len(views) <= 6
    assert views[-1].nodes[0][1] == to_units({"CPU": 2})


def test_a_single_node_is_told_nothing_of_itself(paper: OnPaper) -> None:
    node = paper.node(1, CPU=2)
    for step in range(20):
        node.report(CPU=1 + step % 2)
        paper.wait(0.1)
    assert paper.got(node.peer, ResourceView) == []


def test_a_new_node_gets_the_whole_view(paper: OnPaper) -> None:
    first = paper.node(1, CPU=2)
    first.report(CPU=1)
    paper.wait(1)
    second = paper.node(2)
    assert paper.got(second.peer, ResourceView)[0].nodes == [
        (first.node_id, to_units({"CPU": 1}), to_units({"CPU": 2}))
    ]


def test_a_removed_node_is_dead_at_once(paper: OnPaper) -> None:
    node = paper.node(1)
    tool = an_id("t", 1)
    assert paper.ask(tool, RemoveNode(node.node_id, graceful=False)) is True
    assert paper.machine.nodes.by_id[node.node_id].is_dead
    assert not node.took(StopRaylet)[0].graceful
    assert isinstance(paper.ask(tool, RemoveNode(node.node_id)), Failed)


def test_a_node_that_drains_takes_no_actors_and_dies_when_it_leaves(paper: OnPaper) -> None:
    node, other = paper.node(1, CPU=8), paper.node(2, CPU=1)
    driver = paper.driver(1, node)
    paper.ask(an_id("t", 1), RemoveNode(node.node_id))
    assert node.took(StopRaylet)[0].graceful
    driver.create()
    assert len(other.took(StartActor)) == 1
    paper.lose(node.peer)
    assert paper.machine.nodes.by_id[node.node_id].is_dead


def test_a_node_that_drains_for_ever_is_dead_in_the_end() -> None:
    paper = OnPaper(GcsConfig(drain_timeout=20.0))
    node = paper.node(1)
    paper.ask(an_id("t", 1), RemoveNode(node.node_id))
    for _ in range(25):
        node.heartbeat() if not paper.machine.nodes.by_id[node.node_id].is_dead else None
        paper.wait(1)
    assert paper.machine.nodes.by_id[node.node_id].is_dead


def test_a_node_that_died_silently_has_no_further_edge(paper: OnPaper) -> None:
    node = paper.node(1)
    paper.wait(6)
    with pytest.raises(IllegalTransition, match="is DEAD and has no edge"):
        paper.machine.nodes._take(paper.machine.nodes.by_id[node.node_id], Gone(Death(DeathKind.NODE_DIED, "again")))


def test_dead_nodes_are_forgotten_beyond_the_bound() -> None:
    paper = OnPaper(GcsConfig(dead_nodes_kept=2))
    nodes = [paper.node(number) for number in range(1, 5)]
    for node in nodes:
        node.process_died(node.peer)
    assert list(paper.machine.nodes.by_id) == [node.node_id for node in nodes[2:]]
    assert list(paper.stored["nodes"]) == [node.node_id for node in nodes[2:]]


def test_stop_asks_every_raylet_and_ends_when_they_are_gone(paper: OnPaper) -> None:
    nodes = [paper.node(1), paper.node(2)]
    assert paper.ask(an_id("t", 1), Stop("enough")) is True
    assert all(len(node.took(StopRaylet)) == 1 for node in nodes)
    assert paper.ended is None
    for node in nodes:
        paper.lose(node.peer)
    assert paper.ended == "enough"


def test_stop_ends_without_a_raylet_that_does_not_leave(paper: OnPaper) -> None:
    node = paper.node(1)
    paper.say(an_id("t", 1), Stop())
    for _ in range(5):
        node.heartbeat()
        paper.wait(1)
    paper.wait(0.1)
    assert paper.ended == "the cluster was stopped"


def test_nobody_joins_a_cluster_that_ends(paper: OnPaper) -> None:
    paper.node(1)
    paper.say(an_id("t", 1), Stop())
    late = paper.node(2)
    assert "about to end" in paper.got(late.peer, Welcome)[0].error


def test_what_a_node_can_grow_to_lets_actors_wait_there(paper: OnPaper) -> None:
    node = paper.node(1, CPU=1)
    driver = paper.driver(1, node)
    actor_id = driver.create({"CPU": 3})
    assert node.took(StartActor) == []
    paper.say(node.peer, NodeReport(to_units({"CPU": 1}), most=to_units({"CPU": 4})))
    assert [order.actor_id for order in node.took(StartActor)] == [actor_id]
    paper.say(node.peer, NodeReport(to_units({"CPU": 0}), total=to_units({"CPU": 3}), most=to_units({"CPU": 4})))
    known = paper.machine.nodes.by_id[node.node_id]
    assert (known.total, known.largest) == (to_units({"CPU": 3}), to_units({"CPU": 4}))
    paper.say(node.peer, NodeReport(to_units({"CPU": 0}), total=to_units({"CPU": 3})))
    assert known.largest == to_units({"CPU": 3})
