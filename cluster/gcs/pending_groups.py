"""Why a placement group waits, and why something waits in one. Reads only.

A task or actor of a group looks at its bundles and at nothing else: whether one is large enough, is in place, and has
free what is asked for, as its node said last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..protocol.common import Resources, from_units
from ..protocol.constraints import fits
from .group_record import Bundle, Group, GroupState
from .group_rows import explain_group

if TYPE_CHECKING:
    from .machine import GcsMachine

__all__ = ["GroupReasons"]


class GroupReasons:
    """What is known of all groups at this moment."""

    def __init__(self, gcs: GcsMachine) -> None:
        self._gcs = gcs
        self._free: dict[tuple[bytes, int], Resources] = {}
        for node in gcs.nodes.living():
            self._free.update({(group_id, index): free for group_id, index, free in node.bundle_rows})

    def rows(self) -> list[dict[str, Any]]:
        """The groups that wait, as rows of what waits."""
        waiting = (GroupState.WAITING, GroupState.PREPARING)
        return [self._row(group) for group in self._gcs.groups.by_id.values() if group.state in waiting]

    def _row(self, group: Group) -> dict[str, Any]:
        spec = group.spec
        verdict, reason = explain_group(self._gcs, group)
        missing = [bundle for bundle in group.bundles if not group.in_place(bundle)]
        need: Resources = {}
        for bundle in missing:
            for name, units in bundle.resources.items():
                need[name] = need.get(name, 0) + units
        since = group.created if group.lost is None else group.lost
        return {
            "kind": "placement group",
            "group_id": group.group_id,
            "actor_ids": [],
            "owner": spec.creator.worker_id,
            "name": spec.name or group.group_id.hex(),
            "cell": spec.cell.execution if spec.cell is not None else 0,
            "job_id": spec.job_id,
            "resources": need,
            "strategy": spec.strategy,
            "labels": {},
            "wanted": len(missing),
            "queued": 0,
            "waited": max(0.0, self._gcs.wall() - since),
            "node_id": b"",
            "verdict": "starting" if verdict == "preparing" else verdict,
            "reason": reason,
            "nodes": [],
            "more_nodes": 0,
        }

    def member(self, group_id: bytes, index: int, need: Resources, state: str, text: str) -> tuple[str, str]:
        """Why something waits in a group: a word and a sentence (without its full stop).

        ``state`` and ``text`` are what its raylet knows of it.
        """
        group = self._gcs.groups.by_id.get(group_id)
        if group is None or group.is_removed:
            return "failed", f"Its placement group {group_id.hex()} was removed"
        name = repr(group.spec.name) if group.spec.name else group_id.hex()
        bundles = group.bundles if index < 0 else group.bundles[index : index + 1]
        able = [bundle for bundle in bundles if fits(need, bundle.resources)]
        asked = _text(need)
        if not able:
            which = "no bundle" if index < 0 else f"bundle {index}"
            return "never", f"It asks for {asked} of placement group {name}, of which {which} is so large"
        if state in ("failed", "limit", "starting"):
            return state, text[:1].upper() + text[1:]
        there = [bundle for bundle in able if group.in_place(bundle)]
        if not there:
            verdict, reason = explain_group(self._gcs, group)
            why = reason.rstrip(".")
            kind = "never" if verdict == "never" else "group"
            return kind, f"It waits for placement group {name}, which is {group.public_state}. {why}"
        free = [bundle for bundle in there if fits(need, self._free_of(group, bundle))]
        if free and state != "busy":
            return "granting", text[:1].upper() + text[1:] if text else "It is about to be sent to its bundle"
        if free:
            node_id = free[0].node_id or b""
            return "moving", f"Bundle {free[0].index} of placement group {name}, on node {node_id.hex()}, has room"
        told = "; ".join(
            f"bundle {bundle.index} (node {(bundle.node_id or b'').hex()}) has {self._compare(group, bundle, need)}"
            for bundle in there[:4]
        )
        more = f"; and {len(there) - 4} more" if len(there) > 4 else ""
        return "busy", f"It waits for {asked} of placement group {name} to come free: {told}{more}"

    def _free_of(self, group: Group, bundle: Bundle) -> Resources:
        return self._free.get((group.group_id, bundle.index), bundle.resources)

    def _compare(self, group: Group, bundle: Bundle, need: Resources) -> str:
        free, total = from_units(self._free_of(group, bundle)), from_units(bundle.resources)
        return ", ".join(
            f"{max(0.0, free.get(name, 0)):g} {name} of its {total.get(name, 0):g} free" for name in sorted(need)
        )


def _text(resources: Resources) -> str:
    return ", ".join(f"{value:g} {name}" for name, value in sorted(from_units(resources).items())) or "no resources"
