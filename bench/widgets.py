"""What pages under a cell cost their kernel while the cluster runs 10,000 tasks a second.

Usage::

    python bench/widgets.py [--seconds 10] [--rate 10000] [--pages overview,task_stream] [--json FILE]

Another driver keeps the rate. This process has the cluster and the pages, as a notebook's kernel has, and its main
thread does what a kernel does that is ready to answer: it looks at the clock. A gap between two looks is time for which
the kernel was held up, by the pages or by whatever else the machine does; so the same is measured without pages, and
the figure is what they add.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from machine import describe, machine
from measure import percentile

CPUS = 2
LIMIT_BYTES = 100_000  # a second
LIMIT_HELD = 0.005  # seconds
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


def gaps(seconds: float) -> list[float]:
    """Times between two looks at the clock, the 0.1 % that are longest, in seconds."""
    found: list[float] = []
    now = time.perf_counter()
    end = now + seconds
    while now < end:
        before, now = now, time.perf_counter()
        if now - before > 50e-6:
            found.append(now - before)
    return sorted(found, reverse=True)


def measure(pages: list[str], seconds: float) -> dict[str, Any]:
    """Bytes a second that pages send, and how long they hold up this thread."""
    from himalia.cluster.core.current import get_core
    from himalia.kernel_ext.widgets.channel import PageChannel
    from himalia.kernel_ext.widgets.page_loop import page_loop

    alone = gaps(seconds)
    loop = page_loop(get_core())
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
    start = time.monotonic()
    with_pages = gaps(seconds)
    elapsed = time.monotonic() - start
    group = next((group for group in loop.hub.feed.state.model.groups.all if group.name == "nothing"), None)
    return {
        "rate": group.rate if group is not None else 0.0,
        "bytes_a_second": {name: (sent[name] - before[name]) / elapsed for name in pages},
        "opening_bytes": openings,
        "held_p99": percentile(with_pages, 0.99) if with_pages else 0.0,
        "held_most": with_pages[0] if with_pages else 0.0,
        "held_most_without": alone[0] if alone else 0.0,
        "held_over_limit": sum(1 for gap in with_pages if gap > LIMIT_HELD),
        "held_over_limit_without": sum(1 for gap in alone if gap > LIMIT_HELD),
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
    print(
        f"the kernel's thread was held up for {1e3 * found['held_most']:.1f} ms at most "
        f"(without pages {1e3 * found['held_most_without']:.1f} ms); longer than {1e3 * LIMIT_HELD:g} ms: "
        f"{found['held_over_limit']} times (without pages {found['held_over_limit_without']} times)"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
