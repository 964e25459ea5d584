"""Placement groups over two nodes: how bundles are spread, and what becomes of them when a node dies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from himalia.exceptions import LocalRayletDiedError, RaySystemError
from himalia.util.placement_group import (
    PlacementGroup,
    get_placement_group,
    placement_group,
    remove_placement_group,
)
from himalia.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from himalia.util.state import get_placement_group as row_of
from himalia.util.state import list_cluster_events, list_placement_groups, why
from tests.integration.conftest import Nodes
from tests.support.clusters import eventually, node_processes, slay


def within(group: PlacementGroup, index: int = -1, **more: Any) -> dict[str, Any]:
    return {"scheduling_strategy": PlacementGroupSchedulingStrategy(group, index), **more}


def nodes_of(group: PlacementGroup) -> list[str | None]:
    row = row_of(group.id.hex())
    assert row is not None
    return [bundle["node_id"] for bundle in row.bundles or ()]


def free(nodes: Nodes) -> dict[str, float]:
    return dict(nodes.hv.available_resources())


def teller(hv: Any) -> Any:
    @hv.remote(max_retries=0)
    def where() -> str:
        return str(hv.get_runtime_context().get_node_id())

    return where


def test_strategies_choose_nodes_and_tasks_run_where_their_bundle_is(two_nodes: Nodes) -> None:
    hv, head, other = two_nodes.hv, two_nodes.head.node_id, two_nodes.other.node_id
    where = teller(hv)
    spread = placement_group([{"CPU": 1}, {"CPU": 1}], strategy="STRICT_SPREAD")
    assert spread.wait(20)
    assert set(nodes_of(spread)) == {head, other}
    for index, node_id in enumerate(nodes_of(spread)):
        assert hv.get(where.options(**within(spread, index)).remote()) == node_id
    remove_placement_group(spread)
    packed = placement_group([{"CPU": 1}, {"CPU": 1}], strategy="STRICT_PACK")
    assert packed.wait(20)
    assert set(nodes_of(packed)) == {other}  # the head has one CPU
    assert hv.get([where.options(**within(packed)).remote() for _ in range(4)]) == [other] * 4
    remove_placement_group(packed)
    labelled = placement_group([{"CPU": 1}, {"CPU": 2}], strategy="SPREAD")
    assert labelled.wait(20)
    assert nodes_of(labelled) == [head, other]
    remove_placement_group(labelled)
    eventually(lambda: free(two_nodes)["CPU"] == 3, "all CPUs")


def test_tasks_of_any_bundle_use_the_bundles_of_all_nodes(two_nodes: Nodes) -> None:
    hv = two_nodes.hv
    group = placement_group([{"CPU": 1}, {"CPU": 1}], strategy="STRICT_SPREAD")

    @hv.remote(num_cpus=1)
    class Member:
        def where(self) -> str:
            return str(hv.get_runtime_context().get_node_id())

    members = [Member.options(**within(group)).remote() for _ in range(2)]  # before it is there
    assert {hv.get(one.where.remote()) for one in members} == {two_nodes.head.node_id, two_nodes.other.node_id}
    third = teller(hv).options(**within(group)).remote()
    assert hv.wait([third], timeout=0.2)[0] == []
    eventually(lambda: "to come free" in why(third), "a reason")
    hv.kill(members[1])
    assert hv.get(third) in {two_nodes.head.node_id, two_nodes.other.node_id}
    remove_placement_group(group)
    eventually(lambda: free(two_nodes)["CPU"] == 3, "all CPUs")


@pytest.mark.timeout(60, method="signal")
def test_bundles_of_a_killed_node_are_placed_anew(two_nodes: Nodes, on: Callable[..., dict[str, Any]]) -> None:
    hv, head, lost = two_nodes.hv, two_nodes.head.node_id, two_nodes.other
    group = placement_group([{"CPU": 1}, {"CPU": 2}], strategy="STRICT_SPREAD", name="lives on")
    assert group.wait(20)
    assert nodes_of(group) == [head, lost.node_id]
    where = teller(hv)

    @hv.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1)
    class Member:
        def where(self) -> str:
            return str(hv.get_runtime_context().get_node_id())

    stays = Member.options(**within(group, 0)).remote()
    moves = Member.options(**within(group, 1)).remote()
    assert [hv.get(one.where.remote()) for one in (stays, moves)] == [head, lost.node_id]
    for name, pids in node_processes(lost.connection.session_dir).items():
        if name == "raylet":
            for pid in pids:
                slay(pid)
    eventually(lambda: row_of(group.id.hex()).state == "RESCHEDULING", "the loss to be known")
    task = where.options(**within(group, 1)).remote()
    assert "RESCHEDULING" in why(group)
    assert hv.get(stays.where.remote()) == head  # what is in another bundle goes on
    assert hv.wait([task], timeout=0.2)[0] == []
    new = two_nodes.add()
    assert hv.get(task) == new.node_id
    assert nodes_of(get_placement_group("lives on")) == [head, new.node_id]
    assert hv.get(moves.where.remote()) == new.node_id
    seen = [event.event_type for event in list_cluster_events(limit=1000)]
    assert seen.count("GROUP_CREATED") == 2
    assert "GROUP_RESCHEDULING" in seen
    remove_placement_group(group)
    eventually(lambda: free(two_nodes)["CPU"] == 3, "all CPUs")


def test_a_group_asks_for_room_that_tasks_hold_and_takes_it(two_nodes: Nodes) -> None:
    """Tasks without end do not keep a group out: their leases are asked back."""
    hv = two_nodes.hv

    @hv.remote
    def busy() -> None:
        import time

        time.sleep(0.02)

    refs = [busy.remote() for _ in range(2500)]
    group = placement_group([{"CPU": 1}, {"CPU": 1}, {"CPU": 1}])
    assert group.wait(25)
    assert hv.wait([refs[-1]], timeout=0)[0] == []  # tasks were still to be done
    for ref in refs:
        hv.cancel(ref)
    remove_placement_group(group)


def test_what_waits_for_a_group_ends_with_the_cluster(one_node: Nodes) -> None:
    ready = placement_group([{"CPU": 99}]).ready()
    one_node.cluster.shutdown()
    with pytest.raises((RaySystemError, ConnectionError, LocalRayletDiedError)):
        one_node.hv.get(ready, timeout=20)


def test_groups_end_with_their_job_or_are_detached(one_node: Nodes, tmp_path: Any) -> None:
    import subprocess
    import sys

    script = tmp_path / "makes_groups.py"
    script.write_text(
        "import sys, himalia\n"
        "from himalia.util import placement_group\n"
        "himalia.init(sys.argv[1], namespace='tests', log_to_driver=False)\n"
        "for name, lifetime in (('mine', None), ('stays', 'detached')):\n"
        "    group = placement_group([{'head': 2}], name=name, lifetime=lifetime)\n"
        "    assert group.wait(20)\n"
    )
    subprocess.run([sys.executable, str(script), one_node.cluster.address], check=True, timeout=25)
    detached = get_placement_group("stays")

    def state_of(name: str) -> str:
        [row] = list_placement_groups(filters=[("name", "=", name)])
        return row.state

    eventually(lambda: state_of("mine") == "REMOVED", "the end of the job to be known")
    with pytest.raises(ValueError, match="mine"):
        get_placement_group("mine")
    assert detached.bundle_specs == [{"head": 2.0}]
    assert one_node.hv.get(detached.ready()) == detached
    options = within(detached, num_cpus=0, resources={"head": 2})
    assert one_node.hv.get(teller(one_node.hv).options(**options).remote()) == one_node.head.node_id
    remove_placement_group(detached)
    eventually(lambda: free(one_node)["head"] == 10, "what was reserved")
