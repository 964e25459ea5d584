"""A seed becomes a cluster, programs and faults; `run` plays them."""

from __future__ import annotations

import dataclasses
import random

from .cluster import SimulatedCluster
from .process import Process
from .services import SERVICES
from .workloads import WORKLOADS, Context, Workload

__all__ = ["ALL", "Scenario", "play"]

ALL: dict[str, Workload] = {**WORKLOADS, **SERVICES}


@dataclasses.dataclass(frozen=True)
class Scenario:
    """What may differ between runs.

    Attributes
    ----------
    nodes
        CPUs of each node.
    drivers, rounds, scale
        How many programs there are, how many workloads each does one after the other, and about how many tasks one has.
    worker_kills
        How often a worker is killed, at any time.
    slow
        Share of slow messages.
    """

    seed: int
    nodes: tuple[float, ...] = (2.0,)
    drivers: int = 1
    rounds: int = 3
    scale: int = 12
    workloads: tuple[str, ...] = tuple(ALL)
    worker_kills: int = 0
    slow: float = 0.05
    fork_failures: float = 0.0

    @classmethod
    def of_seed(cls, seed: int, workloads: tuple[str, ...] = tuple(ALL)) -> Scenario:
        """One that chance chose, by its seed."""
        chance = random.Random(seed ^ 0x5EED)
        return cls(
            seed,
            nodes=tuple(float(chance.randint(1, 4)) for _ in range(chance.choice((1, 1, 1, 2, 3)))),
            drivers=chance.choice((1, 1, 2, 3)),
            rounds=chance.randint(1, 4),
            scale=chance.choice((3, 12, 12, 30, 60)),
            workloads=workloads,
            worker_kills=chance.choice((0, 0, 1, 3, 8)),
            slow=chance.choice((0.0, 0.05, 0.5)),
            fork_failures=chance.choice((0.0, 0.0, 0.1)),
        )


def play(scenario: Scenario, *, record: bool = False) -> SimulatedCluster:
    """Run it to its end.

    Raises
    ------
    Trouble
        Something happened that must not.
    """
    cluster = SimulatedCluster(scenario.seed, slow=scenario.slow, record=record)
    with cluster.running():
        build(cluster, scenario)
        cluster.run()
    return cluster


def build(cluster: SimulatedCluster, scenario: Scenario) -> None:
    """Start what the scenario has, and plan its faults."""
    cluster.fork_failures = scenario.fork_failures
    cluster.start_gcs()
    chance = random.Random(scenario.seed)
    nodes = [
        cluster.add_node({"CPU": cpus}, prestart=min(2, int(cpus)), reserve=1, idle_worker_seconds=2.0)
        for cpus in scenario.nodes
    ]
    for number in range(scenario.drivers):
        add_program(cluster, scenario, number, chance)
    for _ in range(scenario.worker_kills):
        cluster.kernel.after(chance.expovariate(2.0), lambda: kill_some_worker(cluster))
    assert nodes


def add_program(cluster: SimulatedCluster, scenario: Scenario, number: int, chance: random.Random) -> None:
    """A driver on a random node that does some of the workloads."""
    node = chance.choice(list(cluster.nodes.values()))
    own = random.Random(chance.getrandbits(64))

    def program(process: Process) -> None:
        for turn in range(scenario.rounds):
            name = own.choice(scenario.workloads)
            context = Context(f"d{number}/{name}{turn}", own, own.randint(1, scenario.scale))
            ALL[name](context)

    cluster.add_driver(node, program)


def kill_some_worker(cluster: SimulatedCluster) -> None:
    """SIGKILL to one of all workers, if there is one."""
    workers = cluster.living("worker")
    if workers:
        victim = cluster.kernel.random.choice(workers)
        cluster.book.kills += 1
        cluster.nodes[victim.node_id].kill_worker(victim.identity)
