"""Runs the code of a cell in a worker: what the task of ``%%task`` is, and what an engine of ``%%every`` does.

Strategy: the code travels as text and is compiled where it runs, so that its tracebacks show its lines. It runs in a
namespace that calls itself ``__main__``: functions and classes that it defines are pickled by value and so can come
back. Functions of the notebook that it was given have that same namespace as their globals, as they would have in the
notebook.

Rejected: making a function of the cell. Its names would be locals, ``from x import *`` and annotations of variables
would not compile, and functions that it defines would not see what it assigns later.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import linecache
from types import CodeType, FunctionType
from typing import Any, Final

import msgspec

from ..cluster.serialization.inspect import failure_text, pickling_failure, type_name

__all__ = ["CellBody", "NotGiven", "anchor_in", "execute", "run_body"]

_REPR_LIMIT: Final = 10_000  # characters of a value that only its text stands for


class CellBody(msgspec.Struct, frozen=True):
    """The code of a cell and what is to come back.

    Attributes
    ----------
    source
        Its Python code, with empty lines in front where the magic stood: lines have the numbers of the cell.
    filename
        What tracebacks call it.
    flags
        Of the compiler: the ``from __future__`` imports of the notebook.
    outs
        Names whose values come back after the value of the last expression.
    declared
        Whether the user named them: then each must be there and be picklable.
    modules
        Modules to import, by the name that the code has for them.
    shows
        Whether the code uses a name ``display``: IPython's, if it has no other.
    """

    source: str
    filename: str
    flags: int = 0
    outs: tuple[str, ...] = ()
    declared: bool = False
    modules: dict[str, str] = {}
    shows: bool = False


class NotGiven:
    """Stands for a value that could not come back.

    Attributes
    ----------
    name
        Of the variable; empty for the value of the last expression.
    reason
        Why.
    text
        What it looked like.
    """

    def __init__(self, name: str, reason: str, text: str = "") -> None:
        self.name = name
        self.reason = reason
        self.text = text

    def __repr__(self) -> str:
        return self.text or f"<{self.name} did not come back: {self.reason}>"


def anchor_in(namespace: dict[str, Any]) -> FunctionType:
    """A function whose globals are a namespace. Pickled together with functions that share them, it shares them still
    when all are unpickled: so the worker finds the namespace in which they look up their names."""
    return FunctionType((lambda: None).__code__, namespace, "anchor")


def run_body(body: CellBody, shared: tuple[FunctionType, dict[str, Any]] | None, /, **given: Any) -> Any:
    """The task: run the code; returns the value of its last expression, and after it those of ``body.outs``.

    Parameters
    ----------
    shared
        An `anchor_in` the notebook's namespace, and captured values.
    given
        Values that came as arguments of their own: large ones, and those of references.
    """
    namespace: dict[str, Any] = {}
    if shared is not None:
        anchor, values = shared
        namespace = anchor.__globals__
        namespace.update(values)
    namespace.update(given)
    value = execute(body, namespace)
    result = value if (reason := _why_not(value)) is None else NotGiven("", reason, repr(value)[:_REPR_LIMIT])
    if not body.outs:
        return result
    return (result, *(_given(body, namespace, name) for name in body.outs))


def execute(body: CellBody, namespace: dict[str, Any]) -> Any:
    """Run the code in a namespace; returns the value of its last expression, None if it ends with a statement."""
    import importlib

    lines = body.source.splitlines(keepends=True)
    # Without a modification time, linecache does not look for the file and so keeps the entry.
    linecache.cache[body.filename] = (len(body.source), None, lines, body.filename)
    namespace["__name__"] = "__main__"
    namespace["__builtins__"] = builtins
    for name, module in body.modules.items():
        namespace[name] = importlib.import_module(module)
    if body.shows:
        from IPython.display import display

        namespace.setdefault("display", display)
    codes = _compile(body)
    if any(code.co_flags & inspect.CO_COROUTINE for code in codes):
        import asyncio

        return asyncio.run(_run_async(codes, namespace))
    value = None
    for code in codes:
        value = eval(code, namespace)  # noqa: S307 - running the user's code is what we are for
    return value


def _compile(body: CellBody) -> list[CodeType]:
    """The statements, and the last expression apart."""
    flags = body.flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(body.source, body.filename, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else ast.Expr(ast.Constant(None))
    parts: list[tuple[Any, str]] = [(tree, "exec"), (ast.fix_missing_locations(ast.Expression(last.value)), "eval")]
    return [compile(part, body.filename, kind, flags, dont_inherit=True) for part, kind in parts]


async def _run_async(codes: list[CodeType], namespace: dict[str, Any]) -> Any:
    value = None
    for code in codes:
        value = eval(code, namespace)  # noqa: S307 - as above
        if code.co_flags & inspect.CO_COROUTINE:
            value = await value
    return value


def _given(body: CellBody, namespace: dict[str, Any], name: str) -> Any:
    """The value of a name that is to come back, or what stands for it."""
    if name not in namespace:
        if body.declared:
            raise NameError(f"--out asks for {name!r}, which the cell has not assigned")
        return NotGiven(name, "the cell did not assign it")
    value = namespace[name]
    reason = None if body.declared else _why_not(value)
    return value if reason is None else NotGiven(name, reason)


_PLAIN: Final = (type(None), bool, int, float, complex, str, bytes)


def _why_not(value: Any) -> str | None:
    """Why a value can not come back; None if it can. It costs a second pickling, without copies of large memory; a
    result that can not be pickled would fail the whole task."""
    if type(value) in _PLAIN:
        return None
    failure = pickling_failure(value)
    return None if failure is None else f"a {type_name(value)} can not be pickled: {failure_text(failure)}"
