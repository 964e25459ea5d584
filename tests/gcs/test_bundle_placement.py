"""Bundles go where the strategy allows, all or none, and an unlucky order is no reason to wait."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from himalia.cluster.gcs.bundle_placement import STRATEGIES, Room, Wanted, explain_infeasible, place_bundles
from himalia.cluster.protocol.common import to_units
from himalia.cluster.protocol.constraints import fits


def room(name: str, labels: dict[str, str] | None = None, used: float = 0.0, **total: float) -> Room:
    whole = to_units(total)
    free = {**whole, "CPU": whole.get("CPU", 0) - round(used * 10_000)}
    return Room(name.encode(), labels or {}, free, whole)


def wanted(strategy: str, *bundles: dict[str, float], **more: object) -> Wanted:
    return Wanted({index: to_units(bundle) for index, bundle in enumerate(bundles)}, strategy, **more)  # type: ignore[arg-type]


CPU: dict[str, float] = {"CPU": 1}


def names(found: dict[int, bytes] | None) -> list[str]:
    assert found is not None
    return [found[index].decode() for index in sorted(found)]


def test_pack_takes_few_nodes_and_the_fuller_of_two_that_do() -> None:
    rooms = [room("a", CPU=4), room("b", CPU=4, used=1), room("c", CPU=2)]
    assert names(place_bundles(wanted("PACK", CPU, CPU, CPU), rooms)) == ["b", "b", "b"]
    assert len(set(names(place_bundles(wanted("PACK", *[CPU] * 7), rooms)))) == 2


def test_spread_takes_many_nodes_and_shares_them_where_it_must() -> None:
    rooms = [room("a", CPU=4), room("b", CPU=4)]
    assert sorted(names(place_bundles(wanted("SPREAD", *[CPU] * 4), rooms))) == ["a", "a", "b", "b"]
    assert names(place_bundles(wanted("SPREAD", *[CPU] * 4), rooms[:1])) == ["a"] * 4


def test_strict_pack_takes_one_node_or_none() -> None:
    rooms = [room("a", CPU=2), room("b", CPU=3)]
    assert names(place_bundles(wanted("STRICT_PACK", CPU, CPU, CPU), rooms)) == ["b"] * 3
    assert place_bundles(wanted("STRICT_PACK", *[CPU] * 4), rooms) is None


def test_strict_spread_finds_the_matching_that_there_is() -> None:
    rooms = [room("a", CPU=2, GPU=1), room("b", CPU=2)]
    # The first bundle would fit on both; the second has no choice.
    assert names(place_bundles(wanted("STRICT_SPREAD", {"CPU": 2}, {"GPU": 1}), rooms)) == ["b", "a"]
    assert place_bundles(wanted("STRICT_SPREAD", CPU, CPU, CPU), rooms) is None


def test_an_order_that_the_rules_miss_is_found() -> None:
    """Filling the largest node with the largest bundle would leave no room for the last."""
    rooms = [room("a", CPU=4), room("b", CPU=3)]
    bundles = [{"CPU": 2.0}, {"CPU": 2.0}, {"CPU": 3.0}]
    assert names(place_bundles(wanted("PACK", *bundles), rooms)) == ["a", "a", "b"]
    assert names(place_bundles(wanted("SPREAD", *bundles), rooms)) == ["a", "a", "b"]


def test_labels_of_a_bundle_are_those_of_its_node() -> None:
    rooms = [room("a", {"zone": "x"}, CPU=4), room("b", {"zone": "y"}, CPU=4)]
    chosen = wanted("PACK", CPU, CPU, labels={1: {"zone": "y"}})
    assert names(place_bundles(chosen, rooms))[1] == "b"
    assert place_bundles(wanted("PACK", CPU, labels={0: {"zone": "z"}}), rooms) is None


def test_bundles_in_place_are_placed_around() -> None:
    rooms = [room("a", CPU=4), room("b", CPU=4)]
    lost = {1: to_units(CPU)}
    assert place_bundles(Wanted(lost, "PACK", settled={0: b"b"}), rooms) == {1: b"b"}
    assert place_bundles(Wanted(lost, "STRICT_SPREAD", settled={0: b"a"}), rooms) == {1: b"b"}
    assert place_bundles(Wanted(lost, "SPREAD", settled={0: b"a"}), rooms) == {1: b"b"}
    assert place_bundles(Wanted(lost, "STRICT_PACK", settled={0: b"gone"}), rooms) is None


@pytest.mark.parametrize(
    ("strategy", "bundles", "said"),
    [
        ("PACK", [{"GPU": 2.0}], "bundle 0 asks for 2 GPU, and no node has so much: the nearest has 1 GPU"),
        ("STRICT_PACK", [{"CPU": 2.0}] * 3, "all bundles are to be on one node, which takes 6 CPU"),
        ("STRICT_SPREAD", [CPU] * 3, "each of 3 bundles is to be on a node of its own, and there are 2 nodes"),
        ("SPREAD", [{"CPU": 3.0}] * 3, "the bundles ask for 9 CPU in all, and there are 2 nodes with 8 CPU"),
        ("SPREAD", [{"CPU": 4.0}] * 2, ""),
    ],
)
def test_what_can_never_be_is_said(strategy: str, bundles: list[dict[str, float]], said: str) -> None:
    rooms = [room("a", CPU=4, GPU=1), room("b", CPU=4)]
    found = explain_infeasible(wanted(strategy, *bundles), rooms)
    assert found.startswith(said)
    assert bool(found) == bool(said)


def test_without_nodes_nothing_can_be() -> None:
    assert explain_infeasible(wanted("PACK", CPU), []) == "there is no node"


sizes = st.sampled_from((0.5, 1.0, 2.0, 3.0))
groups = st.builds(
    lambda strategy, bundles: wanted(strategy, *[{"CPU": size} for size in bundles]),
    st.sampled_from(STRATEGIES),
    st.lists(sizes, min_size=1, max_size=5),
)
clusters = st.lists(st.sampled_from((1.0, 2.0, 3.0, 4.0)), max_size=4).map(
    lambda cpus: [room(f"n{index}", CPU=count) for index, count in enumerate(cpus)]
)


@given(groups, clusters)
def test_an_answer_keeps_all_rules_and_is_there_whenever_there_is_one(group: Wanted, rooms: list[Room]) -> None:
    found = place_bundles(group, rooms)
    possible = any(
        is_right(group, rooms, dict(zip(sorted(group.bundles), nodes, strict=True)))
        for nodes in itertools.product([each.node_id for each in rooms], repeat=len(group.bundles))
    )
    assert (found is not None) == possible
    assert found is None or is_right(group, rooms, found)


def is_right(group: Wanted, rooms: list[Room], found: dict[int, bytes]) -> bool:
    most = max(Counter(found.values()).values())
    if group.strategy == "STRICT_PACK" and len(set(found.values())) > 1:
        return False
    if group.strategy == "STRICT_SPREAD" and most > 1:
        return False
    for each in rooms:
        need = sum(group.bundles[index]["CPU"] for index, node_id in found.items() if node_id == each.node_id)
        if not fits({"CPU": need}, each.free):
            return False
    return True
