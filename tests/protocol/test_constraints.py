"""What tasks and actors ask of a node, as text."""

from __future__ import annotations

import pytest

from himalia.cluster.protocol.constraints import affinity, fits, matches_labels


def test_a_strategy_names_a_node_and_whether_another_will_do() -> None:
    assert affinity("node:0aff") == (b"\x0a\xff", True)
    assert affinity("node~:0aff") == (b"\x0a\xff", False)
    assert affinity("DEFAULT") is affinity("SPREAD") is None


def test_what_a_node_does_not_have_does_not_fit() -> None:
    assert fits({"CPU": 2}, {"CPU": 2, "disk": 1})
    assert not fits({"CPU": 3}, {"CPU": 2})
    assert not fits({"GPU": 1}, {"CPU": 2})
    assert fits({"GPU": 0}, {})


@pytest.mark.parametrize("text", ["BEST", "node", "nodes:00", "node:xyz", "spread"])
def test_what_is_no_strategy_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        affinity(text)


@pytest.mark.parametrize(
    ("condition", "value", "matches"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("a", None, False),
        ("!a", "b", True),
        ("!a", "a", False),
        ("!a", None, True),
        ("in(a, b)", "b", True),
        ("in(a, b)", "c", False),
        ("!in(a,b)", "c", True),
        ("!in(a,b)", "a", False),
    ],
)
def test_labels_are_compared_as_ray_does(condition: str, value: str | None, matches: bool) -> None:
    assert matches_labels({"key": condition}, {} if value is None else {"key": value}) is matches
