"""How many CPUs a node has between two limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from himalia.cluster.protocol.common import SetCapacity
from himalia.cluster.protocol.gcs_messages import NodeReport
from himalia.cluster.protocol.raylet_messages import AssignActor, LeaseRefused
from himalia.cluster.raylet.adaptive_machine import Adaptive

from .node_on_paper import UNIT, Node, actor_spec, cpus, lease_spec

DRIVER = b"\x01driver!"


def test_it_grows_at_once_to_what_waits_and_no_further_than_allowed() -> None:
    policy = Adaptive(UNIT, 8 * UNIT, 10.0)
    assert policy.decide(UNIT, UNIT, 2 * UNIT, 0.0) == 3 * UNIT
    assert policy.decide(UNIT, UNIT, UNIT // 2, 0.0) == 2 * UNIT
    assert policy.decide(3 * UNIT, 3 * UNIT, 99 * UNIT, 0.0) == 8 * UNIT
    assert policy.next_deadline() is None


def test_it_shrinks_when_less_was_enough_for_long_to_the_most_that_was_needed_meanwhile() -> None:
    policy = Adaptive(UNIT, 8 * UNIT, 10.0)
    assert policy.decide(6 * UNIT, 0, 0, 100.0) == 6 * UNIT
    assert policy.next_deadline() == 110.0
    assert policy.decide(6 * UNIT, 2 * UNIT, UNIT, 105.0) == 6 * UNIT
    assert policy.decide(6 * UNIT, 0, 0, 110.0) == 3 * UNIT
    assert policy.decide(3 * UNIT, 0, 0, 110.0) == 3 * UNIT
    assert policy.decide(3 * UNIT, 0, 0, 120.0) == UNIT
    assert policy.decide(UNIT, 0, 0, 200.0) == UNIT


def test_being_full_for_a_moment_begins_the_wait_anew() -> None:
    policy = Adaptive(UNIT, 4 * UNIT, 10.0)
    policy.decide(4 * UNIT, 0, 0, 0.0)
    policy.decide(4 * UNIT, 4 * UNIT, 0, 9.0)
    assert policy.decide(4 * UNIT, 0, 0, 12.0) == 4 * UNIT
    assert policy.next_deadline() == 22.0


def test_a_lowered_limit_holds_at_once() -> None:
    assert Adaptive(UNIT, 2 * UNIT, 10.0).decide(6 * UNIT, UNIT, 0, 0.0) == 2 * UNIT


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 12 * UNIT), st.integers(0, 12 * UNIT), st.floats(0, 30)), min_size=1, max_size=40
    )
)
def test_it_stays_within_its_limits_and_never_goes_below_what_is_needed(steps: list[tuple[int, int, float]]) -> None:
    policy = Adaptive(2 * UNIT, 8 * UNIT, 5.0)
    total, now = 2 * UNIT, 0.0
    for held, wanted, seconds in steps:
        now += seconds
        total = policy.decide(total, held, wanted, now)
        assert 2 * UNIT <= total <= 8 * UNIT
        assert total >= min(8 * UNIT, held + wanted)
        deadline = policy.next_deadline()
        assert deadline is None or deadline > now


@pytest.fixture
def node() -> Node:
    node = Node(cpus(1))
    node.welcome()
    node.driver_comes(DRIVER)
    node.receive(DRIVER, SetCapacity(UNIT, 4 * UNIT, 10.0))
    return node


def test_a_node_grows_with_its_work_and_shrinks_after_it(node: Node) -> None:
    leases = node.leases(DRIVER, 6)
    assert len(leases) == 4
    assert node.machine.ledger.total == cpus(4)
    node.leases(DRIVER, 0)
    node.give_back(DRIVER, *leases)
    node.pass_time(9.0)
    assert node.machine.ledger.total == cpus(4)
    node.pass_time(2.0)
    assert node.machine.ledger.total == cpus(1)


def test_what_is_larger_than_the_node_but_not_than_it_can_be_runs(node: Node) -> None:
    assert len(node.leases(DRIVER, 1, lease_spec(cpus(3)))) == 1
    assert node.told(DRIVER, LeaseRefused) == []
    assert node.machine.ledger.total == cpus(3)
    node.leases(DRIVER, 1, lease_spec(cpus(5)), class_id=2)
    assert "5 CPU" in node.told(DRIVER, LeaseRefused)[0].text
    assert node.machine.ledger.total == cpus(3)


def test_actors_make_it_grow_too(node: Node) -> None:
    node.start_actor(b"actor-1", actor_spec(cpus(2)))
    node.start_workers()
    assert node.machine.ledger.total == cpus(2)
    assert any(type(c.message) is AssignActor for c in node.commands if hasattr(c, "message"))


def test_the_gcs_hears_what_it_can_grow_to_until_it_is_fixed_again(node: Node) -> None:
    node.pass_time(2.0)
    assert node.told_gcs(NodeReport)[-1].most == cpus(4)
    node.receive(DRIVER, SetCapacity(2 * UNIT))
    node.pass_time(2.0)
    report = node.told_gcs(NodeReport)[-1]
    assert (report.total, report.most) == (cpus(2), {})
    node.leases(DRIVER, 6)
    assert node.machine.ledger.total == cpus(2)
