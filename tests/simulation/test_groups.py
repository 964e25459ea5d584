"""Placement groups in whole clusters, with deaths at any moment: all or nothing, and nothing is left of any."""

from __future__ import annotations

import random

import pytest

from himalia.cluster.testing.simulation import Scenario, play

_SEEDS = 60
_CHUNK = 15


def scenario(seed: int) -> Scenario:
    chance = random.Random(seed ^ 0x6709)
    return Scenario(
        seed,
        nodes=tuple(float(chance.randint(1, 4)) for _ in range(chance.choice((1, 2, 3, 4)))),
        drivers=chance.choice((1, 2, 3)),
        rounds=chance.randint(1, 4),
        scale=chance.choice((3, 12, 30)),
        workloads=chance.choice((("groups",), ("groups",), ("groups", "actors", "nested"))),
        worker_kills=chance.choice((0, 0, 3)),
        node_kills=chance.choice((0, 1, 2)),
        driver_kills=chance.choice((0, 0, 1)),
        cuts=chance.choice((0, 0, 2)),
        resizes=chance.choice((0, 0, 4)),
        slow=chance.choice((0.0, 0.05, 0.5)),
        bundle_wait=chance.choice((0.01, 0.1, 4.0)),
    )


@pytest.mark.parametrize("first", range(0, _SEEDS, _CHUNK))
def test_groups_come_to_a_good_end_whoever_dies(first: int) -> None:
    for seed in range(first, first + _CHUNK):
        play(scenario(seed))
