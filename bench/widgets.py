"""What pages under a cell cost their kernel while the cluster runs 10,000 tasks a second.

Usage::

    python bench/widgets.py [--seconds 10] [--rate 10000] [--pages overview,task_stream] [--json FILE]

Another driver keeps the rate. This process has the cluster and the pages, as a notebook's kernel has, and its main
thread does what a kernel does that is ready to answer: it looks at the clock. Pages are computed in threads of their
own, so an update holds the kernel up only while these threads have the interpreter. Three things are told:

- an update: its wall and its processor time, in the thread that computes it;
- held up by pages: of each gap between two looks, the processor time that the pages' threads had in it. That is work of
  ours whatever else the machine does, and no more than it can have been: some of it lets the kernel's thread go on;
- the gaps themselves, with and without pages, which also have whatever the scheduler did.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import threading
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, NamedTuple

from machine import describe, machine
from measure import percentile

CPUS = 2
LIMIT_BYTES = 100_000  # a second
LIMIT_HELD = 0.005  # seconds
_THREADS = ("himalia-pages", "himalia-hub")
_HEADER = 700  # bytes of a message of Jupyter's besides what is told


def keep_rate(address: str, rate: int, ready: Event, over: Event) -> None:
    """Run so many tasks a second until told that it is over."""
    import himalia

    himalia.init(address, log_to_driver=False)

    @himalia.remote
    def nothing(x: int) -> int:
        return x

    himalia.get([nothing.remote(x) for x in range(1_000)])
    ready.set()
    begin, done = time.monotonic(), 0
    while not over.is_set():
        himalia.get([nothing.remote(x) for x in range(rate // 20)])
        done += rate // 20
        time.sleep(max(0.0, begin + done / rate - time.monotonic()))
    himalia.shutdown()


class Clocks:
    """The processor time of other threads of this process."""

    def __init__(self, names: tuple[str, ...]) -> None:
        found = [thread for thread in threading.enumerate() if thread.name.startswith(names) and thread.ident]
        self._clocks = [time.pthread_getcpuclockid(thread.ident) for thread in found if thread.ident]

    def now(self) -> float:
        return sum(map(time.clock_gettime, self._clocks))


class Gap(NamedTuple):
    """Between two looks at the clock, in seconds; ``by_pages``: what the pages' threads worked meanwhile."""

    seconds: float
    by_pages: float


def gaps(seconds: float, clocks: Clocks) -> list[Gap]:
    """Times between two looks at the clock that are longer than a look takes; the longest first."""
    found: list[Gap] = []
    now, worked = time.perf_counter(), clocks.now()
    end = now + seconds
    while now < end:
        before, now = now, time.perf_counter()
        if now - before > 50e-6:
            worked_before, worked = worked, clocks.now()
            found.append(Gap(now - before, min(now - before, worked - worked_before)))
            now = time.perf_counter()  # what the clocks took is no gap
    return sorted(found, reverse=True)


class Updates:
    """Times the updates of a hub: what it takes in, and what it has its pages show of it."""

    def __init__(self, hub: Any) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self._parts = [0.0, 0.0]
        take, show = hub.feed.apply, hub.step

        def timed(act: Callable[..., Any], *arguments: Any) -> Any:
            wall, cpu = time.perf_counter(), time.thread_time()
            try:
                return act(*arguments)
            finally:
                self._parts[0] += time.perf_counter() - wall
                self._parts[1] += time.thread_time() - cpu

        def step() -> None:
            timed(show)
            self.wall.append(self._parts[0])
            self.cpu.append(self._parts[1])
            self._parts = [0.0, 0.0]

        hub.feed.apply, hub.step = lambda read: timed(take, read), step


def spread(values: list[float]) -> dict[str, float]:
    """Of seconds: median, 99th percentile and the most, in milliseconds."""
    known = values or [0.0]
    return {"p50": 1e3 * percentile(known, 0.5), "p99": 1e3 * percentile(known, 0.99), "max": 1e3 * max(known)}


def in_words(found: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f} ms" for name, value in found.items())


def measure(pages: list[str], seconds: float) -> dict[str, Any]:
    """Bytes a second that pages send, and how long they hold up this thread."""
    from himalia.cluster.core.current import get_core
    from himalia.kernel_ext.widgets.channel import PageChannel
    from himalia.kernel_ext.widgets.page_loop import page_loop

    alone = gaps(seconds, Clocks(()))
    loop = page_loop(get_core())
    updates = Updates(loop.hub)
    sent = dict.fromkeys(pages, 0)
    openings = dict.fromkeys(pages, 0)

    def channel_of(name: str) -> PageChannel:
        def opening(data: bytes) -> None:
            openings[name] += len(data)

        def tell(number: int, text: str) -> None:
            sent[name] += len(text) + _HEADER

        return PageChannel(opening, tell)

    def begin(name: str) -> Callable[[], None]:
        channel = channel_of(name)

        def run() -> None:
            loop.channels.add(channel)
            channel.show(loop.hub, name, {}, time.monotonic())
            channel.here()

        return run

    for name in pages:
        loop.do(begin(name)).result()
    time.sleep(2.0)  # the first figures of each page, which are all there is so far
    before = dict(sent)
    updates.wall.clear()
    updates.cpu.clear()
    start = time.monotonic()
    with_pages = gaps(seconds, Clocks(_THREADS))
    elapsed = time.monotonic() - start
    group = next((group for group in loop.hub.feed.state.model.groups.all if group.name == "nothing"), None)
    return {
        "rate": group.rate if group is not None else 0.0,
        "bytes_a_second": {name: (sent[name] - before[name]) / elapsed for name in pages},
        "opening_bytes": openings,
        "updates": len(updates.cpu),
        "update_cpu_ms": spread(updates.cpu),
        "update_wall_ms": spread(updates.wall),
        "held_by_pages_ms": spread([gap.by_pages for gap in with_pages if gap.by_pages]),
        "gap_ms": spread([gap.seconds for gap in with_pages]),
        "gap_without_ms": spread([gap.seconds for gap in alone]),
        "held_over_limit": sum(1 for gap in with_pages if gap.by_pages > LIMIT_HELD),
        "gaps_over_limit": sum(1 for gap in with_pages if gap.seconds > LIMIT_HELD),
        "gaps_over_limit_without": sum(1 for gap in alone if gap.seconds > LIMIT_HELD),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=int, default=10_000)
    parser.add_argument("--pages", default="overview,task_stream")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    import himalia
    from himalia.cluster.core import session

    himalia.init(num_cpus=CPUS, include_dashboard=False, log_to_driver=False)
    live = session.current_session()
    assert live is not None
    context = multiprocessing.get_context("spawn")
    ready, over = context.Event(), context.Event()
    address = str(live.connection.session_dir)
    child = context.Process(target=keep_rate, args=(address, arguments.rate, ready, over))
    child.start()
    try:
        if not ready.wait(60):
            raise SystemExit("the driver that keeps the rate did not start")
        found = measure(arguments.pages.split(","), arguments.seconds)
    finally:
        over.set()
        child.join(30)
        himalia.shutdown()
    print(describe(machine()))
    print(f"tasks a second: {found['rate']:,.0f}")
    for name, rate in found["bytes_a_second"].items():
        verdict = "met" if rate < LIMIT_BYTES else "not met"
        print(f"{name}: {rate:,.0f} bytes a second (< {LIMIT_BYTES:,}: {verdict})")
    limit = f"{1e3 * LIMIT_HELD:g} ms"
    print(f"{found['updates']} updates, in a thread of their own")
    print(f"processor time of one: {in_words(found['update_cpu_ms'])}")
    print(f"wall time of one: {in_words(found['update_wall_ms'])}")
    verdict = "met" if found["held_by_pages_ms"]["max"] < 1e3 * LIMIT_HELD else "not met"
    print(
        f"the kernel's thread was held up by pages: {in_words(found['held_by_pages_ms'])} (< {limit}: {verdict}); "
        f"longer than {limit}: {found['held_over_limit']} times"
    )
    print(f"gaps in its work: {in_words(found['gap_ms'])}; longer than {limit}: {found['gaps_over_limit']} times")
    print(
        f"gaps without pages: {in_words(found['gap_without_ms'])}; longer than {limit}: "
        f"{found['gaps_over_limit_without']} times"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
