"""`himalia memory`: which objects there are, who holds them, and what made them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from himalia.cli._output import print_table, print_value

if TYPE_CHECKING:
    from himalia.cluster.telemetry.objects import ObjectRow

__all__ = ["add_commands"]

_UNITS = {"B": 1, "KB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000}
_SORTS: dict[str, Callable[[Any], Any]] = {
    "size": lambda row: -row.size,
    "pid": lambda row: row.holder_pid,
    "type": lambda row: [str(kind) for kind in row.kinds],
}
_GROUPS = ("node", "site", "none")
_SHORT = 8  # digits of a node's id


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    memory = commands.add_parser("memory", help="show objects, who holds them and what made them")
    memory.add_argument("--group-by", choices=_GROUPS, default="node")
    memory.add_argument("--sort-by", choices=sorted(_SORTS), default="size")
    memory.add_argument("--units", choices=list(_UNITS), help="of sizes (default: what reads best)")
    memory.add_argument("--limit", type=int, default=100, help="rows of a group")
    memory.add_argument("--address", help="of the cluster (default: the newest on this machine)")
    memory.add_argument("--format", choices=["table", "json"], default="table")
    memory.add_argument("--timeout", type=float, default=30.0, help="seconds to wait for each answer")
    memory.set_defaults(run=_memory)


def _memory(arguments: argparse.Namespace) -> int:
    import sys

    from himalia.cluster.telemetry.objects import group_rows
    from himalia.util.state._source import object_rows, open_source

    if arguments.limit < 1:
        raise ValueError(f"--limit must be at least 1, not {arguments.limit}")
    with open_source(arguments.address, arguments.timeout) as source:
        rows = object_rows(source)
    for line in (*source.warnings, *source.missing):
        print(line, file=sys.stderr)
    if arguments.format == "json":
        print_value([_as_dict(row) for row in rows])
        return 0
    groups = group_rows(rows, _key(arguments.group_by))
    for title, group in groups.items():
        _print_group(title, sorted(group, key=_SORTS[arguments.sort_by]), arguments)
    if not rows:
        print("No process holds an object, and the stores are empty.")
    return 0


def _key(group_by: str) -> Callable[[ObjectRow], str]:
    if group_by == "node":
        return lambda row: f"Node {row.holder_node.hex()}"
    if group_by == "site":
        return lambda row: _made(row) or "(not known)"
    return lambda row: "All nodes"


def _print_group(title: str, rows: Sequence[ObjectRow], arguments: argparse.Namespace) -> None:
    sizes = {row.object_id: max(row.size, 0) for row in rows}
    total = _size(sum(sizes.values()), arguments.units)
    print(f"\n{title}: {len(sizes)} object{'s' if len(sizes) != 1 else ''}, {total}")
    shown = rows[: arguments.limit]
    print_table(
        ["PID", "SIZE", "REFERENCE", "TASK", "STORED", "MADE BY", "OBJECT"], [_cells(row, arguments) for row in shown]
    )
    if len(shown) < len(rows):
        print(f"{len(shown)} of {len(rows)} shown: --limit {len(rows)} shows all")


def _cells(row: ObjectRow, arguments: argparse.Namespace) -> list[str]:
    return [
        str(row.holder_pid or "-"),
        _size(row.size, arguments.units),
        ", ".join(row.kinds) or "-",
        row.status,
        ", ".join(f"{state} on {node.hex()[:_SHORT]}" for node, state in row.stored.items()) or "in its owner",
        _made(row) or "-",
        row.object_id.hex(),
    ]


def _made(row: ObjectRow) -> str:
    """What made it: function, cell and line, as far as they are known."""
    cell = f"cell {row.cell.execution}" if row.cell is not None and row.cell.execution else ""
    return ", ".join(part for part in (row.maker, cell, row.site) if part)


def _size(size: int, unit: str | None) -> str:
    if size < 0:
        return "?"
    if unit is None:
        unit = next((name for name, factor in _UNITS.items() if size < 1_000 * factor), "GB")
    return f"{size} B" if unit == "B" else f"{size / _UNITS[unit]:.1f} {unit}"


def _as_dict(row: ObjectRow) -> dict[str, Any]:
    return {
        "object_id": row.object_id.hex(),
        "size": row.size,
        "status": row.status,
        "references": [str(kind) for kind in row.kinds],
        "owner": row.owner.hex(),
        "holder": row.holder.hex(),
        "pid": row.holder_pid,
        "node": row.holder_node.hex(),
        "stored": {node.hex(): state for node, state in row.stored.items()},
        "function": row.maker,
        "cell": row.cell.execution if row.cell is not None else None,
        "site": row.site,
    }
