"""Objects: who holds them, how much memory they take, and what keeps one of them alive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...cluster.core.census import Keeper, Kept, kept_text
from ...cluster.protocol.common import Cell
from ..model import NodeSample, NodeView
from ..sources import Rows
from .base import Page
from .panels import Choice, Column, Control, Details, Numbers, Opens, Panel, Plot, Table
from .tracks import Stack
from .words import host_names, in_cell, process_names, share_of, site_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..state import State

__all__ = ["ObjectPage", "Objects"]

_MOST = 500  # rows, the largest objects
_SMALL = 1_000_000  # bytes: what is larger lies in a store, even if that has not told it yet
_GROUPS = {"maker": "function and line", "cell": "cell", "holder": "process", "node": "node", "stored": "where it lies"}
_HELD = {
    "LOCAL_REFERENCE": "a reference",
    "PINNED_IN_MEMORY": "a value of it",
    "USED_BY_PENDING_TASK": "a task's argument",
    "CAPTURED_IN_OBJECT": "in another object",
    "ACTOR_HANDLE": "an actor's handle",
    "UNKNOWN_STATUS": "nobody who answered",
}
_COLUMNS = (
    "key",
    "object_id",
    "size",
    "maker",
    "site",
    "cell",
    "holder",
    "how",
    "owner",
    "node",
    "stored",
    "status",
    "pins",
)


class Objects(Page):
    """See the top of the file."""

    name = "objects"
    title = "Objects"
    about = "Who holds which objects, what made them, and how much memory they take"
    PARAMS = ("by",)
    NEEDS = ("objects", "workers", "actors", "nodes")

    def __init__(self, params: Mapping[str, str]) -> None:
        super().__init__(params)
        self._by = self.params.get("by", "maker")
        self._numbers = self.add(Rows("numbers", Numbers.COLUMNS))
        self._store = Stack("store")
        self.add(self._store.series)
        self._groups = self.add(Rows("groups", ("key", "count", "bytes", "share", "holders")))
        self._objects = self.add(Rows("objects", _COLUMNS))
        self._version = 0
        self._last: dict[bytes, tuple[NodeView, NodeSample]] = {}

    def controls(self) -> list[Control]:
        """By what objects are summed up."""
        return [Choice("by", "Sum up by", values=list(_GROUPS.items()))]

    def panels(self) -> list[Panel]:
        """Figures, memory over time, sums, objects."""
        return [
            Numbers("numbers"),
            Plot("Memory of objects", ["store"], "times:stacked", {"number": "0.0 d"}, height=200,
                 hint="Shared memory that objects take, by node", empty="No node has told its object store yet."),
            Table(
                f"By {_GROUPS.get(self._by, self._by)}",
                "groups",
                [
                    Column("key", _GROUPS.get(self._by, self._by).capitalize()),
                    Column("count", "Objects", "number"),
                    Column("bytes", "Size", "bytes", "Each object once"),
                    Column("share", "Of all", "share"),
                    Column("holders", "Held by", "number", "Processes that hold one of them"),
                ],
                sort="-bytes",
                height=260,
                empty="There are no objects: himalia.put(value) or a task's result makes one.",
            ),
            Table(
                "Objects",
                "objects",
                [
                    Column("size", "Size", "bytes"),
                    Column("maker", "Made by"),
                    Column("cell", "Cell", "cell"),
                    Column("site", "At", "code"),
                    Column("holder", "Held by"),
                    Column("how", "As"),
                    Column("owner", "Owner"),
                    Column("node", "Node", "text", "Of the holder"),
                    Column("stored", "Lies", "text", "Where its value is"),
                    Column("status", "Task", "text", "State of the task that makes it"),
                    Column("pins", "In use", "number", "Reads of it in its store"),
                    Column("object_id", "Id", "id"),
                ],
                sort="-size",
                height=520,
                search=True,
                opens=Opens("object", {"object": "object_id"}),
                empty="There are no objects: himalia.put(value) or a task's result makes one.",
                hint="A row for each process that holds one, the largest first; it opens what keeps the object alive",
            ),
        ]  # fmt: skip

    def update(self, state: State) -> None:
        """See `Page.update`."""
        names, hosts = process_names(state), host_names(state)
        rows = [_object_row(row, names, hosts) for row in state.get("objects")[:_MOST]]
        self._objects.set(rows)
        self._draw_groups([_object_row(row, names, hosts) for row in state.get("objects")])
        self._draw_numbers(state)
        changes = state.model.changes_since(self._version, bars=0)
        self._version = changes.version
        for node in changes.nodes:
            for sample in node.samples[-1:]:
                self._last[node.node_id] = (node, sample)
        if any(node.samples for node in changes.nodes):
            living = {node_id: sample for node_id, (node, sample) in self._last.items() if node.alive}
            at = max((sample.at for sample in living.values()), default=state.now)
            self._store.add(
                at,
                {
                    hosts.get(node_id.hex(), self._last[node_id][0].host): one.store_used
                    for node_id, one in living.items()
                },
            )

    def _draw_groups(self, rows: list[tuple[Any, ...]]) -> None:
        sums: dict[str, tuple[dict[str, int], set[str]]] = {}
        for row in rows:
            one = dict(zip(_COLUMNS, row, strict=True))
            # A line says something only with its cell.
            place = f"{one['cell']} {one['site']}" if one["site"].startswith("line ") else one["site"]
            key = f"{one['maker']} {place}".strip() if self._by == "maker" else str(one.get(self._by) or "")
            sizes, holders = sums.setdefault(key or "none", ({}, set()))
            sizes[one["object_id"]] = max(one["size"] or 0, 0)
            holders.add(one["holder"])
        whole = sum({row[1]: max(row[2] or 0, 0) for row in rows}.values())
        self._groups.set(
            (key, len(sizes), total := sum(sizes.values()), round(total / whole, 3) if whole else 0.0, len(holders))
            for key, (sizes, holders) in sums.items()
        )

    def _draw_numbers(self, state: State) -> None:
        sizes = {row["object_id"]: max(row["object_size"], 0) for row in state.get("objects")}
        stored = {row["object_id"] for row in state.get("objects") if row["stored_on"]}
        spilled = sum({row["object_id"]: max(row["object_size"], 0) for row in state.get("objects")
                       if "SPILLED" in row["stored"]}.values())  # fmt: skip
        living = [row for row in state.get("nodes") if row["state"] == "ALIVE"]
        used, room = (sum(row[name] for row in living) for name in ("object_store_used", "object_store_bytes"))
        share = share_of(used, room)
        self._numbers.set(
            [
                ("objects", "Objects", len(sizes), "number", None, f"{len(stored):,} in stores"),
                ("bytes", "Size in all", sum(sizes.values()), "bytes", None, "each once"),
                ("store", "Memory of stores", used, "bytes", share, f"of {room / 1e9:.1f} GB"),
                ("spilled", "Spilled", spilled, "bytes", None, "on disk"),
            ]
        )


def _object_row(row: dict[str, Any], names: Mapping[str, str], hosts: Mapping[str, str]) -> tuple[Any, ...]:
    holder, owner = row["holder_id"], row["owner_id"]
    return (
        f"{row['object_id']}:{holder}",
        row["object_id"],
        row["object_size"] if row["object_size"] >= 0 else None,
        "put" if row["origin"] == "PUT" else row["function"],
        site_name(row["call_site"]),
        in_cell(row["cell"]),
        names.get(holder, holder[:6]) if holder else "nobody",
        _HELD.get(row["reference_type"], row["reference_type"].lower().replace("_", " ")),
        names.get(owner, f"{owner[:6]}, which has ended" if owner else ""),
        hosts.get(row["node_id"], ""),
        row["stored"].lower() or ("in its owner" if row["object_size"] < _SMALL else "not told"),
        "" if row["task_status"] == "NIL" else row["task_status"].lower(),
        row["pins"],
    )


class ObjectPage(Page):
    """One object: what it is, who holds it, and by what name."""

    name = "object"
    title = "Object"
    about = "Why one object is still alive: who holds it, by what name, from which cell"
    PARAMS = ("object",)
    NEEDS = ("objects", "workers", "actors", "nodes")
    IN_MENU = False

    def __init__(self, params: Mapping[str, str]) -> None:
        super().__init__(params)
        self._object = self.params.get("object", "")
        self._details = self.add(Rows("details", Details.COLUMNS))
        self._kept = self.add(Rows("kept", ("key", "holder", "what", "cell", "node", "state")))

    def needs(self) -> list[str]:
        """What keeps it alive, too."""
        return [*self.NEEDS, *([self._question] if self._object else [])]

    @property
    def _question(self) -> str:
        return f"object:{self._object}"

    def panels(self) -> list[Panel]:
        """What it is, and what keeps it alive."""
        return [
            Details("Object", "details", empty="There is no such object any more: nobody holds it."),
            Table(
                "What keeps it alive",
                "kept",
                [
                    Column("holder", "Process"),
                    Column("what", "Holds it by", "sentence"),
                    Column("cell", "Cell", "cell"),
                    Column("node", "Node"),
                    Column("state", "", "state"),
                ],
                empty="It is asked for … A small value that lies in its owner has no memory of its own to explain.",
                hint="Asked every ten seconds: a process looks through all that has a name there. "
                "%memory release NAME lets go of a notebook's name",
            ),
        ]  # fmt: skip

    def update(self, state: State) -> None:
        """See `Page.update`."""
        names, hosts = process_names(state), host_names(state)
        found = [row for row in state.get("objects") if row["object_id"] == self._object]
        self._details.set(_described(found, names, hosts) if found else [])
        nodes = {row["worker_id"]: hosts.get(row["node_id"], "") for row in state.get("workers")}
        rows = []
        for place, row in enumerate(state.get(self._question)):
            holder, note = row["holder"], row.get("note", "")
            what = note or _kept_text(row, names, state)
            cell = in_cell(row.get("cell"))
            mark = "warning" if note else ""
            rows.append((place, names.get(holder, holder[:6]), what, cell, nodes.get(holder, ""), mark))
        self._kept.set(rows)


def _kept_text(row: Mapping[str, Any], names: Mapping[str, str], state: State) -> str:
    if row["keeper"] == "name":
        return str(row["name"])
    actors = {
        actor["actor_id"]: f"actor {actor['class_name']} {actor['name']}".strip() for actor in state.get("actors")
    }
    cell = Cell(b"", row["cell"]) if row["cell"] else None
    kept = Kept(Keeper(row["keeper"]), row["name"], cell, bytes.fromhex(row["process"]))
    return kept_text(
        kept,
        lambda process: f"a reference that {names.get(process.hex(), 'a process that has ended')} has borrowed",
        lambda actor: actors.get(actor.hex(), "an actor"),
    )


def _described(
    found: list[dict[str, Any]], names: Mapping[str, str], hosts: Mapping[str, str]
) -> list[tuple[Any, ...]]:
    row = dict(zip(_COLUMNS, _object_row(found[0], names, hosts), strict=True))
    on = ", ".join(hosts.get(node, node[:6]) for node in found[0]["stored_on"] or [])
    return [
        ("object_id", "Id", row["object_id"], "code"),
        ("size", "Size", row["size"], "bytes"),
        ("maker", "Made by", row["maker"], "text"),
        ("cell", "In cell", row["cell"], "cell"),
        ("site", "At", row["site"] if found[0]["cell"] else found[0]["call_site"], "code"),
        ("owner", "Owner", row["owner"], "text"),
        ("holders", "Processes that hold it", sum(1 for one in found if one["holder_id"]), "number"),
        ("stored", "Lies", f"{row['stored']}{f' on {on}' if on else ''}", "text"),
        ("pins", "Reads in its store", row["pins"], "number"),
        ("status", "Its task", row["status"], "text"),
    ]
