"""A lease goes to this node while it has room, else to the least loaded that has, and never in circles."""

from __future__ import annotations

import pytest

from himalia.cluster.protocol.raylet_messages import LeaseGranted, LeaseRefused, LeaseSpill
from himalia.cluster.raylet.policy import HERE as STAY
from himalia.cluster.raylet.policy import WAIT, ClusterView

from .node_on_paper import HERE, THERE, Node, cpus, lease_spec, node_info

OWNER = b"\x01owner!!"
THIRD = b"\x01nodethd"


def view_of(*others: tuple[bytes, dict[str, int]], **more: object) -> ClusterView:
    """Another node has so much in all, and all of it free."""
    view = ClusterView(HERE, cpus(2), {"zone": "a"}, 3)
    view.is_known = True
    for node_id, total in others:
        view.node_changed(node_info(node_id, total, **more))
    return view


def test_this_node_first() -> None:
    assert view_of((THERE, cpus(64))).choose(lease_spec(), True, 0) == STAY


def test_then_the_least_loaded_with_room() -> None:
    view = view_of((THERE, cpus(4)), (THIRD, cpus(4)))
    view.resources_changed([(THERE, cpus(2), cpus(4)), (THIRD, cpus(3), cpus(4))])
    assert view.choose(lease_spec(), False, 0).node == THIRD


def test_what_was_sent_counts_as_taken_until_the_next_view() -> None:
    view = view_of((THERE, cpus(2)))
    for _ in range(2):
        assert view.choose(lease_spec(), False, 0).node == THERE
        view.note_sent(THERE, cpus(1))
    assert view.choose(lease_spec(), False, 0) == WAIT
    view.resources_changed([(THERE, cpus(1), cpus(2))])
    assert view.choose(lease_spec(), False, 0).node == THERE


def test_who_fits_here_in_principle_waits_here_when_all_are_full() -> None:
    view = view_of((THERE, cpus(2)))
    view.resources_changed([(THERE, {}, cpus(2))])
    assert view.choose(lease_spec(), False, 0) == WAIT


def test_who_never_fits_here_goes_where_it_does_even_if_that_is_full() -> None:
    view = view_of((THERE, cpus(8)))
    view.resources_changed([(THERE, {}, cpus(8))])
    assert view.choose(lease_spec(cpus(4)), False, 0).node == THERE


def test_demand_that_has_travelled_enough_stays() -> None:
    assert view_of((THERE, cpus(8))).choose(lease_spec(), False, 3) == WAIT


def test_what_no_node_has_is_refused_with_what_it_asks_and_what_there_is() -> None:
    choice = view_of((THERE, cpus(8))).choose(lease_spec(cpus(1, TPU=4)), False, 0)
    assert "1 CPU, 4 TPU" in choice.refused
    assert f"node {THERE.hex()} has 8 CPU, 0 TPU" in choice.refused
    assert choice.wait
    assert not choice.fatal


def test_nothing_is_infeasible_before_the_nodes_are_known() -> None:
    view = view_of()
    view.is_known = False
    assert view.choose(lease_spec(cpus(99)), False, 0) == WAIT
    assert view.choose(lease_spec(strategy=f"node:{THERE.hex()}"), True, 0) == WAIT


def test_a_dead_node_is_no_choice() -> None:
    view = view_of((THERE, cpus(8)))
    view.node_changed(node_info(THERE, cpus(8), alive=False))
    assert view.choose(lease_spec(), False, 0) == WAIT
    assert view.find(THERE) is None


def test_spread_goes_round_the_nodes_with_room() -> None:
    view = view_of((THERE, cpus(8)), (THIRD, cpus(8)))
    spec = lease_spec(strategy="SPREAD")
    chosen = [view.choose(spec, True, 0).node for _ in range(6)]
    assert sorted(chosen[:3], key=str) == sorted([None, THERE, THIRD], key=str)
    assert chosen[:3] == chosen[3:]
    assert view.choose(spec, True, 1) == STAY, "what was spread once stays"


def test_hard_affinity_is_kept_or_fails() -> None:
    view = view_of((THERE, cpus(8)))
    assert view.choose(lease_spec(strategy=f"node:{THERE.hex()}"), True, 0).node == THERE
    assert view.choose(lease_spec(strategy=f"node:{HERE.hex()}"), True, 0) == STAY
    assert view.choose(lease_spec(strategy=f"node:{HERE.hex()}"), False, 0) == WAIT
    gone = view.choose(lease_spec(strategy=f"node:{THIRD.hex()}"), True, 0)
    assert gone.fatal
    assert THIRD.hex() in gone.refused
    too_small = view.choose(lease_spec(cpus(9), strategy=f"node:{THERE.hex()}"), False, 0)
    assert not too_small.fatal
    assert "9 CPU" in too_small.refused


def test_soft_affinity_gives_way() -> None:
    view = view_of((THERE, cpus(8)))
    assert view.choose(lease_spec(strategy=f"node~:{THERE.hex()}"), True, 0).node == THERE
    assert view.choose(lease_spec(strategy=f"node~:{THIRD.hex()}"), True, 0) == STAY
    assert view.choose(lease_spec(cpus(2), strategy=f"node~:{THIRD.hex()}"), False, 0).node == THERE


@pytest.mark.parametrize(
    ("labels", "expected"),
    [({"zone": "a"}, None), ({"zone": "b"}, THERE), ({"zone": "!a"}, THERE), ({"zone": "in(b, c)"}, THERE)],
)
def test_labels_choose_among_nodes(labels: dict[str, str], expected: bytes | None) -> None:
    view = view_of((THERE, cpus(8)), labels={"zone": "b"})
    assert view.choose(lease_spec(labels=labels), True, 0).node == expected


def test_labels_that_no_node_has_are_infeasible() -> None:
    refused = view_of((THERE, cpus(8))).choose(lease_spec(labels={"zone": "z"}), True, 0).refused
    assert "labels {'zone': 'z'}" in refused


# Within the machine -------------------------------------------------------------------------------------------------


def test_a_node_that_joins_takes_what_waits() -> None:
    node = Node(cpus(1))
    node.welcome()
    node.leases(OWNER, 3)
    assert node.told(OWNER, LeaseSpill) == []
    other = node_info(THERE, cpus(1))
    node.node_comes(other)
    (spill,) = node.told(OWNER, LeaseSpill)
    assert (spill.class_id, spill.count, spill.raylet, spill.hops) == (1, 1, other.raylet, 1)


def test_demand_is_lowered_by_what_was_sent_on() -> None:
    node = Node(cpus(1))
    node.welcome(node_info(THERE, cpus(2)))
    node.leases(OWNER, 3)
    assert len(node.told(OWNER, LeaseSpill)) == 2
    assert node.machine.leases.pending() == []


def test_the_infeasible_is_refused_once_and_met_when_a_node_comes() -> None:
    node = Node(cpus(1))
    node.demand(OWNER, 1, lease_spec(cpus(4)))
    assert node.told(OWNER, LeaseRefused) == []
    node.welcome()
    (refused,) = node.told(OWNER, LeaseRefused)
    assert not refused.fatal
    node.pass_time(5)
    assert node.told(OWNER, LeaseRefused) == []
    node.node_comes(node_info(THERE, cpus(4)))
    assert node.told(OWNER, LeaseSpill)


def test_what_was_asked_of_a_dead_node_fails_for_good() -> None:
    node = Node()
    node.welcome()
    node.demand(OWNER, 1, lease_spec(strategy=f"node:{THERE.hex()}"))
    assert node.told(OWNER, LeaseRefused)[0].fatal
    assert node.machine.leases.pending() == []


def test_demand_sent_here_from_elsewhere_is_granted() -> None:
    node = Node(cpus(1))
    node.welcome(node_info(THERE, cpus(2)))
    node.demand(OWNER, 1, hops=1)
    node.start_workers()
    assert node.told(OWNER, LeaseGranted)
