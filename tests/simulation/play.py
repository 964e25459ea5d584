"""A cluster for one program, as the tests of single rules want it."""

from __future__ import annotations

from collections.abc import Callable

from himalia.cluster.testing.simulation.cluster import SimulatedCluster
from himalia.cluster.testing.simulation.process import Process
from himalia.cluster.testing.simulation.servers import Node

Build = Callable[[SimulatedCluster, list[Node]], None]


def play_program(
    program: Callable[[], None],
    *,
    seeds: range = range(10),
    cpus: tuple[float, ...] = (2.0,),
    build: Build | None = None,
) -> None:
    """Run it with each of these seeds; ``build`` may add more to the cluster before it starts."""
    for seed in seeds:
        cluster = SimulatedCluster(seed)
        with cluster.running():
            cluster.start_gcs()
            nodes = [cluster.add_node({"CPU": count}) for count in cpus]

            def main(_: Process) -> None:
                program()

            cluster.add_driver(nodes[0], main)
            if build is not None:
                build(cluster, nodes)
            cluster.run()
