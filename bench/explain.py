"""What measuring a cell costs it: the rate of short tasks while they are explained, of the rate while they are not.

Cells of tasks that do nothing run in pairs, one measured as ``%%explain`` does and one not, so that whatever else the
machine does befalls both. Instructions tell more, and do not depend on that: ``hot_path.py --explained``.

Usage: python bench/explain.py [--tasks 20000] [--rounds 30] [--cpus 2] [--json FILE]
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path

from machine import describe, machine
from measure import Ratios, paired

import himalia
from himalia.cluster.core.current import get_core
from himalia.cluster.core.timing import DriverTiming
from himalia.cluster.protocol.common import Cell

LIMIT = 0.97  # of the rate of a cell that is not measured


def nothing(x: int) -> int:
    return x


def measure(tasks: int, rounds: int) -> Ratios:
    """Rates of cells that are not measured, and of ones that are."""
    core = get_core()
    f = himalia.remote(nothing)
    numbers = itertools.count(1)

    def cell(is_measured: bool) -> float:
        name = Cell(core.job_id, next(numbers))
        core.cell_provider = lambda: name
        timing = DriverTiming(core, __file__)
        if is_measured:
            timing.install()
        begin = time.perf_counter()
        himalia.get([f.remote(n) for n in range(tasks)])
        seconds = time.perf_counter() - begin
        if is_measured:
            timing.remove()
        return tasks / seconds

    return paired(lambda: cell(False), lambda: cell(True), rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=30, help="pairs of cells")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    himalia.init(num_cpus=options.cpus, log_to_driver=False)
    found = measure(options.tasks, options.rounds)
    himalia.shutdown()
    print(describe(machine()))
    print(f"not measured {found.without:12,.0f} tasks a second")
    print(f"measured     {found.with_it:12,.0f} tasks a second")
    print(found.text(LIMIT))
    if options.json:
        options.json.write_text(json.dumps(found._asdict(), indent=1))


if __name__ == "__main__":
    main()
