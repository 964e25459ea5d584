"""Play seeds from the command line.

    python -m himalia.cluster.testing.simulation --seeds 0:1000
    python -m himalia.cluster.testing.simulation --seeds 17 --story task:01641b186001372d0000000000000042

A seed that fails says what was wrong, and its scenario. Played again it fails in the same way; with ``--story`` the
messages about one key (task, object, lease, actor, process) are told.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from .cluster import SimulatedCluster, Trouble
from .scenario import ALL, KNOWN, Scenario, build


def main(arguments: Sequence[str] | None = None) -> int:
    """Play; returns how many seeds failed, at most 100."""
    parser = argparse.ArgumentParser(prog="python -m himalia.cluster.testing.simulation", description=__doc__)
    parser.add_argument("--seeds", default="0:100", help="one seed, or first:last+1")
    parser.add_argument("--story", default="", help="tell what messages said of this key, e.g. task:<id>")
    parser.add_argument("--workload", action="append", choices=sorted(KNOWN), help="only these")
    parser.add_argument("--keep-going", type=int, default=10, metavar="N", help="stop after N failures")
    options = parser.parse_args(arguments)
    first, _, last = options.seeds.partition(":")
    seeds = range(int(first), int(last) if last else int(first) + 1)
    failures = 0
    began = time.monotonic()
    for seed in seeds:
        failures += _play(seed, options)
        if failures >= options.keep_going:
            break
    print(f"{len(seeds)} seeds, {failures} failures, {time.monotonic() - began:.1f} s")
    return min(failures, 100)


def _play(seed: int, options: argparse.Namespace) -> bool:
    """Play one seed; True if it failed."""
    scenario = Scenario.of_seed(seed, tuple(options.workload or ALL))
    cluster = SimulatedCluster(seed, slow=scenario.slow, record=bool(options.story))
    trouble: Trouble | None = None
    try:
        with cluster.running():
            build(cluster, scenario)
            try:
                cluster.run()
            except Trouble as found:
                trouble = found
            if options.story:
                print(cluster.story.tell(options.story, cluster.names()))
    except Trouble as found:
        trouble = found
    if trouble is not None:
        print(f"{trouble}\n  {scenario}")
    return trouble is not None


if __name__ == "__main__":
    sys.exit(main())
