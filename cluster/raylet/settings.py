"""From the options a user gives, and what the machine has, to the fixed numbers of a node."""

from __future__ import annotations

import math
from typing import Final

from ..launchers.boot import RayletBoot
from ..protocol.common import RESOURCE_UNIT, Address
from .events import NodeConfig
from .resources import cpu_count, detect_resources, memory_bytes

__all__ = ["node_config"]

_MOST_STARTING: Final = 16
_MOST_RESERVE: Final = 4
"""Actors and jobs come one by one or in bursts; for a burst the speed of forks decides, not the reserve."""
_WORKER_BYTES: Final = 64 << 20
"""What an idle worker with a user's libraries takes; a thousand of them must not exhaust the machine by being there."""
_LEAST_WORKERS: Final = 64


def node_config(boot: RayletBoot, address: Address, arena_path: str, arena_bytes: int) -> NodeConfig:
    """The configuration of a node's machine. ValueError if the options contradict each other."""
    options = boot.options
    total, labels = detect_resources(options, boot.arena_bytes, is_head=boot.is_head, host=boot.tcp_host or "127.0.0.1")
    labels.setdefault("ray.io/node-id", boot.node_id.hex())
    cores = cpu_count()
    cpus = math.ceil(total.get("CPU", 0) / RESOURCE_UNIT)
    # A node may claim more CPUs than the machine has; processes beyond its cores only wait.
    prestart = min(cpus, cores) if options.prestart_workers is None else options.prestart_workers
    limit = max(_LEAST_WORKERS, memory_bytes() // _WORKER_BYTES)
    return NodeConfig(
        node_id=boot.node_id,
        raylet=address,
        gcs=boot.gcs,
        total=total,
        labels=labels,
        arena_path=arena_path,
        arena_bytes=arena_bytes,
        session_dir=boot.session_dir,
        prestart=prestart,
        reserve=max(1, min(prestart, _MOST_RESERVE)),
        starting_limit=max(2, min(cores, _MOST_STARTING)),
        max_workers=limit if options.max_workers is None else options.max_workers,
        idle_worker_seconds=options.idle_worker_seconds,
    )
