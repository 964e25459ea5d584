"""The same workloads on Himalia and on its peers, each engine in its own process, in turn.

Usage::

    python bench/peers.py [--engines ray,dask,himalia] [--rounds 3] [--only tasks_async,put_large] [--floors]
                          [--json FILE] [--plot FILE]

An engine is `dask`, or the name of a module with Ray's core API: `ray` itself, or `himalia`. Peers that are to be
compared are installed beside Himalia: ``pip install -e '.[bench]'``.

Every figure is a rate (higher is better) unless its name ends in `_s` or `_mb` (lower is better; `per_s` is a rate).
Rounds alternate between the engines, so a ratio holds on a machine whose speed drifts. Printed is the median of rounds,
and the last engine against each of the others. ``--floors`` adds what Himalia must reach, and whether it does; the exit
status is 1 if it does not.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from floors import judge
from machine import describe, machine
from measure import medians_of

Rounds = dict[str, dict[str, list[float]]]
"""Values by figure and engine."""


def child(engine: str, only: set[str] | None, seconds: float) -> None:
    """Measure one engine; figures go to standard output as they come."""
    if engine == "dask":
        from workloads_dask import dask

        figures = dask(only, seconds)
    else:
        from workloads import ray_like

        figures = ray_like(engine, only, seconds)
    for name, value in figures:
        print("@", json.dumps([name, value]), flush=True)


def measure(engine: str, options: argparse.Namespace, found: Rounds) -> bool:
    """One round of one engine in a process of its own; False if it did not end well."""
    command = [sys.executable, __file__, "--child", engine, "--seconds", str(options.seconds)]
    if options.only:
        command += ["--only", options.only]
    # Output goes to files: an engine may leave processes behind that hold a pipe open.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        try:
            # Ray's usage reports are no part of the work.
            environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
            run = subprocess.run(
                command, stdout=out, stderr=errors, timeout=options.timeout, check=False, env=environment
            )
            ending = "" if run.returncode == 0 else f"status {run.returncode}"
        except subprocess.TimeoutExpired:
            ending = f"no end within {options.timeout:g} s"
        out.seek(0)
        for line in out:
            if line.startswith("@ "):
                name, value = json.loads(line[2:])
                found.setdefault(name, {}).setdefault(engine, []).append(value)
        if ending:
            errors.seek(0)
            last = errors.read().strip().splitlines()[-3:]
            print(f"{engine}: {ending}: {' | '.join(last)}", file=sys.stderr)
    return not ending


def print_table(medians: Mapping[str, Mapping[str, float]], engines: list[str]) -> None:
    """Figures by engine, and the last engine against each of the others."""
    mine = engines[-1]
    heads = "".join(f"{engine:>14}" for engine in engines) + "".join(f"{mine + '/' + e:>16}" for e in engines[:-1])
    print(f"{'figure':28}{heads}")
    for name, by in medians.items():
        values = [by.get(engine, math.nan) for engine in engines]
        ratios = [values[-1] / value if value else math.nan for value in values[:-1]]
        print(f"{name:28}" + "".join(f"{v:14,.3f}" for v in values) + "".join(f"{r:16.2f}" for r in ratios))


def print_floors(medians: Mapping[str, Mapping[str, float]], engine: str) -> bool:
    """What must be reached, and whether it is; False if something measured is not."""
    print(f"\n{'figure':28}{'floor':>34}{'reached':>12}  ")
    verdicts = judge(medians, engine)
    words = {True: "met", False: "not met", None: "not measured"}
    for verdict in verdicts:
        reached = "" if verdict.is_met is None else f"{verdict.reached:.2f}"
        print(f"{verdict.floor.figure:28}{verdict.floor!s:>34}{reached:>12}  {words[verdict.is_met]}")
    return all(verdict.is_met is not False for verdict in verdicts)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", default="ray,dask,himalia", help="in the order in which they take turns")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="names of workloads (see workloads.py), with commas")
    parser.add_argument("--seconds", type=float, default=1.5, help="that a rate is measured for; some take a multiple")
    parser.add_argument("--timeout", type=float, default=300, help="seconds after which a round is given up")
    parser.add_argument("--floors", action="store_true", help="judge Himalia by its floors against ray")
    parser.add_argument("--json", type=Path, help="write all values there")
    parser.add_argument("--plot", type=Path, help="write bar charts there, as HTML (needs Bokeh)")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    options = arguments()
    if options.child:
        child(options.child, set(options.only.split(",")) if options.only else None, options.seconds)
        return 0
    if options.only:
        from workloads import WORKLOADS

        unknown = set(options.only.split(",")) - set(WORKLOADS)
        if unknown:
            raise SystemExit(f"no workload is named {', '.join(sorted(unknown))}; there are: {', '.join(WORKLOADS)}")
    if options.plot:
        import plots
    engines = options.engines.split(",")
    here = machine()
    print(describe(here), "", sep="\n")
    found: Rounds = {}
    is_complete = True
    for _ in range(options.rounds):
        for engine in engines:
            is_complete &= measure(engine, options, found)
    medians = medians_of(found)
    print_table(medians, engines)
    is_met = print_floors(medians, engines[-1]) if options.floors else True
    if options.json:
        report = {"machine": here, "rounds": options.rounds, "seconds": options.seconds, "figures": found}
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    if options.plot:
        plots.plot(medians, engines[-1], engines[:-1], options.plot)
    return 0 if is_complete and is_met else 1


if __name__ == "__main__":
    raise SystemExit(main())
