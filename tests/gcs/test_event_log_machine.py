"""The log of the cluster: what happened, why, and where a reader goes on."""

from __future__ import annotations

from typing import Any

import pytest

from himalia.cluster.gcs.config import GcsConfig
from himalia.cluster.protocol.cluster_events import ClusterEvent, EventKind, ReportEvent, Severity
from himalia.cluster.protocol.common import Cell, Death, DeathKind
from himalia.cluster.protocol.gcs_messages import (
    KillActor,
    ListState,
    RemoveNode,
    ReportJobEnd,
    ReportProcessDeath,
)
from tests.gcs.cluster_on_paper import WALL, OnPaper, an_id

TOOL = an_id("t", 1)


@pytest.fixture
def paper() -> OnPaper:
    return OnPaper()


def events(paper: OnPaper, after: int = 0, limit: int = 100) -> list[dict[str, Any]]:
    answer = paper.ask(TOOL, ListState("events", limit, after=after))
    return list(answer["events"])


def kinds(paper: OnPaper) -> list[str]:
    return [event["kind"] for event in events(paper)]


def newest(paper: OnPaper) -> dict[str, Any]:
    return events(paper)[-1]


def test_a_node_joins_once_though_it_says_hello_again(paper: OnPaper) -> None:
    node = paper.node(1, CPU=2, GPU=1)
    node.hello()
    assert kinds(paper) == ["NODE_JOINED"]
    event = newest(paper)
    assert event["node_id"] == node.node_id
    assert "1 GPU" in event["message"]
    assert event["numbers"]["CPU"] == 2.0
    assert event["at"] == WALL + paper.now


def test_a_node_that_falls_silent_died_and_one_that_was_asked_to_left(paper: OnPaper) -> None:
    silent, asked = paper.node(1), paper.node(2)
    paper.say(TOOL, RemoveNode(asked.node_id, graceful=True))
    assert newest(paper)["kind"] == "NODE_DRAINING"
    paper.lose(asked.peer)
    assert (newest(paper)["kind"], newest(paper)["severity"]) == ("NODE_LEFT", "INFO")
    paper.wait(10.0)
    event = newest(paper)
    assert (event["kind"], event["severity"], event["node_id"]) == ("NODE_DIED", "ERROR", silent.node_id)
    assert "silent" in event["message"]


def test_a_node_that_is_taken_out_left(paper: OnPaper) -> None:
    node = paper.node(1)
    paper.say(TOOL, RemoveNode(node.node_id, graceful=False))
    assert newest(paper)["kind"] == "NODE_LEFT"


def test_a_job_begins_and_ends_once(paper: OnPaper) -> None:
    node = paper.node(1)
    driver = paper.driver(1, node)
    paper.say(driver.peer, ReportJobEnd(driver.job_id))
    node.process_died(driver.peer, job_id=driver.job_id, is_driver=True)
    assert kinds(paper) == ["NODE_JOINED", "JOB_STARTED", "JOB_FINISHED"]
    assert newest(paper)["job_id"] == driver.job_id


def test_a_driver_that_dies_fails_its_job(paper: OnPaper) -> None:
    node = paper.node(1)
    driver = paper.driver(1, node)
    node.process_died(driver.peer, job_id=driver.job_id, is_driver=True)
    assert (newest(paper)["kind"], newest(paper)["severity"]) == ("JOB_FAILED", "WARNING")


def test_the_life_of_an_actor_is_told_with_its_reasons(paper: OnPaper) -> None:
    node = paper.node(1)
    driver = paper.driver(1, node)
    actor = driver.create(max_restarts=1, cell=Cell(driver.job_id, 7))
    node.start(actor)
    node.lost(actor)
    node.start(actor)
    node.lost(actor)
    of_actor = [event for event in events(paper) if event["actor_id"] == actor]
    assert [event["kind"] for event in of_actor] == ["ACTOR_CREATED", "ACTOR_LOST", "ACTOR_RESTARTED", "ACTOR_DIED"]
    assert [event["severity"] for event in of_actor] == ["INFO", "WARNING", "INFO", "ERROR"]
    assert {event["cell"] for event in of_actor} == {7}
    assert "1 of 1" in of_actor[1]["message"]
    assert of_actor[3]["message"] == "Actor Counter is dead: gone."


def test_an_actor_that_was_killed_ended_as_it_should(paper: OnPaper) -> None:
    node = paper.node(1)
    actor = paper.driver(1, node).create(name="it")
    node.start(actor)
    paper.say(TOOL, KillActor(actor))
    event = newest(paper)
    assert (event["kind"], event["severity"]) == ("ACTOR_ENDED", "INFO")
    assert "'it'" in event["message"]


def test_an_actor_that_no_node_can_take_is_told(paper: OnPaper) -> None:
    driver = paper.driver(1, paper.node(1))
    actor = driver.create({"GPU": 8})
    event = newest(paper)
    assert (event["kind"], event["actor_id"]) == ("ACTOR_INFEASIBLE", actor)
    assert "8" in event["message"]


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (DeathKind.CRASHED, "WORKER_DIED"),
        (DeathKind.OUT_OF_MEMORY, "WORKER_OUT_OF_MEMORY"),
        (DeathKind.KILLED, "WORKER_KILLED"),
        (DeathKind.EXITED, None),
        (DeathKind.NODE_DIED, None),
    ],
)
def test_a_worker_that_ends_is_told_unless_that_is_normal(paper: OnPaper, kind: DeathKind, told: str | None) -> None:
    node = paper.node(1)
    death = Death(kind, "It used 9 of 8 GiB.", None, 9, 4711)
    report = ReportProcessDeath(an_id("w", 1), death, b"job", ran="train", cell=3)
    paper.say(node.peer, report)
    paper.say(node.peer, report)  # said twice, it happened once
    found = [event for event in events(paper) if event["worker_id"] == an_id("w", 1)]
    assert [event["kind"] for event in found] == ([told] if told else [])
    for event in found:
        assert "It used 9 of 8 GiB. It ran train of cell 3." in event["message"]
        assert event["numbers"] == {"pid": 4711, "signal": 9, "function": "train"}
        assert event["cell"] == 3


def an_event(text: str = "It is full", **more: Any) -> ReportEvent:
    fields: dict[str, Any] = {"kind": EventKind.STORE_FULL, "severity": Severity.WARNING, "source": "OBJECT_STORE"}
    return ReportEvent(ClusterEvent(message=text, **{**fields, **more}))


def test_what_a_raylet_reports_is_of_its_node(paper: OnPaper) -> None:
    node = paper.node(1)
    paper.say(node.peer, an_event(numbers={"used": 5}))
    event = newest(paper)
    assert (event["kind"], event["node_id"], event["message"]) == ("STORE_FULL", node.node_id, "It is full.")
    assert event["numbers"] == {"used": 5}


def test_a_reader_goes_on_where_it_was(paper: OnPaper) -> None:
    node = paper.node(1)
    first = paper.ask(TOOL, ListState("events"))
    assert first["next"] == 1
    nothing = paper.ask(TOOL, ListState("events", after=1))
    assert (nothing["events"], nothing["next"], nothing["missed"]) == ([], 1, 0)
    for number in range(5):
        paper.say(node.peer, an_event(str(number)))
    some = paper.ask(TOOL, ListState("events", 2, after=1))
    assert [event["message"] for event in some["events"]] == ["0.", "1."]
    rest = paper.ask(TOOL, ListState("events", after=some["next"]))
    assert [event["message"] for event in rest["events"]] == ["2.", "3.", "4."]


def test_who_asks_for_all_gets_the_newest(paper: OnPaper) -> None:
    node = paper.node(1)
    for number in range(5):
        paper.say(node.peer, an_event(str(number)))
    assert [event["message"] for event in events(paper, limit=2)] == ["3.", "4."]


def test_a_reader_that_was_too_slow_is_told_what_it_missed() -> None:
    paper = OnPaper(GcsConfig(cluster_events_kept=3))
    node = paper.node(1)
    for number in range(10):
        paper.say(node.peer, an_event(str(number)))
    answer = paper.ask(TOOL, ListState("events", after=2))
    assert [event["number"] for event in answer["events"]] == [9, 10, 11]
    assert answer["missed"] == 6


def test_a_place_in_the_log_of_another_gcs_begins_anew(paper: OnPaper) -> None:
    paper.node(1)
    answer = paper.ask(TOOL, ListState("events", after=500))
    assert [event["number"] for event in answer["events"]] == [1]
    assert answer["missed"] == 0
