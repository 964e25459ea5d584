"""Which engines there are to be, and which of them are meant."""

from __future__ import annotations

from typing import Any

import pytest

from himalia.cluster.protocol.common import RESOURCE_UNIT
from himalia.kernel_ext.arguments import UsageProblem
from himalia.kernel_ext.engines import Slot, choose, lacking, places, ranges, surplus

SLOTS = [Slot(number, node, None) for number, node in enumerate("aaabb")]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("all", [0, 1, 2, 3, 4]),
        ("nodes", [0, 3]),
        ("2", [2]),
        ("4,0,0", [4, 0]),
        ("1-3", [1, 2, 3]),
        (":2", [0, 1]),
        ("3:", [3, 4]),
        (":99", [0, 1, 2, 3, 4]),
        ("0, 2-3", [0, 2, 3]),
    ],
)
def test_targets(text: str, numbers: list[int]) -> None:
    assert [slot.number for slot in choose(text, SLOTS)] == numbers


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("5", "there is no engine 5, but 0-4"),
        ("two", "--targets takes all, nodes, or numbers"),
        ("-1", "not '-1'"),
        ("1:2:3", "not '1:2:3'"),
        ("", "not ''"),
    ],
)
def test_targets_that_are_none(text: str, said: str) -> None:
    with pytest.raises(UsageProblem, match=said):
        choose(text, SLOTS)


def node(name: bytes, cpus: float, *, most: float = 0, alive: bool = True) -> dict[str, Any]:
    total = {"CPU": int(cpus * RESOURCE_UNIT)} if cpus else {"GPU": RESOURCE_UNIT}
    return {"node_id": name, "alive": alive, "total": total, "most": {"CPU": int(most * RESOURCE_UNIT)} if most else {}}


def test_one_engine_for_each_cpu_of_living_nodes() -> None:
    nodes = [node(b"a", 4), node(b"b", 0.5), node(b"gpu", 0), node(b"dead", 8, alive=False), node(b"c", 1, most=3)]
    a, b, c = b"a".hex(), b"b".hex(), b"c".hex()
    assert places(nodes) == {a: 4, b: 1, c: 1}
    assert places(nodes, at_most=True) == {a: 4, b: 1, c: 3}


def test_the_last_engines_of_a_node_go_when_it_shrinks_and_all_when_it_is_gone() -> None:
    def numbers(**allowed: int) -> list[int]:
        return [slot.number for slot in surplus(SLOTS, allowed)]

    assert numbers(a=3, b=2) == []
    assert numbers(a=1, b=9) == [1, 2]
    assert numbers(a=3) == [3, 4]


def test_new_engines_take_the_lowest_numbers_that_are_free() -> None:
    rest = [slot for slot in SLOTS if slot.number not in (1, 2)]
    assert lacking(rest, {"a": 3, "b": 3, "c": 1}) == [(1, "a"), (2, "a"), (5, "b"), (6, "c")]
    assert lacking(SLOTS, {"a": 1, "b": 2}) == []


def test_numbers_are_written_as_ranges() -> None:
    assert ranges([5, 0, 1, 2]) == "0-2,5"
    assert ranges([]) == ""
