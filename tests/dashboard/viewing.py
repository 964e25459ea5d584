"""A viewer of the tests: it does with a hub's texts what a browser does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from himalia.dashboard.hub import Hub, Viewer
from himalia.dashboard.sources import Operation

__all__ = ["Looker", "carry_out"]


def carry_out(data: dict[str, list[Any]], op: Operation) -> dict[str, list[Any]]:
    """What `static/source.js` does."""
    if op["op"] == "reset":
        return {name: list(column) for name, column in op["data"].items()}
    if op["op"] == "remove":
        for column in data.values():
            for place in op["rows"]:
                del column[place]
    elif op["op"] == "patch":
        for name, (places, values) in op["data"].items():
            for place, value in zip(places, values, strict=True):
                data[name][place] = value
    else:
        for name, values in op["data"].items():
            data[name].extend(values)
            if op["rollover"]:
                del data[name][: -op["rollover"]]
    return data


class Looker:
    """Looks at pages; `rows` are what its tables hold."""

    def __init__(self, hub: Hub, page: str, params: Mapping[str, str] | None = None) -> None:
        self.pages: list[dict[str, Any]] = []
        self.data: dict[str, dict[str, list[Any]]] = {}
        self.texts: list[str] = []
        self.others: list[dict[str, Any]] = []
        self.error = ""
        self.viewer: Viewer = hub.open(page, params or {}, self._take)

    def _take(self, text: str) -> None:
        self.texts.append(text)
        message = json.loads(text)
        if message["type"] == "page":
            self.pages.append(message)
            self.data = {}
        elif message["type"] == "data":
            self.error = message.get("error", self.error)
            for op in message["ops"]:
                self.data[op["source"]] = carry_out(self.data.setdefault(op["source"], {}), op)
        else:
            self.others.append(message)

    def rows(self, source: str) -> list[dict[str, Any]]:
        """Rows of a table, by column."""
        columns = self.data[source]
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    def row(self, source: str, **wanted: Any) -> dict[str, Any]:
        """The only row with these values."""
        (row,) = [row for row in self.rows(source) if all(row[name] == value for name, value in wanted.items())]
        return row
