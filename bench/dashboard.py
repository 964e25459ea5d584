"""What the dashboard costs: a start, a cluster that nobody looks at, one viewer, and twenty.

Usage::

    python bench/dashboard.py [--rounds 5] [--seconds 5] [--rate 10000] [--page overview] [--json FILE]

Viewers are websockets that read all they are sent, in a process of their own. Processor time is that of the dashboard's
process alone, so what else the machine does changes it little; rates of tasks are compared in turn, on one cluster.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import psutil
from machine import describe, machine
from measure import tree_pss_mb

import himalia
from himalia.cluster.core.session import current_session
from himalia.cluster.launchers.boot import ConnectionInfo

CPUS = 2
VIEWERS = 20
_CAUGHT_UP = 3.0  # seconds, in which a viewer that comes is shown what happened while nobody looked
FLOORS = {"open_rate_ratio": 0.95}
LIMITS = {"idle_percent": 1.0, "twenty_to_one": 3.0}


def look(url: str, token: str, page: str, count: int, ready: Event, over: Event) -> None:
    """Be so many viewers until told that it is over."""
    from tornado.httpclient import HTTPRequest
    from tornado.websocket import WebSocketClientConnection, websocket_connect

    async def drain(stream: WebSocketClientConnection) -> None:
        while await stream.read_message() is not None:
            pass

    async def run() -> None:
        address = f"{url.replace('http', 'ws', 1)}/api/v1/stream"
        request = HTTPRequest(address, headers={"Authorization": f"Bearer {token}"})
        streams = [await websocket_connect(request) for _ in range(count)]
        for stream in streams:
            await stream.write_message(json.dumps({"type": "open", "page": page}))
        draining = [asyncio.create_task(drain(stream)) for stream in streams]
        ready.set()
        await asyncio.to_thread(over.wait)
        for stream in streams:
            stream.close()
        await asyncio.gather(*draining)

    asyncio.run(run())


@contextlib.contextmanager
def viewers(where: ConnectionInfo, page: str, count: int) -> Iterator[None]:
    """Within, so many look."""
    if not count:
        yield
        return
    spawn = multiprocessing.get_context("spawn")
    ready, over = spawn.Event(), spawn.Event()
    told = (where.dashboard_url, where.dashboard_token, page, count, ready, over)
    process = spawn.Process(target=look, args=told)
    process.start()
    try:
        if not ready.wait(60):
            raise TimeoutError("the viewers could not connect")
        time.sleep(1.0)  # the first page has been made
        yield
    finally:
        over.set()
        process.join()


def dashboard_of(where: ConnectionInfo) -> psutil.Process:
    """The dashboard's process, which runs."""
    for child in psutil.Process(where.pid).children():
        if child.name().startswith("himalia:dash"):
            return child
    raise LookupError("the dashboard does not run")


def used(process: psutil.Process) -> float:
    """Processor time, in seconds."""
    times = process.cpu_times()
    return float(times.user + times.system)


@himalia.remote
def nothing(x: int) -> int:
    """What is run."""
    return x


def run_at(rate: int, seconds: float) -> float:
    """Run tasks for so long, at this rate at most (0: as fast as it goes); tasks a second."""
    begin, done = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - begin) < seconds:
        if rate and done > elapsed * rate:
            time.sleep(0.01)
            continue
        himalia.get([nothing.remote(x) for x in range(500)])
        done += 500
    return done / elapsed


def measure_start(rounds: int) -> dict[str, float]:
    """Start-up and idle memory, with a dashboard that nobody opens and without, in turn."""
    found: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for number in range(2 * rounds + 1):
        with_one = bool(number % 2)
        begin = time.perf_counter()
        himalia.init("local", num_cpus=CPUS, include_dashboard=None if with_one else False, log_to_driver=False)
        himalia.get(nothing.remote(0))
        took = time.perf_counter() - begin
        found[with_one].append((took, tree_pss_mb()))
        himalia.shutdown()
    found[False] = found[False][1:]  # the first of all reads files from disk
    start = {key: statistics.median(took for took, _ in each) for key, each in found.items()}
    memory = {key: statistics.median(mb for _, mb in each) for key, each in found.items()}
    return {
        "start_s": start[True],
        "start_ratio": start[True] / start[False],
        "idle_mb": memory[True],
        "idle_more_mb": memory[True] - memory[False],
    }


def measure_viewers(rounds: int, seconds: float, rate: int, page: str) -> dict[str, float]:
    """What those cost who look."""
    himalia.init("local", num_cpus=CPUS, log_to_driver=False)
    live = current_session()
    assert live is not None
    where = live.connection
    found: dict[str, list[float]] = {}
    try:
        run_at(0, 1.0)
        with viewers(where, page, 1):  # a process that has just started makes its first page
            time.sleep(_CAUGHT_UP)
        process = dashboard_of(where)

        def note(name: str, work: float) -> None:
            """Run as many tasks a second, and note the dashboard's share of a core."""
            before, begin = used(process), time.perf_counter()
            if work:
                run_at(int(work), seconds)
            else:
                time.sleep(seconds)
            share = (used(process) - before) / (time.perf_counter() - begin)
            found.setdefault(name, []).append(100 * share)

        for _ in range(rounds):  # before there is more to read
            with viewers(where, page, 1):
                note("idle_1", 0)
        for number in range(rounds):
            for count in (0, 1, VIEWERS) if number % 2 else (VIEWERS, 1, 0):
                with viewers(where, page, count):
                    time.sleep(_CAUGHT_UP if count else 0)
                    note(f"busy_{count}", rate)
                    found.setdefault(f"rate_{count}", []).append(run_at(0, seconds))
        megabytes = process.memory_full_info().uss / 1e6
    finally:
        himalia.shutdown()
    median = {name: statistics.median(each) for name, each in found.items()}
    return {
        "idle_percent": median["idle_1"],
        "busy_percent": median["busy_1"],
        "twenty_to_one": median[f"busy_{VIEWERS}"] / max(median["busy_1"], 1e-9),
        "open_rate_ratio": median["rate_1"] / median["rate_0"],
        "open_mb": megabytes,
    }


def main() -> int:
    """Measure, print, and say whether the limits hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=int, default=10_000, help="tasks a second while processor time is measured")
    parser.add_argument("--page", default="overview")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    about = machine()
    print(describe(about))
    figures: dict[str, Any] = measure_start(arguments.rounds)
    figures |= measure_viewers(arguments.rounds, arguments.seconds, arguments.rate, arguments.page)
    failed = [name for name, limit in LIMITS.items() if figures[name] > limit]
    failed += [name for name, floor in FLOORS.items() if figures[name] < floor]
    for name, value in figures.items():
        bound = (
            f"at most {LIMITS[name]:g}" if name in LIMITS else f"at least {FLOORS[name]:g}" if name in FLOORS else ""
        )
        print(f"{name:<18} {value:>10.3f}  {bound}{'  MISSED' if name in failed else ''}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": about, "figures": figures}, indent=2))
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
