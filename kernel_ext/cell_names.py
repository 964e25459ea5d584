"""Which names a cell's code reads from outside and which it gives, from its syntax tree alone.

Strategy: walk the statements in the order they run and keep the set of names that are certainly assigned so far. A
name that is read while it is not in that set may come from outside. Where the flow is not certain (a loop's body may
not run, a branch may not be taken), the name counts as read: sending one too many costs a copy, one too few a
`NameError`. A function's body counts as run where the function is defined.

What a cell gives are the names of its assignments, functions and classes at the top level, branches and blocks
included. Not loop variables, names of ``with``, ``except`` and ``import``, nor names that begin with ``_``: these are
in passing, and would overwrite the notebook's for no use. Rejected: `symtable`, which knows scopes but not order, so
that ``x = 1; print(x)`` would take along whatever the notebook calls x.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["CellNames", "names_of"]

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_LEAVES = (ast.Return, ast.Raise, ast.Continue, ast.Break)


@dataclass
class CellNames:
    """What a cell reads and what it gives, each in the order of appearance.

    Attributes
    ----------
    reads
        Names that may have to come from outside; builtins among them.
    gives
        Names that it assigns, defines or deletes at its top level.
    """

    reads: dict[str, None] = field(default_factory=dict)
    gives: dict[str, None] = field(default_factory=dict)


def names_of(tree: ast.Module) -> CellNames:
    """The names of a cell."""
    walk = _Walk(CellNames(), set(), top=True)
    walk.block(tree.body)
    walk.found.gives = {name: None for name in walk.found.gives if not name.startswith("_")}
    return walk.found


class _Walk:
    """One scope: a cell, the body of a function or class, a comprehension."""

    def __init__(self, found: CellNames, assigned: set[str], top: bool = False) -> None:
        self.found = found
        self.assigned = assigned
        self.top = top
        self.globals: set[str] = set()

    # -- statements -------------------------------------------------------------------------------------------------

    def block(self, statements: Iterable[ast.stmt]) -> None:
        for statement in statements:
            self.statement(statement)

    def branch(self, statements: Iterable[ast.stmt]) -> set[str]:
        """Walk statements that may not run; what is assigned after them if they did."""
        before = set(self.assigned)
        self.block(statements)
        after, self.assigned = self.assigned, before
        return after

    def statement(self, node: ast.stmt) -> None:
        method = _STATEMENTS.get(type(node))
        if method is not None:
            method(self, node)
        else:
            self.expressions(node)

    def expressions(self, node: ast.AST) -> None:
        """Read what a node reads, then assign what it assigns in passing (``:=``)."""
        for child in ast.iter_child_nodes(node):
            self.expression(child)

    def assignment(self, node: ast.Assign) -> None:
        self.expression(node.value)
        for target in node.targets:
            self.assign(target)

    def augmented(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.read(node.target.id)
        self.expression(node.value)
        self.assign(node.target)

    def annotated(self, node: ast.AnnAssign) -> None:
        self.expression(node.annotation)
        if node.value is not None:
            self.expression(node.value)
            self.assign(node.target)

    def definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for decorator in node.decorator_list:
            self.expression(decorator)
        self.function(node)
        self.give(node.name)

    def class_(self, node: ast.ClassDef) -> None:
        for part in (*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)):
            self.expression(part)
        inner = _Walk(self.found, set(self.assigned))
        inner.block(node.body)
        self.share(inner)
        self.give(node.name)

    def if_(self, node: ast.If) -> None:
        self.expression(node.test)
        after = [self.branch(block) for block in (node.body, node.orelse) if not _leaves(block)]
        self.assigned |= set.intersection(*after) if after else set()

    def for_(self, node: ast.For | ast.AsyncFor) -> None:
        self.expression(node.iter)
        before = set(self.assigned)
        self.assign(node.target, gives=False)
        self.block(node.body)
        self.assigned = before
        self.branch(node.orelse)

    def while_(self, node: ast.While) -> None:
        self.expression(node.test)
        self.branch(node.body)
        self.branch(node.orelse)

    def with_(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            self.expression(item.context_expr)
            if item.optional_vars is not None:
                self.assign(item.optional_vars, gives=False)
        self.block(node.body)

    def try_(self, node: ast.Try) -> None:
        before = set(self.assigned)
        after = [self.branch([*node.body, *node.orelse])]
        for handler in node.handlers:
            if handler.type is not None:
                self.expression(handler.type)
            if handler.name is not None:
                self.assigned.add(handler.name)
            left = self.branch(handler.body)
            self.assigned = set(before)
            if not _leaves(handler.body):
                after.append(left - {handler.name or ""})
        self.block(node.finalbody)
        self.assigned |= set.intersection(*after)

    def match(self, node: ast.Match) -> None:
        self.expression(node.subject)
        for case in node.cases:
            before = set(self.assigned)
            for part in ast.walk(case.pattern):
                name = getattr(part, "name", None) or getattr(part, "rest", None)
                if isinstance(name, str):
                    self.assigned.add(name)
                elif isinstance(part, ast.MatchValue):
                    self.expression(part.value)
                elif isinstance(part, ast.MatchClass):
                    self.expression(part.cls)
            if case.guard is not None:
                self.expression(case.guard)
            self.block(case.body)
            self.assigned = before

    def import_(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            self.assigned.add(alias.asname or alias.name.partition(".")[0])

    def global_(self, node: ast.Global) -> None:
        self.globals.update(node.names)

    def delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                self.read(target.id)
                self.assigned.discard(target.id)
                if self.top:
                    self.found.gives.pop(target.id, None)
            else:
                self.expressions(target)

    # -- expressions ------------------------------------------------------------------------------------------------

    def expression(self, node: ast.AST) -> None:
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Load):
                self.read(node.id)
        elif isinstance(node, ast.NamedExpr):
            self.expression(node.value)
            self.assign(node.target)
        elif isinstance(node, ast.Lambda):
            self.function(node)
        elif isinstance(node, _COMPREHENSIONS):
            self.comprehension(node)
        elif isinstance(node, ast.stmt):
            self.statement(node)
        else:
            self.expressions(node)

    def comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        inner = _Walk(self.found, set(self.assigned))
        for generator in node.generators:
            inner.expression(generator.iter)
            inner.assign(generator.target, gives=False)
            for condition in generator.ifs:
                inner.expression(condition)
        results = (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,)
        for result in results:
            inner.expression(result)
        for part in ast.walk(node):  # `:=` in a comprehension assigns outside of it
            if isinstance(part, ast.NamedExpr) and self.top:
                self.found.gives[part.target.id] = None

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        arguments = node.args
        for default in (*arguments.defaults, *(each for each in arguments.kw_defaults if each is not None)):
            self.expression(default)
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        named += [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
        for argument in named:
            if argument.annotation is not None:
                self.expression(argument.annotation)
        body = [node.body] if isinstance(node, ast.Lambda) else node.body
        own = {argument.arg for argument in named} | _assigned_in(body)
        if not isinstance(node, ast.Lambda):
            own.add(node.name)  # calls itself
            if node.returns is not None:
                self.expression(node.returns)
        inner = _Walk(self.found, self.assigned | own)
        for part in body:
            inner.expression(part)
        self.share(inner)

    # -- names ------------------------------------------------------------------------------------------------------

    def share(self, inner: _Walk) -> None:
        """A function or class that says ``global`` gives names of the cell."""
        for name in inner.globals:
            self.found.gives[name] = None

    def read(self, name: str) -> None:
        if name not in self.assigned:
            self.found.reads[name] = None

    def give(self, name: str) -> None:
        self.assigned.add(name)
        if self.top:
            self.found.gives[name] = None

    def assign(self, target: ast.expr, gives: bool = True) -> None:
        """Assign to a name, or to the names in a tuple; ``a[i]`` and ``a.b`` read a."""
        if isinstance(target, ast.Name):
            if gives:
                self.give(target.id)
            else:
                self.assigned.add(target.id)
        elif isinstance(target, ast.Tuple | ast.List):
            for element in target.elts:
                self.assign(element, gives)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, gives)
        else:
            self.expressions(target)


_STATEMENTS: Final[dict[type[ast.AST], Callable[[_Walk, Any], None]]] = {
    ast.Assign: _Walk.assignment,
    ast.AugAssign: _Walk.augmented,
    ast.AnnAssign: _Walk.annotated,
    ast.FunctionDef: _Walk.definition,
    ast.AsyncFunctionDef: _Walk.definition,
    ast.ClassDef: _Walk.class_,
    ast.If: _Walk.if_,
    ast.For: _Walk.for_,
    ast.AsyncFor: _Walk.for_,
    ast.While: _Walk.while_,
    ast.With: _Walk.with_,
    ast.AsyncWith: _Walk.with_,
    ast.Try: _Walk.try_,
    ast.TryStar: _Walk.try_,
    ast.Match: _Walk.match,
    ast.Import: _Walk.import_,
    ast.ImportFrom: _Walk.import_,
    ast.Global: _Walk.global_,
    ast.Delete: _Walk.delete,
}


def _leaves(block: list[ast.stmt]) -> bool:
    """Whether what follows a block is not reached from its end."""
    return bool(block) and isinstance(block[-1], _LEAVES)


def _assigned_in(body: Iterable[ast.AST]) -> set[str]:
    """The local names of a function: what it assigns, imports or defines, nested functions left out."""
    local: set[str] = set()
    outer: set[str] = set()
    pending = list(body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            local.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            local.add(node.name)
            continue
        elif isinstance(node, ast.Global):
            outer.update(node.names)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            local.update(alias.asname or alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            local.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            local.add(node.rest)
        if not isinstance(node, (*_FUNCTIONS, *_COMPREHENSIONS)):
            pending.extend(ast.iter_child_nodes(node))
    return local - outer
