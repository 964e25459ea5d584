"""What waits, and why: what it needs, and what each node lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..sources import Rows
from .base import Page
from .panels import Column, Numbers, Opens, Panel, Table
from .words import in_cell, share_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..state import State

__all__ = ["Scheduling", "waiting_key"]

_WORDS = {
    "NEVER": ("can never run", "failed"),
    "FAILED": ("no worker starts", "failed"),
    "BUSY": ("resources in use", "waiting"),
    "ARGUMENTS": ("arguments", "waiting"),
    "STARTING": ("a worker starts", "pending"),
    "KEPT": ("others come first", "waiting"),
    "LIMIT": ("limit of workers", "waiting"),
    "GROUP": ("its placement group", "waiting"),
    "GRANTING": ("is about to run", "running"),
    "MOVING": ("is about to run", "running"),
}


class Scheduling(Page):
    """See the top of the file."""

    name = "scheduling"
    title = "Scheduling"
    about = "Why tasks and actors wait: what they need, and what each node lacks"
    PARAMS = ("of",)
    NEEDS = ("pending", "nodes")

    def __init__(self, params: Mapping[str, str]) -> None:
        super().__init__(params)
        self._numbers = self.add(Rows("numbers", Numbers.COLUMNS))
        self._waiting = self.add(
            Rows("waiting", ("key", "name", "kind", "cell", "tasks", "waited", "verdict", "mark", "needs", "reason"))
        )
        self._nodes = self.add(Rows("nodes", ("key", "name", "host", "verdict", "reason")))
        self._free = self.add(Rows("free", ("key", "host", "resource", "total", "free", "share")))

    def panels(self) -> list[Panel]:
        """What waits, what each node lacks for it, and what each node has."""
        return [
            Numbers("numbers"),
            Table(
                "What waits",
                "waiting",
                [
                    Column("name", "Function or class"),
                    Column("kind", "What"),
                    Column("cell", "Cell", "cell"),
                    Column("tasks", "How many", "number"),
                    Column("waited", "For", "seconds", "The longest of them"),
                    Column("mark", "", "state"),
                    Column("verdict", "Waits for"),
                    Column("needs", "Each needs", "code"),
                    Column("reason", "Why", "sentence"),
                ],
                sort="-waited",
                opens=Opens("", {"of": "key"}),
                empty="Nothing waits: what was submitted runs, or has ended.",
                hint="A row shows only what the nodes lack for it",
            ),
            Table(
                "What each node lacks",
                "nodes",
                [
                    Column("name", "For"),
                    Column("host", "Node"),
                    Column("verdict", "Is"),
                    Column("reason", "Because", "sentence"),
                ],
                height=320,
                empty="Nothing waits for a node.",
            ),
            Table(
                "What each node has",
                "free",
                [
                    Column("host", "Node"),
                    Column("resource", "Resource", "code"),
                    Column("total", "Has"),
                    Column("free", "Free"),
                    Column("share", "In use", "share"),
                ],
                height=320,
                empty="No node has joined yet.",
            ),
        ]

    def update(self, state: State) -> None:
        """See `Page.update`."""
        rows = {waiting_key(row): row for row in state.get("pending")}
        chosen = {key: row for key, row in rows.items() if self.params.get("of", key) == key} or rows
        self._waiting.set(_waiting_row(key, row) for key, row in rows.items())
        self._nodes.set(
            (
                f"{key}:{node['node_id']}",
                row["name"],
                node["host"],
                _WORDS.get(node["verdict"].upper().replace(" ", "_"), (node["verdict"], ""))[0],
                node["reason"],
            )
            for key, row in chosen.items()
            for node in row["nodes"] or []
        )
        self._free.set(
            (
                f"{node['node_id']}:{name}",
                node["node_name"],
                name,
                *_use(name, total, node["resources_available"] or {}),
            )
            for node in state.get("nodes")
            if node["state"] == "ALIVE"
            for name, total in sorted(node["resources_total"].items())
            if not name.startswith("node:")
        )
        never = sum(row["tasks"] for row in rows.values() if row["verdict"] == "NEVER")
        longest = max((row["waited_s"] for row in rows.values()), default=None)
        self._numbers.set(
            [
                ("waiting", "Waiting", sum(row["tasks"] for row in rows.values()), "number", None, "tasks and actors"),
                ("longest", "The longest for", longest, "seconds", None, ""),
                ("never", "Can never run", never, "number", None, "as the cluster is"),
            ]
        )


def waiting_key(row: Mapping[str, Any]) -> str:
    """By which the page names a row of ``pending``."""
    return ":".join(
        str(row[name] or "") for name in ("owner_id", "kind_of_work", "name", "cell", "verdict", "actor_id")
    )


def _waiting_row(key: str, row: Mapping[str, Any]) -> tuple[Any, ...]:
    words, mark = _WORDS.get(row["verdict"], (row["verdict"].lower(), "waiting"))
    needs = [f"{_amount(name, quantity)} {name}" for name, quantity in (row["resources"] or {}).items()]
    needs += [row["strategy"]] if row["strategy"] not in ("", "DEFAULT") else []
    needs += [f"{name}={value}" for name, value in (row["labels"] or {}).items()]
    kind = row["kind_of_work"]
    return (
        key, row["name"], kind, in_cell(row["cell"]), row["tasks"], row["waited_s"], words, mark, ", ".join(needs),
        row["reason"],
    )  # fmt: skip


def _use(name: str, total: float, free_of: Mapping[str, float] | None) -> tuple[str, str, float | None]:
    free = max(0.0, (free_of or {}).get(name, 0.0))
    return _amount(name, total), _amount(name, free), share_of(total - free, total)


def _amount(name: str, quantity: float) -> str:
    """With its unit."""
    return f"{quantity / 1e9:.1f} GB" if name.endswith("memory") else f"{quantity:g}"
