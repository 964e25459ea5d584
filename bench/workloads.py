"""The workloads, for any engine with Ray's core API: `init`, `shutdown`, `remote`, `get`, `put`, `wait`, `kill`.

Each yields figures as (name, value). A figure is a rate, so higher is better, unless its name ends in `_s` or `_mb`.
Functions and classes are defined inside, so that every engine sends them by value.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from measure import bare_sleep_s, rate, tree_pss_mb

__all__ = ["CPUS", "WORKLOADS", "ray_like"]

CPUS = 2  # given to every engine, whatever the machine has

Figures = Iterator[tuple[str, float]]


class Remote:
    """The remote functions and classes of all workloads, made by one engine."""

    def __init__(self, ray: Any, seconds: float) -> None:
        self.ray, self.seconds = ray, seconds

        def small() -> bytes:
            return b"ok"

        def identity(x: Any) -> Any:
            return x

        def add(a: int, b: int) -> int:
            return a + b

        def total(a: Any) -> float:
            return float(a[0]) + float(a.nbytes)

        def sleep_ms(ms: float) -> None:
            time.sleep(ms / 1000)

        class Server:
            def __init__(self) -> None:
                self.n = 0

            def small(self) -> bytes:
                self.n += 1
                return b"ok"

        class AsyncServer:
            async def small(self) -> bytes:
                return b"ok"

        small_task = ray.remote(small)

        class Client:
            def __init__(self, server: Any = None) -> None:
                self.server = server

            def tasks(self, n: int) -> None:
                ray.get([small_task.remote() for _ in range(n)])

            def calls(self, n: int) -> None:
                ray.get([self.server.small.remote() for _ in range(n)])

        self.small, self.identity, self.add = small_task, ray.remote(identity), ray.remote(add)
        self.total, self.sleep_ms = ray.remote(total), ray.remote(sleep_ms)
        # Without a CPU each, so that there is room for the tasks that they submit.
        self.Server, self.AsyncServer, self.Client = map(ray.remote(num_cpus=0), (Server, AsyncServer, Client))


def tasks_sync(r: Remote) -> Figures:
    """One task after another."""
    yield "tasks_sync", rate(lambda: [r.ray.get(r.small.remote()) for _ in range(100)], 100, r.seconds)


def tasks_async(r: Remote) -> Figures:
    """1,000 tasks at a time."""
    yield "tasks_async", rate(lambda: r.ray.get([r.small.remote() for _ in range(1000)]), 1000, 2 * r.seconds)


def tasks_10k_args(r: Remote) -> Figures:
    """10,000 tasks with two plain arguments."""
    yield "tasks_10k_args", rate(lambda: r.ray.get([r.add.remote(i, i) for i in range(10_000)]), 10_000, 2 * r.seconds)


def tasks_two_clients(r: Remote) -> Figures:
    """Two actors that submit tasks at the same time."""
    clients = [r.Client.remote() for _ in range(2)]
    yield "tasks_two_clients", rate(lambda: r.ray.get([c.tasks.remote(500) for c in clients]), 1000, 2 * r.seconds)


def task_chain(r: Remote) -> Figures:
    """500 tasks, each with the result of the one before."""

    def chain() -> None:
        x: Any = 0
        for _ in range(500):
            x = r.identity.remote(x)
        r.ray.get(x)

    yield "task_chain", rate(chain, 500, r.seconds)


def tree_reduce(r: Remote) -> Figures:
    """512 numbers added pairwise."""

    def tree() -> None:
        level = [r.identity.remote(i) for i in range(512)]
        while len(level) > 1:
            level = [r.add.remote(a, b) for a, b in zip(level[::2], level[1::2], strict=True)]
        assert r.ray.get(level[0]) == 512 * 511 // 2

    yield "tree_reduce", rate(tree, 1023, r.seconds)


def fine_grained_efficiency(r: Remote) -> Figures:
    """1,000 tasks that sleep 2 ms: the part of the time that the sleeps themselves need."""
    n, ms, bare = 1000, 2, bare_sleep_s(2)
    r.ray.get([r.sleep_ms.remote(1) for _ in range(20)])
    start = time.perf_counter()
    r.ray.get([r.sleep_ms.remote(ms) for _ in range(n)])
    yield "fine_grained_efficiency", (n * bare / CPUS) / (time.perf_counter() - start)


def actor_sync(r: Remote) -> Figures:
    """One call after another."""
    a = r.Server.remote()
    yield "actor_sync", rate(lambda: [r.ray.get(a.small.remote()) for _ in range(100)], 100, r.seconds)


def actor_async(r: Remote) -> Figures:
    """1,000 calls at a time."""
    a = r.Server.remote()
    yield "actor_async", rate(lambda: r.ray.get([a.small.remote() for _ in range(1000)]), 1000, 2 * r.seconds)


def async_actor_async(r: Remote) -> Figures:
    """1,000 calls at a time of a coroutine method."""
    a = r.AsyncServer.remote()
    yield "async_actor_async", rate(lambda: r.ray.get([a.small.remote() for _ in range(1000)]), 1000, 2 * r.seconds)


def actor_n_to_n(r: Remote) -> Figures:
    """Two actors that call two others."""
    clients = [r.Client.remote(r.Server.remote()) for _ in range(2)]
    yield "actor_n_to_n", rate(lambda: r.ray.get([c.calls.remote(500) for c in clients]), 1000, 2 * r.seconds)


def actor_start(r: Remote) -> Figures:
    """Four actors started, called once, killed."""

    def start() -> None:
        actors = [r.Server.remote() for _ in range(4)]
        r.ray.get([actor.small.remote() for actor in actors])
        for actor in actors:
            r.ray.kill(actor)

    yield "actor_start", rate(start, 4, 2.5 * r.seconds)


def put_small(r: Remote) -> Figures:
    """`put` of a number."""
    yield "put_small", rate(lambda: [r.ray.put(0) for _ in range(1000)], 1000, r.seconds)


def get_small(r: Remote) -> Figures:
    """`get` of the same array of 64 KB."""
    import numpy as np

    ref = r.ray.put(np.zeros(64 * 1024, np.uint8))
    yield "get_64kb", rate(lambda: [r.ray.get(ref) for _ in range(100)], 100, r.seconds)


def wait_1k(r: Remote) -> Figures:
    """1,000 tasks, waited for one by one."""

    def wait_all() -> None:
        pending = [r.small.remote() for _ in range(1000)]
        while pending:
            _, pending = r.ray.wait(pending, num_returns=1)

    yield "wait_1k_refs", rate(wait_all, 1, r.seconds)


def put_large(r: Remote) -> Figures:
    """An array of 400 MB: written, read in place, read by a task; and what copying memory costs here."""
    import numpy as np

    big = np.random.default_rng(0).integers(0, 255, 400 * 1024 * 1024, dtype=np.uint8)

    def put() -> None:
        ref = r.ray.put(big)
        del ref

    yield "put_large_gb_per_s", rate(put, 1, 2.5 * r.seconds) * big.nbytes / 1e9
    ref = r.ray.put(big)
    yield "get_large_zero_copy_per_s", rate(lambda: r.ray.get(ref), 1, r.seconds)
    yield "task_on_large_ref_per_s", rate(lambda: r.ray.get(r.total.remote(ref)), 1, r.seconds)
    target = np.empty_like(big)
    yield "memcpy_limit_gb_per_s", rate(lambda: np.copyto(target, big), 1, r.seconds) * big.nbytes / 1e9


def arg_10mb(r: Remote) -> Figures:
    """An array of 10 MB as an argument, and there and back."""
    import numpy as np

    array = np.random.default_rng(0).integers(0, 255, 10 * 1024 * 1024, dtype=np.uint8)
    yield "arg_10mb_per_s", rate(lambda: r.ray.get(r.total.remote(array)), 1, r.seconds)
    yield "return_10mb_per_s", rate(lambda: r.ray.get(r.identity.remote(array)).nbytes, 1, r.seconds)


WORKLOADS: dict[str, Callable[[Remote], Figures]] = {
    workload.__name__: workload
    for workload in (
        tasks_sync,
        tasks_async,
        tasks_10k_args,
        tasks_two_clients,
        task_chain,
        tree_reduce,
        fine_grained_efficiency,
        actor_sync,
        actor_async,
        async_actor_async,
        actor_n_to_n,
        actor_start,
        put_small,
        get_small,
        wait_1k,
        put_large,
        arg_10mb,
    )
}
"""By name, in the order in which they run."""


def ray_like(module: str, only: set[str] | None, seconds: float) -> Figures:
    """All figures of one engine, in a cluster of its own."""
    start = time.perf_counter()
    ray = importlib.import_module(module)
    ray.init(num_cpus=CPUS)
    remote = Remote(ray, seconds)
    ray.get(remote.small.remote())
    yield "startup_to_first_result_s", time.perf_counter() - start
    ray.get([remote.sleep_ms.remote(50) for _ in range(CPUS * 2)])
    yield "idle_memory_mb", tree_pss_mb()
    for name, workload in WORKLOADS.items():
        if only is None or name in only:
            yield from workload(remote)
    start = time.perf_counter()
    ray.shutdown()
    yield "shutdown_s", time.perf_counter() - start
