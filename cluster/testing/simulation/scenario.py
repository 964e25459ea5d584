"""A seed becomes a cluster, programs and faults; `run` plays them."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from functools import partial

from ...protocol.common import RESOURCE_UNIT, SetCapacity
from .cells import CELLS
from .cluster import SimulatedCluster
from .crowding import CROWDING
from .groups import GROUPS
from .killing import KILLING
from .process import Process
from .services import SERVICES
from .workloads import WORKLOADS, Context, Workload

__all__ = ["ALL", "KNOWN", "Scenario", "play"]

ALL: dict[str, Workload] = {**WORKLOADS, **SERVICES, **CELLS}
"""What a scenario may have that names no workloads. Seeds keep what they had: whatever is new has tests of its own."""

KNOWN: dict[str, Workload] = {**ALL, **GROUPS, **CROWDING, **KILLING}


@dataclasses.dataclass(frozen=True)
class Scenario:
    """What may differ between runs.

    Attributes
    ----------
    nodes
        CPUs of each node.
    drivers, rounds, scale
        How many programs there are, how many workloads each does one after the other, and about how many tasks one has.
    worker_kills, node_kills, driver_kills
        How often one of these is killed, at any time. One node and one driver are always left.
    cuts
        How often a node is cut off from the others, for less time than it takes to be missed.
    long_cuts
        The same for about as long as it takes to be missed: it is given up, or just not. Not a node with a driver.
    resizes
        How often a driver changes the CPUs of its node, or has them adapt. No less than it began with: workloads count
        on these.
    slow
        Share of slow messages.
    arena_bytes
        Memory of each node's store. A large value takes 120,000.
    bundle_wait
        Seconds that bundles of placement groups wait for room before a node refuses them.
    """

    seed: int
    nodes: tuple[float, ...] = (2.0,)
    drivers: int = 1
    rounds: int = 3
    scale: int = 12
    workloads: tuple[str, ...] = tuple(ALL)
    worker_kills: int = 0
    node_kills: int = 0
    driver_kills: int = 0
    cuts: int = 0
    long_cuts: int = 0
    resizes: int = 0
    slow: float = 0.05
    fork_failures: float = 0.0
    arena_bytes: int = 8 << 20
    bundle_wait: float = 4.0

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
            node_kills=chance.choice((0, 0, 0, 1, 2)),
            driver_kills=chance.choice((0, 0, 0, 1)),
            cuts=chance.choice((0, 0, 2)),
            slow=chance.choice((0.0, 0.05, 0.5)),
            fork_failures=chance.choice((0.0, 0.0, 0.1)),
            resizes=chance.choice((0, 0, 2, 6)),  # drawn last: seeds keep what they had before this
            arena_bytes=chance.choice((8 << 20, 8 << 20, 2 << 20, 600_000)),
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
    cluster.arena_bytes = scenario.arena_bytes
    cluster.start_gcs()
    chance = random.Random(scenario.seed)
    for cpus in scenario.nodes:
        workers = {"prestart": min(2, int(cpus)), "reserve": 1, "idle_worker_seconds": 2.0}
        cluster.add_node({"CPU": cpus}, bundle_wait=scenario.bundle_wait, **workers)
    for number in range(scenario.drivers):
        add_program(cluster, scenario, number, chance)
    faults: list[tuple[int, Callable[[SimulatedCluster], None]]] = [
        (scenario.worker_kills, kill_some_worker),
        (scenario.node_kills, kill_some_node),
        (scenario.driver_kills, kill_some_driver),
        (scenario.cuts, cut_some_node),
        (scenario.long_cuts, cut_some_node_for_long),
        (scenario.resizes, resize_some_node),
    ]
    for count, fault in faults:
        for _ in range(count):
            cluster.kernel.after(chance.expovariate(2.0), partial(fault, cluster))


def add_program(cluster: SimulatedCluster, scenario: Scenario, number: int, chance: random.Random) -> None:
    """A driver on a random node that does some of the workloads."""
    node = chance.choice(list(cluster.nodes.values()))
    own = random.Random(chance.getrandbits(64))

    def program(process: Process) -> None:
        for turn in range(scenario.rounds):
            name = own.choice(scenario.workloads)
            context = Context(f"d{number}/{name}{turn}", own, own.randint(1, scenario.scale))
            KNOWN[name](context)

    cluster.add_driver(node, program).name = f"d{number}/"


def kill_some_worker(cluster: SimulatedCluster) -> None:
    """SIGKILL to one of all workers, if there is one. Not to one that starts: three of these, and a raylet gives up."""
    workers = [worker for worker in cluster.living("worker") if worker.core.welcome is not None]
    if workers:
        victim = cluster.kernel.random.choice(workers)
        cluster.book.kills += 1
        cluster.nodes[victim.node_id].kill_worker(victim.identity)


def kill_some_node(cluster: SimulatedCluster) -> None:
    """A machine fails, with all that runs on it; not the last one, nor that of the last driver."""
    drivers = cluster.living("driver")
    homes = {driver.node_id for driver in drivers}
    nodes = [node for node in cluster.nodes.values() if node.is_alive]
    candidates = [node for node in nodes if len(nodes) > 1 and homes != {node.node_id}]
    if candidates:
        victim = cluster.kernel.random.choice(candidates)
        cluster.book.kills += 1
        cluster.book.lost_pages = True
        for driver in drivers:
            if driver.node_id == victim.node_id:
                _forget(cluster, driver)
        victim.end()


def kill_some_driver(cluster: SimulatedCluster) -> None:
    """SIGKILL to a driver, if another one is left."""
    drivers = cluster.living("driver")
    if len(drivers) > 1:
        victim = cluster.kernel.random.choice(drivers)
        cluster.book.kills += 1
        _forget(cluster, victim)
        victim.end(None, 9, last_words=0.0)


def _forget(cluster: SimulatedCluster, driver: Process) -> None:
    """Its program is over, and nobody asks for its tasks."""
    cluster.book.close(driver.name)
    cluster.programs.discard(driver.identity)


def resize_some_node(cluster: SimulatedCluster) -> None:
    """A driver sets the CPUs of its node."""
    drivers = [driver for driver in cluster.living("driver") if driver.core.welcome is not None]
    if drivers:
        driver = cluster.kernel.random.choice(drivers)
        least = cluster.nodes[driver.node_id].machine.config.total["CPU"]
        cpus = least + cluster.kernel.random.randint(0, 3) * RESOURCE_UNIT
        most = cluster.kernel.random.choice((0, cpus + 2 * RESOURCE_UNIT))
        driver.core.raylet_send(SetCapacity(cpus, most, cluster.kernel.random.choice((0.05, 1.0))))


def cut_some_node(cluster: SimulatedCluster) -> None:
    """A node hears nothing from the others, nor they from it, for a while."""
    nodes = [node for node in cluster.nodes.values() if node.is_alive]
    chosen = cluster.kernel.random.choice(nodes)
    cluster.network.cut(frozenset((chosen.node_id,)), cluster.kernel.random.uniform(0.01, 3.0))


def cut_some_node_for_long(cluster: SimulatedCluster) -> None:
    """A node hears nothing from the others for about as long as the GCS waits for it, which then may give it up."""
    homes = {driver.node_id for driver in cluster.living("driver")}
    nodes = [node for node in cluster.nodes.values() if node.is_alive and node.node_id not in homes]
    if not nodes:
        return
    chosen = cluster.kernel.random.choice(nodes)
    seconds = cluster.kernel.random.uniform(4.0, 9.0)
    cluster.network.cut(frozenset((chosen.node_id,)), seconds)
    cluster.book.lost_pages = True

    def count() -> None:  # whoever learns of its end, and whenever: what is submitted until then may die with it
        cluster.book.kills += 1

    for moment in (0.0, 5.0, 6.5, seconds, seconds + 1.0, seconds + 2.5):
        cluster.kernel.after(moment, count)
