"""Faults that scenarios of the other tests do not have, in whole clusters."""

from __future__ import annotations

from himalia.cluster.testing.simulation import Scenario, play


def test_every_call_of_an_actor_that_is_killed_ends() -> None:
    for seed in range(12):
        play(Scenario.of_seed(seed, ("killing",)))


def test_a_node_that_was_silent_for_too_long_is_given_up_and_nothing_waits_for_it() -> None:
    given_up = 0
    for seed in range(16):
        cluster = play(Scenario(seed, nodes=(2.0, 2.0, 2.0), drivers=2, rounds=4, scale=30, long_cuts=2))
        given_up += sum(not node.is_alive for node in cluster.nodes.values())
    assert given_up, "all came back in time"
