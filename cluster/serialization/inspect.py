"""Find what in a value can not be pickled, and say it so that a person can change it.

Only run after pickling has failed, or when asked: it pickles the value and its members over and over (into nothing,
with buffers left out), going down into whichever member fails, until one fails of which no member does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final, NamedTuple

from ..protocol.errors import SerializationError
from .context import state
from .values import ValuePickler

__all__ = ["FailureTuple", "explain_failure", "explain_unpicklable", "failure_text", "inspect_serializability"]

_ATOMS: Final = (type(None), bool, int, float, complex, str, bytes, bytearray, ModuleType)

_MAX_DEPTH: Final = 25  # deeper paths help nobody
_MAX_TRIALS: Final = 3000  # a list of a million members is searched for seconds, not for hours


class Step(NamedTuple):
    """From a value to a member: how a sentence or an expression goes on."""

    text: str
    label: str
    member: Any


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, data: Any) -> int:
        return memoryview(data).nbytes


def pickling_failure(value: Any) -> Exception | None:
    """Pickle a value into nothing; the exception if that fails."""
    outer = state.refs_out
    state.refs_out = []
    try:
        ValuePickler(_Nowhere(), 5, buffer_callback=lambda _: None).dump(value)
    except Exception as failure:  # noqa: BLE001 - pickling runs code of the user's: anything may come
        return failure
    finally:
        state.refs_out = outer
    return None


def type_name(value: Any) -> str:
    """Name a value's type as its documentation does: ``_thread.lock``, ``generator``."""
    cls = type(value)
    return cls.__qualname__ if cls.__module__ in ("builtins", "__main__") else f"{cls.__module__}.{cls.__qualname__}"


def failure_text(failure: BaseException) -> str:
    """Say in one line what an exception says."""
    if isinstance(failure, RecursionError) or "recursion" in str(failure).lower():
        return "it is nested too deeply to be pickled"
    return str(failure).partition("\n")[0].rstrip(".") or type(failure).__name__


def members(value: Any, path: str) -> Iterator[Step]:
    """Enumerate what pickling a value pickles in turn. `path` is the expression that leads to it."""
    if isinstance(value, _ATOMS):
        return
    if isinstance(value, dict):
        for key, member in value.items():
            yield Step(f"a key of {path}", repr(key), key)
            yield Step(f"{path}[{key!r}]", repr(key), member)
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value):
            yield Step(f"{path}[{index}]", str(index), member)
    elif isinstance(value, set | frozenset):
        for member in value:
            yield Step(f"an element of {path}", "element", member)
    elif isinstance(value, FunctionType):
        yield from _of_function(value, path)
    elif isinstance(value, MethodType):
        yield Step(f"{path}.__self__", "__self__", value.__self__)
        yield Step(f"{path}.__func__", "__func__", value.__func__)
    elif isinstance(value, type):
        for name, member in vars(value).items():
            if name not in ("__dict__", "__weakref__", "__doc__"):
                function = getattr(member, "__func__", None) or getattr(member, "fget", None)
                yield Step(f"{path}.{name}", name, function or member)
    elif isinstance(value, BaseException):
        yield Step(f"{path}.args", "args", value.args)
        for name, member in vars(value).items():
            yield Step(f"{path}.{name}", name, member)
        yield Step(f"{path}.__cause__", "__cause__", value.__cause__)
    else:
        yield from _of_object(value, path)


def referenced_globals(function: FunctionType) -> dict[str, Any]:
    """Globals that the code of a function may read; names of attributes are among them where they coincide."""
    names: list[str] = []
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        names.extend(code.co_names)
        codes.extend(constant for constant in code.co_consts if hasattr(constant, "co_names"))
    space = function.__globals__
    return {name: space[name] for name in names if name in space}


def closure(function: FunctionType) -> dict[str, Any]:
    """Variables that a function closes over; those not assigned yet are left out."""
    found: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # an empty cell
            continue
    return found


def _of_function(function: FunctionType, path: str) -> Iterator[Step]:
    for name, member in closure(function).items():
        yield Step(f"{path}, which closes over {name}", name, member)
    for name, member in referenced_globals(function).items():
        yield Step(f"{path}, which uses the global {name}", name, member)
    for name, member in (function.__kwdefaults__ or {}).items():
        yield Step(f"{path}, with the default {name}", name, member)
    for index, member in enumerate(function.__defaults__ or ()):
        yield Step(f"{path}, with the default number {index + 1}", f"default {index + 1}", member)
    for name, member in vars(function).items():
        yield Step(f"{path}.{name}", name, member)
    for name, member in function.__annotations__.items():
        yield Step(f"{path}, with the annotation of {name}", name, member)


def _of_object(value: Any, path: str) -> Iterator[Step]:
    try:
        reduced = value.__reduce_ex__(5)
    except Exception:  # noqa: BLE001 - then the value itself is what can not be pickled
        return
    if not isinstance(reduced, tuple) or len(reduced) < 2:
        return
    content = reduced[2] if len(reduced) > 2 else None
    halves = content if isinstance(content, tuple) and len(content) == 2 else (content,)
    named = [half for half in halves if isinstance(half, dict)]
    for half in named:
        for name, member in half.items():
            yield Step(f"{path}.{name}", str(name), member)
    if content is not None and not named:
        yield Step(f"{path}.__getstate__()", "__getstate__()", content)
    own = getattr(value, "__dict__", {})
    for index, member in enumerate(reduced[1] if isinstance(reduced[1], tuple) else ()):
        name = next((name for name, held in own.items() if held is member), None)
        if isinstance(member, type) and member is type(value):
            yield Step(f"the class of {path}", "class", member)
        else:
            label = name or f"__reduce__()[1][{index}]"
            yield Step(f"{path}.{label}", label, member)
    for index, member in enumerate(reduced[3] or () if len(reduced) > 3 else ()):
        yield Step(f"{path}[{index}]", str(index), member)
    for key, member in reduced[4] or () if len(reduced) > 4 else ():
        yield Step(f"{path}[{key!r}]", repr(key), member)


class Culprit(NamedTuple):
    """The innermost member that can not be pickled."""

    path: str
    member: Any
    failure: Exception

    def __str__(self) -> str:
        name = type_name(self.member)
        if isinstance(self.member, FunctionType | type):
            return f"{self.path} ({name} `{self.member.__qualname__}`)"
        return f"{self.path} (a {name})"


class _Search:
    """Goes down the first failing member each time; remembers where it has been, for values that hold themselves."""

    def __init__(self) -> None:
        self.trials = 0
        self.seen: dict[int, Any] = {}  # keeps what it saw alive: ids of temporaries would be used again

    def failure(self, value: Any) -> Exception | None:
        if isinstance(value, _ATOMS) or id(value) in self.seen or self.trials >= _MAX_TRIALS:
            return None
        self.trials += 1
        return pickling_failure(value)

    def innermost(self, path: str, value: Any, failure: Exception) -> Culprit:
        for _ in range(_MAX_DEPTH):
            self.seen[id(value)] = value
            for step in members(value, path):
                deeper = self.failure(step.member)
                if deeper is not None:
                    path, value, failure = step.text, step.member, deeper
                    break
            else:
                break
        return Culprit(path, value, failure)


def find_culprit(value: Any, name: str = "value") -> Culprit | None:
    """Find the innermost member that can not be pickled; None if the value can be."""
    search = _Search()
    failure = search.failure(value)
    return None if failure is None else search.innermost(name, value, failure)


def explain_unpicklable(value: Any, name: str = "value") -> str:
    """Name the member that can not be pickled: ``args[0].conn.lock (a _thread.lock)``; empty if all can be."""
    culprit = find_culprit(value, name)
    return "" if culprit is None else str(culprit)


def explain_failure(failure: Exception, what: str, values: Mapping[str, Any]) -> SerializationError:
    """Make the error for a value or for arguments that could not be pickled.

    Parameters
    ----------
    failure
        What pickling raised.
    what
        How a sentence names all of them: ``the arguments of task `f```.
    values
        What was pickled, by name.
    """
    subject = what[:1].upper() + what[1:]
    if failure_text(failure).startswith("it is nested"):
        return SerializationError(
            f"{subject} can not be pickled: {failure_text(failure)}.",
            path=next(iter(values), ""),
            type_name=type_name(next(iter(values.values()), None)),
            hint="Flatten it, or keep it in an actor.",
        )
    for name, value in values.items():
        culprit = find_culprit(value, name)
        if culprit is not None:
            message = f"{subject} can not be pickled because of {culprit}: {failure_text(culprit.failure)}."
            return SerializationError(message, path=culprit.path, type_name=type_name(culprit.member))
    return SerializationError(
        f"{subject} can not be pickled: {type(failure).__name__}: {failure_text(failure)}.",
        path=next(iter(values), ""),
        type_name=type_name(next(iter(values.values()), None)),
    )


class FailureTuple:
    """A member that can not be pickled.

    Attributes
    ----------
    obj
        The member.
    path
        What leads to it from the value that was asked about: names of variables, attributes, keys.
    parent
        What holds it.
    """

    def __init__(self, obj: Any, path: tuple[str, ...], parent: Any) -> None:
        self.obj = obj
        self.path = path
        self.parent = parent

    @property
    def name(self) -> str:
        """What it is called where it was found."""
        return self.path[-1]

    def __repr__(self) -> str:
        return f"FailureTuple(obj={self.obj!r}, path={self.path!r}, parent={self.parent!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FailureTuple) and self.obj is other.obj and self.path == other.path

    def __hash__(self) -> int:
        return hash((id(self.obj), self.path))


def inspect_serializability(
    base_obj: Any, name: str | None = None, depth: int = 3, print_file: Any | None = None
) -> tuple[bool, set[FailureTuple]]:
    """Tell whether a value can be pickled, and if not, print which of its members can not be.

    Parameters
    ----------
    base_obj
        A value, a function or a class.
    name
        What to call it; its own name or its text if left out.
    depth
        How many levels of members are looked into.
    print_file
        Where to print; the standard output if left out.

    Returns
    -------
    serializable, failures
        Whether it can be pickled, and the innermost members that can not be.
    """
    title = name or getattr(base_obj, "__qualname__", None) or _short(base_obj)
    print(f"Can `{title}` be pickled?", file=print_file, end=" ")
    failure = pickling_failure(base_obj)
    if failure is None:
        print("Yes.", file=print_file)
        return True, set()
    print(f"No: {failure_text(failure)}.", file=print_file)
    failures: set[FailureTuple] = set()
    search = _Search()

    def descend(value: Any, labels: tuple[str, ...], path: str, parent: Any) -> None:
        search.seen[id(value)] = value
        found = False
        if len(labels) <= depth:
            for step in members(value, path):
                deeper = search.failure(step.member)
                if deeper is None:
                    continue
                found = True
                print(
                    f"{'  ' * len(labels)}{step.text} (a {type_name(step.member)}): {failure_text(deeper)}",
                    file=print_file,
                )
                shown = step.label if step.label.isidentifier() else step.text
                descend(step.member, (*labels, step.label), shown, value)
        if not found:
            failures.add(FailureTuple(value, labels, parent))

    descend(base_obj, (title,), title, None)
    listed = ", ".join(sorted(f"{each.name} (a {type_name(each.obj)})" for each in failures))
    print(f"Not picklable: {listed}. {SerializationError.default_hint}", file=print_file)
    return False, failures


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a broken __repr__ is not what was asked about
        return type_name(value)
    return text if len(text) <= 60 else text[:57] + "…"
