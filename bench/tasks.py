"""What tasks cost Himalia itself: a million in the queue, recording them, waiting for one, instructions.

Usage::

    python bench/tasks.py [--only queue,telemetry,latency,instructions] [--seconds 3] [--rounds 5] [--queued 1000000]
                          [--method auto|perf|callgrind|bytecodes] [--json FILE]

``queue``: bytes at the owner for each task that waits in its queue, and the rate at which a million tasks, submitted at
once, are submitted and are done. ``telemetry``: what part of the rate is left when tasks are recorded, as they always
are, of the rate without; both clusters run at the same time and work in turn. ``latency``: of one task, from its call
to its result, in an idle cluster and in one where two tasks of 2 ms wait for each core. ``instructions``: see
hot_path.py.
"""

from __future__ import annotations

import argparse
import collections
import gc
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import hot_path
from machine import describe, machine
from measure import percentile

CPUS = 2
SWITCH = "HIMALIA_TELEMETRY"
LIMIT_BYTES = 1_000  # of a queued task, at its owner
LIMIT_TELEMETRY = 0.95  # of the rate without
_WAITING = 2  # tasks of 2 ms for each core: always one to go on with, and no long line before the one measured


class Figure(NamedTuple):
    """``bound`` is NaN where nothing is demanded."""

    name: str
    value: float
    unit: str
    bound: float = float("nan")
    is_limit: bool = False  # at most, not at least

    @property
    def verdict(self) -> str:
        """Whether the bound is kept."""
        if self.bound != self.bound:
            return ""
        is_met = self.value <= self.bound if self.is_limit else self.value >= self.bound
        return f"{'≤' if self.is_limit else '≥'} {self.bound:g} {'met' if is_met else 'not met'}"


def in_child(target: Callable[..., None], *arguments: Any, environment: dict[str, str] | None = None) -> Connection:
    """Start ``target(pipe, *arguments)`` in a fresh process; the other end of its pipe."""
    ours, theirs = multiprocessing.Pipe()
    before = dict(os.environ)
    os.environ.update(environment or {})
    try:
        context = multiprocessing.get_context("spawn")
        context.Process(target=target, args=(theirs, *arguments)).start()
    finally:
        os.environ.clear()
        os.environ.update(before)
    theirs.close()
    return ours


def results_of(pipe: Connection) -> Any:
    """The next thing a child has to say; SystemExit if it died instead."""
    try:
        return pipe.recv()
    except EOFError:
        raise SystemExit("a process of the benchmark ended early; see its message above") from None


def resident_bytes() -> int:
    """Memory of this process."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def measure_queue(pipe: Connection, queued: int) -> None:
    """In a child: tasks that cannot run yet, then as many that can."""
    import himalia

    himalia.init(num_cpus=CPUS)

    @himalia.remote
    def small() -> None: ...

    # The resource is nowhere, so these only wait. Some come first for what is allocated once.
    waiting = small.options(resources={"never": 1})
    first = [waiting.remote() for _ in range(100)]
    time.sleep(0.1)
    gc.collect()
    before = resident_bytes()
    refs = [waiting.remote() for _ in range(queued)]
    time.sleep(0.2)  # the IO thread moves them from the inbox to the queue
    pipe.send((resident_bytes() - before) / queued)
    himalia.shutdown()  # they all end, with an error that nobody reads
    del first, refs
    gc.collect()

    himalia.init(num_cpus=CPUS)
    himalia.get([small.remote() for _ in range(1000)])
    start = time.perf_counter()
    refs = [small.remote() for _ in range(queued)]
    submitted = time.perf_counter()
    himalia.get(refs)
    pipe.send((queued / (submitted - start), queued / (time.perf_counter() - start)))
    himalia.shutdown()


def queue(options: argparse.Namespace) -> Iterator[Figure]:
    """Many tasks in the queue."""
    pipe = in_child(measure_queue, options.queued)
    yield Figure("queued_task", results_of(pipe), "bytes", LIMIT_BYTES, is_limit=True)
    submitted, done = results_of(pipe)
    yield Figure("queued_submitted", submitted, "tasks/s")
    yield Figure("queued_done", done, "tasks/s")


def cluster_seconds() -> float:
    """Time on a processor that this process and those of its cluster have had."""
    import psutil

    me = psutil.Process()
    times = [process.cpu_times() for process in (me, *me.children(recursive=True))]
    return float(sum(one.user + one.system for one in times))


def measure_rate(pipe: Connection) -> None:
    """In a child: rate, and processor's time, of small tasks, once for each request of so many seconds."""
    import himalia

    himalia.init(num_cpus=CPUS)

    @himalia.remote
    def small() -> None: ...

    himalia.get([small.remote() for _ in range(5000)])
    pipe.send(None)
    while (seconds := pipe.recv()) > 0:
        count, used, start = 0, cluster_seconds(), time.perf_counter()
        while time.perf_counter() - start < seconds:
            himalia.get([small.remote() for _ in range(1000)])
            count += 1000
        elapsed = time.perf_counter() - start
        pipe.send((count / elapsed, (cluster_seconds() - used) / count))
    himalia.shutdown()


def telemetry(options: argparse.Namespace) -> Iterator[Figure]:
    """Tasks recorded, and not."""
    pipes = {on: in_child(measure_rate, environment={SWITCH: on}) for on in "10"}
    for pipe in pipes.values():
        results_of(pipe)
    rates, seconds = {on: list[float]() for on in pipes}, {on: list[float]() for on in pipes}
    # Short turns, many of them, and who is first alternates: what else the machine does weighs on both sides alike.
    for turn in range(options.rounds * 4):
        for on in ("10", "01")[turn % 2]:
            pipes[on].send(options.seconds / 4)
            rate, used = results_of(pipes[on])
            rates[on].append(rate)
            seconds[on].append(used)
    for pipe in pipes.values():
        pipe.send(0)
    yield Figure("telemetry_on", statistics.median(rates["1"]), "tasks/s")
    yield Figure("telemetry_off", statistics.median(rates["0"]), "tasks/s")
    ratios = [on / off for on, off in zip(rates["1"], rates["0"], strict=True)]
    yield Figure("telemetry_rate_ratio", statistics.median(ratios), "on/off", LIMIT_TELEMETRY)
    # What a busy machine disturbs less: the time that the processes were given.
    yield Figure("telemetry_cpu_on", statistics.mean(seconds["1"]) * 1e6, "µs/task")
    yield Figure("telemetry_cpu_off", statistics.mean(seconds["0"]) * 1e6, "µs/task")


def measure_latency(pipe: Connection, seconds: float) -> None:
    """In a child: seconds of single tasks, in an idle and in a busy cluster."""
    import himalia

    himalia.init(num_cpus=CPUS)

    @himalia.remote
    def small() -> None: ...

    @himalia.remote
    def busy() -> None:
        time.sleep(0.002)

    class Load:
        """Somebody else's work: its tasks are submitted in a process of its own."""

        def run(self, seconds: float) -> None:
            pending = collections.deque(busy.remote() for _ in range(CPUS * _WAITING))
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                himalia.get(pending.popleft())
                pending.append(busy.remote())
            himalia.get(list(pending))

    def sample(until: Callable[[], bool]) -> list[float]:
        times = []
        while not until():
            start = time.perf_counter()
            himalia.get(small.remote())
            times.append(time.perf_counter() - start)
        return times

    himalia.get([small.remote() for _ in range(100)])
    end = time.perf_counter() + seconds
    pipe.send(sample(lambda: time.perf_counter() > end))
    # Without a CPU of its own: both are for the tasks.
    load = himalia.remote(num_cpus=0)(Load).remote()
    himalia.get(load.run.remote(0.1))
    running = load.run.remote(seconds)
    time.sleep(0.05)
    pipe.send(sample(lambda: bool(himalia.wait([running], timeout=0)[0])))
    himalia.shutdown()


def latency(options: argparse.Namespace) -> Iterator[Figure]:
    """One task among others, and alone."""
    pipe = in_child(measure_latency, options.seconds)
    for state in ("idle", "loaded"):
        times = results_of(pipe)
        if not times:
            continue
        for part in (0.5, 0.99):
            yield Figure(f"latency_{state}_p{part * 100:g}", percentile(times, part) * 1e6, "µs")


def instructions(options: argparse.Namespace) -> Iterator[Figure]:
    """What the hot path executes."""
    method, counts = hot_path.count(options.method, options.counted)
    unit = "bytecodes" if method == "bytecodes" else f"instructions ({method})"
    for phase, number in counts.items():
        yield Figure(f"hot_path_{phase}", number, unit)
    os.environ[SWITCH] = "0"
    _, unrecorded = hot_path.count(method, options.counted)
    del os.environ[SWITCH]
    yield Figure("hot_path_unrecorded", unrecorded["total"], unit)


SUBJECTS: dict[str, Callable[[argparse.Namespace], Iterator[Figure]]] = {
    subject.__name__: subject for subject in (queue, telemetry, latency, instructions)
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SUBJECTS), help="subjects, with commas")
    parser.add_argument("--seconds", type=float, default=3.0, help="of measuring: a rate, a distribution of latencies")
    parser.add_argument("--rounds", type=int, default=5, help="of telemetry")
    parser.add_argument("--queued", type=int, default=1_000_000, help="tasks in the queue")
    parser.add_argument("--counted", type=int, default=1_000, help="tasks whose instructions are counted")
    parser.add_argument(
        "--method", default="auto", choices=["auto", *hot_path.METHODS], help="of counting instructions"
    )
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    wanted = options.only.split(",")
    if unknown := set(wanted) - set(SUBJECTS):
        raise SystemExit(f"no subject is named {', '.join(sorted(unknown))}; there are: {', '.join(SUBJECTS)}")
    here = machine()
    print(describe(here), "", sep="\n")
    figures = []
    for name, subject in SUBJECTS.items():
        if name in wanted:
            for figure in subject(options):
                figures.append(figure)
                print(f"{figure.name:24}{figure.value:14,.2f} {figure.unit:28}{figure.verdict}", flush=True)
    if options.json:
        values = {figure.name: {"value": figure.value, "unit": figure.unit} for figure in figures}
        options.json.write_text(json.dumps({"machine": here, "figures": values}, indent=1) + "\n")
    return 1 if any("not met" in figure.verdict for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
