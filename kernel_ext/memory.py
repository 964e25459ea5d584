"""What `%memory` tells: every object in a store, its size and place, who made it, and what keeps it alive.

Put together from four sources: the tables of this process (`take_census`), the names of the notebook (`find_holders`),
the object stores themselves (for what belongs to others, and for values that other processes read in place), and the
GCS (which process is which actor). Only text and numbers leave this module: a report holds no reference.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..cluster.core.census import Keeper, Kept, KnownObject, take_census
from ..cluster.gcs.client import GcsClient, GcsRefusedError, GcsUnreachableError
from ..cluster.protocol.common import Address, Cell
from ..cluster.protocol.gcs_messages import ListState
from ..cluster.protocol.ids import object_counter, object_owner
from .holders import LIMIT, Holder, Kind, find_holders
from .places import place_text
from .roots import notebook_roots

if TYPE_CHECKING:
    from ..cluster.core.runtime import Core

__all__ = ["MemoryReport", "ObjectLine", "report_memory"]

_SHOWN_DIGITS: Final = 8  # of a node's id
_ASK_SECONDS: Final = 2.0  # for a store that does not answer: the rest is worth showing without it


@dataclass
class ObjectLine:
    """One object.

    Attributes
    ----------
    object_id
        In hexadecimal digits.
    where
        The nodes whose stores have it.
    made
        By which function, in which cell and line.
    kept
        What keeps it alive: one text each.
    releases
        Names that ``%memory release`` takes to let go of it.
    shared
        It lies in the memory of another one of these, as a value that was passed on does.
    """

    object_id: str
    title: str
    size: int
    where: str
    made: str
    kept: list[str] = field(default_factory=list)
    releases: list[str] = field(default_factory=list)
    shared: bool = False


@dataclass
class MemoryReport:
    """All objects, the largest first."""

    objects: list[ObjectLine]
    notes: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Bytes of all objects, each piece of memory once."""
        return sum(line.size for line in self.objects if not line.shared)


def report_memory(core: Core, shell: Any) -> MemoryReport:
    """Look at everything once."""
    names = _Names(core)
    notes: list[str] = []
    known = take_census(core)
    by_name, complete = find_holders(
        notebook_roots(shell),
        {id(row.ref): row.object_id for row in known if row.ref is not None},
        [(start, end, row.object_id) for row in known for start, end in row.spans],
    )
    if not complete:
        notes.append(f"The variables hold more than {LIMIT:,} objects: not all names were found.")
    stored = _stores(core, notes)
    lines = [_known_line(core, shell, row, by_name.get(row.object_id, []), stored, names) for row in known]
    ours = {row.object_id for row in known}
    lines += [_foreign_line(object_id, found, names) for object_id, found in stored.items() if object_id not in ours]
    lines.sort(key=lambda line: (-line.size, line.title))
    return MemoryReport(lines, notes)


# -- objects of this process -------------------------------------------------------------------------------------------


def _known_line(
    core: Core, shell: Any, row: KnownObject, holders: list[Holder], stored: dict[bytes, _Stored], names: _Names
) -> ObjectLine:
    kept = [holder_text(holder) for holder in holders]
    kept += _kept_texts(row.kept, names)
    found = stored.get(row.object_id)
    borrowers = {entry.process for entry in row.kept}
    for process in found.pinned_by if found is not None else ():
        if process != core.worker_id and process not in borrowers:
            kept.append(f"a value of it in {names.process(process)}")
    if not any(holder.is_value for holder in holders) and row.spans and row.ref is None:
        kept.append("a value of it that no name leads to")
    if not kept:
        kept.append("a reference that no name leads to")
    nodes = found.nodes if found is not None else row.nodes
    made = place_text(shell, row.maker, row.cell, row.site)
    if row.owner is not None:
        made = names.process(row.owner.worker_id)
    roots = {holder.root: None for holder in holders if holder.kind in (Kind.OUT, Kind.VARIABLE, Kind.CLOSURE)}
    if any(holder.kind is Kind.TRACEBACK for holder in holders):
        roots["traceback"] = None
    shared = found is not None and found.shared
    return ObjectLine(row.object_id.hex(), row.title, row.size, names.nodes(nodes), made, kept, list(roots), shared)


def holder_text(holder: Holder) -> str:
    """A name that keeps an object alive, as a sentence says it."""
    value = "the value in " if holder.is_value else ""
    if holder.kind is Kind.CLOSURE:
        return f"closure `{holder.path}`: {value}its `{holder.variable}`"
    if holder.kind is Kind.VARIABLE:
        return f"{value}variable `{holder.path}`"
    return f"{value}{holder.path}"


def _kept_texts(kept: list[Kept], names: _Names) -> list[str]:
    counted = Counter(_kept_text(entry, names) for entry in kept)
    return [text if number == 1 else f"{text} ({number} times)" for text, number in counted.items()]


def _kept_text(kept: Kept, names: _Names) -> str:
    cell = f" of In [{kept.cell.execution}]" if kept.cell is not None and kept.cell.execution else ""
    texts = {
        Keeper.TASK: f"task `{kept.name}`{cell}, which has it as an argument",
        Keeper.LINEAGE: f"the lineage of {kept.name}",
        Keeper.OBJECT: f"{kept.name}, which contains its reference",
        Keeper.FUNCTION: f"remote function `{kept.name}`, which took it along (until %cluster stop)",
        Keeper.ACTOR: f"the constructor's arguments of {names.actor(kept.process)}",
        Keeper.PROCESS: names.process(kept.process),
        Keeper.PICKLE: "a pickle of its reference (until %cluster stop)",
        Keeper.TRANSIT: "a message that is under way",
    }
    return texts[kept.keeper]


# -- objects of others -------------------------------------------------------------------------------------------------


@dataclass
class _Stored:
    """An object as the stores know it."""

    size: int
    nodes: list[bytes] = field(default_factory=list)
    pinned_by: list[bytes] = field(default_factory=list)
    shared: bool = False


def _stores(core: Core, notes: list[str]) -> dict[bytes, _Stored]:
    found: dict[bytes, _Stored] = {}
    with GcsClient(core.options) as client:
        for node in list(core.nodes.values()):
            if not node.alive:
                continue
            try:
                stats = client.store_stats(node.raylet, timeout=_ASK_SECONDS)
            except (GcsUnreachableError, GcsRefusedError) as error:
                notes.append(f"Node {node.node_id.hex()[:_SHOWN_DIGITS]} is missing: {error}")
                continue
            rows = zip(stats.objects, stats.pinned_by, stats.shares, strict=True)
            for (object_id, size, state, _, _), pinned_by, shares in rows:
                if state == "freed" and not pinned_by:
                    continue
                entry = found.setdefault(object_id, _Stored(size, shared=shares in found))
                entry.nodes.append(node.node_id)
                entry.pinned_by += pinned_by
    return found


def _foreign_line(object_id: bytes, stored: _Stored, names: _Names) -> ObjectLine:
    owner = object_owner(object_id)
    kept = [f"a value of it in {names.process(process)}" for process in stored.pinned_by if process != owner]
    title = f"ObjectRef {object_counter(object_id)}"
    if owner != names.core.worker_id:
        kept.append(f"{names.process(owner)}, which owns it")
        title = f"Object {object_counter(object_id)} of another process"
    elif not kept:
        kept.append("nothing: it goes this moment")
    where = names.nodes(stored.nodes)
    return ObjectLine(object_id.hex(), title, stored.size, where, names.process(owner), kept, shared=stored.shared)


class _Names:
    """Processes, actors and nodes in words."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self._workers: dict[bytes, dict[str, Any]] = {}
        self._actors: dict[bytes, dict[str, Any]] = {}
        with contextlib.suppress(Exception):  # whatever ails the GCS, the rest can be told
            self._workers = {row["worker_id"]: row for row in core.gcs_call(ListState("workers"), _ASK_SECONDS)}
            self._actors = {row["actor_id"]: row for row in core.gcs_call(ListState("actors"), _ASK_SECONDS)}
        self._actor_at = {
            address.worker_id: actor_id
            for actor_id, row in self._actors.items()
            if (address := msgspec.convert(row["address"], Address | None)) is not None
        }

    def actor(self, actor_id: bytes) -> str:
        row = self._actors.get(actor_id)
        if row is None:
            return f"actor {actor_id.hex()}"
        name = f" {row['name']!r}" if row["name"] else ""
        cell = msgspec.convert(row["cell"], Cell | None)
        made = f" of In [{cell.execution}]" if cell is not None and cell.execution else ""
        return f"actor `{row['class_name']}`{name}{made}"

    def process(self, worker_id: bytes) -> str:
        if worker_id == self.core.worker_id:
            return "this kernel"
        row = self._workers.get(worker_id, {})
        pid = f" (pid {row['pid']})" if row.get("pid") else ""
        actor_id = row.get("actor_id") or self._actor_at.get(worker_id)
        if actor_id:
            return f"{self.actor(actor_id)}{pid}"
        return f"{'another driver' if row.get('is_driver') else 'a task of worker'}{pid or ' ' + worker_id.hex()}"

    def nodes(self, nodes: list[bytes]) -> str:
        if not nodes:
            return "nowhere: lost"
        return ", ".join(
            "this node" if node == self.core.node_id else f"node {node.hex()[:_SHOWN_DIGITS]}" for node in nodes
        )
