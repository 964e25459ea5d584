"""Who holds what: one row for each object and process, from what processes and stores report. Pure.

Each process tells the references it has, each store what lies in it. The owner's word on size and maker counts for all
rows of an object; what a store has and nobody holds gets a row of its own (its owner may not have answered, or a value
that was read from it is still in use somewhere).

    rows = merge_reports(reports, stored)
    by_node = group_rows(rows, lambda row: row.holder_node)
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar

import msgspec

from ..protocol.common import Cell
from ..protocol.core_messages import HeldObject, ObjectsHeld, ReferenceKind
from ..protocol.ids import object_index, object_owner, object_task

__all__ = ["ObjectRow", "Stored", "Task", "group_rows", "merge_reports"]

K = TypeVar("K", bound=Hashable)


class Stored(msgspec.Struct, frozen=True):
    """An object in the store of a node, as its raylet tells."""

    node_id: bytes
    object_id: bytes
    size: int
    state: str
    pins: int
    owner: bytes = b""


class Task(msgspec.Struct, frozen=True):
    """The task that made an object, as telemetry remembers it."""

    name: str
    cell: Cell | None


class ObjectRow(msgspec.Struct):
    """An object, as one process holds it. Sizes are bytes, -1 if unknown.

    ``holder`` is empty where only a store has it. ``kinds`` are what holds it there, the strongest first. ``stored``:
    its state in each store that has it. ``maker`` is the function whose result it is; empty for what was put.
    """

    object_id: bytes
    size: int
    status: str
    kinds: list[ReferenceKind]
    owner: bytes
    holder: bytes
    holder_pid: int
    holder_node: bytes
    stored: dict[bytes, str] = {}
    pins: int = 0
    maker: str = ""
    cell: Cell | None = None
    site: str = ""

    @property
    def is_owned_here(self) -> bool:
        """The holder is the owner."""
        return self.holder == self.owner

    @property
    def is_put(self) -> bool:
        """It was put, and is no task's result."""
        return object_index(self.object_id) == 0


def merge_reports(
    reports: Iterable[ObjectsHeld], stored: Iterable[Stored], tasks: Mapping[bytes, Task] | None = None
) -> list[ObjectRow]:
    """Rows, the largest objects first, and of one object its owner's first."""
    stores: dict[bytes, list[Stored]] = {}
    for one in stored:
        stores.setdefault(one.object_id, []).append(one)
    told: dict[bytes, HeldObject] = {}  # by the owner, else by anybody
    rows: list[ObjectRow] = []
    for report in reports:
        for held in report.objects:
            owner = object_owner(held.object_id)
            if owner == report.worker_id or held.object_id not in told:
                told[held.object_id] = held
            rows.append(
                ObjectRow(
                    held.object_id,
                    held.size,
                    held.status,
                    held.kinds,
                    owner,
                    report.worker_id,
                    report.pid,
                    report.node_id,
                )
            )
    for object_id in stores.keys() - told.keys():
        first = stores[object_id][0]
        owner = first.owner or object_owner(object_id)
        status = "NIL" if object_index(object_id) == 0 else "FINISHED"
        rows.append(ObjectRow(object_id, first.size, status, [], owner, b"", 0, first.node_id))
    for row in rows:
        _complete(row, told.get(row.object_id), stores.get(row.object_id, []), tasks or {})
    rows.sort(key=lambda row: (-row.size, row.object_id, not row.is_owned_here))
    return rows


def _complete(row: ObjectRow, held: HeldObject | None, stored: list[Stored], tasks: Mapping[bytes, Task]) -> None:
    row.stored = {one.node_id: one.state for one in stored}
    row.pins = sum(one.pins for one in stored)
    if held is not None:
        row.size = held.size if held.size >= 0 else row.size
        row.status = held.status
        row.maker, row.cell, row.site = held.maker, held.cell, held.site
    if row.size <= 0 and stored:
        row.size = stored[0].size
    task = None if row.is_put else tasks.get(object_task(row.object_id))
    if task is not None:
        row.maker, row.cell = row.maker or task.name, row.cell or task.cell


def group_rows(rows: Iterable[ObjectRow], key: Callable[[ObjectRow], K]) -> dict[K, list[ObjectRow]]:
    """Rows by what ``key`` tells of them; groups with the most bytes first, each object counted once a group."""
    groups: dict[K, list[ObjectRow]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)

    def size(group: list[ObjectRow]) -> int:
        return sum({row.object_id: max(row.size, 0) for row in group}.values())

    return dict(sorted(groups.items(), key=lambda item: -size(item[1])))
