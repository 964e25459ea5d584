"""Questions to nodes: one round for all who ask, and no waiting for who does not answer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from himalia.cluster.gcs.surveys_machine import KEPT, PATIENCE
from himalia.cluster.protocol.gcs_messages import Answer, Failed, ListState
from himalia.cluster.protocol.node_messages import NodeAnswer, NodeQuestion
from tests.gcs.cluster_on_paper import OnPaper, Raylet, an_id

VIEWER, OTHER = an_id("t", 1), an_id("t", 2)


@pytest.fixture
def paper() -> OnPaper:
    return OnPaper()


def look(paper: OnPaper, peer: bytes = VIEWER, request: int = 1, what: str = "node_stats") -> None:
    paper.say(peer, ListState(what, request=request))


def answers(paper: OnPaper, peer: bytes = VIEWER) -> list[Any]:
    return [msgspec.msgpack.decode(message.value) for message in paper.got(peer, Answer)]


def tell(node: Raylet, rows: list[Any], question: NodeQuestion | None = None) -> None:
    question = question or node.took(NodeQuestion)[-1]
    raw = msgspec.Raw(msgspec.msgpack.encode(rows))
    node.paper.say(node.peer, NodeAnswer(question.what, question.round, raw))


def test_nodes_are_asked_only_when_somebody_wants_to_know(paper: OnPaper) -> None:
    node = paper.node(1)
    for _ in range(3):
        node.heartbeat()
        paper.wait(1.0)
    assert not node.took(NodeQuestion)
    look(paper)
    assert node.took(NodeQuestion) == [NodeQuestion("node_stats", 1)]


def test_the_answer_has_the_rows_of_all_nodes(paper: OnPaper) -> None:
    one, two = paper.node(1), paper.node(2)
    look(paper)
    tell(one, [{"cpu": 1}])
    assert not answers(paper)
    tell(two, [{"cpu": 2}, {"cpu": 3}])
    assert answers(paper) == [{"nodes": [[{"cpu": 1}], [{"cpu": 2}, {"cpu": 3}]], "missing": []}]


def test_many_viewers_cost_a_node_one_question(paper: OnPaper) -> None:
    node = paper.node(1)
    look(paper)
    look(paper, OTHER, 7)
    tell(node, ["now"])
    look(paper, VIEWER, 2)  # a moment later: what is known is still new
    assert len(node.took(NodeQuestion)) == 1
    assert [one["nodes"] for one in answers(paper)] == [[["now"]], [["now"]]]
    assert [one.request for one in paper.got(OTHER, Answer)] == [7]


def test_who_looks_later_gets_a_new_answer(paper: OnPaper) -> None:
    node = paper.node(1)
    look(paper)
    tell(node, ["old"])
    paper.wait(KEPT)
    look(paper, VIEWER, 2)
    assert [question.round for question in node.took(NodeQuestion)] == [1, 2]
    tell(node, ["new"])
    assert answers(paper)[-1]["nodes"] == [["new"]]


def test_a_node_that_does_not_answer_is_named_and_not_waited_for(paper: OnPaper) -> None:
    one, silent = paper.node(1), paper.node(2)
    look(paper)
    tell(one, ["here"])
    paper.wait(PATIENCE)
    assert answers(paper) == [{"nodes": [["here"]], "missing": [silent.node_id]}]


def test_a_late_answer_does_not_count_for_the_next_round(paper: OnPaper) -> None:
    node = paper.node(1)
    look(paper)
    late = node.took(NodeQuestion)[0]
    paper.wait(PATIENCE + KEPT)
    look(paper, VIEWER, 2)
    tell(node, ["late"], late)
    assert len(answers(paper)) == 1
    tell(node, ["in time"])
    assert answers(paper)[-1] == {"nodes": [["in time"]], "missing": []}


def test_a_node_that_dies_is_not_waited_for(paper: OnPaper) -> None:
    one, dying = paper.node(1), paper.node(2)
    look(paper)
    tell(one, ["here"])
    dying.process_died(dying.peer)
    assert answers(paper) == [{"nodes": [["here"]], "missing": []}]


def test_what_a_dead_node_answered_is_forgotten(paper: OnPaper) -> None:
    one, dying = paper.node(1), paper.node(2)
    look(paper)
    tell(one, ["here"])
    tell(dying, ["gone"])
    dying.process_died(dying.peer)
    look(paper, VIEWER, 2)
    assert answers(paper)[-1]["nodes"] == [["here"]]


def test_a_cluster_without_nodes_answers_at_once(paper: OnPaper) -> None:
    look(paper)
    assert answers(paper) == [{"nodes": [], "missing": []}]


def test_what_is_no_question_is_refused_with_those_there_are(paper: OnPaper) -> None:
    look(paper, what="weather")
    (refused,) = paper.got(VIEWER, Failed)
    assert "worker_stats" in refused.text
    assert "actors" in refused.text


def test_nothing_is_due_when_nobody_looks_any_more(paper: OnPaper) -> None:
    node = paper.node(1)
    look(paper)
    tell(node, ["x"])
    assert paper.machine.surveys.next_due() == paper.now + KEPT
    paper.wait(KEPT)
    assert paper.machine.surveys.next_due() is None


def test_an_answer_that_is_made_of_rows_is_made_once_a_round(paper: OnPaper) -> None:
    node, other = paper.node(1), paper.node(2)
    made: list[int] = []

    def shape(rows: list[msgspec.Raw], missing: list[bytes]) -> Any:
        made.append(len(rows))
        return {"rows": len(rows), "missing": len(missing)}

    paper.machine.surveys.shapes["node_stats"] = shape
    look(paper)
    look(paper, OTHER, 7)
    tell(node, [1])
    tell(other, [2])
    look(paper, VIEWER, 2)
    assert made == [2]
    other.process_died(other.peer)
    look(paper, VIEWER, 3)
    assert made == [2, 1]
    assert answers(paper)[-1] == {"rows": 1, "missing": 0}
