"""Functions and classes as bytes, named by their content.

A function travels once to each worker, by the hash of its bytes: defining it again in a notebook, changed, gives
another hash and so the new one runs. What it captures travels with it. Two things are said to the user before that
surprises them: a captured variable that can not be pickled is named, and a large one is reported with its size.

The text of the notebook's cells that the function comes from travels too, and the cells' numbers: the worker has no
such file, and its tracebacks would show no source lines and tell of files that do not exist.
"""

from __future__ import annotations

import builtins
import linecache
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final, NamedTuple

import cloudpickle

from ..protocol import places
from ..protocol.error_system import format_bytes
from ..protocol.errors import SerializationError
from .context import state
from .inspect import closure, failure_text, find_culprit, referenced_globals, type_name
from .uses import Use, use_of
from .values import dumps_by_value

__all__ = [
    "HASH_SIZE",
    "LARGE_CAPTURE",
    "Capture",
    "Exported",
    "captures_of_argument",
    "export_function",
    "globals_of",
    "import_function",
]

HASH_SIZE: Final = 16

LARGE_CAPTURE: Final = 10 * 1024 * 1024
"""Captured variables from this size on are reported: they are copied to every worker, and `put` would share them."""

_VERBS: Final = {
    "closure": "closes over",
    "global": "uses the global",
    "default": "has the default argument",
    "attribute": "has the class attribute",
}

_MAX_SOURCE: Final = 256 * 1024  # characters of cells that travel with a function; what is beyond shows no source lines


class Capture(NamedTuple):
    """A large variable that a function takes along."""

    function: str
    variable: str
    kind: str
    nbytes: int

    def __str__(self) -> str:
        return (
            f"`{self.function}` {_VERBS[self.kind]} `{self.variable}`, about {format_bytes(self.nbytes)}, which is "
            f"copied to every worker that runs it. Put it into the object store once ({self.variable}_ref = "
            f"himalia.put({self.variable})) and pass the reference as an argument."
        )


class Exported(NamedTuple):
    """A function or class as bytes.

    Attributes
    ----------
    content_hash
        16 bytes that name the payload.
    payload
        For `import_function`.
    warnings
        The large variables that it takes along; ``str()`` of one is the text for the user.
    refs
        The `ObjectRef`s and actor handles that it takes along.
    """

    content_hash: bytes
    payload: bytes
    warnings: tuple[Capture, ...]
    refs: tuple[Any, ...]


def export_function(
    function: Callable[..., Any] | type, what: str = "", on_large: Callable[[Capture], None] | None = None
) -> Exported:
    """Turn a function or a class into bytes.

    Parameters
    ----------
    function
        By reference if it can be imported, by value if it belongs to the notebook.
    what
        How an error names it; ``task `f``` or ``actor `C``` if left out.
    on_large
        Is told of each large variable before anything is pickled, which takes long and much memory by then.

    Raises
    ------
    SerializationError
        It takes something along that can not be pickled; the message names the variable.
    """
    name = _name(function)
    captured = list(_captured(function))
    warnings = _large_captures(captured)
    if on_large is not None:
        for capture in warnings:
            on_large(capture)
    refs: list[Any] = []
    outer = state.refs_out
    state.refs_out = refs
    try:
        stream = dumps_by_value(function)
    except Exception as failure:  # pickling runs code of the user's: anything may come
        state.refs_out = outer
        what = what or (f"actor `{name}`" if isinstance(function, type) else f"task `{name}`")
        raise _explained(function, what, failure, captured) from failure
    finally:
        state.refs_out = outer
    sources = _sources(function)
    payload = pickle.dumps((stream, sources, places.cells_among(list(sources))), 5)
    return Exported(blake2b(payload, digest_size=HASH_SIZE).digest(), payload, warnings, tuple(refs))


def _large_captures(captured: Iterable[tuple[str, str, str, Any]]) -> tuple[Capture, ...]:
    """What of the data that travels with a function is worth a warning."""
    return tuple(
        Capture(owner, variable, kind, size)
        for owner, variable, kind, value in captured
        if (size := estimate_size(value)) >= LARGE_CAPTURE
    )


def captures_of_argument(value: Any) -> tuple[Capture, ...]:
    """The large variables of a function that is passed as an argument, which is pickled at each call."""
    return _large_captures(_captured(value)) if isinstance(value, FunctionType) else ()


def globals_of(function: Callable[..., Any] | type) -> list[Use]:
    """What the globals mean that the bytes of a function or class are made of."""
    return [use_of(each.__globals__, name) for each in _walk(function) for name in referenced_globals(each)]


def import_function(payload: bytes | memoryview) -> Any:
    """Make the function or class of a payload; its cells' text becomes known to tracebacks."""
    stream, sources, names = pickle.loads(payload)  # noqa: S301 - peers have authenticated before they send functions
    places.note(names)
    for filename, text in sources.items():
        # Without a modification time, linecache does not look for the file and so keeps the entry.
        linecache.cache.setdefault(filename, (len(text), None, text.splitlines(keepends=True), filename))
    return pickle.loads(stream)  # noqa: S301 - as above


def _name(function: Any) -> str:
    return getattr(function, "__qualname__", None) or type_name(function)


def _by_value(thing: Any) -> bool:
    """Whether cloudpickle takes the definition along, rather than its name."""
    module = getattr(thing, "__module__", None)
    if module is None or module == "__main__" or module in cloudpickle.list_registry_pickle_by_value():
        return True
    found: Any = sys.modules.get(module)
    for part in _name(thing).split("."):
        found = getattr(found, part, None)
    return found is not thing


def _functions(thing: Any) -> Iterator[FunctionType]:
    """Enumerate the functions that a function, method or class consists of."""
    if isinstance(thing, MethodType):
        thing = thing.__func__
    if isinstance(thing, FunctionType):
        yield thing
    elif isinstance(thing, type):
        for member in vars(thing).values():
            for candidate in (member, getattr(member, "__func__", None), getattr(member, "fget", None)):
                if isinstance(candidate, FunctionType):
                    yield candidate


def _walk(thing: Any) -> Iterator[FunctionType]:
    """Enumerate every function whose code travels: `thing`, and the helpers of the notebook that it uses."""
    return (found for found in _walk_definitions(thing) if isinstance(found, FunctionType))


def _walk_definitions(thing: Any) -> Iterator[FunctionType | type]:
    """Enumerate every function and class whose definition travels."""
    pending = [thing]
    seen: set[int] = set()
    while pending:
        current = pending.pop()
        if id(current) in seen or not _by_value(current):
            continue
        seen.add(id(current))
        if isinstance(current, type):
            yield current
            pending.extend(current.__bases__)
        for function in _functions(current):
            yield function
            used = (*closure(function).values(), *referenced_globals(function).values())
            pending.extend(value for value in used if isinstance(value, FunctionType | MethodType | type))


def _captured(thing: Any) -> Iterator[tuple[str, str, str, Any]]:
    """Enumerate (function, variable, kind, value) of all data that travels with a function or class."""
    seen: set[int] = set()
    for definition in _walk_definitions(thing):
        for kind, variable, value in _taken_along(definition):
            if id(value) not in seen and not isinstance(value, ModuleType | FunctionType | type):
                seen.add(id(value))
                code = getattr(definition, "__code__", None)
                if kind == "global" and code is not None and not _reads_global(code, variable, value):
                    continue
                yield _name(definition), variable, kind, value


def _taken_along(definition: Any) -> list[tuple[str, str, Any]]:
    """(kind, variable, value) of the data of one function or class."""
    if isinstance(definition, type):
        members = vars(definition).items()
        return [("attribute", name, value) for name, value in members if not hasattr(type(value), "__get__")]
    found = [("closure", *item) for item in closure(definition).items()]
    found += [("global", *item) for item in referenced_globals(definition).items()]
    found += [("default", *item) for item in _defaults(definition).items()]
    return found


def _defaults(function: FunctionType) -> dict[str, Any]:
    code, values = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount]
    return {**dict(zip(names[len(names) - len(values) :], values, strict=True)), **(function.__kwdefaults__ or {})}


def _reads_global(code: CodeType, name: str, value: Any) -> bool:
    """Tell a global from an attribute of the same name; reading instructions is slow, so only for what is large."""
    if estimate_size(value) < LARGE_CAPTURE:
        return True
    from dis import get_instructions  # slow to import, rarely needed

    if any(step.opname in ("LOAD_GLOBAL", "LOAD_NAME") and step.argval == name for step in get_instructions(code)):
        return True
    return any(_reads_global(each, name, value) for each in code.co_consts if isinstance(each, CodeType))


_CONTAINERS: Final = (list, tuple, set, frozenset, dict)
_SAMPLE: Final = 100  # members of a container that stand for all of it


def estimate_size(value: Any, depth: int = 3) -> int:
    """Estimate how many bytes a value takes, without pickling it or walking all of a large container."""
    try:
        if hasattr(type(value), "nbytes"):
            return int(value.nbytes)
        if hasattr(type(value), "memory_usage"):  # a pandas frame; its __sizeof__ would look at every string
            return int(value.memory_usage(deep=False).sum())
        size = sys.getsizeof(value, 0)
    except Exception:  # noqa: BLE001 - a broken method of the user's is no reason to refuse the function
        return 0
    if depth > 0 and isinstance(value, _CONTAINERS) and value:
        inside = list(_first(value))
        size += sum(estimate_size(member, depth - 1) for member in inside) * len(value) // max(len(inside), 1)
    elif depth > 0 and type(value).__module__ != builtins.__name__:
        attributes = getattr(value, "__dict__", None)
        if isinstance(attributes, dict) and not isinstance(value, ModuleType | FunctionType | type):
            size += sum(estimate_size(member, depth - 1) for member in list(attributes.values())[:_SAMPLE])
    return size


def _first(container: Any) -> Iterator[Any]:
    values = container.values() if isinstance(container, dict) else container
    for _, value in zip(range(_SAMPLE), values, strict=False):
        yield value


def _sources(thing: Any) -> dict[str, str]:
    """Collect the text of the cells that the functions come from, as far as it exists in memory only."""
    found: dict[str, str] = {}
    room = _MAX_SOURCE
    for function in _walk(thing):
        filename = function.__code__.co_filename
        entry = linecache.cache.get(filename)
        if filename in found or entry is None or len(entry) != 4 or entry[1] is not None:
            continue
        text = "".join(entry[2])
        if len(text) <= room:
            room -= len(text)
            found[filename] = text
    return found


def _explained(
    function: Any, what: str, failure: Exception, captured: list[tuple[str, str, str, Any]]
) -> SerializationError:
    name = _name(function)
    for owner, variable, kind, value in captured:
        culprit = find_culprit(value, variable)
        if culprit is None:
            continue
        verb = _VERBS[kind]
        user = "it" if owner == name else f"`{owner}`, which it uses,"
        if culprit.member is value:
            detail = f"`{variable}` (a {type_name(value)}), which can not be pickled"
        else:
            detail = f"`{variable}` (a {type_name(value)}), of which {culprit} can not be pickled"
        message = f"{what} can not be sent to a worker: {user} {verb} {detail}: {failure_text(culprit.failure)}."
        return SerializationError(
            message[:1].upper() + message[1:],
            path=culprit.path,
            type_name=type_name(culprit.member),
            hint="Make it inside the task, pass it as an argument if that can be pickled, or keep it in an actor.",
        )
    culprit = find_culprit(function, name)
    reason = f"because of {culprit}: {failure_text(culprit.failure)}" if culprit else failure_text(failure)
    message = f"{what} can not be sent to a worker {reason}."
    return SerializationError(
        message[:1].upper() + message[1:],
        path=culprit.path if culprit else name,
        type_name=type_name(culprit.member if culprit else function),
    )
