"""Which globals a function's bytes were made of, and whether the names mean the same today.

In a notebook a helper, a class or a parameter is defined again all the time. Python looks a global up when a function
runs, so the function follows; its bytes do not. So what each name meant is remembered, by identity: a change inside of
a value is not seen.

Large values must not live longer for this. Those that can be referred to weakly are, and of other large ones only the
id is kept: another value may get it once the first is gone, but rarely at once.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any, Final, NamedTuple

__all__ = ["Use", "use_of"]

_SMALL: Final = 1024  # bytes: plain values up to this size are kept
_PLAIN: Final = frozenset({type(None), bool, int, float, complex, str, bytes})
_MISSING: Final = object()


class Use(NamedTuple):
    """One global of one function.

    Attributes
    ----------
    meant
        Returns what it meant, or nothing any more; None where only the id is kept.
    """

    space: dict[str, Any]
    name: str
    identity: int
    meant: Callable[[], Any] | None

    def is_current(self) -> bool:
        """Whether the name still means what it did."""
        now = self.space.get(self.name, _MISSING)
        return id(now) == self.identity and (self.meant is None or self.meant() is now)


def use_of(space: dict[str, Any], name: str) -> Use:
    """Remember what a name means now."""
    value = space[name]
    return Use(space, name, id(value), _keeper(value))


def _keeper(value: Any) -> Callable[[], Any] | None:
    if isinstance(value, FunctionType | type | ModuleType) or _is_small(value):
        return lambda: value
    try:
        return weakref.ref(value)
    except TypeError:
        return None


def _is_small(value: Any) -> bool:
    return type(value) in _PLAIN and sys.getsizeof(value) <= _SMALL
