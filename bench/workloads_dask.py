"""The workloads that Dask's distributed has too, written in its way."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from measure import bare_sleep_s, rate, tree_pss_mb
from workloads import CPUS

__all__ = ["dask"]

Figures = Iterator[tuple[str, float]]


def small() -> bytes:
    return b"ok"


def add(a: int, b: int) -> int:
    return a + b


def identity(x: Any) -> Any:
    return x


def sleep_ms(ms: float) -> None:
    time.sleep(ms / 1000)


def total(a: Any) -> float:
    return float(a[0]) + float(a.nbytes)


class Server:
    def __init__(self) -> None:
        self.n = 0

    def small(self) -> bytes:
        self.n += 1
        return b"ok"


def tasks_sync(c: Any, seconds: float) -> Figures:
    yield "tasks_sync", rate(lambda: [c.submit(small, pure=False).result() for _ in range(100)], 100, seconds)


def tasks_async(c: Any, seconds: float) -> Figures:
    def run() -> None:
        c.gather([c.submit(small, pure=False) for _ in range(1000)])

    yield "tasks_async", rate(run, 1000, 2 * seconds)


def tasks_10k_args(c: Any, seconds: float) -> Figures:
    def run() -> None:
        c.gather(c.map(add, range(10_000), range(10_000), pure=False))

    yield "tasks_10k_args", rate(run, 10_000, 2 * seconds)


def task_chain(c: Any, seconds: float) -> Figures:
    def chain() -> None:
        x: Any = 0
        for _ in range(500):
            x = c.submit(identity, x, pure=False)
        x.result()

    yield "task_chain", rate(chain, 500, seconds)


def tree_reduce(c: Any, seconds: float) -> Figures:
    def tree() -> None:
        level = c.map(identity, range(512), pure=False)
        while len(level) > 1:
            level = [c.submit(add, a, b, pure=False) for a, b in zip(level[::2], level[1::2], strict=True)]
        assert level[0].result() == 512 * 511 // 2

    yield "tree_reduce", rate(tree, 1023, seconds)


def fine_grained_efficiency(c: Any, seconds: float) -> Figures:
    n, ms, bare = 1000, 2, bare_sleep_s(2)
    start = time.perf_counter()
    c.gather([c.submit(sleep_ms, ms, pure=False) for _ in range(n)])
    yield "fine_grained_efficiency", (n * bare / CPUS) / (time.perf_counter() - start)


def actor_sync(c: Any, seconds: float) -> Figures:
    a = c.submit(Server, actor=True, pure=False).result()
    yield "actor_sync", rate(lambda: [a.small().result() for _ in range(100)], 100, seconds)


def actor_async(c: Any, seconds: float) -> Figures:
    a = c.submit(Server, actor=True, pure=False).result()
    yield "actor_async", rate(lambda: [x.result() for x in [a.small() for _ in range(1000)]], 1000, 2 * seconds)


def arg_10mb(c: Any, seconds: float) -> Figures:
    import numpy as np

    array = np.random.default_rng(0).integers(0, 255, 10 * 1024 * 1024, dtype=np.uint8)
    yield "arg_10mb_per_s", rate(lambda: c.submit(total, array, pure=False).result(), 1, seconds)
    yield "return_10mb_per_s", rate(lambda: c.submit(identity, array, pure=False).result().nbytes, 1, seconds)


def put_large(c: Any, seconds: float) -> Figures:
    import numpy as np

    distributed: Any = importlib.import_module("distributed")

    big = np.random.default_rng(0).integers(0, 255, 400 * 1024 * 1024, dtype=np.uint8)

    def put() -> None:
        future = c.scatter(big, direct=False)
        distributed.wait(future)
        del future

    yield "put_large_gb_per_s", rate(put, 1, 2.5 * seconds) * big.nbytes / 1e9


_WORKLOADS: tuple[Callable[[Any, float], Figures], ...] = (
    tasks_sync,
    tasks_async,
    tasks_10k_args,
    task_chain,
    tree_reduce,
    fine_grained_efficiency,
    actor_sync,
    actor_async,
    arg_10mb,
    put_large,
)


def dask(only: set[str] | None, seconds: float) -> Figures:
    """All figures, in a cluster of its own."""
    start = time.perf_counter()
    distributed: Any = importlib.import_module("distributed")
    client: Any = distributed.Client(n_workers=CPUS, threads_per_worker=1, dashboard_address=None)
    client.submit(small, pure=False).result()
    yield "startup_to_first_result_s", time.perf_counter() - start
    client.gather([client.submit(sleep_ms, 50, pure=False) for _ in range(CPUS * 2)])
    yield "idle_memory_mb", tree_pss_mb()
    for workload in _WORKLOADS:
        if only is None or workload.__name__ in only:
            yield from workload(client, seconds)
    start = time.perf_counter()
    client.shutdown()
    yield "shutdown_s", time.perf_counter() - start
