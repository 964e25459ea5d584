"""What users count in this process. See `himalia.util.metrics`, which is what they use.

Counts are kept where they are made and asked for when somebody wants them. Rejected: sending them as they change, as
that costs whoever counts, also where nobody looks.
"""

from __future__ import annotations

import bisect
import os
import re
import threading
from collections.abc import Iterable, Mapping
from typing import Final

from ..protocol.metric_messages import OwnMetric, OwnSample

__all__ = ["Held", "held_metrics", "hold"]

_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_TAKEN: Final = frozenset({"node", "worker", "le"})  # labels that we add
_MOST_SERIES: Final = 1_000
"""Of one metric in one process: with more, a tag has the values of something without bounds, such as an id."""

_lock = threading.RLock()  # a destructor may count, and the collector calls it in the midst of anything
_held: dict[str, Held] = {}


class Held:
    """One metric of this process."""

    def __init__(
        self, name: str, kind: str, about: str, tag_keys: tuple[str, ...], boundaries: tuple[float, ...]
    ) -> None:
        self.name = name
        self.kind = kind
        self.about = about
        self.tag_keys = tag_keys
        self.boundaries = boundaries
        self._values: dict[tuple[str, ...], float] = {}
        self._counts: dict[tuple[str, ...], list[int]] = {}

    def check_keys(self, tags: Iterable[str]) -> None:
        """Refuse tags that the metric does not have."""
        unknown = sorted(set(tags) - set(self.tag_keys))
        if unknown:
            raise ValueError(
                f"metric {self.name} has no tag {', '.join(unknown)}, but {', '.join(self.tag_keys) or 'none'}: name "
                "it in tag_keys"
            )

    def values_of(self, tags: Mapping[str, str]) -> tuple[str, ...]:
        """The values of all tags, in the order of the keys."""
        if len(tags) != len(self.tag_keys) or any(key not in tags for key in self.tag_keys):
            self.check_keys(tags)
            missing = [key for key in self.tag_keys if key not in tags]
            raise ValueError(f"metric {self.name} needs a value for its tag {', '.join(missing)}")
        return tuple([str(tags[key]) for key in self.tag_keys])

    def add(self, tags: tuple[str, ...], value: float) -> None:
        """Let a series grow."""
        with _lock:
            self._values[tags] = self._values.get(tags, 0.0) + value
            self._bound(tags)

    def set(self, tags: tuple[str, ...], value: float) -> None:
        """Give a series a value."""
        with _lock:
            self._values[tags] = float(value)
            self._bound(tags)

    def observe(self, tags: tuple[str, ...], value: float) -> None:
        """Count a value in a series."""
        with _lock:
            self._values[tags] = self._values.get(tags, 0.0) + value
            counts = self._counts.setdefault(tags, [0] * (len(self.boundaries) + 1))
            counts[bisect.bisect_left(self.boundaries, value)] += 1
            self._bound(tags)

    def _bound(self, newest: tuple[str, ...]) -> None:
        if len(self._values) > _MOST_SERIES:
            del self._values[newest]
            self._counts.pop(newest, None)
            raise ValueError(
                f"metric {self.name} has {_MOST_SERIES} series in this process already, and {newest} would be one "
                "more: a tag is for few values, not for ids"
            )

    def described(self) -> OwnMetric:
        """As it is now; in the lock."""
        samples = [
            OwnSample(list(tags), value, list(self._counts.get(tags, ()))) for tags, value in list(self._values.items())
        ]
        return OwnMetric(self.name, self.kind, self.about, list(self.tag_keys), samples, list(self.boundaries))


def hold(name: str, kind: str, about: str, tag_keys: tuple[str, ...], boundaries: tuple[float, ...]) -> Held:
    """The metric of that name of this process, made if there is none.

    Raises
    ------
    ValueError
        A name is none, or there is another metric of that name.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a metric: use letters, digits and underscores")
    for key in tag_keys:
        if not _NAME.fullmatch(key) or key in _TAKEN or key.startswith("__"):
            raise ValueError(f"{key!r} is no name of a tag: use letters, digits and underscores, and not {_words()}")
    with _lock:
        known = _held.get(name)
        if known is None:
            known = _held[name] = Held(name, kind, about, tag_keys, boundaries)
        elif (known.kind, known.tag_keys, known.boundaries) != (kind, tag_keys, boundaries):
            raise ValueError(
                f"this process has a {known.kind} {name} with the tags ({', '.join(known.tag_keys)}) already: it can "
                "not be another metric as well"
            )
        return known


def _words() -> str:
    return ", ".join(sorted(_TAKEN))


def held_metrics() -> list[OwnMetric]:
    """What this process has counted."""
    with _lock:
        return [metric.described() for metric in list(_held.values())]


def _after_fork() -> None:
    """A forked child counts anew, in the metrics that it has."""
    global _lock
    _lock = threading.RLock()
    for metric in _held.values():
        metric._values, metric._counts = {}, {}


os.register_at_fork(after_in_child=_after_fork)
