"""Metrics of one's own, in tasks, actors and drivers: counters, gauges and histograms, with Ray's names.

    from himalia.util.metrics import Counter
    parsed = Counter("files_parsed", description="Files that were parsed.", tag_keys=("kind",))
    parsed.inc(tags={"kind": "csv"})

They stand in the dashboard's `/metrics` as ``himalia_user_files_parsed_total``, with the node and worker as labels. A
process keeps its own, and is asked when somebody scrapes: counting costs a lock and a dictionary, and nothing is sent
for it. What a process has counted is gone from the metrics when it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from himalia.cluster.telemetry.own_metrics import Held, hold

__all__ = ["Counter", "Gauge", "Histogram", "Metric"]


class Metric:
    """What the three have in common. Of one name there is one in a process, however often it is made.

    Parameters
    ----------
    name
        Letters, digits and underscores.
    description
        For people: a sentence.
    tag_keys
        Names of labels, of which each value has a series of its own.

    Raises
    ------
    ValueError
        A name is none, or the process has another metric of this name.
    """

    _kind = ""

    def __init__(self, name: str, description: str = "", tag_keys: Sequence[str] | None = None) -> None:
        self._made_of: tuple[Any, ...] = (name, description, tag_keys)
        self._defaults: dict[str, str] = {}
        self._held = self._hold(())

    def _hold(self, boundaries: Sequence[float]) -> Held:
        name, description, tag_keys = self._made_of[0], self._made_of[1], self._made_of[-1]
        if isinstance(tag_keys, str) or not all(isinstance(key, str) for key in tag_keys or ()):
            raise TypeError(f"tag_keys is a tuple of names, not {tag_keys!r}")
        return hold(name, self._kind, description, tuple(tag_keys or ()), tuple(boundaries))

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self._made_of, self._defaults)

    def set_default_tags(self, default_tags: dict[str, str]) -> Self:
        """Values of tags for where none are given.

        Raises
        ------
        ValueError
            It has no such tag.
        """
        self._held.check_keys(default_tags)
        self._defaults = dict(default_tags)
        return self

    @property
    def info(self) -> dict[str, Any]:
        """Name, description, tag keys and default tags."""
        return {
            "name": self._made_of[0],
            "description": self._made_of[1],
            "tag_keys": self._held.tag_keys,
            "default_tags": dict(self._defaults),
        }

    def _tags(self, tags: dict[str, str] | None) -> tuple[str, ...]:
        return self._held.values_of({**self._defaults, **tags} if tags else self._defaults)


def _again(kind: type[Metric], made_of: tuple[Any, ...], defaults: dict[str, str]) -> Metric:
    """The metric of that name in this process."""
    return kind(*made_of).set_default_tags(defaults)


class Counter(Metric):
    """What only grows."""

    _kind = "counter"

    def inc(self, value: float = 1.0, tags: dict[str, str] | None = None) -> None:
        """Add to it.

        Raises
        ------
        ValueError
            ``value`` is not more than 0, or a tag is missing or unknown.
        """
        if not value > 0:
            raise ValueError(f"a counter grows by more than 0, not by {value}; use a Gauge for what may fall")
        self._held.add(self._tags(tags), value)


class Gauge(Metric):
    """What rises and falls: the last value that was set."""

    _kind = "gauge"

    def set(self, value: float, tags: dict[str, str] | None = None) -> None:
        """Set it.

        Raises
        ------
        ValueError
            A tag is missing or unknown.
        """
        self._held.set(self._tags(tags), value)


class Histogram(Metric):
    """How values are spread: how many were at most each of the boundaries.

    Parameters
    ----------
    boundaries
        Rising numbers above 0.
    name, description, tag_keys
        As of every `Metric`.
    """

    _kind = "histogram"

    def __init__(
        self,
        name: str,
        description: str = "",
        boundaries: Sequence[float] | None = None,
        tag_keys: Sequence[str] | None = None,
    ) -> None:
        limits = [float(one) for one in boundaries or ()]
        if not limits or limits[0] <= 0 or sorted(set(limits)) != limits:
            raise ValueError(f"the boundaries of a histogram are rising numbers above 0, not {boundaries!r}")
        self._made_of = (name, description, tuple(limits), tag_keys)
        self._defaults = {}
        self._held = self._hold(limits)

    def observe(self, value: float, tags: dict[str, str] | None = None) -> None:
        """Count a value.

        Raises
        ------
        ValueError
            A tag is missing or unknown.
        """
        self._held.observe(self._tags(tags), value)

    @property
    def info(self) -> dict[str, Any]:
        """As of every `Metric`, and the boundaries."""
        return {**super().info, "boundaries": list(self._held.boundaries)}
