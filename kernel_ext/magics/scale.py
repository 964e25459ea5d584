"""``%cluster scale``: how many tasks run at a time, changed while they run."""

from __future__ import annotations

import argparse
import os
import time
from typing import TYPE_CHECKING, Final

from ...cluster.protocol.common import RESOURCE_UNIT, SetCapacity, from_units
from ..arguments import MagicParser, UsageProblem, count
from ..html import BUSY, IDLE
from ..status import cluster_bundle
from .base import Action, Family

if TYPE_CHECKING:
    from ...cluster.core.runtime import Core

__all__ = ["SCALE"]

_TOLD: Final = 5.0  # seconds until the cluster shows the new number; it takes some 50 ms
_POLL: Final = 0.01
_MOST: Final = 10_000  # CPUs: more are a slip of the finger


def _parser() -> MagicParser:
    parser = MagicParser("%cluster scale")
    parser.add_argument("cpus", type=count, metavar="N")
    return parser


def _scale(magics: Family, arguments: argparse.Namespace) -> None:
    wanted = arguments.cpus
    if not 1 <= wanted <= _MOST:
        raise UsageProblem(f"a cluster has 1 to {_MOST} CPUs, not {wanted}")
    core = magics.core()
    nodes = [node for node in core.list_nodes() if node.alive]
    if len(nodes) > 1:
        raise UsageProblem(
            f"this cluster has {len(nodes)} nodes: scale is for a cluster of one machine. "
            "Add or end nodes with himalia start and himalia stop"
        )
    core.raylet_send(SetCapacity(wanted * RESOURCE_UNIT))
    free = _wait_for(core, wanted)
    magics.show(cluster_bundle(core))
    if free < 0:
        held = wanted - free
        magics.say(
            f"What runs holds {held:g} CPUs. It goes on, and nothing new starts until it holds fewer than {wanted}.",
            BUSY,
        )
    cores = len(os.sched_getaffinity(0))
    if wanted > cores:
        magics.say(
            f"This machine has {cores} cores: {wanted} tasks at a time help where tasks wait, not compute.", IDLE
        )


def _wait_for(core: Core, cpus: int) -> float:
    """Wait until the cluster shows the new number; what is free of it, negative if more is held."""
    deadline = time.monotonic() + _TOLD
    while True:
        answer = core.cluster_state("resources")
        total, free = (from_units(answer[part]).get("CPU", 0.0) for part in ("total", "available"))
        if total == cpus:
            return free
        if time.monotonic() > deadline:
            raise UsageProblem(f"the cluster still has {total:g} CPUs: its node does not answer")
        time.sleep(_POLL)


SCALE: Final = Action(_parser, _scale)
