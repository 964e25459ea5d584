"""The engines of a notebook: what "every worker" means where workers come and go.

The cluster leases workers to whoever has tasks, so there is no fixed set of them and none keeps variables. ``%%every``
has a pool of its own: one actor for each CPU of each node, made when it is first used. Each keeps its namespace until
the cluster stops, the notebook leaves, or ``%every --stop``. Engines hold no CPU, so tasks run as if they were not
there; while a cell runs on them, it competes with tasks.

Rejected: running the cell once as a task on each worker there is. Which these are changes from moment to moment, two
cells in a row would not meet the same, and idle ones end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ..cluster.core import api
from ..cluster.core.actor_class import ActorClass, ActorHandle
from ..cluster.core.strategies import NodeAffinitySchedulingStrategy
from .arguments import UsageProblem
from .engine_actor import GROUP, Engine

if TYPE_CHECKING:
    from ..cluster.core.runtime import Core

__all__ = ["EnginePool", "choose", "ranges"]

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

    def ensure(self) -> list[int]:
        """Have one for each CPU that there is now; returns the numbers of those that had died and are new."""
        wanted = _places(api.nodes())
        by_node: dict[str, int] = {}
        for slot in self.slots:
            by_node[slot.node] = by_node.get(slot.node, 0) + 1
        missing = [node for node, count in wanted.items() for _ in range(count - by_node.get(node, 0))]
        if len(self.slots) + len(missing) > _LARGEST:
            raise UsageProblem(f"{len(self.slots) + len(missing)} engines are more than {_LARGEST}")
        dead = self._dead()
        renewed = [slot.number for slot in self.slots if slot.actor._id in dead]
        for slot in self.slots:
            if slot.number in renewed:
                slot.node = slot.node if slot.node in wanted else next(iter(wanted))
                slot.actor = self._make(slot.number, slot.node)
        for node in missing:
            number = len(self.slots)
            self.slots.append(Slot(number, node, self._make(number, node)))
        return renewed

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
        count = len(self.slots)
        for slot in self.slots:
            api.kill(slot.actor)
        self.slots.clear()
        return count


def _places(nodes: Iterable[dict[str, Any]]) -> dict[str, int]:
    """How many engines each node is to have: one a CPU, and one where there is but a part of a CPU."""
    return {
        node["NodeID"]: max(1, int(node["Resources"].get("CPU", 0)))
        for node in nodes
        if node["Alive"] and node["Resources"].get("CPU", 0)
    }


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
