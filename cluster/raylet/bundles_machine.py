"""Bundles of placement groups on this node: what the GCS has reserved, and what may be taken of it.

Strategy: a reservation is all that one placement of a group wants of this node. It gets its resources at once or not at
all, waits a few seconds for that while leases are asked back, and is then refused. What it holds nobody may use before
the GCS says so, since another node may refuse its part. Each bundle then has a ledger of its own, over what it holds of
the node's, devices included; leases and actors of the group take from that as others do from the node's. One that is
given back is closed to new ones at once, and goes when the last process in it has ended.

What comes free is kept for a reservation that waits, in the first half of each two seconds, as it is for a request that
waits for long (see `leases_machine`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..protocol.common import Death, DeathKind, Resources
from ..protocol.group_messages import BundleRow, CommitBundles, PrepareBundles, ReportBundles, ReturnBundles
from ..protocol.transitions import History, IllegalTransition, Step, new_history
from .events import Context
from .ledger import Allocation, Ledger
from .reclaim import Waiter

__all__ = ["RESERVATION_EDGES", "Bundles", "Reservation"]

RESERVATION_EDGES: Final[dict[tuple[str, str], str]] = {
    ("waiting", "resources"): "prepared",
    ("waiting", "refuse"): "gone",
    ("waiting", "return"): "gone",
    ("prepared", "commit"): "committed",
    ("prepared", "return"): "gone",  # nothing runs in it
    ("committed", "return"): "ending",
    ("ending", "return"): "ending",
    ("ending", "empty"): "gone",
}

_KEEP_PERIOD: Final = 2.0
"""In the first half of it what comes free is kept; what it waits for may depend on what is held up meanwhile."""


class Reservation:
    """What one placement of a group wants of this node, by the bundles' indexes."""

    __slots__ = ("allocations", "attempt", "bundles", "group_id", "history", "ledgers", "since", "state")

    def __init__(self, message: PrepareBundles, now: float) -> None:
        self.group_id = message.group_id
        self.attempt = message.attempt
        self.bundles = message.bundles
        self.state = "waiting"
        self.since = now
        self.allocations: dict[int, Allocation] = {}  # of the node's resources
        self.ledgers: dict[int, Ledger] = {}
        self.history: History = new_history()

    def move(self, fact: str, now: float) -> None:
        after = RESERVATION_EDGES.get((self.state, fact))
        if after is None:
            raise IllegalTransition(f"bundles of {self.group_id.hex()}", self.state, fact, tuple(self.history))
        self.history.append(Step(now, fact, self.state, after))
        self.state = after


class Bundles:
    """All reservations of this node.

    ``evict(ledgers, death)`` ends what runs by these ledgers.
    """

    def __init__(self, context: Context, ledger: Ledger) -> None:
        self._context = context
        self._ledger = ledger
        self._all: dict[tuple[bytes, int], Reservation] = {}
        self._open: dict[bytes, dict[int, Ledger]] = {}  # by group and index: those that may be used
        self.evict: Callable[[set[Ledger], Death], None] = lambda ledgers, death: None
        self.is_draining = False

    # -- what the GCS says --------------------------------------------------------------------------------------------

    def prepare(self, message: PrepareBundles) -> None:
        """Reserve these bundles, if that is possible."""
        key = (message.group_id, message.attempt)
        known = self._all.get(key)
        if known is not None:  # the GCS was restarted, and asks again
            if known.state in ("prepared", "committed"):
                self._report(known)
            return
        reservation = Reservation(message, self._context.now)
        self._all[key] = reservation
        if self.is_draining or not self._ledger.could_fit(_sum(message.bundles)):
            self._refuse(reservation)

    def commit(self, message: CommitBundles) -> None:
        """They are to be used."""
        reservation = self._all.get((message.group_id, message.attempt))
        if reservation is None or reservation.state == "committed":
            return  # given back meanwhile, or said twice
        reservation.move("commit", self._context.now)
        for index, allocation in reservation.allocations.items():
            reservation.ledgers[index] = Ledger(allocation.resources, allocation.instances)
        self._open.setdefault(message.group_id, {}).update(reservation.ledgers)
        self._context.report_due = True

    def give_back(self, message: ReturnBundles) -> None:
        """They are not wanted (any more)."""
        for reservation in list(self._all.values()):
            if reservation.group_id == message.group_id and message.attempt in (0, reservation.attempt):
                self._end(reservation, message.reason)

    def _end(self, reservation: Reservation, reason: str) -> None:
        was_open = reservation.state == "committed"
        reservation.move("return", self._context.now)
        if reservation.state == "gone":
            self._forget(reservation)
        elif was_open:
            here = self._open[reservation.group_id]
            for index in reservation.ledgers:
                del here[index]
            if not here:
                del self._open[reservation.group_id]
            text = f"its placement group {reservation.group_id.hex()} was removed: {reason or 'it is not needed'}"
            self.evict(set(reservation.ledgers.values()), Death(DeathKind.GROUP_REMOVED, text))

    # -- what has become possible -------------------------------------------------------------------------------------

    def schedule(self) -> bool:
        """Give resources to those who wait for them; whether somebody has just begun to wait."""
        has_new = False
        for reservation in list(self._all.values()):
            if reservation.state != "waiting":
                continue
            if self._acquire(reservation):
                reservation.move("resources", self._context.now)
                self._context.report_due = True
                self._report(reservation)
            else:
                has_new = has_new or reservation.since == self._context.now
        return has_new

    def _acquire(self, reservation: Reservation) -> bool:
        """All or nothing; the largest shares of devices first, while there are whole ones."""
        taken: dict[int, Allocation] = {}
        order = sorted(reservation.bundles.items(), key=lambda item: (-self._ledger.weight(item[1]), item[0]))
        for index, resources in order:
            allocation = self._ledger.acquire(resources)
            if allocation is None:
                for held in taken.values():
                    self._ledger.release(held)
                return False
            taken[index] = allocation
        reservation.allocations = taken
        return True

    def tick(self) -> None:
        """Refuse those that waited in vain, and let go of what nobody uses any more."""
        now = self._context.now
        for reservation in list(self._all.values()):
            if reservation.state == "waiting" and now >= reservation.since + self._context.config.bundle_wait:
                self._refuse(reservation)
            elif reservation.state == "ending" and not any(ledger.held for ledger in reservation.ledgers.values()):
                reservation.move("empty", now)
                self._forget(reservation)

    def _refuse(self, reservation: Reservation) -> None:
        reservation.move("refuse", self._context.now)
        self._forget(reservation)
        self._report(reservation, refused=True)

    def _forget(self, reservation: Reservation) -> None:
        del self._all[reservation.group_id, reservation.attempt]
        for allocation in reservation.allocations.values():
            self._ledger.release(allocation)
        self._context.report_due = True

    def _report(self, reservation: Reservation, *, refused: bool = False) -> None:
        self._context.tell_gcs(ReportBundles(reservation.group_id, reservation.attempt, refused))

    def drain(self) -> None:
        """The node is about to leave: it holds nothing new. What is in use ends with it."""
        self.is_draining = True
        for reservation in list(self._all.values()):
            if reservation.state == "waiting":
                self._refuse(reservation)

    def next_deadline(self) -> float | None:
        """When somebody is refused, or what was kept for him may be taken by others."""
        now, wait = self._context.now, self._context.config.bundle_wait
        times = []
        for reservation in self._all.values():
            if reservation.state == "waiting":
                half = _KEEP_PERIOD / 2
                changes = reservation.since + ((now - reservation.since) // half + 1) * half
                times.append(min(reservation.since + wait, changes))
        return min(times, default=None)

    # -- who takes of them --------------------------------------------------------------------------------------------

    def ledgers(self, member: tuple[bytes, int] | None) -> list[Ledger]:
        """What a request may take from: the node, or the bundles here of its group (or the one that it names)."""
        if member is None:
            return [self._ledger]
        here = self._open.get(member[0], {})
        if member[1] >= 0:
            return [here[member[1]]] if member[1] in here else []
        return [here[index] for index in sorted(here)]

    def source(self, member: tuple[bytes, int] | None, request: Resources) -> Ledger | None:
        """What it can be taken from now."""
        if member is None:
            return self._ledger if self._ledger.fits(request) else None
        return next((ledger for ledger in self.ledgers(member) if ledger.fits(request)), None)

    def waiters(self) -> list[Waiter]:
        """Each bundle that waits for resources, as an owner that holds nothing."""
        return [
            Waiter(reservation.group_id + index.to_bytes(4, "big"), 0, resources, 1)
            for reservation in self._all.values()
            if reservation.state == "waiting"
            for index, resources in reservation.bundles.items()
        ]

    def claim(self) -> Resources | None:
        """What is to be kept at this moment for the one that waits longest."""
        for reservation in self._all.values():
            if reservation.state == "waiting":
                waited = self._context.now - reservation.since
                return _sum(reservation.bundles) if waited % _KEEP_PERIOD < _KEEP_PERIOD / 2 else None
        return None

    # -- looking ------------------------------------------------------------------------------------------------------

    def pending(self) -> list[tuple[Resources, int]]:
        """What waits, for the report to the GCS."""
        return [(waiter.resources, 1) for waiter in self.waiters()]

    def rows(self) -> list[BundleRow]:
        """What is free of those that may be used."""
        if not self._open:
            return []
        return [
            (group_id, index, dict(ledger.available))
            for group_id, here in self._open.items()
            for index, ledger in sorted(here.items())
        ]

    def held(self) -> list[tuple[bytes, int, list[int], bool]]:
        """For a GCS that restarted: group, attempt, indexes, and whether they may be used."""
        return [
            (one.group_id, one.attempt, sorted(one.bundles), one.state == "committed")
            for one in self._all.values()
            if one.state in ("prepared", "committed")
        ]

    def all_ledgers(self) -> list[Ledger]:
        """Of all bundles that somebody may use, or still uses."""
        return [ledger for reservation in self._all.values() for ledger in reservation.ledgers.values()]

    def allocations(self) -> int:
        """How many bundles hold resources of the node."""
        return sum(len(reservation.allocations) for reservation in self._all.values())

    def check_invariants(self) -> None:
        """A reservation holds everything or nothing, and those that may be used are open."""
        opened: dict[bytes, dict[int, Ledger]] = {}
        for key, reservation in self._all.items():
            assert key == (reservation.group_id, reservation.attempt)
            assert reservation.state != "gone"
            holds = reservation.state != "waiting"
            assert reservation.allocations.keys() == (reservation.bundles.keys() if holds else set())
            assert all(allocation in self._ledger.held for allocation in reservation.allocations.values())
            is_used = reservation.state in ("committed", "ending")
            assert reservation.ledgers.keys() == (reservation.bundles.keys() if is_used else set())
            if reservation.state == "committed":
                opened.setdefault(reservation.group_id, {}).update(reservation.ledgers)
            for ledger in reservation.ledgers.values():
                ledger.check_invariants()
        assert opened == self._open


def _sum(bundles: dict[int, Resources]) -> Resources:
    total: Resources = {}
    for resources in bundles.values():
        for name, units in resources.items():
            total[name] = total.get(name, 0) + units
    return total
