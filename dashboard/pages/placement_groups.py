"""Placement groups: what they reserve, where, what of it is free, and why one waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..sources import Rows
from .base import Page
from .panels import Act, Column, Details, Numbers, Opens, Panel, Table
from .scheduling import waiting_key
from .words import host_names, in_cell, seconds_of, took

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from ..state import State

__all__ = ["BUNDLE", "PlacementGroupPage", "PlacementGroups", "bundle_rows", "bundle_table"]

_REMOVE: Final = Act("remove_group", "Remove", {"group_id": "group_id"}, when="may_remove")

_NEVER: Final = "never fits"  # another word and colour than of what only waits

_EMPTY: Final = (
    "There are no placement groups. One reserves resources that are needed together: "
    "from himalia.util.placement_group import placement_group; group = placement_group([{'CPU': 1}] * 2)"
)

BUNDLE: Final = (
    "key", "group_id", "group", "number", "node", "mark", "has", "free", "share", "actors", "labels",
)  # fmt: skip


def bundle_table(title: str, *, of_one: bool = False, height: int = 0, empty: str = "No bundle is reserved.") -> Table:
    """Bundles as a table over a source ``bundles`` of `BUNDLE`."""
    named = [] if of_one else [Column("group", "Group")]
    return Table(
        title,
        "bundles",
        [
            *named,
            Column("number", "Bundle", "number"),
            Column("mark", "State", "state"),
            Column("node", "Node"),
            Column("has", "Reserves", "code"),
            Column("free", "Free of it", "code", "What no task or actor of the group holds, as its node said last"),
            Column("share", "In use", "share", "Of the resource that is used most"),
            Column("actors", "Actors", "number"),
            Column("labels", "Only on nodes with", "code"),
        ],
        height=height,
        opens=None if of_one else Opens("placement_group", {"group": "group_id"}),
        empty=empty,
    )


def bundle_rows(
    groups: Iterable[Mapping[str, Any]], hosts: Mapping[str, str], nodes: Collection[str] | None = None
) -> Iterator[tuple[Any, ...]]:
    """Bundles of groups that are not removed, as rows of `BUNDLE`; on some nodes, or (None) all, also those on none."""
    for group in groups:
        if group["state"] == "REMOVED":
            continue
        for number, bundle in enumerate(group["bundles"] or ()):
            if nodes is not None and bundle["node_id"] not in nodes:
                continue
            has, free = bundle["unit_resources"], bundle["available_resources"]
            yield (
                f"{group['placement_group_id']}:{number}",
                group["placement_group_id"],
                _title(group),
                number,
                hosts.get(bundle["node_id"] or "", bundle["host"]),
                {"CREATED": "created", "PREPARING": "pending"}.get(bundle["state"], "waiting"),
                amounts(has),
                "" if free is None else amounts({name: free.get(name, 0.0) for name in has}),
                None if free is None else _used(has, free),
                bundle["actors"],
                ", ".join(f"{key}={value}" for key, value in (bundle["label_selector"] or {}).items()),
            )


def amounts(resources: Mapping[str, float]) -> str:
    """``2 CPU, 1 GPU``."""
    return ", ".join(
        f"{quantity / 1e9:.1f} GB {name}" if name.endswith("memory") else f"{quantity:g} {name}"
        for name, quantity in sorted(resources.items())
    )


def _used(has: Mapping[str, float], free: Mapping[str, float]) -> float:
    return round(max((1 - free.get(name, 0.0) / whole for name, whole in has.items() if whole), default=0.0), 3)


def _title(group: Mapping[str, Any]) -> str:
    return str(group["name"] or group["placement_group_id"][:8])


def _mark(group: Mapping[str, Any]) -> str:
    if group["state"] in ("PENDING", "RESCHEDULING") and (group["stats"] or {}).get("scheduling_state") == "NEVER":
        return _NEVER
    return str(group["state"]).lower()


def _whole(group: Mapping[str, Any]) -> str:
    sums: dict[str, float] = {}
    for bundle in group["bundles"] or ():
        for name, quantity in bundle["unit_resources"].items():
            sums[name] = sums.get(name, 0.0) + quantity
    return amounts(sums)


class PlacementGroups(Page):
    """See the top of the file."""

    name = "placement_groups"
    title = "Placement groups"
    about = "What is reserved together, on which nodes, what of it is free, and why a group waits"
    NEEDS = ("placement_groups", "nodes")

    def __init__(self, params: Mapping[str, str]) -> None:
        super().__init__(params)
        self._numbers = self.add(Rows("numbers", ("key", "label", "value", "kind", "share", "note")))
        self._groups = self.add(
            Rows(
                "groups",
                ("group_id", "name", "mark", "strategy", "bundles", "nodes", "needs", "reason", "cell", "job",
                 "begun", "may_remove"),
            )
        )  # fmt: skip
        self._bundles = self.add(Rows("bundles", BUNDLE))

    def panels(self) -> list[Panel]:
        """Figures, groups, and their bundles."""
        return [
            Numbers("numbers"),
            Table(
                "Placement groups",
                "groups",
                [
                    Column("name", "Group"),
                    Column("mark", "State", "state"),
                    Column("strategy", "Strategy", "code"),
                    Column("bundles", "Bundles", "number"),
                    Column("nodes", "Nodes", "number", "On which they lie"),
                    Column("needs", "Reserves in all", "code"),
                    Column("reason", "Why it waits, or was removed", "sentence"),
                    Column("cell", "Cell", "cell"),
                    Column("job", "Job", "code"),
                    Column("begun", "Created", "ago"),
                ],
                opens=Opens("placement_group", {"group": "group_id"}),
                acts=[_REMOVE],
                search=True,
                height=360,
                empty=_EMPTY,
                hint="A row opens the group with what runs and waits in it",
            ),
            bundle_table("Bundles", height=420, empty="No bundle is reserved or waited for."),
        ]

    def update(self, state: State) -> None:
        """See `Page.update`."""
        groups = state.get("placement_groups")
        self._groups.set(
            (
                group["placement_group_id"],
                _title(group),
                _mark(group),
                group["strategy"],
                group["bundle_count"],
                group["node_count"],
                _whole(group),
                group["reason"],
                in_cell(group["cell"]),
                group["creator_job_id"],
                seconds_of(group["creation_time_ms"]),
                group["state"] != "REMOVED",
            )
            for group in groups
        )
        self._bundles.set(bundle_rows(groups, host_names(state)))
        marks = [_mark(group) for group in groups if group["state"] != "REMOVED"]
        created, never = marks.count("created"), marks.count(_NEVER)
        bundles = [bundle for group in groups if group["state"] == "CREATED" for bundle in group["bundles"] or ()]
        free = sum(1 for one in bundles if one["available_resources"] == one["unit_resources"])
        self._numbers.set(
            [
                ("created", "In place", created, "number", None, f"{len(bundles):,} bundles"),
                ("waiting", "Waiting", len(marks) - created - never, "number", None, "for room on nodes"),
                ("never", "Can never be placed", never, "number", None, "as the cluster is"),
                ("unused", "Bundles without work", free, "number", None, "reserved, and nothing runs in them"),
            ]
        )


class PlacementGroupPage(Page):
    """One placement group: what it is, where it lies, what runs and waits in it."""

    name = "placement_group"
    title = "Placement group"
    about = "One placement group: where its bundles lie, what of them is free, what runs and waits in it"
    PARAMS = ("group",)
    NEEDS = ("placement_groups", "actors", "pending", "nodes")
    IN_MENU = False

    def __init__(self, params: Mapping[str, str]) -> None:
        super().__init__(params)
        self._group = self.params.get("group", "")
        self._details = self.add(Rows("details", ("key", "label", "value", "kind")))
        self._bundles = self.add(Rows("bundles", BUNDLE))
        self._actors = self.add(Rows("actors", ("actor_id", "class", "name", "state", "node", "pid", "cell", "begun")))
        self._waiting = self.add(Rows("waiting", ("key", "name", "kind", "tasks", "waited", "reason")))

    def panels(self) -> list[Panel]:
        """What it is, its bundles, its actors, and what waits in it."""
        return [
            Details("Placement group", "details", acts=[_REMOVE],
                    empty="There is no such placement group, or it was removed so long ago that nobody remembers it."),
            bundle_table("Bundles", of_one=True, empty="It has been removed: nothing is reserved."),
            Table(
                "Actors in it",
                "actors",
                [
                    Column("class", "Class"),
                    Column("name", "Name"),
                    Column("state", "State", "state"),
                    Column("node", "Node"),
                    Column("pid", "Process", "code"),
                    Column("cell", "Cell", "cell"),
                    Column("begun", "Created", "ago"),
                ],
                span=6,
                opens=Opens("actor", {"actor": "actor_id"}),
                empty="No actor is in it.",
            ),
            Table(
                "What waits in it",
                "waiting",
                [
                    Column("name", "Function or class"),
                    Column("kind", "What"),
                    Column("tasks", "How many", "number"),
                    Column("waited", "For", "seconds", "The longest of them"),
                    Column("reason", "Why", "sentence"),
                ],
                span=6,
                sort="-waited",
                opens=Opens("scheduling", {"of": "key"}),
                empty="Nothing waits for room in it.",
            ),
        ]  # fmt: skip

    def update(self, state: State) -> None:
        """See `Page.update`."""
        found = [group for group in state.get("placement_groups") if group["placement_group_id"] == self._group]
        hosts = host_names(state)
        self._details.set(_describe(found[0]) if found else [])
        self._bundles.set(bundle_rows(found, hosts))
        self._actors.set(
            (
                actor["actor_id"],
                actor["class_name"],
                actor["name"],
                actor["state"].lower().replace("_", " "),
                hosts.get(actor["node_id"] or "", ""),
                str(actor["pid"] or ""),
                in_cell(actor["cell"]),
                seconds_of(actor["start_time_ms"]),
            )
            for actor in state.get("actors")
            if self._group and actor["placement_group_id"] == self._group and actor["state"] != "DEAD"
        )
        self._waiting.set(
            (waiting_key(row), row["name"], row["kind_of_work"], row["tasks"], row["waited_s"], row["reason"])
            for row in state.get("pending")
            if self._group and row["placement_group_id"] == self._group
        )


def _describe(group: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    stats = group["stats"] or {}
    latency = stats.get("end_to_end_creation_latency_ms")
    ends = "remove_placement_group() only: it is detached" if group["is_detached"] else (
        f"the actor {group['creator_actor_id']}" if group["creator_actor_id"] else "its job"
    )  # fmt: skip
    return [
        ("name", "Name", group["name"] or "none", "text"),
        ("mark", "State", _mark(group), "state"),
        ("reason", "Why", group["reason"], "text"),
        ("strategy", "Strategy", group["strategy"], "code"),
        ("needs", "Reserves in all", _whole(group), "code"),
        ("begun", "Created", seconds_of(group["creation_time_ms"]), "ago"),
        ("placed", "In place after", took(latency / 1000) if latency is not None else "", "text"),
        ("placements", "Times that it was placed", stats.get("placements"), "number"),
        ("attempts", "Times that nodes were asked", stats.get("scheduling_attempt"), "number"),
        ("ends", "Ends with", ends, "text"),
        ("cell", "Created in", in_cell(group["cell"]), "cell"),
        ("site", "Created at", group["call_site"], "code"),
        ("job", "Job", group["creator_job_id"], "code"),
        ("group_id", "Id", group["placement_group_id"], "code"),
        ("may_remove", "", group["state"] != "REMOVED", "bool"),
    ]
