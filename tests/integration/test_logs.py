"""Logs of several nodes together."""

from __future__ import annotations

from typing import Any

from himalia.util import state

from .conftest import Nodes


def test_pages_of_two_nodes_together_are_everything_once_in_order(two_nodes: Nodes) -> None:
    hv = two_nodes.hv

    @hv.remote
    def say(numbers: list[int]) -> str:
        for number in numbers:
            print("number", number)
        return str(hv.get_runtime_context().get_node_id())

    def turn(resource: str, numbers: list[int]) -> Any:
        return hv.get(say.options(num_cpus=0, resources={resource: 1}).remote(numbers))

    nodes = {turn("head", [0, 1, 2]), turn("other", [3, 4]), turn("head", [5]), turn("other", [6, 7])}
    assert len(nodes) == 2
    found: list[str] = []
    page = state.search_logs("number", limit=3)
    found += [line.text for line in page.lines]
    while not page.is_end:
        page = state.search_logs("number", limit=3, cursor=page.cursor)
        found += [line.text for line in page.lines]
    assert found == [f"number {n}" for n in range(8)]
    assert {line.node for line in state.search_logs("number").lines} == nodes
    (other,) = nodes - {two_nodes.head.node_id}
    assert [line.text for line in state.search_logs(node=other).lines] == [f"number {n}" for n in (3, 4, 6, 7)]
    assert [line.text for line in state.search_logs(tail=3).lines] == [f"number {n}" for n in (5, 6, 7)]
