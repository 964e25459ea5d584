"""A cell's code on its way to a worker: parsed as IPython parses cells, with what it reads from the notebook.

What it reads is taken from the notebook's variables at that moment. A reference goes along as an argument, so that the
code sees its value and the task waits for it; so does a large value, which is put into the object store for that.
Modules are imported by name. The rest is pickled together, so that what is one object here is one there.
"""

from __future__ import annotations

import ast
import builtins
import sys
import tokenize
from collections.abc import Iterable
from io import StringIO
from types import ModuleType
from typing import Any, Final

from ..cluster.core import api
from ..cluster.core.refs import ObjectRef
from ..cluster.serialization.functions import LARGE_CAPTURE, estimate_size
from ..cluster.serialization.inspect import failure_text, find_culprit, type_name
from .arguments import UsageProblem
from .cell_body import anchor_in
from .cell_names import CellNames, names_of
from .html import quantity

__all__ = ["Captured", "CellCode", "CellSyntaxError", "capture"]

_IPYTHON: Final = "get_ipython"


class CellSyntaxError(Exception):
    """The code of a cell is no Python; shown as IPython shows it for a cell without a magic."""

    def __init__(self, error: SyntaxError, shell: Any) -> None:
        super().__init__(str(error))
        self._shown = shell.SyntaxTB.structured_traceback(type(error), error, [])

    def _render_traceback_(self) -> list[str]:
        lines: list[str] = self._shown
        return lines


class CellCode:
    """The code below a cell magic.

    Attributes
    ----------
    source
        As Python, with an empty line in place of the magic's.
    number
        The n of ``In [n]``.
    names
        What it reads and gives.
    quiet
        Whether it ends with a semicolon.

    Raises
    ------
    CellSyntaxError
        It is no Python.
    UsageProblem
        It is empty, or uses what only the notebook's own process has.
    """

    def __init__(self, shell: Any, magic: str, cell: str, number: int) -> None:
        if not cell.strip():
            raise UsageProblem(f"there is no code below %%{magic}")
        self.number = number
        self.flags: int = shell.compile.flags & ~ast.PyCF_ONLY_AST
        try:
            self.source = "\n" + shell.transform_cell(cell)
            name = shell.compile.cache(self.source, number, raw_code="\n" + cell)
            tree = compile(self.source, name, "exec", self.flags | ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            compile(tree, name, "exec", self.flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)  # finds a `return`, for one
        except SyntaxError as error:
            raise CellSyntaxError(error, shell) from None
        self.names: CellNames = names_of(tree)
        self._refuse_ipython(tree, cell, magic)
        self.quiet = _ends_quietly(self.source)

    @property
    def filename(self) -> str:
        """What tracebacks of the worker call it."""
        return f"In [{self.number}]"

    def _refuse_ipython(self, tree: ast.Module, cell: str, magic: str) -> None:
        if _IPYTHON not in self.names.reads:
            return
        line = next(node.lineno for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == _IPYTHON)
        lines = ["", *cell.splitlines()]
        text = lines[line - 1].strip() if line <= len(lines) else _IPYTHON
        raise UsageProblem(
            f"line {line}, `{text}`, needs IPython, which runs in the notebook and not in the worker that runs this "
            f"cell: put it into a cell without %%{magic} (for a command, use subprocess.run)"
        )


def _ends_quietly(source: str) -> bool:
    """Whether the last token is a semicolon, as IPython asks."""
    skipped = (tokenize.ENDMARKER, tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT)
    try:
        tokens = [token for token in tokenize.generate_tokens(StringIO(source).readline) if token.type not in skipped]
    except (tokenize.TokenError, SyntaxError):
        return False
    return bool(tokens) and tokens[-1].string == ";"


class Captured:
    """What a cell takes along from the notebook.

    Attributes
    ----------
    shared
        Values that are pickled together: the argument of `run_body`, or a reference to it. None if there are none.
    given
        Arguments of their own.
    modules
        Names of modules, by the name that the cell has for them.
    stored
        Sizes of those that were put into the object store, in bytes.
    """

    def __init__(self) -> None:
        self.shared: ObjectRef | None = None
        self.given: dict[str, ObjectRef] = {}
        self.modules: dict[str, str] = {}
        self.stored: dict[str, int] = {}

    def note(self) -> str:
        """What was put into the object store, in a sentence; empty if nothing was."""
        if not self.stored:
            return ""
        listed = ", ".join(f"`{name}` ({quantity(size)})" for name, size in self.stored.items())
        first = next(iter(self.stored))
        return (
            f"Put into the object store for this cell: {listed}. "
            f"For several cells, put it once: {first} = himalia.put({first})"
        )


def wanted_names(
    names: CellNames, space: dict[str, Any], hidden: dict[str, Any], declared: Iterable[str] | None
) -> list[str]:
    """The notebook's variables that a cell takes along.

    Parameters
    ----------
    hidden
        What IPython itself has put among the variables, such as an ``open`` of its own: workers use Python's.
    declared
        The user's own choice; None for what the cell reads.

    Raises
    ------
    UsageProblem
        One was declared that does not exist.
    """
    if declared is None:
        return [name for name in names.reads if name in space and not _is_builtin(name, space, hidden)]
    missing = [name for name in declared if name not in space]
    if missing:
        raise UsageProblem(f"--in names {missing[0]!r}, which the notebook has not")
    return list(declared)


def _is_builtin(name: str, space: dict[str, Any], hidden: dict[str, Any]) -> bool:
    return hasattr(builtins, name) and any(
        space[name] is each for each in (getattr(builtins, name), hidden.get(name, builtins))
    )


def capture(names: Iterable[str], space: dict[str, Any], magic: str) -> Captured:
    """Take variables of the notebook along.

    Raises
    ------
    UsageProblem
        One can not be sent to a worker: it is named.
    """
    found = Captured()
    together: dict[str, Any] = {}
    for name in names:
        value = space[name]
        as_ref = getattr(value, "__himalia_ref__", None)
        if as_ref is not None:
            value = as_ref()
        if isinstance(value, ObjectRef):
            found.given[name] = value
        elif isinstance(value, ModuleType) and sys.modules.get(value.__name__) is value:
            found.modules[name] = value.__name__
        elif (size := estimate_size(value)) >= LARGE_CAPTURE:
            found.given[name] = _put(value, {name: value}, magic)
            found.stored[name] = size
        else:
            together[name] = value
    if together:
        found.shared = _put((anchor_in(space), together), together, magic)
    return found


def _put(value: Any, named: dict[str, Any], magic: str) -> ObjectRef:
    try:
        return api.put(value)
    except Exception as failure:
        for name, each in named.items():
            culprit = find_culprit(each, name)
            if culprit is not None:
                part = "" if culprit.member is each else f", of which {culprit} can not be pickled"
                raise UsageProblem(
                    f"`{name}` (a {type_name(each)}) can not be sent to a worker{part}: "
                    f"{failure_text(culprit.failure)}. Make it in the cell, or name with --in what {magic} takes along"
                ) from failure
        raise
