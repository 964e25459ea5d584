"""Filters of the state API: (field, "=" or "!=", value)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from himalia.util.state._schemas import StateRecord

__all__ = ["Filter", "make_filter"]

Filter = tuple[str, str, Any]


def make_filter(filters: Sequence[Filter] | None, kind: type[StateRecord]) -> Callable[[StateRecord], bool]:
    """A test for rows that all filters accept. Text is compared without regard to case.

    Raises
    ------
    ValueError
        A filter names no field, or no comparison.
    """
    tests: list[tuple[str, bool, Any]] = []
    for item in filters or ():
        if len(item) != 3:
            raise ValueError(f'a filter is (field, "=" or "!=", value), not {item!r}')
        key, predicate, value = item
        if key not in kind.columns():
            raise ValueError(f"{kind.kind} have no field {key!r} to filter by, but {', '.join(kind.columns())}")
        if predicate not in ("=", "!="):
            raise ValueError(f'a filter compares with "=" or "!=", not {predicate!r}')
        tests.append((key, predicate == "=", value))

    def accepts(row: StateRecord) -> bool:
        return all(_equal(getattr(row, key), value) is wanted for key, wanted, value in tests)

    return accepts


def _equal(found: Any, wanted: Any) -> bool:
    """Whether a field has a value; values from a command line are text, whatever the field is."""
    if isinstance(wanted, str) and not isinstance(found, str):
        if found is None:
            return wanted.lower() in ("", "none")
        if isinstance(found, bool):
            return wanted.lower() in (("true", "1") if found else ("false", "0"))
        if isinstance(found, int | float):
            try:
                return float(wanted) == found
            except ValueError:
                return False
        return str(found).lower() == wanted.lower()
    if isinstance(wanted, str) and isinstance(found, str):
        return found.lower() == wanted.lower()
    return bool(found == wanted)
