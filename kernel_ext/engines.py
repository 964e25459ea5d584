"""The engines of a notebook: what "every worker" means where workers come and go.

The cluster leases workers to whoever has tasks, so there is no fixed set of them and none keeps variables. ``%%every``
has a pool of its own: one actor for each CPU of each node, made when it is first used. Each keeps its namespace until
the cluster stops, the notebook leaves, or ``%every --stop``; when the cluster has shrunk, those with the highest
numbers end. Where CPUs come and go with the work (``%cluster adapt``), engines only come. They hold no CPU, so tasks
run as if they were not there; while a cell runs on them, it competes with tasks.

Rejected: running the cell once as a task on each worker there is. Which these are changes from moment to moment, two
cells in a row would not meet the same, and idle ones end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from ..cluster.core import api
from ..cluster.core.actor_class import ActorClass, ActorHandle
from ..cluster.core.strategies import NodeAffinitySchedulingStrategy
from ..cluster.protocol.common import RESOURCE_UNIT
from .arguments import UsageProblem
from .engine_actor import GROUP, Engine

if TYPE_CHECKING:
    from ..cluster.core.runtime import Core

__all__ = ["EnginePool", "Slot", "choose", "lacking", "places", "ranges", "surplus"]

_LARGEST: Final = 1_024  # engines: more are a mistake


@dataclass
class Slot:
    """The place of an engine: it keeps its number when a new actor takes the place of a dead one."""

    number: int
    node: str
    actor: ActorHandle


@dataclass
class EnginePool:
    """The engines of one notebook on one cluster."""

    core: Core
    slots: list[Slot] = field(default_factory=list)

    def ensure(self) -> tuple[list[int], list[int]]:
        """Have one for each CPU that there is now.

        Returns
        -------
        renewed, removed
            Numbers of those that had died and are new, and of those that had no CPU any more.
        """
        nodes = self.core.cluster_state("nodes")
        removed = self._remove(surplus(self.slots, places(nodes, at_most=True)))
        missing = lacking(self.slots, places(nodes))
        if len(self.slots) + len(missing) > _LARGEST:
            raise UsageProblem(f"{len(self.slots) + len(missing)} engines are more than {_LARGEST}")
        dead = self._dead() if self.slots else set()
        renewed = [slot for slot in self.slots if slot.actor._id in dead]
        for slot in renewed:
            slot.actor = self._make(slot.number, slot.node)
        self.slots += [Slot(number, node, self._make(number, node)) for number, node in missing]
        self.slots.sort(key=lambda slot: slot.number)
        return [slot.number for slot in renewed], removed

    def shrink(self) -> list[int]:
        """End those that have no CPU any more; returns their numbers."""
        return self._remove(surplus(self.slots, places(self.core.cluster_state("nodes"), at_most=True)))

    def _remove(self, slots: list[Slot]) -> list[int]:
        for slot in slots:
            api.kill(slot.actor)
            self.slots.remove(slot)
        return [slot.number for slot in slots]

    def _make(self, number: int, node: str) -> ActorHandle:
        made = ActorClass(
            Engine,
            {
                "num_cpus": 0,
                "concurrency_groups": {GROUP: 1},
                "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=True),
            },
        )
        return made.remote(number)

    def _dead(self) -> set[bytes]:
        states = self.core.cluster_state("actors")
        return {row["actor_id"] for row in states if row["state"] == "DEAD"}

    def stop(self) -> int:
        """End them all; returns how many there were."""
        return len(self._remove(list(self.slots)))


def places(nodes: Iterable[dict[str, Any]], *, at_most: bool = False) -> dict[str, int]:
    """How many engines each node is to have: one a CPU, and one where there is but a part of a CPU.

    ``at_most``: where the number of CPUs follows the work, as many as there can be.
    """
    found: dict[str, int] = {}
    for node in nodes:
        cpus = node["total"].get("CPU", 0)
        if at_most:
            cpus = max(cpus, node["most"].get("CPU", 0))
        if node["alive"] and cpus:
            found[node["node_id"].hex()] = max(1, cpus // RESOURCE_UNIT)
    return found


def surplus(slots: Iterable[Slot], allowed: dict[str, int]) -> list[Slot]:
    """Those with the highest numbers of each node that are more than it may have."""
    left = dict(allowed)
    found = []
    for slot in slots:
        left[slot.node] = left.get(slot.node, 0) - 1
        if left[slot.node] < 0:
            found.append(slot)
    return found


def lacking(slots: Sequence[Slot], wanted: dict[str, int]) -> list[tuple[int, str]]:
    """Numbers and nodes of the engines that are still to be made: the lowest numbers that are free."""
    taken = {slot.number for slot in slots}
    free = (number for number in count() if number not in taken)
    there = Counter(slot.node for slot in slots)
    return [(next(free), node) for node, number in wanted.items() for _ in range(number - there[node])]


def choose(text: str, slots: Sequence[Slot]) -> list[Slot]:
    """The engines that ``--targets`` means: ``all``, ``nodes`` (the first of each), or numbers: ``0,2,4-6``, ``:4``.

    Raises
    ------
    UsageProblem
        There is no such engine, or this is no choice.
    """
    if text == "all":
        return list(slots)
    if text == "nodes":
        first: dict[str, Slot] = {}
        for slot in slots:
            first.setdefault(slot.node, slot)
        return list(first.values())
    numbers: dict[int, None] = {}
    for part in text.split(","):
        for number in _numbers(part.strip(), len(slots)):
            numbers[number] = None
    by_number = {slot.number: slot for slot in slots}
    absent = [number for number in numbers if number not in by_number]
    if absent:
        raise UsageProblem(f"there is no engine {absent[0]}, but {ranges(by_number)}")
    return [by_number[number] for number in numbers]


def _numbers(part: str, count: int) -> range:
    if part.isdecimal():
        return range(int(part), int(part) + 1)
    first, dash, last = part.partition("-")
    if dash and first.isdecimal() and last.isdecimal():
        return range(int(first), int(last) + 1)
    start, colon, stop = part.partition(":")
    if colon and (not start or start.isdecimal()) and (not stop or stop.isdecimal()):
        return range(int(start or 0), min(count, int(stop)) if stop else count)
    raise UsageProblem(f"--targets takes all, nodes, or numbers such as 0,2,4-6 or :4, not {part!r}")


def ranges(numbers: Iterable[int]) -> str:
    """``0-3,5``."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)
