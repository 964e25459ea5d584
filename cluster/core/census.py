"""The objects in stores that this process knows, and what of its own tables keeps each of them alive.

Strategy: nothing is counted for this while work goes on. When somebody asks, the tables are read: who borrows, which
tasks have it as an argument, whose lineage or contents it is. What the user's own variables hold is not among these: a
reference there is only a Python object (see holders.py). An object whose last reference is gone is listed as
long as a value that was read from it is in use, because its memory is.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ..protocol.common import Address, Cell
from ..protocol.ids import object_counter, object_index
from .records import Record
from .refs import STORE, Extra, ObjectRef
from .sites import Site

if TYPE_CHECKING:
    from .runtime import Core

__all__ = ["Keeper", "Kept", "KnownObject", "kept_text", "take_census"]


class Keeper(StrEnum):
    """What keeps an object alive, as far as this process's own tables tell."""

    TASK = "task"  # it is an argument of one that has not ended
    LINEAGE = "lineage"  # another object can be made again only with it
    OBJECT = "object"  # another object contains its reference
    FUNCTION = "function"  # a remote function or actor class took its reference along
    ACTOR = "actor"  # an argument of a constructor, which a restart needs
    PROCESS = "process"  # another process holds a reference
    PICKLE = "pickle"  # somebody pickled the reference, out of our sight
    TRANSIT = "transit"  # a message that carries it is under way


class Kept(NamedTuple):
    """One thing that keeps an object alive.

    Attributes
    ----------
    name
        Of the task or function; number of the other object.
    cell
        That submitted the task.
    process
        Who borrows; id of the actor.
    """

    keeper: Keeper
    name: str = ""
    cell: Cell | None = None
    process: bytes = b""


class KnownObject(msgspec.Struct, eq=False):
    """One object in a store.

    Attributes
    ----------
    ref
        None if this process has a value of it only.
    owner
        None: this process.
    start, end
        Addresses of its memory here, while a value that was read from it is in use; else 0.
    """

    object_id: bytes
    size: int
    nodes: list[bytes]
    owner: Address | None
    maker: str
    cell: Cell | None
    site: Site | None
    ref: ObjectRef | None = None
    spans: list[tuple[int, int]] = []
    kept: list[Kept] = []

    @property
    def title(self) -> str:
        """As its repr calls it."""
        index = object_index(self.object_id)
        return f"ObjectRef {object_counter(self.object_id)}" + (f".{index}" if index > 1 else "")


def kept_text(kept: Kept, process: Callable[[bytes], str], actor: Callable[[bytes], str]) -> str:
    """What keeps an object alive, as a sentence says it. ``process`` and ``actor`` name these by their ids."""
    cell = f" of In [{kept.cell.execution}]" if kept.cell is not None and kept.cell.execution else ""
    texts: dict[Keeper, Callable[[], str]] = {
        Keeper.TASK: lambda: f"task `{kept.name}`{cell}, which has it as an argument",
        Keeper.LINEAGE: lambda: f"the lineage of {kept.name}",
        Keeper.OBJECT: lambda: f"{kept.name}, which contains its reference",
        Keeper.FUNCTION: lambda: f"remote function `{kept.name}`, which took it along (until %cluster stop)",
        Keeper.ACTOR: lambda: f"the constructor's arguments of {actor(kept.process)}",
        Keeper.PROCESS: lambda: process(kept.process),
        Keeper.PICKLE: lambda: "a pickle of its reference (until %cluster stop)",
        Keeper.TRANSIT: lambda: "a message that is under way",
    }
    return texts[kept.keeper]()


def take_census(core: Core) -> list[KnownObject]:
    """List what this process knows; the rows hold their references, so drop them soon."""
    refs, extras = _ours_in_memory()
    done: list[list[KnownObject]] = []
    core.post(lambda: done.append(_Census(core, refs, extras).rows()))
    core.wait_until(lambda: done, None)
    return done[0]


def _ours_in_memory() -> tuple[list[ObjectRef], list[Extra]]:
    """Every reference in a store, and all that says what objects contain: no table has those of small values."""
    refs: list[ObjectRef] = []
    extras: list[Extra] = []
    for thing in gc.get_objects():
        kind = type(thing)
        if kind is ObjectRef:
            refs.append(thing)
        elif kind is Extra:
            extras.append(thing)
    return refs, extras


class _Census:
    def __init__(self, core: Core, refs: list[ObjectRef], extras: list[Extra]) -> None:
        self.core = core
        self.extras = extras
        self.found: dict[bytes, KnownObject] = {}
        for ref in refs:
            extra = ref._x
            if ref._state == STORE and extra is not None and extra.size and not self._of_another_session(extra):
                self._row(extra).ref = ref

    def rows(self) -> list[KnownObject]:
        self._values()
        self._tasks()
        self._contents()
        self._others()
        return list(self.found.values())

    def _of_another_session(self, extra: Extra) -> bool:
        return extra.owner is None and extra.worker_id != self.core.worker_id

    def _row(self, extra: Extra) -> KnownObject:
        object_id = extra.object_id()
        row = self.found.get(object_id)
        if row is None:
            made = extra.made
            name = made.name if made is not None else ""
            cell, site = (made.cell, made.site) if made is not None else (None, None)
            owner = extra.owner if extra.worker_id != self.core.worker_id else None
            row = self.found[object_id] = KnownObject(object_id, extra.size, extra.nodes, owner, name, cell, site)
        return row

    def _values(self) -> None:
        """Values that were read in place and are still in use, also those whose reference is gone."""
        core = self.core
        for extra in list(core._pins.values()):
            if extra.readers > 0 and extra.size:
                self._row(extra)
        if core._arena is None:
            return
        for start, size, on_release in core._arena.in_use():
            row = self.found.get(on_release.args[0])  # type: ignore[attr-defined] # the partial made in `_read`
            if row is not None:
                row.spans.append((start, start + size))

    def _keep(self, ref: Any, kept: Kept) -> None:
        if isinstance(ref, ObjectRef) and (row := self.found.get(ref.binary())) is not None:
            row.kept.append(kept)

    def _tasks(self) -> None:
        for record in self.core.cells.pending():
            for ref in record.holds or ():
                self._keep(ref, Kept(Keeper.TASK, record.plan.name, record.plan.cell))
        for actor_id, refs in self.core._actor_args.items():
            for ref in refs:
                self._keep(ref, Kept(Keeper.ACTOR, process=actor_id))

    def _contents(self) -> None:
        for extra in self.extras:
            title = f"ObjectRef {extra.counter}" + (f".{extra.index}" if extra.index > 1 else "")
            for ref in extra.contained or ():
                self._keep(ref, Kept(Keeper.OBJECT, title))
            record = extra.lineage
            if isinstance(record, Record):
                for ref in record.holds or ():
                    self._keep(ref, Kept(Keeper.LINEAGE, title, record.plan.cell))

    def _others(self) -> None:
        core = self.core
        for name, ref in core.pinned_refs:
            self._keep(ref, Kept(Keeper.FUNCTION, name))
        named = {id(ref) for _, ref in core.pinned_refs}
        for ref in core.references.pinned_forever:
            if id(ref) not in named:
                self._keep(ref, Kept(Keeper.PICKLE))
        for object_id, known in core.references.exported.items():
            row = self.found.get(object_id)
            if row is None:
                continue
            row.kept += [
                Kept(Keeper.PROCESS, process=process) for process, count in known.borrowers.items() if count > 0
            ]
            if known.transit > 0 and not row.kept:
                row.kept.append(Kept(Keeper.TRANSIT))
