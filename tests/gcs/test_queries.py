"""What the state API is told."""

from __future__ import annotations

import msgspec

from himalia.cluster.gcs.queries import QUERIES
from himalia.cluster.protocol.common import NodeInfo, to_units
from himalia.cluster.protocol.gcs_messages import Failed, ListState, NodeReport, ReadTaskEvents, TaskEvents
from tests.gcs.cluster_on_paper import OnPaper, an_id

TOOL = an_id("t", 1)


def busy_cluster() -> OnPaper:
    paper = OnPaper()
    node, other = paper.node(1, CPU=2), paper.node(2, CPU=4)
    driver = paper.driver(1, node)
    node.start(driver.create(name="it"))
    driver.create({"GPU": 1})
    paper.say(node.peer, NodeReport(to_units({"CPU": 1}), workers=[{"worker_id": an_id("w", 1), "pid": 7}]))
    node.process_died(an_id("w", 9))
    other.process_died(other.peer)
    paper.say(driver.peer, TaskEvents(b"blob", 3))
    return paper


def test_every_list_can_be_asked_for() -> None:
    paper = busy_cluster()
    for what in QUERIES:
        assert not isinstance(paper.ask(TOOL, ListState(what)), Failed)


def test_an_unknown_list_fails_with_those_there_are() -> None:
    answer = busy_cluster().ask(TOOL, ListState("dreams"))
    assert isinstance(answer, Failed)
    assert "actors" in answer.text


def test_nodes_can_be_read_back_as_what_they_are() -> None:
    rows = busy_cluster().ask(TOOL, ListState("nodes"))
    infos = [msgspec.convert(row, NodeInfo) for row in rows]
    assert [info.alive for info in infos] == [True, False]
    assert infos[1].death is not None


def test_resources_are_those_of_the_living() -> None:
    resources = busy_cluster().ask(TOOL, ListState("resources"))
    assert resources == {"total": to_units({"CPU": 2}), "available": to_units({"CPU": 1})}


def test_workers_are_reported_greeted_and_dead_ones() -> None:
    rows = {row["worker_id"]: row for row in busy_cluster().ask(TOOL, ListState("workers"))}
    assert rows[an_id("w", 1)]["pid"] == 7
    assert rows[an_id("d", 1)]["is_driver"]
    assert not rows[an_id("w", 9)]["is_alive"]


def test_readers_of_task_events_are_told_of_dead_owners() -> None:
    for question in (ListState("task_events"), ReadTaskEvents(), ReadTaskEvents(after=1)):
        answer = busy_cluster().ask(TOOL, question)
        assert an_id("w", 9) in answer["dead"]


def test_the_environment_of_a_driver_is_not_shown() -> None:
    paper = busy_cluster()
    job = next(iter(paper.machine.jobs.by_id.values()))
    job.info.config.update(env={"SECRET": "x"}, cwd="/")
    (row,) = paper.ask(TOOL, ListState("jobs"))
    assert row["config"] == {"cwd": "/"}


def test_stats_count_everything() -> None:
    stats = busy_cluster().ask(TOOL, ListState("stats"))
    assert stats["nodes"] == 1
    assert stats["actors"] == {"ALIVE": 1, "PENDING": 1}
    assert stats["actors_waiting"] == [[to_units({"GPU": 1}), 1]]
    assert stats["task_events"] == 3


def test_a_limit_keeps_the_newest_actors() -> None:
    rows = busy_cluster().ask(TOOL, ListState("actors", limit=1))
    assert [row["state"] for row in rows] == ["PENDING"]
