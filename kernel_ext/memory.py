"""What `%memory` tells: every object in a store, its size and place, who made it, and what keeps it alive.

Put together from five sources: the tables of this process (`take_census`), the names of the notebook (`find_holders`),
the object stores themselves (what there is at all, and values that other processes read in place), what the other
processes say of what they hold (`Others`), and the GCS (which process is which actor). Only text and numbers leave this
module: a report holds no reference.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..cluster.core.census import Kept, KnownObject, kept_text, take_census
from ..cluster.core.holders import LIMIT, Holder, Kind, find_holders, holder_text
from ..cluster.gcs.client import GcsClient, GcsRefusedError, GcsUnreachableError
from .others import Others
from .places import place_text
from .process_names import ASK_SECONDS, SHOWN_DIGITS, ProcessNames
from .roots import notebook_roots

if TYPE_CHECKING:
    from ..cluster.core.runtime import Core

__all__ = ["MemoryReport", "ObjectLine", "report_memory"]


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
    names = ProcessNames(core)
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
    others = Others(shell, names, notes)
    lines = []
    for row in known:
        line = _known_line(core, shell, row, by_name.get(row.object_id, []), stored, names)
        if row.owner is not None:
            line.made = others.made(row.object_id)
        lines.append(line)
    ours = {row.object_id for row in known}
    for object_id, found in stored.items():
        if object_id not in ours:
            title, kept = others.title(object_id), others.kept(object_id, found.pinned_by)
            where, made = names.nodes(found.nodes), others.made(object_id)
            lines.append(ObjectLine(object_id.hex(), title, found.size, where, made, kept, shared=found.shared))
    lines.sort(key=lambda line: (-line.size, line.title))
    return MemoryReport(lines, notes)


# -- objects of this process -------------------------------------------------------------------------------------------


def _known_line(
    core: Core, shell: Any, row: KnownObject, holders: list[Holder], stored: dict[bytes, _Stored], names: ProcessNames
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
    roots = {holder.root: None for holder in holders if holder.kind in (Kind.OUT, Kind.VARIABLE, Kind.CLOSURE)}
    if any(holder.kind is Kind.TRACEBACK for holder in holders):
        roots["traceback"] = None
    shared = found is not None and found.shared
    return ObjectLine(row.object_id.hex(), row.title, row.size, names.nodes(nodes), made, kept, list(roots), shared)


def _kept_texts(kept: list[Kept], names: ProcessNames) -> list[str]:
    counted = Counter(kept_text(entry, names.process, names.actor) for entry in kept)
    return [text if number == 1 else f"{text} ({number} times)" for text, number in counted.items()]


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
                stats = client.store_stats(node.raylet, timeout=ASK_SECONDS)
            except (GcsUnreachableError, GcsRefusedError) as error:
                notes.append(f"Node {node.node_id.hex()[:SHOWN_DIGITS]} is missing: {error}")
                continue
            rows = zip(stats.objects, stats.pinned_by, stats.shares, strict=True)
            for (object_id, size, state, _, _), pinned_by, shares in rows:
                if state == "freed" and not pinned_by:
                    continue
                entry = found.setdefault(object_id, _Stored(size, shared=shares in found))
                entry.nodes.append(node.node_id)
                entry.pinned_by += pinned_by
    return found
