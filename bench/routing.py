"""What it costs tasks that their output finds its cell: their rate in cells of a notebook, of that without it.

Cells of tasks that print nothing run in pairs, one with ``%load_ext himalia`` in force and one after ``%unload_ext``,
in the same shell, on the same cluster and its workers. With it each task carries its cell, which is looked up when it
is submitted, threads follow the cell that starts them, failures are kept for ``%rdebug``, and the core has a place to
bring output to. So whatever else the machine does befalls both. ``hot_path.py`` counts instructions.

Usage: python bench/routing.py [--tasks 20000] [--rounds 30] [--cpus 2] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from machine import describe, machine
from measure import Ratios, paired

import himalia

LIMIT = 0.97  # of the rate without


def nothing(x: int) -> int:
    return x


def measure(tasks: int, rounds: int) -> Ratios:
    """Rates of cells without the extension, and with it."""
    from IPython.core.interactiveshell import InteractiveShell

    shell: Any = InteractiveShell.instance()
    found: list[float] = []
    f = himalia.remote(nothing)

    def work() -> None:
        begin = time.perf_counter()
        himalia.get([f.remote(n) for n in range(tasks)])
        found.append(tasks / (time.perf_counter() - begin))

    shell.user_ns["work"] = work

    def cell() -> float:
        result = shell.run_cell("work()", store_history=True)
        result.raise_error()
        return found[-1]

    def routed() -> float:
        shell.extension_manager.load_extension("himalia")
        try:
            return cell()
        finally:
            shell.extension_manager.unload_extension("himalia")

    return paired(cell, routed, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=30, help="pairs of cells")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    himalia.init(num_cpus=options.cpus, include_dashboard=False)
    found = measure(options.tasks, options.rounds)
    himalia.shutdown()
    print(describe(machine()))
    print(f"not routed {found.without:12,.0f} tasks a second")
    print(f"routed     {found.with_it:12,.0f} tasks a second")
    print(found.text(LIMIT))
    if options.json:
        options.json.write_text(json.dumps(found._asdict(), indent=1))


if __name__ == "__main__":
    main()
