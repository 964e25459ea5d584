"""What measuring a cell costs it: the rate of short tasks while they are explained, of the rate while they are not.

Cells of tasks that do nothing run in turn, one measured as ``%%explain`` does and one not, so that whatever else the
machine does befalls both. Instructions tell more, and do not depend on that: ``hot_path.py --explained``.

Usage: python bench/explain.py [--tasks 20000] [--rounds 15] [--cpus 2]
"""

from __future__ import annotations

import argparse
import statistics
import time

import himalia
from himalia.cluster.core.current import get_core
from himalia.cluster.core.timing import DriverTiming
from himalia.cluster.protocol.common import Cell

LIMIT = 0.97  # of the rate of a cell that is not measured


def nothing(x: int) -> int:
    return x


def rates(tasks: int, rounds: int) -> dict[bool, list[float]]:
    """Tasks a second of each round: not measured, and measured."""
    core = get_core()
    f = himalia.remote(nothing)
    found: dict[bool, list[float]] = {False: [], True: []}
    for number in range(2 * rounds + 2):
        is_measured = bool(number % 2)
        cell = Cell(core.job_id, number + 1)
        core.cell_provider = lambda cell=cell: cell  # type: ignore[misc]
        timing = DriverTiming(core, __file__)
        if is_measured:
            timing.install()
        begin = time.perf_counter()
        himalia.get([f.remote(n) for n in range(tasks)])
        seconds = time.perf_counter() - begin
        if is_measured:
            timing.remove()
        if number > 1:  # the first of each starts workers
            found[is_measured].append(tasks / seconds)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cpus", type=int, default=2)
    options = parser.parse_args()
    himalia.init(num_cpus=options.cpus, log_to_driver=False)
    found = rates(options.tasks, options.rounds)
    himalia.shutdown()
    plain, measured = (statistics.median(found[which]) for which in (False, True))
    best = max(found[True]) / max(found[False])
    print(f"not measured {plain:12,.0f} tasks a second, the best round {max(found[False]):,.0f}")
    print(f"measured     {measured:12,.0f} tasks a second, the best round {max(found[True]):,.0f}")
    print(f"ratio        {measured / plain:12.3f} of medians, {best:.3f} of the best: at least {LIMIT} is demanded")


if __name__ == "__main__":
    main()
