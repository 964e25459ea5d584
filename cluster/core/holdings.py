"""What a process holds: every reference it has, to objects of its own and of others, for whoever asks.

Strategy: nothing is counted for this while work goes on. References are Python objects, so a question is answered by
looking for them: in what the garbage collector tracks, one step beyond (a reference to a small value is not tracked
itself), and in the variables of functions that run. This takes a fifth of a second where there are a million objects.

Rejected: a table of all references. It would cost each task three dictionary operations (see refs.py).
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from ..protocol.common import Cell
from ..protocol.core_messages import DescribeObjects, HeldObject, ObjectsHeld, ReferenceKind
from .records import Plan, Record
from .refs import BUFFERS, ERROR, FREED, INLINE, PENDING, Extra, ObjectRef
from .sites import Made

if TYPE_CHECKING:
    from .runtime import Core

__all__ = ["all_references", "describe_objects", "held_object"]

_AT_ONCE: Final = 10_000  # objects whose referents are looked at together
_STATES: Final = {PENDING: "PENDING", ERROR: "FAILED", FREED: "FREED"}


def describe_objects(core: Core, message: DescribeObjects) -> ObjectsHeld:
    """The answer to a `DescribeObjects`. In the leader."""
    refs, extras = all_references()
    mine = [ref for ref in refs if ref._w == core.worker_id or (ref._x is not None and ref._x.owner is not None)]
    pending, captured = _tables(core, extras)
    rows = [held_object(core, ref, pending, captured) for ref in mine]
    rows.sort(key=lambda row: -row.size)
    return ObjectsHeld(message.request, core.worker_id, core.node_id, core.pid, rows[: message.limit], len(rows))


def all_references() -> tuple[list[ObjectRef], list[Extra]]:
    """Every `ObjectRef` and `Extra` of this process that something reaches."""
    found: dict[int, ObjectRef] = {}
    extras: list[Extra] = []
    tracked = gc.get_objects()
    for thing in tracked:
        kind = type(thing)
        if kind is ObjectRef:
            found[id(thing)] = thing
        elif kind is Extra:
            extras.append(thing)
    for some in batched_objects(tracked):
        for thing in gc.get_referents(*some):
            if type(thing) is ObjectRef:
                found[id(thing)] = thing
    for value in _variables():
        if type(value) is ObjectRef:
            found[id(value)] = value
    return list(found.values()), extras


def batched_objects(things: list[Any]) -> Iterator[list[Any]]:
    """Lists of some of them each."""
    for start in range(0, len(things), _AT_ONCE):
        yield things[start : start + _AT_ONCE]


def _variables() -> Iterator[Any]:
    """Of the functions that run, which the garbage collector does not know of."""
    for top in sys._current_frames().values():
        frame = top
        while frame is not None:
            yield from frame.f_locals.values()
            frame = frame.f_back  # type: ignore[assignment]  # None at the end


def _tables(core: Core, extras: list[Extra]) -> tuple[set[bytes], set[bytes]]:
    """Objects that tasks wait for, and those that other objects contain."""
    pending: set[bytes] = set()
    for record in core.cells.pending():
        pending.update(ref.binary() for ref in record.holds or ())
    for held in core._actor_args.values():
        pending.update(ref.binary() for ref in held)
    captured = {ref.binary() for extra in extras for ref in extra.contained or ()}
    return pending, captured


def held_object(core: Core, ref: ObjectRef, pending: set[bytes], captured: set[bytes]) -> HeldObject:
    """A reference, for who asks. ``pending``, ``captured``: ids of arguments, and of what other objects contain."""
    object_id, extra = ref.binary(), ref._x
    kinds: list[ReferenceKind] = []
    if extra is not None and extra.readers > 0:
        kinds.append(ReferenceKind.PINNED_IN_MEMORY)
    if object_id in pending:
        kinds.append(ReferenceKind.USED_BY_PENDING_TASK)
    if extra is not None and extra.actor is not None:
        kinds.append(ReferenceKind.ACTOR_HANDLE)
    if object_id in captured:
        kinds.append(ReferenceKind.CAPTURED_IN_OBJECT)
    if not kinds:
        kinds.append(ReferenceKind.LOCAL_REFERENCE)
    name, cell, site = _maker(ref)
    known = core.references.exported.get(object_id)
    return HeldObject(
        object_id,
        _size(ref),
        _status(ref),
        kinds,
        list(extra.nodes) if extra is not None else [],
        name,
        cell,
        site,
        [process for process, count in known.borrowers.items() if count > 0] if known is not None else [],
    )


def _status(ref: ObjectRef) -> str:
    state = _STATES.get(ref._state)
    if state is not None:
        return state
    return "FINISHED" if ref._i else "NIL"  # what was put has no task


def _size(ref: ObjectRef) -> int:
    """Bytes; -1 where they are not known here."""
    data = ref._data
    if ref._x is not None and ref._x.size:
        return ref._x.size
    if ref._state == INLINE or ref._state == ERROR:
        return len(data) if isinstance(data, bytes) else 0
    if ref._state == BUFFERS:
        stream, buffers = data
        return len(stream) + sum(memoryview(buffer).nbytes for buffer in buffers)
    return -1 if ref._state == PENDING else 0


def _maker(ref: ObjectRef) -> tuple[str, Cell | None, str]:
    """Who made it, as far as the reference tells: name, cell, and line of the program."""
    made: Any = ref._x.made if ref._x is not None else None
    if made is None and isinstance(ref._data, Record):
        made = ref._data.plan
    if not isinstance(made, Plan | Made):
        return "", None, ""
    site = made.site
    return made.name, made.cell, site.text() if site is not None else ""
