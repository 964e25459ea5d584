"""Which module may import which, read from the source without running it.

``protocol`` <- ``transport, serialization`` <- ``object_store, gcs, raylet, worker, core, ...`` <- ``testing`` <-
``himalia`` <- ``libraries, dashboard, kernel_ext``: a module imports from its own layer and those below.

The front door `himalia/` may reach up from within a function (``%load_ext himalia`` has to find the extension), as this
happens only for those who ask for it and has no effect on what ``import himalia`` costs.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator
from pathlib import PurePosixPath

from tests.support.source_tree import Module

#: Folders by layer, lowest first. A folder of cluster/ that is not named stands with the engine's parts.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"cluster/protocol"}),
    frozenset({"cluster/transport", "cluster/serialization"}),
    frozenset({"cluster"}),
    # The product never imports what serves its tests; the front door re-exports it for those of others.
    frozenset({"cluster/testing"}),
    frozenset({"himalia"}),
    frozenset({"libraries", "dashboard", "kernel_ext"}),
)
FRONT_DOOR = 4

#: Machines get time, randomness and input from their caller, so that a simulation decides all three.
NOT_IN_MACHINES = frozenset({"zmq", "asyncio", "tornado", "socket", "time", "random", "os"})

#: Machines whose file is not called machine.py or something_machine.py.
MACHINES: frozenset[str] = frozenset(
    {
        "cluster/core/progress/model.py",
        "cluster/core/progress/tally.py",
        "dashboard/explain/accounting.py",
        "dashboard/explain/cause.py",
        "dashboard/explain/causes.py",
        "dashboard/explain/findings.py",
        "dashboard/explain/grid.py",
        "dashboard/explain/idle.py",
        "dashboard/explain/moments.py",
        "dashboard/explain/path.py",
        "dashboard/explain/record.py",
        "dashboard/graph.py",
        "dashboard/groups.py",
        "dashboard/model.py",
        "dashboard/stream.py",
    }
)


@dataclasses.dataclass(frozen=True, slots=True)
class Violation:
    """One import that breaks a rule."""

    place: PurePosixPath
    line: int
    rule: str

    def __str__(self) -> str:
        return f"{self.place}:{self.line}: {self.rule}"


@dataclasses.dataclass(frozen=True, slots=True)
class Import:
    """One imported name, made absolute."""

    target: str
    line: int
    is_relative: bool
    is_lazy: bool


def layer_of(folder: str) -> int:
    """The layer of a file or module, by the longest folder that a layer names.

    Parameters
    ----------
    folder
        A path in the repository: ``cluster/gcs/server``.
    """
    parts = folder.split("/")
    for length in range(len(parts), 0, -1):
        candidate = "/".join(parts[:length])
        for number, names in enumerate(LAYERS):
            if candidate in names:
                return number
    raise ValueError(f"{folder} belongs to no layer: add its folder to LAYERS in tests/support/layering.py")


def is_machine(place: PurePosixPath) -> bool:
    return place.name == "machine.py" or place.name.endswith("_machine.py") or str(place) in MACHINES


def imports_of(module: Module, source: str) -> Iterator[Import]:
    """Every import of a file, wherever it stands."""
    tree = ast.parse(source, filename=str(module.place))
    lazy = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, False, id(node) in lazy)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.package.split(".")[: len(module.package.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                # `from ..cluster import core` names a module, `from ..core import f` a function: either way the path
                # begins with the folder, which is all that is asked here.
                yield Import(f"{base}.{alias.name}", node.lineno, node.level > 0, id(node) in lazy)


def violations_in(module: Module, source: str, own_folders: frozenset[str]) -> list[Violation]:
    """What is wrong with the imports of one file.

    Parameters
    ----------
    own_folders
        Top-level folders that are part of the package: ``{"himalia", "cluster", ...}``.
    """
    found: list[Violation] = []
    own_layer = layer_of(str(module.place.with_suffix("")))
    for item in imports_of(module, source):

        def report(rule: str, line: int = item.line) -> None:
            found.append(Violation(module.place, line, rule))

        parts = item.target.split(".")
        if is_machine(module.place) and not item.is_relative and parts[0] in NOT_IN_MACHINES:
            report(f"a machine does no IO and asks no clock, but imports {parts[0]}")
        if not item.is_relative and parts[0] in own_folders - {"himalia"}:
            report(f"{parts[0]} is only importable from the root of the repository: import it as himalia.{parts[0]}")
            continue
        if parts[0] != "himalia":
            continue
        folder = "/".join(parts[1:] if len(parts) > 1 and parts[1] in own_folders else parts)
        other_layer = layer_of(folder)
        if own_layer < other_layer and not (own_layer == FRONT_DOOR and item.is_lazy):
            report(f"{folder.rpartition('/')[0] or folder} is a layer above {module.place.parent}")
        if own_layer != FRONT_DOOR and not item.is_relative and other_layer != FRONT_DOOR:
            report(f"import {item.target} relatively, as it is in this or a sibling folder")
    return found
