"""A model that is kept current by questions."""

from __future__ import annotations

import asyncio

from himalia.dashboard.feed import ModelFeed
from tests.dashboard.cluster import PlayedCluster, source

F = source("f")


def feed_of(cluster: PlayedCluster) -> ModelFeed:
    return ModelFeed(cluster.call, clock=lambda: cluster.now, wall=lambda: 1000.0 + cluster.now)


def test_tasks_and_nodes_come_into_the_model() -> None:
    gcs = PlayedCluster()
    gcs.ran(F, 3)
    model = feed_of(gcs).catch_up()
    changes = model.changes_since()
    assert [(one.name, one.finished) for one in changes.groups] == [("f", 3)]
    (node,) = changes.nodes
    assert [(sample.at, sample.used["CPU"]) for sample in node.samples] == [(1100.0, 1.0)]


def test_nodes_are_sampled_once_a_second_and_rates_taken_then() -> None:
    gcs = PlayedCluster()
    feed = feed_of(gcs)
    for step in range(5):
        gcs.ran(F, 10)
        gcs.now = 100.0 + step * 0.5
        feed.catch_up()
    assert gcs.asked.count("ListState") == 3
    assert feed.model.groups.all[0].rate == 20.0


def test_one_that_is_behind_catches_up_before_anything_else() -> None:
    gcs = PlayedCluster()
    for _ in range(40):
        gcs.ran(F, 1_000)
    feed = feed_of(gcs)
    feed.catch_up()
    assert feed.model.groups.all[0].finished == 40_000
    assert gcs.asked.count("ReadTaskEvents") > 2
    assert gcs.asked[-1] == "ListState"
    assert gcs.asked.count("ListState") == 1


def test_following_applies_what_is_read_elsewhere() -> None:
    gcs = PlayedCluster()
    feed = feed_of(gcs)

    async def follow() -> int:
        async for model in feed.follow(0.001):
            if model.groups.all and model.groups.all[0].finished == 3:
                return model.version
            gcs.ran(F, 1)
        raise AssertionError

    assert asyncio.run(asyncio.wait_for(follow(), 10)) > 0
