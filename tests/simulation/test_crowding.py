"""Stores with more in them than there is room for, in whole clusters."""

from __future__ import annotations

import pytest

from himalia.cluster.testing.simulation import Scenario, play

_SEEDS = 60
_CHUNK = 15


@pytest.mark.parametrize("first", range(0, _SEEDS, _CHUNK))
def test_nothing_that_is_read_is_recycled_and_all_memory_comes_back(first: int) -> None:
    for seed in range(first, first + _CHUNK):
        play(Scenario.of_seed(seed, ("crowd",)))


def test_one_node_with_room_for_four_values_is_enough() -> None:
    for seed in range(10):
        play(Scenario(seed, workloads=("crowd",), scale=30, arena_bytes=600_000))
