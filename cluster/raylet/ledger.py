"""A node's resources as a ledger: what there is, what is free, who holds what.

Strategy: all quantities are integers (see `protocol.common`), so the sum of what is held and what is free is the
total, always and exactly, also when the total is changed. A bundle of a placement group has a ledger of its own, over
what it holds of the node's. GPUs are counted by instance too: a fraction lives on one
GPU, on the fullest that has room for it, so that whole ones stay whole; a whole number takes free ones. The CPUs of a
holder that blocks are lent out; when it goes on it takes them back at once, and free CPUs may be negative until others
end. Nothing is granted meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ..protocol.common import RESOURCE_UNIT, Resources

__all__ = ["INSTANCED", "Allocation", "Ledger"]

INSTANCED: Final = frozenset({"GPU"})
"""Resources whose units are devices one can name."""


@dataclass(slots=True, eq=False)
class Allocation:
    """What one lease, actor or bundle holds, of which ledger. ``instances``: resource to (instance, units of it)."""

    resources: Resources
    ledger: Ledger
    instances: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    is_lent: bool = False

    def accelerators(self) -> dict[str, list[int]]:
        """Instance numbers, as messages carry them."""
        return {name: [number for number, _ in held] for name, held in self.instances.items()}


class Ledger:
    """The resources of one node, or of one bundle on it, which then has these devices: (number, units of it)."""

    def __init__(self, total: Resources, devices: dict[str, list[tuple[int, int]]] | None = None) -> None:
        self.total: Resources = dict(total)
        self.available: Resources = dict(total)
        self.most: Resources = {}  # what the total may grow to
        self.held: set[Allocation] = set()
        if devices is None:
            every = {name: range(units // RESOURCE_UNIT) for name, units in total.items() if name in INSTANCED}
            devices = {name: [(number, RESOURCE_UNIT) for number in numbers] for name, numbers in every.items()}
        self._devices = {name: dict(owned) for name, owned in devices.items()}
        self._free = {name: dict(owned) for name, owned in devices.items()}

    def resize(self, name: str, units: int) -> None:
        """There is so much of a resource from now on.

        What is held stays held: free units may be negative until it ends.

        Raises
        ------
        ValueError
            It consists of devices, which come and go with the node; or nothing would be left.
        """
        if name in INSTANCED or units <= 0:
            raise ValueError(f"{name} can not be set to {units} units")
        self.available[name] = self.available.get(name, 0) + units - self.total.get(name, 0)
        self.total[name] = units

    def could_fit(self, request: Resources) -> bool:
        """Whether the request fits when nothing else is held, and the total is what it may grow to."""
        total, most = self.total, self.most
        return all(max(total.get(name, 0), most.get(name, 0)) >= units for name, units in request.items())

    def fits(self, request: Resources) -> bool:
        """Whether the request fits now."""
        available = self.available
        for name, units in request.items():
            if available.get(name, 0) < units:
                return False
            if name in self._free and self._choose(name, units) is None:
                return False
        return True

    def acquire(self, request: Resources) -> Allocation | None:
        """Take what is asked, or nothing and None."""
        if not self.fits(request):
            return None
        allocation = Allocation(request, self)
        for name, units in request.items():
            self.available[name] -= units
            if name in self._free:
                chosen = self._choose(name, units)
                assert chosen is not None
                allocation.instances[name] = chosen
                for number, share in chosen:
                    self._free[name][number] -= share
        self.held.add(allocation)
        return allocation

    def release(self, allocation: Allocation) -> None:
        """Give back all that is held; once."""
        self.held.remove(allocation)
        for name, units in allocation.resources.items():
            if name != "CPU" or not allocation.is_lent:
                self.available[name] += units
        for name, held in allocation.instances.items():
            for number, share in held:
                self._free[name][number] += share

    def lend(self, allocation: Allocation) -> bool:
        """The holder blocks: its CPUs are free for others. False if it held none, or lends them already."""
        if allocation.is_lent or "CPU" not in allocation.resources:
            return False
        allocation.is_lent = True
        self.available["CPU"] += allocation.resources["CPU"]
        return True

    def take_back(self, allocation: Allocation) -> None:
        """The holder goes on, at once, also when its CPUs are used by others now."""
        if allocation.is_lent:
            allocation.is_lent = False
            self.available["CPU"] -= allocation.resources["CPU"]

    def weight(self, resources: Resources) -> int:
        """The largest share of any resource of the node that is asked for, in millionths."""
        return max((1_000_000 * units // self.total[name] for name, units in resources.items()), default=0)

    def _choose(self, name: str, units: int) -> list[tuple[int, int]] | None:
        """Instances for a request; None if no choice fits."""
        free = self._free[name]
        if units < RESOURCE_UNIT:
            fullest = (
                min((share, number) for number, share in free.items() if share >= units)
                if any(share >= units for share in free.values())
                else None
            )
            return None if fullest is None else [(fullest[1], units)]
        whole = [number for number, share in free.items() if share == RESOURCE_UNIT]
        count, rest = divmod(units, RESOURCE_UNIT)
        if rest or len(whole) < count:
            return None
        return [(number, RESOURCE_UNIT) for number in whole[:count]]

    def check_invariants(self) -> None:
        """Nothing is leaked or booked twice."""
        for name, total in self.total.items():
            held = sum(
                allocation.resources.get(name, 0)
                for allocation in self.held
                if not (name == "CPU" and allocation.is_lent)
            )
            assert self.available[name] + held == total, f"{name}: {self.available[name]} free + {held} held != {total}"
            assert self.available[name] >= 0 or name == "CPU", f"{name} is oversubscribed: {self.available[name]}"
        for name, free in self._free.items():
            for number, share in free.items():
                held = sum(
                    units
                    for allocation in self.held
                    for instance, units in allocation.instances.get(name, ())
                    if instance == number
                )
                assert share >= 0, f"{name} {number} is booked twice"
                owned = self._devices[name][number]
                assert share + held == owned, f"{name} {number}: {share} free + {held} held of {owned}"
