"""Put measured figures where people read them: README.md and docs/benchmarks.md.

Usage::

    python bench/peers.py --engines ray,himalia --floors --json peers.json
    python bench/publish.py peers.json

The tables stand between marks (``<!-- figures: all -->`` … ``<!-- end of figures -->``), with the machine, the versions
and the date of the run that gave them. What is between the marks is written by this script alone.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent))

from floors import judge
from machine import describe
from measure import medians_of

ROOT: Final = Path(__file__).resolve().parent.parent

TITLES: Final = {
    "startup_to_first_result_s": "from `import` to the first result, s",
    "idle_memory_mb": "memory of all processes at rest, MB",
    "tasks_sync": "empty tasks one after another, 1/s",
    "tasks_async": "1,000 empty tasks at once, 1/s",
    "tasks_10k_args": "10,000 tasks with two arguments, 1/s",
    "tasks_two_clients": "tasks of two submitters, 1/s",
    "task_chain": "each task on the result of the last, 1/s",
    "tree_reduce": "512 numbers added pairwise, tasks/s",
    "fine_grained_efficiency": "efficiency of tasks of 2 ms",
    "actor_sync": "calls of an actor one after another, 1/s",
    "actor_async": "1,000 calls of an actor at once, 1/s",
    "async_actor_async": "1,000 calls of a coroutine at once, 1/s",
    "actor_n_to_n": "calls between actors, 1/s",
    "actor_start": "actors started, called, ended, 1/s",
    "put_small": "`put` of a number, 1/s",
    "get_64kb": "`get` of 64 KB, 1/s",
    "wait_1k_refs": "1,000 tasks taken one by one, 1/s",
    "put_large_gb_per_s": "`put` of 400 MB, GB/s",
    "get_large_zero_copy_per_s": "`get` of 400 MB, 1/s",
    "task_on_large_ref_per_s": "tasks that look at 400 MB, 1/s",
    "memcpy_limit_gb_per_s": "copying memory, for comparison, GB/s",
    "arg_10mb_per_s": "tasks that get 10 MB, 1/s",
    "return_10mb_per_s": "tasks that get and return 10 MB, 1/s",
    "shutdown_s": "`shutdown`, s",
}
"""What each figure is, in words; in this order."""

SHORT: Final = (
    "startup_to_first_result_s",
    "idle_memory_mb",
    "tasks_sync",
    "tasks_async",
    "task_chain",
    "actor_sync",
    "actor_async",
    "actor_start",
    "put_large_gb_per_s",
    "return_10mb_per_s",
)
"""Those that README shows."""

PLACES: Final = {"README.md": ("short", SHORT), "docs/benchmarks.md": ("all", tuple(TITLES))}


def number(value: float) -> str:
    """A figure with three digits that count."""
    if value >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"


def table(medians: Mapping[str, Mapping[str, float]], engines: Sequence[str], names: Sequence[str]) -> str:
    """Figures as a Markdown table: every engine, and the last against each of the others."""
    mine = engines[-1]
    heads = ["", *(f"**{e}**" if e == mine else e for e in engines), *(f"{mine} / {e}" for e in engines[:-1])]
    lines = [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * (len(heads) - 1)}"]
    for name in names:
        by = medians.get(name, {})
        if mine not in by:
            continue
        ratios = [f"{number(by[mine] / by[e])} ×" if by.get(e) else "" for e in engines[:-1]]
        values = [number(by[e]) if e in by else "" for e in engines]
        lines.append(f"| {' | '.join([TITLES[name], *values, *ratios])} |")
    return "\n".join(lines)


def block(report: Mapping[str, Any], names: Sequence[str]) -> str:
    """A table with where, with what and when it was measured."""
    figures: Mapping[str, Mapping[str, list[float]]] = report["figures"]
    engines = list(next(iter(figures.values())))
    medians = medians_of(figures)
    missed = [verdict.floor.figure for verdict in judge(medians, engines[-1]) if verdict.is_met is False]
    rounds = f"Medians of {report['rounds']} rounds, the engines in turn."
    met = f" Below what is aimed at: {', '.join(missed)}." if missed else ""
    machine = "  \n".join(describe(report["machine"]).splitlines())
    return f"{table(medians, engines, names)}\n\n{rounds}{met}  \n{machine}"


def replaced(text: str, mark: str, content: str) -> str:
    """A page with other content between its marks.

    Raises
    ------
    ValueError
        It has no such marks.
    """
    begin, end = f"<!-- figures: {mark} -->", "<!-- end of figures -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if pattern.search(text) is None:
        raise ValueError(f"the page has no {begin} … {end}")
    return pattern.sub(lambda _: f"{begin}\n\n{content}\n\n{end}", text, count=1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="what peers.py wrote by --json")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout whose pages are written")
    options = parser.parse_args()
    report = json.loads(options.report.read_text())
    for place, (mark, names) in PLACES.items():
        page = options.root / place
        page.write_text(replaced(page.read_text(), mark, block(report, names)))
        print(f"{place}: written")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
