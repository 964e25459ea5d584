"""What tasks and actors ask of their node, and whether it has that: resources, a strategy, labels.

The text of a strategy and of a label's condition is part of the messages, and the GCS (which places actors) and the
raylets (which place tasks) must read it alike: so it is read here, once.
"""

from __future__ import annotations

from .common import Resources

__all__ = ["affinity", "fits", "in_group", "matches_labels", "membership"]

_GROUP = "group:"


def fits(need: Resources, have: Resources) -> bool:
    return all(have.get(name, 0) >= units for name, units in need.items())


def affinity(strategy: str) -> tuple[bytes, bool] | None:
    """The node a strategy names, and whether no other will do; None if it names none.

    Raises
    ------
    ValueError
        If it is no strategy.
    """
    if strategy in ("DEFAULT", "SPREAD") or membership(strategy) is not None:
        return None
    kind, colon, node = strategy.partition(":")
    if not colon or kind not in ("node", "node~"):
        raise ValueError(
            f"no such strategy: {strategy!r} "
            '(there are "DEFAULT", "SPREAD", "node:<id>", "node~:<id>" and "group:<id>:<bundle>")'
        )
    return bytes.fromhex(node), kind == "node"


def membership(strategy: str) -> tuple[bytes, int] | None:
    """The placement group that a strategy names, and the bundle of it (-1: any); None if it names none.

    Raises
    ------
    ValueError
        If it begins as one that does, and does not.
    """
    if not strategy.startswith(_GROUP):
        return None
    group_id, _, index = strategy.removeprefix(_GROUP).partition(":")
    return bytes.fromhex(group_id), int(index)


def in_group(group_id: bytes, index: int) -> str:
    """The strategy of what runs in a bundle of a placement group, or in any (-1)."""
    return f"{_GROUP}{group_id.hex()}:{index}"


def matches_labels(wanted: dict[str, str], labels: dict[str, str]) -> bool:
    """Whether a node's labels meet a selector: ``value``, ``!value``, ``in(a, b)`` or ``!in(a, b)`` for each key."""
    return all(_matches(condition, labels.get(key)) for key, condition in wanted.items())


def _matches(condition: str, value: str | None) -> bool:
    negated = condition.startswith("!")
    text = condition.removeprefix("!")
    if text.startswith("in(") and text.endswith(")"):
        choices = {choice.strip() for choice in text[3:-1].split(",")}
    else:
        choices = {text}
    return (value in choices) != negated
