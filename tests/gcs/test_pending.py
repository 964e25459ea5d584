"""Why something waits: what each node lacks, and whether it can ever run."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from himalia.cluster.gcs.pending import explain_pending
from himalia.cluster.gcs.pending_groups import GroupReasons
from himalia.cluster.protocol.common import Cell, to_units
from himalia.cluster.protocol.gcs_messages import Answer, ListState, NodeReport, RemoveNode
from himalia.cluster.protocol.node_messages import NodeAnswer, NodeQuestion
from tests.gcs.cluster_on_paper import OnPaper, Raylet, an_id

TOOL = an_id("t", 1)
OWNER = an_id("d", 1)


@pytest.fixture
def paper() -> OnPaper:
    return OnPaper()


def demand(resources: dict[str, float], **more: Any) -> dict[str, Any]:
    return {
        "owner": OWNER,
        "name": "train",
        "cell": 3,
        "job_id": b"job",
        "resources": to_units(resources),
        "strategy": "DEFAULT",
        "labels": {},
        "wanted": 2,
        "held": 0,
        "queued": 5,
        "waited": 1.5,
        "state": "busy",
        "text": "",
        **more,
    }


def node_row(node: Raylet, *demands: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"node_id": node.node_id, "demands": list(demands), "actors": [], "holders": [], **more}


def explain(paper: OnPaper, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    machine = paper.machine
    waiting = [actor for actor in machine.actors.by_id.values() if not actor.is_dead and actor.address is None]
    return explain_pending(list(rows), machine.nodes.living(), waiting, machine.wall(), GroupReasons(machine))


def test_what_no_node_has_in_all_can_never_run(paper: OnPaper) -> None:
    node, _ = paper.node(1, CPU=2), paper.node(2, CPU=4, GPU=1)
    (one,) = explain(paper, node_row(node, demand({"CPU": 1, "GPU": 4})))
    assert one["verdict"] == "never"
    assert "can never run" in one["reason"]
    assert "1 GPU of the 4 asked for" in one["reason"]
    assert [lack["verdict"] for lack in one["nodes"]] == ["too small", "too small"]


def test_without_nodes_nothing_can_run(paper: OnPaper) -> None:
    node = paper.node(1)
    row = node_row(node, demand({"CPU": 1}))
    paper.say(TOOL, RemoveNode(node.node_id, graceful=False))
    (one,) = explain(paper, row)
    assert (one["verdict"], "there is no node" in one["reason"]) == ("never", True)


def test_labels_and_affinity_that_no_node_meets_are_never(paper: OnPaper) -> None:
    node = paper.node(1, labels={"zone": "b"})
    gone = an_id("n", 9).hex()
    labels, affine = explain(
        paper,
        node_row(node, demand({"CPU": 1}, labels={"zone": "a"}), demand({"CPU": 1}, strategy=f"node:{gone}")),
    )
    assert (labels["verdict"], affine["verdict"]) == ("never", "never")
    assert "{'zone': 'b'}" in labels["nodes"][0]["reason"]
    assert gone in affine["nodes"][0]["reason"]


def test_a_soft_affinity_does_not_rule_out_other_nodes(paper: OnPaper) -> None:
    node = paper.node(1)
    node.report(CPU=0)
    (one,) = explain(paper, node_row(node, demand({"CPU": 1}, strategy=f"node~:{an_id('n', 9).hex()}")))
    assert one["verdict"] == "busy"


def test_a_busy_node_tells_what_is_free_and_who_holds_the_rest(paper: OnPaper) -> None:
    node = paper.node(1, CPU=2)
    node.report(CPU=0.5)
    holders = [
        {"kind": "task", "name": "load", "count": 1, "resources": to_units({"CPU": 1})},
        {"kind": "actor", "name": "Server", "count": 1, "resources": to_units({"CPU": 0.5})},
        {"kind": "task", "name": "other", "count": 7, "resources": to_units({"disk": 1})},
    ]
    (one,) = explain(paper, node_row(node, demand({"CPU": 1}), holders=holders))
    assert one["verdict"] == "busy"
    assert "0.5 CPU of the 1 asked for; held by 1 × load, 1 × Server (actor)" in one["reason"]
    assert "other" not in one["reason"]
    assert (one["wanted"], one["queued"], one["waited"], one["cell"]) == (2, 5, 1.5, 3)


def test_a_node_that_leaves_is_no_hope(paper: OnPaper) -> None:
    node = paper.node(1)
    paper.say(TOOL, RemoveNode(node.node_id))
    (one,) = explain(paper, node_row(node, demand({"CPU": 1})))
    assert one["nodes"][0]["verdict"] == "leaving"


def test_a_node_that_can_grow_is_not_too_small(paper: OnPaper) -> None:
    node = paper.node(1, CPU=2)
    paper.say(node.peer, NodeReport(to_units({"CPU": 2}), most=to_units({"CPU": 8})))
    (one,) = explain(paper, node_row(node, demand({"CPU": 6})))
    assert one["verdict"] == "busy"


@pytest.mark.parametrize("state", ["starting", "kept", "granting", "limit"])
def test_where_there_is_room_the_node_itself_knows_why(paper: OnPaper, state: str) -> None:
    node = paper.node(1)
    (one,) = explain(paper, node_row(node, demand({"CPU": 1}, state=state, text="a worker is being started")))
    assert (one["verdict"], one["reason"]) == (state, "A worker is being started.")


def test_a_worker_that_can_not_be_started_is_the_reason_whatever_is_free(paper: OnPaper) -> None:
    node = paper.node(1)
    node.report(CPU=0)
    (one,) = explain(paper, node_row(node, demand({"CPU": 1}, state="failed", text="no folder")))
    assert (one["verdict"], one["reason"]) == ("failed", "No folder.")


def test_room_elsewhere_means_that_the_request_is_on_its_way(paper: OnPaper) -> None:
    full, empty = paper.node(1), paper.node(2)
    full.report(CPU=0)
    (one,) = explain(paper, node_row(full, demand({"CPU": 1})))
    assert one["verdict"] == "moving"
    assert empty.node_id.hex() in one["reason"]


def test_a_full_object_store_is_mentioned(paper: OnPaper) -> None:
    node = paper.node(1)
    live = paper.machine.nodes.by_id[node.node_id]
    live.info = msgspec.structs.replace(live.info, object_store_bytes=1000)
    paper.say(node.peer, NodeReport({}, store_used=990))
    (one,) = explain(paper, node_row(node, demand({"CPU": 1})))
    assert "object store is full" in one["nodes"][0]["reason"]


def test_an_actor_that_fits_nowhere_is_explained_like_a_task(paper: OnPaper) -> None:
    node = paper.node(1, CPU=2)
    driver = paper.driver(1, node)
    never = driver.create({"GPU": 1}, cell=Cell(driver.job_id, 4))
    paper.now += 2.0
    node.heartbeat()
    (one,) = explain(paper, node_row(node))
    assert (one["kind"], one["actor_ids"], one["verdict"], one["cell"]) == ("actor", [never], "never", 4)
    assert one["waited"] == pytest.approx(2.0)


def test_an_actor_on_its_way_is_explained_by_its_node(paper: OnPaper) -> None:
    node = paper.node(1, CPU=2)
    actor = paper.driver(1, node).create({"CPU": 1})
    on_way = {"actor_id": actor, "state": "placed", "waited": 0.4}
    (one,) = explain(paper, node_row(node, actors=[on_way]))
    assert (one["verdict"], one["node_id"], one["waited"]) == ("starting", node.node_id, 0.4)
    (one,) = explain(paper, node_row(node))
    assert "constructor" in one["reason"]


def test_actors_that_wait_for_the_same_are_one_row(paper: OnPaper) -> None:
    node = paper.node(1, CPU=2)
    driver = paper.driver(1, node)
    alike = [driver.create({"GPU": 1}) for _ in range(5)]
    other = driver.create({"GPU": 2})
    rows = {one["wanted"]: one["actor_ids"] for one in explain(paper, node_row(node))}
    assert rows == {5: alike, 1: [other]}


def test_the_longest_wait_comes_first_and_many_nodes_are_counted(paper: OnPaper) -> None:
    node = paper.node(1)
    for number in range(2, 40):
        paper.node(number)
    ones = explain(paper, node_row(node, demand({"GPU": 1}, waited=1.0), demand({"GPU": 2}, waited=9.0)))
    assert [one["waited"] for one in ones] == [9.0, 1.0]
    assert (len(ones[0]["nodes"]), ones[0]["more_nodes"]) == (32, 7)
    assert "35 nodes more" in ones[0]["reason"]


def test_it_is_asked_for_as_a_list(paper: OnPaper) -> None:
    node, silent = paper.node(1), paper.node(2)
    paper.say(TOOL, ListState("pending", request=1))
    (question,) = node.took(NodeQuestion)
    rows = msgspec.Raw(msgspec.msgpack.encode([node_row(node, demand({"GPU": 1}))]))
    paper.say(node.peer, NodeAnswer("pending", question.round, rows))
    paper.wait(3.0)
    (answer,) = paper.got(TOOL, Answer)
    told = msgspec.msgpack.decode(answer.value)
    assert [one["verdict"] for one in told["pending"]] == ["never"]
    assert told["missing"] == [silent.node_id]
