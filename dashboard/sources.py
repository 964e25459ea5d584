"""What a panel is bound to: a bounded table, and what changed in it since it was sent last.

Strategy: a page says what a table holds now; the difference to what viewers have is found here, once, however many
there are. Operations name rows by their place, since that is what `ColumnDataSource.patch` wants, and columns as
wholes. A source belongs to one view (see hub.py), so what was sent last is the same for all its viewers.

Operations, each with the name of its source:

    {"op": "reset", "data": {column: [...]}}                      all there is
    {"op": "remove", "rows": [place, ...]}                        descending
    {"op": "patch", "data": {column: [[place, ...], [...]]}}      places as they are after `remove`
    {"op": "stream", "data": {column: [...]}, "rollover": n}      further rows; of all, the last n stay (0: all)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

__all__ = ["Operation", "Rows", "Series", "Source"]

Operation = dict[str, Any]

_RESET_SHARE: Final = 0.5
"""Of the rows, removed ones: above it all rows are sent anew. Browsers close a gap by moving what follows."""


class Source(Protocol):
    """What `Rows` and `Series` have in common."""

    name: str

    def snapshot(self) -> Operation:
        """All that viewers have: for one that comes later."""
        ...

    def changes(self) -> list[Operation]:
        """What is new since the last call."""
        ...


class Rows:
    """A table whose rows have keys: the first column, unique. New rows come last.

    Parameters
    ----------
    name
        Of the source, as panels name it.
    columns
        Names; of the key first.
    """

    def __init__(self, name: str, columns: Sequence[str]) -> None:
        self.name = name
        self.columns = tuple(columns)
        self._rows: dict[Any, tuple[Any, ...]] = {}
        self._open: list[Operation] = []

    def set(self, rows: Iterable[Sequence[Any]]) -> None:
        """Say what the table holds now.

        Raises
        ------
        ValueError
            A row has not as many values as there are columns.
        """
        wanted: dict[Any, tuple[Any, ...]] = {}
        for row in rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {self.name} has {len(row)} values for {len(self.columns)} columns: {row}")
            wanted[row[0]] = tuple(row)
        if wanted == self._rows:
            return
        gone = [place for place, key in enumerate(self._rows) if key not in wanted]
        if len(gone) > _RESET_SHARE * len(self._rows):
            self._rows = wanted
            self._open = [self.snapshot()]
            return
        self._apply(wanted, gone)

    def _apply(self, wanted: dict[Any, tuple[Any, ...]], gone: list[int]) -> None:
        kept = {key: row for key, row in self._rows.items() if key in wanted}
        patch: dict[str, tuple[list[int], list[Any]]] = {}
        for place, (key, row) in enumerate(kept.items()):
            fresh = wanted[key]
            if fresh == row:
                continue
            for name, before, now in zip(self.columns, row, fresh, strict=True):
                if before != now:
                    places, values = patch.setdefault(name, ([], []))
                    places.append(place)
                    values.append(now)
            kept[key] = fresh
        added = {key: row for key, row in wanted.items() if key not in kept}
        if gone:
            self._open.append({"source": self.name, "op": "remove", "rows": gone[::-1]})
        if patch:
            self._open.append({"source": self.name, "op": "patch", "data": patch})
        if added:
            data = self._columns(added.values())
            self._open.append({"source": self.name, "op": "stream", "data": data, "rollover": 0})
        self._rows = kept | added

    def _columns(self, rows: Iterable[tuple[Any, ...]]) -> dict[str, list[Any]]:
        listed = list(rows)
        return {name: [row[place] for row in listed] for place, name in enumerate(self.columns)}

    def snapshot(self) -> Operation:
        """All rows."""
        return {"source": self.name, "op": "reset", "data": self._columns(self._rows.values())}

    def changes(self) -> list[Operation]:
        """What is new since the last call."""
        done, self._open = self._open, []
        return done

    def __len__(self) -> int:
        return len(self._rows)


class Series:
    """Rows that only come, and go when there are too many.

    Parameters
    ----------
    name
        Of the source, as panels name it.
    columns
        Names.
    rollover
        Rows that are kept.
    """

    def __init__(self, name: str, columns: Sequence[str], rollover: int) -> None:
        self.name = name
        self.rollover = rollover
        self._data: dict[str, list[Any]] = {column: [] for column in columns}
        self._open: list[Operation] = []

    def append(self, data: Mapping[str, Sequence[Any]]) -> None:
        """Add rows, as columns of one length.

        Raises
        ------
        ValueError
            Columns are missing, unknown, or of different lengths.
        """
        if data.keys() != self._data.keys() or len({len(column) for column in data.values()}) != 1:
            lengths = {name: len(column) for name, column in data.items()}
            raise ValueError(f"{self.name} has the columns {list(self._data)}, not {lengths}")
        fresh = {name: list(column)[-self.rollover :] for name, column in data.items()}
        if not next(iter(fresh.values())):
            return
        for name, column in self._data.items():
            column.extend(fresh[name])
            del column[: -self.rollover]
        self._open.append({"source": self.name, "op": "stream", "data": fresh, "rollover": self.rollover})

    def clear(self) -> None:
        """Begin anew."""
        for column in self._data.values():
            column.clear()
        self._open = [self.snapshot()]

    def snapshot(self) -> Operation:
        """All rows."""
        return {"source": self.name, "op": "reset", "data": {name: list(column) for name, column in self._data.items()}}

    def changes(self) -> list[Operation]:
        """What is new since the last call."""
        done, self._open = self._open, []
        return done

    def __len__(self) -> int:
        return len(next(iter(self._data.values())))
