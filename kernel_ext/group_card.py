"""What a placement group shows of itself: its bundles with their nodes and what of them is in use, and why it waits.

Strategy: only the GCS knows how a group is, so a card asks it, as that of the cluster does: every second while
something happens, and seldom when nothing has for a minute. A group that was removed says so and is not asked about
again.
"""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..cluster.core import current
from ..cluster.protocol.common import Cell, from_units
from ..cluster.protocol.gcs_messages import ListState
from .asking import ASK_SECONDS, Rhythm
from .html import BAD, BUSY, GOOD, IDLE, bar, quantity
from .reprs import SHOWN_DIGITS, Shown

if TYPE_CHECKING:
    from ..cluster.core.placement_groups import PlacementGroup
    from ..cluster.core.runtime import Core

__all__ = ["GroupSubject", "ask_for_group", "describe_group", "group_shown"]

MOST_BUNDLES: Final = 16  # that are shown one by one
_LISTED: Final = 10_000
_COLOURS: Final = {"CREATED": GOOD, "PENDING": BUSY, "RESCHEDULING": BUSY, "REMOVED": IDLE}


def describe_group(group: PlacementGroup) -> Shown:
    """A group as the cluster knows it at this moment."""
    core = current.find_core()
    if core is None:
        return Shown(_title(group, ""), "unknown: this process is not connected to a cluster", IDLE)
    if core.fatal is not None:
        return Shown(_title(group, ""), "gone: the cluster ended", BAD)
    return group_shown(group, core, ask_for_group(core, group))


def ask_for_group(core: Core, group: PlacementGroup) -> dict[str, Any] | None:
    """What the GCS knows of a group; None if that is nothing, or it does not answer."""
    try:
        rows = core.gcs_call(ListState("placement_groups", _LISTED), timeout=ASK_SECONDS)
    except Exception:  # noqa: BLE001 - whatever ails the cluster, a handle can be shown
        return None
    return _row_of(rows, group.id.binary())


def _row_of(rows: list[dict[str, Any]], group_id: bytes) -> dict[str, Any] | None:
    return next((row for row in rows if row["group_id"] == group_id), None)


def _title(group: PlacementGroup, name: str) -> str:
    return f"Placement group {name or int(group.id.hex()[-SHOWN_DIGITS:], 16)}"


def group_shown(group: PlacementGroup, core: Core, row: dict[str, Any] | None) -> Shown:
    """A group as the GCS said last."""
    if row is None:
        return Shown(_title(group, ""), "not known to the cluster (any more)", IDLE)
    state, never = row["state"], row["verdict"] == "never"
    words = "pending: it can never be placed" if never and state == "PENDING" else state.lower()
    shown = Shown(_title(group, row["name"]), words, BAD if never else _COLOURS.get(state, BUSY))
    shown.changes = state != "REMOVED"
    shown.actions = ("remove",) if state != "REMOVED" else ()
    shown.is_pending, shown.submitted = state in ("PENDING", "RESCHEDULING"), row["created"]
    shown.rows.append(("strategy", row["strategy"]))
    for index, bundle in enumerate(row["bundles"][:MOST_BUNDLES]):
        _add_bundle(shown, f"bundle {index}", bundle, core)
    if (more := len(row["bundles"]) - MOST_BUNDLES) > 0:
        placed = sum(bundle["state"] == "CREATED" for bundle in row["bundles"][MOST_BUNDLES:])
        shown.rows.append((f"{more} more", f"{placed} of them in place"))
    if row["reason"]:
        shown.rows.append(("why", row["reason"]))
    _add_maker(shown, row)
    return shown


def _add_bundle(shown: Shown, name: str, bundle: dict[str, Any], core: Core) -> None:
    total = from_units(bundle["resources"])
    on = _node(bundle, core)
    if bundle["state"] != "CREATED":
        doing = {"PREPARING": f"being reserved on {on}", "REMOVED": "given back"}.get(bundle["state"], "not in place")
        wanted = ", ".join(f"{key}={value}" for key, value in bundle["labels"].items())
        asks = f" (for a node with {wanted})" if wanted else ""
        shown.rows.append((name, f"{_amounts(total)}: {doing}{asks}"))
        return
    free = from_units(bundle["available"] if bundle["available"] is not None else bundle["resources"])
    used = {key: max(0.0, amount - free.get(key, 0.0)) for key, amount in total.items()}
    parts = [f"{_amount(key, used[key])} of {_amounts({key: total[key]})}" for key in total]
    actors = bundle["actors"]
    living = f", {actors} actor{'s' if actors != 1 else ''}" if actors else ""
    shown.rows.append((name, f"{', '.join(parts)} in use, on {on}{living}"))
    shown.pictures[name] = f"{bar(max((used[key] / total[key] for key in total if total[key]), default=0.0))} "


def _node(bundle: dict[str, Any], core: Core) -> str:
    if bundle["node_id"] == core.node_id:
        return "this node"
    return f"node {bundle['node_id'].hex()[:SHOWN_DIGITS]} ({bundle['host']})"


def _amount(resource: str, value: float) -> str:
    return quantity(value) if resource == "memory" else f"{value:g}"


def _amounts(resources: dict[str, float]) -> str:
    return ", ".join(f"{_amount(key, value)} {key}" for key, value in resources.items())


def _add_maker(shown: Shown, row: dict[str, Any]) -> None:
    """Where and when it was made: the line of a cell, or the cell alone if a function of a file did it."""
    number = msgspec.convert(row["cell"], Cell).execution if row["cell"] is not None else 0
    where = row["site"] if row["site"].startswith("In [") else f"In [{number}]" if number else ""
    at = time.strftime("%H:%M:%S", time.localtime(row["created"]))
    shown.rows.append(("made", f"{where} at {at}" if where else at))
    if row["removed"]:
        shown.rows.append(("removed", time.strftime("%H:%M:%S", time.localtime(row["removed"]))))


class GroupSubject:
    """A placement group, as long as there is a handle here: what a card shows (see cards.py)."""

    def __init__(self, group: PlacementGroup, row: dict[str, Any] | None) -> None:
        self._group = weakref.ref(group)
        self._id = group.id.binary()
        self._row = row
        self._rhythm = Rhythm(time.monotonic())

    def describe(self, core: Core) -> Shown | None:
        """What the GCS said when it was asked last; asks it again if it is time."""
        group = self._group()
        if group is None:
            return None
        if self._rhythm.is_due(time.monotonic()):
            core.gcs_request(ListState("placement_groups", _LISTED), self._answered)
        return group_shown(group, core, self._row)

    def _answered(self, rows: Any) -> None:
        row = self._row if isinstance(rows, BaseException) else _row_of(rows, self._id)
        self._rhythm.answered(time.monotonic(), changed=row != self._row)
        self._row = row

    def act(self, core: Core, action: str) -> None:
        """Give back what it has reserved."""
        if action == "remove":
            core.groups().remove(self._id)
            self._rhythm.hurry()
