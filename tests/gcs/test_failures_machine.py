"""The table of failures by kind: merged from all processes, bounded, newest first."""

from __future__ import annotations

from typing import Any

import pytest

from himalia.cluster.gcs.config import GcsConfig
from himalia.cluster.protocol.failure_messages import FailureGroup, ReportFailures
from himalia.cluster.protocol.gcs_messages import ListState
from tests.gcs.cluster_on_paper import OnPaper, an_id

TOOL, ONE, TWO = an_id("t", 1), an_id("w", 1), an_id("w", 2)


@pytest.fixture
def paper() -> OnPaper:
    return OnPaper()


def failure(**more: Any) -> FailureGroup:
    fields: dict[str, Any] = {
        "job_id": b"job",
        "function": "f",
        "error": "ValueError",
        "file": "a.py",
        "line": 7,
        "count": 1,
        "first": 10.0,
        "last": 10.0,
        "message": "no",
        "node_id": an_id("n", 1),
        "traceback": "Traceback …",
    }
    return FailureGroup(**{**fields, **more})


def tell(paper: OnPaper, *groups: FailureGroup, peer: bytes = ONE, others: int = 0) -> None:
    paper.say(peer, ReportFailures(list(groups), others))


def listed(paper: OnPaper, limit: int = 100) -> Any:
    return paper.ask(TOOL, ListState("errors", limit))


def test_a_cluster_without_failures_lists_none(paper: OnPaper) -> None:
    assert listed(paper) == {"groups": [], "others": 0, "forgotten": 0}


def test_what_two_processes_tell_of_one_kind_is_one_row(paper: OnPaper) -> None:
    tell(paper, failure(count=3, first=10.0, last=12.0, cells=[4, 2]))
    tell(paper, failure(count=2, first=9.0, last=11.0, cells=[3], node_id=an_id("n", 2), traceback=""), peer=TWO)
    (row,) = listed(paper)["groups"]
    assert (row["count"], row["first"], row["last"]) == (5, 9.0, 12.0)
    assert row["cells"] == [2, 3, 4]
    assert row["nodes"] == [an_id("n", 1), an_id("n", 2)]
    assert row["traceback"] == "Traceback …"


def test_the_newest_text_and_the_first_traceback_are_kept(paper: OnPaper) -> None:
    tell(paper, failure(traceback=""))
    tell(paper, failure(message="again", traceback="first"))
    tell(paper, failure(message="and again", traceback="second"))
    (row,) = listed(paper)["groups"]
    assert (row["message"], row["traceback"]) == ("and again", "first")


def test_what_failed_last_comes_first(paper: OnPaper) -> None:
    for line in (1, 2, 3, 1):
        tell(paper, failure(line=line))
    assert [row["line"] for row in listed(paper)["groups"]] == [1, 3, 2]
    assert [row["line"] for row in listed(paper, 1)["groups"]] == [1]


@pytest.mark.parametrize("more", [{"job_id": b"job2"}, {"function": "g"}, {"error": "KeyError"}, {"file": "b.py"}])
def test_what_differs_is_another_row(paper: OnPaper, more: dict[str, Any]) -> None:
    tell(paper, failure(), failure(**more))
    assert len(listed(paper)["groups"]) == 2


def test_the_table_is_bounded_and_says_what_it_forgot() -> None:
    paper = OnPaper(GcsConfig(failures_kept=3))
    for line in range(5):
        tell(paper, failure(line=line, count=10), others=1)
    answer = listed(paper)
    assert [row["line"] for row in answer["groups"]] == [4, 3, 2]
    assert (answer["forgotten"], answer["others"]) == (20, 5)


def test_cells_and_nodes_of_a_row_are_bounded(paper: OnPaper) -> None:
    for number in range(1, 200):
        tell(paper, failure(cells=[number], node_id=an_id("n", number)))
    (row,) = listed(paper)["groups"]
    assert row["cells"] == list(range(136, 200))
    assert len(row["nodes"]) == 32
