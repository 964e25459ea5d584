"""Which names of the user's program keep references, and values read from object stores, alive.

Strategy: walk once from what has a name (variables, ``Out``, the locals of threads and coroutines, the last traceback)
through containers, attributes and closures, and note for every container where it was found. A path from a name to an
object is then read backwards from the object, the shortest for each name: of two names for the same list both are told,
as both must go. The walk looks only at what can lead somewhere: the garbage collector does not track what holds no
other object, so a list of numbers costs a look at each and a string nothing.

A value is known by where its memory lies: an array, or a view or slice of one, that begins within the memory of an
object was read from that object.

Rejected: ``gc.get_referrers`` from each object. It knows no names, sees everything in the process including our own
frames, and does not see into arrays and frames of pandas, where most values are.
"""

from __future__ import annotations

import functools
import gc
import sys
import threading
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any, Final, NamedTuple

from .refs import ObjectRef
from .remote_function import RemoteFunction

__all__ = ["Holder", "Kind", "Root", "find_holders", "frame_roots", "holder_text", "is_machinery", "thread_roots"]

LIMIT: Final = 1_000_000
"""Objects that one walk looks at: about a second. What lies beyond is not found, and the walk says so."""

#: Not entered: what the engine's own tables hold is told by the census, and the shell holds all that has a name.
_CLOSED: Final = frozenset({"himalia", "IPython", "ipykernel", "traitlets", "tornado", "zmq"})
#: Frames of these are the machinery of notebooks and workers, whose variables are nobody's.
_MACHINERY: Final = frozenset(
    {"IPython", "asyncio", "concurrent", "himalia", "ipykernel", "threading", "tornado", "traitlets", "zmq"}
)
_LONGEST: Final = 60  # characters of a key that a path shows
_LEAVES: Final = (str, bytes, int, float, bool, type(None), type, ModuleType, CodeType, BuiltinFunctionType)


class Kind(StrEnum):
    """Where a name is."""

    VARIABLE = "variable"
    OUT = "out"  # `Out[n]`
    LOCAL = "local"  # of a function that runs in a thread, or of a coroutine
    TRACEBACK = "traceback"  # of the last exception, which IPython keeps for `%debug`
    CLOSURE = "closure"


class Root(NamedTuple):
    """Something with a name, where a walk begins."""

    kind: Kind
    name: str
    value: Any


class Holder(NamedTuple):
    """One name that keeps an object alive.

    Attributes
    ----------
    path
        As one would write it: ``results[3]``, ``model.weights``; of a closure the function.
    variable
        Of a closure: what it holds.
    root
        The name that must go for the object to go.
    is_value
        It is a value that was read from the object, not its reference.
    """

    kind: Kind
    path: str
    variable: str
    root: str
    is_value: bool


class _Step(NamedTuple):
    parent: int  # id of the container; of a root its number, negative
    how: str  # item, attribute, closure, default, inside, root
    key: Any


class _Walk:
    """From roots to everything that they reach."""

    def __init__(self, key_of: Callable[[Any], Any]) -> None:
        self.key_of = key_of
        self.steps: defaultdict[int, list[_Step]] = defaultdict(list)
        self.found: defaultdict[Any, list[tuple[int, bool]]] = defaultdict(list)
        self.alive: list[Any] = []  # ids stay unique while the walk lasts
        self.pending: deque[Any] = deque()
        self.looked_at = 0

    def begin(self, roots: Iterable[Root]) -> None:
        for number, root in enumerate(roots):
            self._arrive(root.value, _Step(-1 - number, "root", None))

    def run(self) -> bool:
        """Look at everything; False if there was too much of it."""
        while self.pending:
            container = self.pending.popleft()
            try:
                for how, key, child in _children(container):
                    self.looked_at += 1
                    if self.looked_at > LIMIT:
                        return False
                    self._arrive(child, _Step(id(container), how, key))
            except Exception:  # noqa: BLE001 - a proxy or a container of the user's may run anything when looked at
                continue
        return True

    def _arrive(self, thing: Any, step: _Step) -> None:
        if not _leads_somewhere(thing):
            return
        number = id(thing)
        steps = self.steps[number]
        steps.append(step)
        if len(steps) > 1:
            return  # known: only one more way to it
        self.alive.append(thing)
        key = self.key_of(thing)
        if key is not None:
            self.found[key].append((number, not isinstance(thing, ObjectRef)))
        self.pending.append(thing)


def _leads_somewhere(thing: Any) -> bool:
    if isinstance(thing, _LEAVES):
        return False
    # A dict or tuple of arrays alone is not tracked: these can hold nothing that the collector knows.
    return gc.is_tracked(thing) or isinstance(thing, ObjectRef | memoryview | dict | tuple) or _is_array(thing)


def _children(thing: Any) -> Iterator[tuple[str, Any, Any]]:
    """(how, key, child) of all that a thing holds and that can be named."""
    if isinstance(thing, dict):
        yield from (("item", key, value) for key, value in list(thing.items()))
        return
    if isinstance(thing, list | tuple | deque):
        yield from _of_sequence(thing)
    elif isinstance(thing, RemoteFunction):
        yield from _of_function(thing._function)
        return
    elif isinstance(thing, FunctionType):
        yield from _of_function(thing)
        return
    elif isinstance(thing, MethodType):
        yield "attribute", "__self__", thing.__self__
        yield from _of_function(thing.__func__)
        return
    elif isinstance(thing, functools.partial):
        yield from (("argument", number, value) for number, value in enumerate(thing.args))
        yield from (("argument", name, value) for name, value in thing.keywords.items())
        yield "attribute", "func", thing.func
        return
    elif isinstance(thing, ObjectRef):
        if thing._x is not None:
            yield from (("inside", None, ref) for ref in thing._x.contained or ())
        return
    elif isinstance(thing, FrameType):
        return  # its variables are roots of their own, where they have a name
    elif str(type(thing).__module__).partition(".")[0] in _CLOSED:
        return
    yield from _of_instance(thing)


def _of_sequence(thing: Any) -> Iterator[tuple[str, Any, Any]]:
    names = getattr(type(thing), "_fields", None)
    if isinstance(thing, tuple) and isinstance(names, tuple):
        yield from (("attribute", name, value) for name, value in zip(names, thing, strict=False))
    else:
        yield from (("item", index, value) for index, value in enumerate(list(thing)))


def _of_function(function: Any) -> Iterator[tuple[str, Any, Any]]:
    code = getattr(function, "__code__", None)
    for name, cell in zip(getattr(code, "co_freevars", ()), getattr(function, "__closure__", None) or (), strict=False):
        try:
            yield "closure", name, cell.cell_contents
        except ValueError:
            continue  # not bound yet
    for value in getattr(function, "__defaults__", None) or ():
        yield "default", None, value
    for value in (getattr(function, "__kwdefaults__", None) or {}).values():
        yield "default", None, value


def _of_instance(thing: Any) -> Iterator[tuple[str, Any, Any]]:
    """Attributes; then what only the garbage collector knows of: slots, members of sets, C types that tell it."""
    attributes = _attributes_of(thing)
    if attributes:
        yield from (("attribute", name, value) for name, value in list(attributes.items()))
    if _is_array(thing) and getattr(getattr(thing, "dtype", None), "hasobject", False):
        yield from (("item", index, member) for index, member in enumerate(thing.ravel().tolist()))
    if isinstance(thing, list | tuple | deque):
        return
    for member in gc.get_referents(thing):
        if member is not attributes and not isinstance(member, FrameType):
            yield "inside", None, member


def _is_array(thing: Any) -> bool:
    return hasattr(type(thing), "__array_interface__")  # not of the thing: its __getattr__ may do anything


def _attributes_of(thing: Any) -> dict[str, Any] | None:
    try:
        attributes = object.__getattribute__(thing, "__dict__")
    except (AttributeError, TypeError):
        return None
    return attributes if isinstance(attributes, dict) else None


class Spans:
    """Which memory belongs to which object."""

    def __init__(self, spans: Iterable[tuple[int, int, Any]]) -> None:
        self._spans = sorted(spans, key=lambda span: span[:2])
        self._starts = [start for start, _, _ in self._spans]

    def find(self, address: int) -> Any:
        """The object whose memory an address is in, or None."""
        place = bisect_right(self._starts, address) - 1
        if place < 0:
            return None
        _, end, key = self._spans[place]
        return key if address < end else None


def _address_of(thing: Any) -> int:
    """Where the memory of an array or view begins; 0 if it has none."""
    interface = thing.__array_interface__ if _is_array(thing) else None
    if isinstance(thing, memoryview):
        import numpy as np

        try:
            interface = np.asarray(thing).__array_interface__
        except (ValueError, TypeError):
            return 0
    data = interface.get("data") if isinstance(interface, dict) else None
    return int(data[0]) if isinstance(data, tuple) else 0


def find_holders(
    roots: list[Root], refs: dict[int, Any], spans: Iterable[tuple[int, int, Any]]
) -> tuple[dict[Any, list[Holder]], bool]:
    """Find the names that keep objects alive.

    Parameters
    ----------
    roots
        Where to begin.
    refs
        ``id()`` of a reference to the key of its object.
    spans
        First address, end, and key of each object's memory, as far as values of it are in use.

    Returns
    -------
    holders, complete
        For each key what was found, in the order of the roots, and whether everything could be looked at.
    """
    memory = Spans(spans)

    def key_of(thing: Any) -> Any:
        if isinstance(thing, ObjectRef):
            return refs.get(id(thing))
        address = _address_of(thing) if not isinstance(thing, dict | list | tuple) else 0
        return memory.find(address) if address else None

    walk = _Walk(key_of)
    walk.begin(roots)
    complete = walk.run()
    found: dict[Any, list[Holder]] = {}
    for key, places in walk.found.items():
        holders: dict[tuple[int, bool], Holder] = {}
        for number, is_value in places:
            for root, steps in _ways(walk.steps, number):
                holders.setdefault((root, is_value), _describe(roots[root], steps, is_value))
        found[key] = _without_values([holders[place] for place in sorted(holders)])
    return found, complete


def _ways(steps: dict[int, list[_Step]], number: int) -> Iterator[tuple[int, list[_Step]]]:
    """For each root that reaches an object: the shortest way, from the root."""
    seen = {number}
    pending: deque[tuple[int, list[_Step]]] = deque([(number, [])])
    told: set[int] = set()
    while pending:
        at, way = pending.popleft()
        for step in steps.get(at, ()):
            if step.how == "root":
                if step.parent not in told:
                    told.add(step.parent)
                    yield -1 - step.parent, way
            elif step.parent not in seen:
                seen.add(step.parent)
                pending.append((step.parent, [step, *way]))


def _without_values(holders: list[Holder]) -> list[Holder]:
    """The same name as a reference and as a value is told once."""
    refs = {holder.root for holder in holders if not holder.is_value}
    return [holder for holder in holders if not holder.is_value or holder.root not in refs]


def _describe(root: Root, steps: list[_Step], is_value: bool) -> Holder:
    path, variable = root.name, ""
    kind = root.kind
    for step in steps:
        if step.how in ("closure", "default"):
            if kind is Kind.CLOSURE:
                path = f"{path} over {variable}"
            kind = Kind.CLOSURE
            variable = str(step.key) if step.how == "closure" else "a default argument"
            continue
        text = _text_of(step)
        if kind is Kind.CLOSURE:
            variable += text
        else:
            path += text
    return Holder(kind, path, variable, root.name, is_value)


def _text_of(step: _Step) -> str:
    if step.how == "attribute":
        return f".{step.key}"
    if step.how == "item":
        key = repr(step.key) if step.key is not None else "…"
        return f"[{key if len(key) <= _LONGEST else key[:_LONGEST] + '…'}]"
    if step.how == "argument":
        return f"(argument {step.key!r})"
    return ""  # inside something that has no name for it


def holder_text(holder: Holder) -> str:
    """A name that keeps an object alive, as a sentence says it."""
    value = "the value in " if holder.is_value else ""
    if holder.kind is Kind.CLOSURE:
        return f"closure `{holder.path}`: {value}its `{holder.variable}`"
    if holder.kind is Kind.VARIABLE:
        return f"{value}variable `{holder.path}`"
    return f"{value}{holder.path}"


# -- variables of functions that run -----------------------------------------------------------------------------------


def is_machinery(frame: FrameType) -> bool:
    """Whether a frame's variables are nobody's."""
    module = frame.f_globals.get("__name__") or ""
    return module.partition(".")[0] in _MACHINERY


def frame_roots(frame: FrameType | None, where: str, namespace: Any, kind: Kind) -> Iterator[Root]:
    """Variables of a function and of those that called it; not those of ``namespace``, which have names already."""
    while frame is not None:
        if frame.f_locals is not namespace and not is_machinery(frame) and frame.f_code.co_name != "<module>":
            for name, value in list(frame.f_locals.items()):
                yield Root(kind, f"`{name}` of `{frame.f_code.co_name}`{where}", value)
        frame = frame.f_back


def thread_roots(namespace: Any) -> list[Root]:
    """Variables of what runs in the other threads."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    roots: list[Root] = []
    for ident, frame in sys._current_frames().items():
        if ident != threading.get_ident():
            where = f" in thread {names.get(ident, ident)}"
            roots += frame_roots(frame, where, namespace, Kind.LOCAL)
    return roots
