"""What failed: the same failure once, with how often it came, from which cells, and a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..sources import Rows
from .base import Page
from .lines import Lines
from .panels import Column, Details, Numbers, Opens, Panel, Table, Text
from .words import host_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..state import State

__all__ = ["ErrorPage", "Errors", "error_key"]


def error_key(row: Mapping[str, Any]) -> str:
    """What tells kinds of failures apart: they are those that the GCS counts together."""
    return f"{row['error']}|{row['function']}|{row['file']}|{row['line']}"


def _where(row: Mapping[str, Any]) -> str:
    inside = f" in {row['frame']}" if row["frame"] not in ("", "<module>") else ""
    return f"{row['place']}{inside}" if row["place"] else ""


def _cells(row: Mapping[str, Any]) -> str:
    return ", ".join(f"In [{cell}]" for cell in row["cells"] if cell)


class Errors(Page):
    """See the top of the file."""

    name = "errors"
    title = "Errors"
    about = "What failed, how often, from which cells, and where in the code"
    NEEDS = ("errors",)

    def __init__(self, params: Mapping[str, str]) -> None:
        super().__init__(params)
        self._numbers = self.add(Rows("numbers", Numbers.COLUMNS))
        self._errors = self.add(
            Rows("errors", ("key", "count", "error", "message", "function", "where", "cells", "first", "last"))
        )

    def panels(self) -> list[Panel]:
        """Figures, and kinds of failures."""
        return [
            Numbers("numbers"),
            Table(
                "Failures by kind",
                "errors",
                [
                    Column("count", "Times", "number"),
                    Column("error", "Error", "code"),
                    Column("message", "The last one says", "sentence"),
                    Column("function", "Task"),
                    Column("where", "Where", "code", "The last line of your own code"),
                    Column("cells", "Cells"),
                    Column("first", "First", "ago"),
                    Column("last", "Last", "ago"),
                ],
                sort="-last",
                search=True,
                opens=Opens("error", {"error": "key"}),
                empty="No task has failed.",
                hint="A row opens the traceback",
            ),
        ]

    def update(self, state: State) -> None:
        """See `Page.update`."""
        rows = state.get("errors")
        progress = state.model.progress()
        self._errors.set(
            (
                error_key(row),
                row["count"],
                row["error"],
                row["message"],
                row["function"],
                _where(row),
                _cells(row),
                row["first_time_ms"] / 1000,
                row["last_time_ms"] / 1000,
            )
            for row in rows
        )
        share = round(progress.failed / (progress.failed + progress.finished), 3) if progress.failed else 0.0
        self._numbers.set(
            [
                ("failed", "Failed tasks", progress.failed, "number", share, f"{progress.finished:,} finished"),
                ("kinds", "Kinds of failures", len(rows), "number", None, "by error, function and line"),
                (
                    "tries",
                    "Failed attempts",
                    sum(row["count"] for row in rows),
                    "number",
                    None,
                    "with those tried again",
                ),
            ]
        )


class ErrorPage(Page):
    """One kind of failure."""

    name = "error"
    title = "Error"
    about = "One kind of failure, with the traceback of one of them"
    PARAMS = ("error",)
    NEEDS = ("errors", "nodes")
    IN_MENU = False

    def __init__(self, params: Mapping[str, str]) -> None:
        super().__init__(params)
        self._details = self.add(Rows("details", Details.COLUMNS))
        self._trace = Lines("trace")
        self.add(self._trace.rows)

    def panels(self) -> list[Panel]:
        """What it is, and a traceback."""
        return [
            Details("Failure", "details", empty="There is no such failure, or it is forgotten: see the page Errors."),
            Text("Traceback of one of them", "trace", height=560, empty="Its traceback is not known."),
        ]

    def update(self, state: State) -> None:
        """See `Page.update`."""
        hosts = host_names(state)
        found = [row for row in state.get("errors") if error_key(row) == self.params.get("error")]
        if not found:
            return
        row = found[0]
        details = [
            ("error", "Error", row["error"], "code"),
            ("message", "The last one says", row["message"], "text"),
            ("count", "Times", row["count"], "number"),
            ("function", "Task", row["function"], "text"),
            ("where", "Where", _where(row), "code"),
            ("cells", "Cells", _cells(row), "text"),
            ("first", "First", row["first_time_ms"] / 1000, "ago"),
            ("last", "Last", row["last_time_ms"] / 1000, "ago"),
            ("nodes", "Nodes", ", ".join(hosts.get(node, node) for node in row["node_ids"] or []), "text"),
            ("task", "The last task", row["task_id"], "code"),
            ("worker", "Its worker", row["worker_id"], "code"),
        ]
        self._details.set(details)
        lines = (row["traceback"] or "").splitlines()
        self._trace.set((line, "faint" if line.startswith("  ") else "error" if line else "") for line in lines)
