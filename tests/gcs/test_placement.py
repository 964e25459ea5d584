"""Which node an actor goes to."""

from __future__ import annotations

import dataclasses

from himalia.cluster.gcs.placement import choose_busy_node, choose_node, is_feasible, needed
from himalia.cluster.protocol.common import Resources


@dataclasses.dataclass
class Place:
    node_id: bytes
    total: Resources
    free: Resources
    promised: Resources = dataclasses.field(default_factory=dict)
    labels: dict[str, str] = dataclasses.field(default_factory=dict)
    spread: int = 0
    most: Resources = dataclasses.field(default_factory=dict)

    @property
    def largest(self) -> Resources:
        return {**self.total, **self.most}


@dataclasses.dataclass
class Wish:
    resources: Resources = dataclasses.field(default_factory=dict)
    placement: Resources = dataclasses.field(default_factory=dict)
    strategy: str = "DEFAULT"
    labels: dict[str, str] = dataclasses.field(default_factory=dict)


def place(name: str, total: int, free: int, **more: object) -> Place:
    return Place(name.encode(), {"CPU": total}, {"CPU": free}, **more)  # type: ignore[arg-type]


def test_the_owners_node_comes_first_up_to_half() -> None:
    nodes = [place("a", 10, 10), place("b", 10, 7)]
    assert choose_node(Wish({"CPU": 2}), nodes, b"b") == b"b"
    assert choose_node(Wish({"CPU": 3}), nodes, b"b") == b"a"


def test_beyond_half_the_emptier_one_comes_first() -> None:
    nodes = [place("a", 10, 3), place("b", 10, 4)]
    assert choose_node(Wish({"CPU": 2}), nodes, b"a") == b"b"


def test_a_promise_is_load_but_takes_nothing() -> None:
    nodes = [place("a", 4, 4, promised={"CPU": 4}), place("b", 4, 4)]
    assert choose_node(Wish({"CPU": 1}), nodes, b"a") == b"b"
    assert choose_node(Wish({"CPU": 4}), nodes[:1], b"a") == b"a"


def test_nothing_fits_and_nothing_is_large_enough_are_two_things() -> None:
    nodes = [place("a", 4, 0)]
    assert choose_node(Wish({"CPU": 1}), nodes, b"a") is None
    assert choose_busy_node(Wish({"CPU": 1}), nodes, b"a") == b"a"
    assert is_feasible(Wish({"CPU": 4}), nodes)
    assert not is_feasible(Wish({"CPU": 5}), nodes)
    assert choose_busy_node(Wish({"CPU": 5}), nodes, b"a") is None


def test_placement_prefers_idle_cpus_and_takes_busy_ones() -> None:
    busy, idle = place("a", 4, 0), place("b", 4, 4)
    assert choose_node(Wish(placement={"CPU": 1}), [busy, idle], b"a") == b"b"
    assert choose_node(Wish(placement={"CPU": 1}), [busy], b"a") == b"a"
    assert choose_node(Wish(placement={"CPU": 5}), [busy], b"a") is None


def test_what_is_needed_is_the_larger_of_held_and_placement() -> None:
    assert needed(Wish({"CPU": 2, "GPU": 1}, {"CPU": 1})) == {"CPU": 2, "GPU": 1}
    assert needed(Wish({}, {"CPU": 1})) == {"CPU": 1}


def test_soft_affinity_is_hard_while_its_node_is_large_enough() -> None:
    nodes = [place("a", 4, 0), place("b", 4, 4)]
    soft = f"node~:{b'a'.hex()}"
    assert choose_node(Wish({"CPU": 1}, strategy=soft), nodes, b"b") is None
    assert choose_busy_node(Wish({"CPU": 1}, strategy=soft), nodes, b"b") == b"a"
    assert choose_node(Wish({"CPU": 5}, strategy=soft), [*nodes, place("c", 9, 9)], b"b") == b"c"


def test_a_node_that_can_grow_is_large_enough_and_asked_to_make_room() -> None:
    nodes = [place("a", 2, 2, most={"CPU": 8}), place("b", 4, 4)]
    wish = Wish(resources={"CPU": 6})
    assert is_feasible(wish, nodes)
    assert choose_node(wish, nodes, b"") is None
    assert choose_busy_node(wish, nodes, b"") == b"a"
    assert not is_feasible(Wish(resources={"CPU": 9}), nodes)
