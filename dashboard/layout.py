"""Where boxes of a graph stand: columns by who comes after whom, rows that stay.

Strategy: a box gets its place when it comes and keeps it: the first free row beside what it comes after. Only an edge
that says that it must stand further right moves it, and what comes after it; nobody makes room, so a picture that
somebody looks at does not jump. Edges of a cycle (recursion, two functions that work on each other's results) are
those that would push a box in front of itself; they are drawn, but place nothing.

Rejected: the usual layered layout (Sugiyama), which finds fewer crossings by turning the whole picture round with each
box that comes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Layout", "Place"]

K = TypeVar("K", bound=Hashable)


class Place(NamedTuple):
    """Of a box, in columns from the left and rows from the top."""

    column: int
    row: int


class Layout(Generic[K]):
    """See the top of the file."""

    def __init__(self) -> None:
        self.places: dict[K, Place] = {}
        self._taken: dict[Place, K] = {}
        self._after: dict[K, list[K]] = {}
        self._before: dict[K, list[K]] = {}
        self._edges: set[tuple[K, K]] = set()

    def add(self, boxes: Iterable[K], edges: Iterable[tuple[K, K]]) -> None:
        """Take in boxes and edges; those that are known already change nothing."""
        fresh = dict.fromkeys(box for box in boxes if box not in self.places)
        known = [edge for edge in edges if edge not in self._edges]
        for first, second in known:
            if first == second or self._leads(second, first):
                continue  # a cycle
            self._edges.add((first, second))
            self._after.setdefault(first, []).append(second)
            self._before.setdefault(second, []).append(first)
        for box in fresh:
            self._put(box)
        for first, second in known:
            if (first, second) in self._edges and first in self.places and second in self.places:
                self._push(first, second)

    def remove(self, boxes: Iterable[K]) -> None:
        """Boxes that are shown no more: their places are free."""
        for box in boxes:
            place = self.places.pop(box, None)
            if place is None:
                continue
            del self._taken[place]
            for other in self._after.pop(box, ()):
                self._edges.discard((box, other))
                self._before[other].remove(box)
            for other in self._before.pop(box, ()):
                self._edges.discard((other, box))
                self._after[other].remove(box)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return 1 + max((place.row for place in self.places.values()), default=-1)

    def _leads(self, first: K, second: K) -> bool:
        """Whether a way leads from one box to another."""
        seen, open_ = {first}, [first]
        while open_:
            box = open_.pop()
            if box == second:
                return True
            for after in self._after.get(box, ()):
                if after not in seen:
                    seen.add(after)
                    open_.append(after)
        return False

    def _put(self, box: K) -> None:
        """A new box: behind all that it comes after, in the row of the first of these if that is free."""
        before = [self.places[one] for one in self._before.get(box, ()) if one in self.places]
        column = 1 + max((place.column for place in before), default=-1)
        self._settle(box, Place(column, min((place.row for place in before), default=0)))

    def _settle(self, box: K, wanted: Place) -> None:
        row = wanted.row
        while self._taken.get(Place(wanted.column, row), box) != box:
            row += 1
        place = Place(wanted.column, row)
        self.places[box] = place
        self._taken[place] = box

    def _push(self, first: K, second: K) -> None:
        """What comes after a box stands right of it; there is no cycle, so this ends."""
        place = self.places[second]
        if place.column > self.places[first].column:
            return
        del self._taken[place]
        self._settle(second, Place(self.places[first].column + 1, place.row))
        for after in self._after.get(second, ()):
            if after in self.places:
                self._push(second, after)
