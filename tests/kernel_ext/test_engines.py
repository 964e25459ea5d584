"""Which engines there are to be, and which of them are meant."""

from __future__ import annotations

from typing import Any

import pytest

from himalia.kernel_ext.arguments import UsageProblem
from himalia.kernel_ext.engines import Slot, _places, choose, ranges

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


def test_one_engine_for_each_cpu_of_living_nodes() -> None:
    def node(name: str, cpus: float, alive: bool = True) -> dict[str, Any]:
        return {"NodeID": name, "Alive": alive, "Resources": {"CPU": cpus} if cpus else {"GPU": 1.0}}

    nodes = [node("a", 4), node("b", 0.5), node("gpu", 0), node("dead", 8, alive=False)]
    assert _places(nodes) == {"a": 4, "b": 1}


def test_numbers_are_written_as_ranges() -> None:
    assert ranges([5, 0, 1, 2]) == "0-2,5"
    assert ranges([]) == ""
