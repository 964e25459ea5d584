"""The log of a real cluster: what happens to it is in there, with its reason."""

from __future__ import annotations

import os
from typing import Any

import himalia
from himalia.util import state
from tests.integration.conftest import STORE, Gate, Nodes
from tests.support.clusters import eventually


def events(kind: str) -> list[Any]:
    return state.list_cluster_events(filters=[("event_type", "=", kind)], detail=True)


def die_later(gate: Any) -> None:
    himalia.get(gate.wait.remote())
    os._exit(9)


def test_a_crash_tells_what_the_worker_ran(one_node: Nodes) -> None:
    gate = one_node.hv.remote(num_cpus=0)(Gate).remote()
    ref = one_node.hv.remote(max_retries=0)(die_later).options(name="doomed").remote(gate)
    eventually(lambda: [r for r in state.list_worker_stats() if r.function == "doomed"], "a worker that runs it")
    one_node.hv.get(gate.open.remote())
    one_node.hv.wait([ref])
    (event,) = eventually(lambda: events("WORKER_DIED"), "the event of its death")
    assert "exit code 9" in event.message
    assert event.custom_fields["function"] == "doomed"
    assert event.node_id == one_node.head.node_id


def test_nodes_come_and_go_in_the_log(two_nodes: Nodes) -> None:
    joined = {event.node_id for event in events("NODE_JOINED")}
    assert joined == {two_nodes.head.node_id, two_nodes.other.node_id}
    gone = two_nodes.other
    two_nodes.cluster.remove_node(gone, allow_graceful=False)
    (event,) = eventually(lambda: events("NODE_DIED") + events("NODE_LEFT"), "the event of its end")
    assert event.node_id == gone.node_id


def test_spilling_is_in_the_log(one_node: Nodes) -> None:
    refs = [himalia.put(os.urandom(STORE // 4)) for _ in range(6)]
    (event,) = eventually(lambda: events("STORE_SPILLING"), "the event")
    assert event.custom_fields["capacity"] >= STORE * 0.9
    assert len(refs) == 6


def test_the_log_can_be_followed(one_node: Nodes) -> None:
    following = state.follow_cluster_events(timeout=20)
    known = [next(following).event_type for _ in range(2)]
    assert known == ["NODE_JOINED", "JOB_STARTED"]
    gate = one_node.hv.remote(num_cpus=0)(Gate).remote()
    assert next(following).event_type == "ACTOR_CREATED"
    one_node.hv.kill(gate)
    event = next(following)
    assert (event.event_type, event.event_id) == ("ACTOR_ENDED", 4)
    following.close()
