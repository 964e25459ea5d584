"""What tasks printed, and the files of the cluster's own processes: searched and followed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..questions import query_name
from ..sources import Rows
from .base import Page
from .lines import Lines, log_lines
from .panels import Choice, Column, Control, Opens, Panel, Search, Table, Text
from .words import cell_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..state import State

__all__ = ["Logs"]


class Logs(Page):
    """See the top of the file."""

    name = "logs"
    title = "Logs"
    about = "What tasks and actors printed, and what the cluster's own processes say"
    PARAMS = ("search", "cell", "actor", "task", "worker", "stream", "file")
    NEEDS = ("actors", "log_files:all")

    def __init__(self, params: Mapping[str, str]) -> None:
        super().__init__(params)
        self._cells = self.add(Rows("cells", ("key", "label")))
        self._actors = self.add(Rows("actors", ("key", "label")))
        self._files = self.add(Rows("files", ("file", "size")))
        self._log = Lines("log")
        self.add(self._log.rows)

    def needs(self) -> list[str]:
        """The log that is asked for, too."""
        return [*self.NEEDS, self._question]

    @property
    def _question(self) -> str:
        return query_name("logs", **self.params, job=self.job)

    def controls(self) -> list[Control]:
        """What restricts the log."""
        return [
            Search("search", "Search", "words in a line"),
            Choice("cell", "Cell", "cells"),
            Choice("actor", "Actor", "actors"),
            Search("task", "Task", "id of a task"),
            Choice("stream", "Stream", values=[("", "both"), ("1", "stdout"), ("2", "stderr")]),
        ]

    def panels(self) -> list[Panel]:
        """The log, and files."""
        title = f"File {self.params['file']}" if "file" in self.params else "Log"
        return [
            Text(
                title,
                "log",
                height=520,
                follow=True,
                empty="Nothing was printed yet, or nothing like this. What tasks print stands here: print('hello')",
            ),
            Table(
                "Files",
                "files",
                [Column("file", "File", "code"), Column("size", "Size", "bytes")],
                height=260,
                sort="file",
                search=True,
                opens=Opens("logs", {"file": "file"}),
                empty="No process has written anything into a file yet.",
                hint="Of raylets, the GCS, workers and the dashboard itself: a row opens the file",
            ),
        ]

    def update(self, state: State) -> None:
        """See `Page.update`."""
        cells = {group.cell.execution: cell_name(group.cell) for group in state.model.groups if group.cell}
        self._cells.set([("", "all"), *((str(number), label) for number, label in sorted(cells.items()) if number)])
        actors = [(one["actor_id"], one["class_name"], one["name"] or one["pid"]) for one in state.get("actors")]
        named = [(actor_id, f"{kind} {name or actor_id[-4:]}") for actor_id, kind, name in actors]
        self._actors.set([("", "all"), *named])
        self._files.set((row["file"], row["size"]) for row in state.get("log_files:all"))
        rows = state.get(self._question)
        self._log.set(log_lines(rows, who="file" not in self.params and "task" not in self.params))
