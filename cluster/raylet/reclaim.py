"""Whose leases are asked back when others wait: a pure choice.

Strategy: who waits is compared with who holds most (the largest share of any resource, as dominant resource fairness
has it). While the one holds more than the other, one of its youngest leases is asked back, and both shares are counted
as if that were done. Where giving up a lease would only turn the tables (one CPU, two owners), a lease must be older
than a time slice: they take turns at that pace. Classes of one owner are treated among each other as owners are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..protocol.common import Resources
from .ledger import Allocation, Ledger

__all__ = ["Holder", "Waiter", "choose_reclaims", "choose_surplus"]

_EPSILON: Final = 1e-9


@dataclass(slots=True)
class Waiter:
    """An owner (or actor, or bundle) that waits for ``count`` times ``resources``, of ``ledger`` (None: the node's)."""

    owner: bytes
    class_id: int
    resources: Resources
    count: int
    ledger: Ledger | None = None


@dataclass(slots=True)
class Holder:
    """A lease that was not asked back yet."""

    lease_id: int
    owner: bytes
    class_id: int
    allocation: Allocation
    granted_at: float


def choose_reclaims(
    waiters: list[Waiter], holders: list[Holder], coming: list[Allocation], ledger: Ledger, young: float
) -> list[int]:
    """The leases to ask back now.

    Parameters
    ----------
    coming
        What leases hold that were asked back before.
    young
        Leases granted after this are too young to be only swapped.
    """
    expected = dict(ledger.available)
    for allocation in coming:
        _give(expected, allocation)
    shares = _Shares(holders, ledger)
    chosen: list[int] = []
    left = list(holders)
    waiting = [(waiter, waiter.count) for waiter in waiters]
    while waiting:
        # What is coming is first of all for those who have least.
        index = min(range(len(waiting)), key=lambda i: shares.of((waiting[i][0].owner, None)))
        waiter, count = waiting.pop(index)
        if _make_room(waiter, expected, left, shares, young, chosen):
            for name, units in waiter.resources.items():
                expected[name] -= units
            shares.change(waiter.owner, waiter.class_id, waiter.resources, 1)
            if count > 1:
                waiting.append((waiter, count - 1))
    return chosen


def choose_surplus(holders: list[Holder], coming: list[Allocation], ledger: Ledger) -> list[int]:
    """The leases to ask back because more CPUs are held than there are: the youngest ones, as few as make up for it."""
    lacking = -ledger.available.get("CPU", 0) - sum(map(_cpus, coming))
    chosen: list[int] = []
    for holder in sorted(holders, key=lambda holder: -holder.granted_at):
        if lacking <= 0:
            break
        if units := _cpus(holder.allocation):
            lacking -= units
            chosen.append(holder.lease_id)
    return chosen


def _cpus(allocation: Allocation) -> int:
    """The units of CPU that its end would give."""
    return 0 if allocation.is_lent else allocation.resources.get("CPU", 0)


def _make_room(
    waiter: Waiter, expected: Resources, left: list[Holder], shares: _Shares, young: float, chosen: list[int]
) -> bool:
    """Choose leases until what is expected to come suffices for one wish; False if nobody has to give any."""
    while lacking := {name for name, units in waiter.resources.items() if expected.get(name, 0) < units}:
        victim = _victim(waiter, lacking, left, shares, young)
        if victim is None:
            return False
        left.remove(victim)
        chosen.append(victim.lease_id)
        shares.change(victim.owner, victim.class_id, victim.allocation.resources, -1)
        _give(expected, victim.allocation)
    return True


def _give(expected: Resources, allocation: Allocation) -> None:
    for name, units in allocation.resources.items():
        if name != "CPU" or not allocation.is_lent:
            expected[name] = expected.get(name, 0) + units


class _Shares:
    """Units of each resource that each owner, and each of its classes, holds."""

    def __init__(self, holders: list[Holder], ledger: Ledger) -> None:
        self._total = ledger.total
        self._held: dict[tuple[bytes, int | None], Resources] = {}
        for holder in holders:
            self.change(holder.owner, holder.class_id, holder.allocation.resources, 1)

    def change(self, owner: bytes, class_id: int, resources: Resources, sign: int) -> None:
        for key in ((owner, None), (owner, class_id)):
            sums = self._held.setdefault(key, {})
            for name, units in resources.items():
                sums[name] = sums.get(name, 0) + sign * units

    def of(self, who: tuple[bytes, int | None], more: Resources | None = None, sign: int = 1) -> float:
        """The largest share of an owner (or a class of it), as it would be with ``more`` added or taken."""
        sums = self._held.get(who, {})
        more = more or {}
        return max(
            ((sums.get(name, 0) + sign * more.get(name, 0)) / self._total[name] for name in {*sums, *more}),
            default=0.0,
        )


def _victim(waiter: Waiter, lacking: set[str], left: list[Holder], shares: _Shares, young: float) -> Holder | None:
    """The lease to ask back for it, if anybody holds more than it."""
    best: tuple[tuple[float, float, int], Holder] | None = None
    theirs: tuple[bytes, int | None]
    ours: tuple[bytes, int | None]
    for holder in left:
        held = holder.allocation
        if not any(name in lacking and not (name == "CPU" and held.is_lent) for name in held.resources):
            continue
        if holder.owner != waiter.owner:
            theirs, ours = (holder.owner, None), (waiter.owner, None)
        elif holder.class_id != waiter.class_id:
            theirs, ours = (holder.owner, holder.class_id), (waiter.owner, waiter.class_id)
        else:
            continue
        share = shares.of(theirs)
        if share <= shares.of(ours) + _EPSILON:
            continue
        without = shares.of(theirs, held.resources, -1)
        swaps = without + _EPSILON < shares.of(ours, waiter.resources)
        if swaps and holder.granted_at > young:
            continue
        rank = (share, holder.granted_at, holder.lease_id)
        if best is None or rank > best[0]:
            best = (rank, holder)
    return None if best is None else best[1]
