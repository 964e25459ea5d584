"""``%cluster scale`` and ``%cluster adapt``: how many tasks run at a time, changed while they run."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ...cluster.protocol.common import RESOURCE_UNIT, SetCapacity
from ..arguments import MagicParser, UsageProblem, count, positive
from ..html import BUSY, GOOD, IDLE
from ..status import cluster_bundle
from .base import Action, Family

if TYPE_CHECKING:
    from ...cluster.core.runtime import Core

__all__ = ["ADAPT", "SCALE"]

_TOLD: Final = 5.0  # seconds until the cluster shows the new number; it takes some 50 ms
_POLL: Final = 0.01
_MOST: Final = 10_000  # CPUs: more are a slip of the finger
_IDLE: Final = 10.0  # seconds, as idle workers have before they end


def _scale_parser() -> MagicParser:
    parser = MagicParser("%cluster scale")
    parser.add_argument("cpus", type=count, metavar="N")
    return parser


def _adapt_parser() -> MagicParser:
    parser = MagicParser("%cluster adapt")
    parser.add_argument("--min", type=count, default=1, metavar="N")
    parser.add_argument("--max", type=count, metavar="N")
    parser.add_argument("--idle", type=positive, default=_IDLE, metavar="SECONDS")
    return parser


def _scale(magics: Family, arguments: argparse.Namespace) -> None:
    cpus = _checked(arguments.cpus)
    core = _only_node(magics)
    core.raylet_send(SetCapacity(cpus * RESOURCE_UNIT))
    node = _wait_for(core, lambda node: node["total"].get("CPU") == cpus * RESOURCE_UNIT and not node["most"])
    magics.show(cluster_bundle(core))
    free = node["available"].get("CPU", 0) / RESOURCE_UNIT
    if free < 0:
        held = f"What runs holds {cpus - free:g} CPUs. It goes on"
        magics.say(f"{held}, and nothing new starts until it holds fewer than {cpus}.", BUSY)
    pool = magics.extension.engines
    if pool is not None and pool.core is core:
        from .every import tell_of_removed

        tell_of_removed(magics, pool.shrink())
    _warn_of_many(magics, cpus)


def _adapt(magics: Family, arguments: argparse.Namespace) -> None:
    least = _checked(arguments.min)
    most = _checked(arguments.max if arguments.max is not None else max(least, _cores()))
    if most <= least:
        raise UsageProblem(f"--max {most} must be more than --min {least}; %cluster scale {least} has a fixed number")
    core = _only_node(magics)
    core.raylet_send(SetCapacity(least * RESOURCE_UNIT, most * RESOURCE_UNIT, arguments.idle))
    _wait_for(core, lambda node: node["most"].get("CPU") == most * RESOURCE_UNIT)
    magics.say(
        f"The cluster has {least} to {most} CPUs from now on: more as soon as work waits, fewer when they were not "
        f"needed for {arguments.idle:g} s. %cluster scale N fixes the number.",
        GOOD,
    )
    magics.show(cluster_bundle(core))
    _warn_of_many(magics, most)


def _checked(cpus: int) -> int:
    if not 1 <= cpus <= _MOST:
        raise UsageProblem(f"a cluster has 1 to {_MOST} CPUs, not {cpus}")
    return cpus


def _only_node(magics: Family) -> Core:
    """The core, if its cluster is one of one node."""
    core = magics.core()
    count = len(_living(core))
    if count > 1:
        raise UsageProblem(
            f"this cluster has {count} nodes, and this is for a cluster of one machine: "
            "himalia start --address adds a node, himalia stop ends one"
        )
    return core


def _living(core: Core) -> list[dict[str, Any]]:
    return [node for node in core.cluster_state("nodes") if node["alive"]]


def _wait_for(core: Core, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait until the cluster shows the change; the node as it is then."""
    deadline = time.monotonic() + _TOLD
    while True:
        nodes = _living(core)
        if nodes and holds(nodes[0]):
            return nodes[0]
        if time.monotonic() > deadline:
            raise UsageProblem(f"the node has not taken the change within {_TOLD:g} s: %cluster status shows how it is")
        time.sleep(_POLL)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _warn_of_many(magics: Family, cpus: int) -> None:
    cores = _cores()
    if cpus > cores:
        magics.say(f"This machine has {cores} cores: {cpus} tasks at a time help where they wait, not compute.", IDLE)


SCALE: Final = Action(_scale_parser, _scale)
ADAPT: Final = Action(_adapt_parser, _adapt)
