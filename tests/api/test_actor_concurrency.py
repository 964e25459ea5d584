"""Actors that do several things at the same time: threads, concurrency groups, coroutines, limits on what is queued."""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import Any

import pytest


def test_an_actor_runs_one_call_at_a_time_by_default(ray: ModuleType) -> None:
    @ray.remote
    class Thing:
        def __init__(self) -> None:
            self.running = self.most = 0

        def work(self) -> None:
            import time

            self.running += 1
            self.most = max(self.most, self.running)
            time.sleep(0.005)
            self.running -= 1

        def peak(self) -> int:
            return self.most

    thing = Thing.remote()
    ray.get([thing.work.remote() for _ in range(10)])
    assert ray.get(thing.peak.remote()) == 1


def test_a_threaded_actor_runs_as_many_calls_as_allowed(ray: ModuleType, eventually: Any) -> None:
    @ray.remote(max_concurrency=3)
    class Meeting:
        def __init__(self) -> None:
            import threading

            self.barrier = threading.Barrier(2)

        def meet(self) -> bool:
            self.barrier.wait(60)
            return True

    meeting = Meeting.remote()
    assert ray.get([meeting.meet.remote(), meeting.meet.remote()]) == [True, True]


def test_max_concurrency_bounds_the_threads(ray: ModuleType) -> None:
    @ray.remote(max_concurrency=2)
    class Thing:
        def __init__(self) -> None:
            import threading

            self.lock = threading.Lock()
            self.running = self.most = 0

        def work(self) -> None:
            import time

            with self.lock:
                self.running += 1
                self.most = max(self.most, self.running)
            time.sleep(0.01)
            with self.lock:
                self.running -= 1

        def peak(self) -> int:
            return self.most

    thing = Thing.remote()
    ray.get([thing.work.remote() for _ in range(20)])
    assert ray.get(thing.peak.remote()) == 2


def test_max_concurrency_can_be_given_by_options(ray: ModuleType) -> None:
    @ray.remote
    class Meeting:
        def __init__(self) -> None:
            import threading

            self.barrier = threading.Barrier(2)

        def meet(self) -> bool:
            self.barrier.wait(60)
            return True

    meeting = Meeting.options(max_concurrency=2).remote()
    assert ray.get([meeting.meet.remote(), meeting.meet.remote()]) == [True, True]


def test_a_threaded_actor_can_get_in_its_threads(ray: ModuleType) -> None:
    @ray.remote
    def double(x: int) -> int:
        return 2 * x

    @ray.remote(max_concurrency=4)
    class Thing:
        def work(self, x: int) -> Any:
            return ray.get(double.remote(x))

    thing = Thing.remote()
    assert ray.get([thing.work.remote(i) for i in range(8)]) == [2 * i for i in range(8)]


def test_concurrency_groups_do_not_block_each_other(ray: ModuleType) -> None:
    @ray.remote(concurrency_groups={"io": 1, "compute": 1})
    class Thing:
        def __init__(self) -> None:
            import threading

            self.event = threading.Event()

        @ray.method(concurrency_group="io")
        def wait(self) -> bool:
            return self.event.wait(60)

        @ray.method(concurrency_group="compute")
        def release(self) -> None:
            self.event.set()

    thing = Thing.remote()
    waiting = thing.wait.remote()
    ray.get(thing.release.remote())
    assert ray.get(waiting) is True


def test_the_default_group_is_separate_from_the_named_ones(ray: ModuleType) -> None:
    @ray.remote(concurrency_groups={"io": 1})
    class Thing:
        def __init__(self) -> None:
            import threading

            self.event = threading.Event()

        @ray.method(concurrency_group="io")
        def wait(self) -> bool:
            return self.event.wait(60)

        def release(self) -> None:
            self.event.set()

    thing = Thing.remote()
    waiting = thing.wait.remote()
    ray.get(thing.release.remote())
    assert ray.get(waiting) is True


def test_the_group_of_a_call_can_be_chosen_by_options(ray: ModuleType) -> None:
    @ray.remote(concurrency_groups={"io": 1, "compute": 1})
    class Thing:
        @ray.method(concurrency_group="io")
        def thread(self) -> int:
            import threading

            return threading.get_ident()

    thing = Thing.remote()
    usual = ray.get([thing.thread.remote() for _ in range(3)])
    other = ray.get(thing.thread.options(concurrency_group="compute").remote())
    assert len(set(usual)) == 1
    assert other not in usual


def test_concurrency_groups_bound_coroutines(ray: ModuleType) -> None:
    @ray.remote(concurrency_groups={"io": 2})
    class Thing:
        def __init__(self) -> None:
            self.running = self.most = 0

        @ray.method(concurrency_group="io")
        async def work(self) -> None:
            self.running += 1
            self.most = max(self.most, self.running)
            for _ in range(5):
                await asyncio.sleep(0.001)
            self.running -= 1

        async def peak(self) -> int:
            return self.most

    thing = Thing.remote()
    ray.get([thing.work.remote() for _ in range(12)])
    assert ray.get(thing.peak.remote()) == 2


def test_an_asynchronous_actor_interleaves_its_calls(ray: ModuleType) -> None:
    @ray.remote
    class Thing:
        def __init__(self) -> None:
            self.event = asyncio.Event()

        async def wait(self) -> str:
            await self.event.wait()
            return "released"

        async def release(self) -> None:
            self.event.set()

    thing = Thing.remote()
    waiting = [thing.wait.remote() for _ in range(5)]
    ray.get(thing.release.remote())
    assert ray.get(waiting) == ["released"] * 5


def test_max_concurrency_bounds_coroutines(ray: ModuleType) -> None:
    @ray.remote(max_concurrency=3)
    class Thing:
        def __init__(self) -> None:
            self.running = self.most = 0

        async def work(self) -> int:
            self.running += 1
            self.most = max(self.most, self.running)
            for _ in range(5):
                await asyncio.sleep(0.001)
            self.running -= 1
            return self.most

    thing = Thing.remote()
    assert max(ray.get([thing.work.remote() for _ in range(20)])) == 3


def test_all_coroutines_of_an_actor_share_one_loop_and_thread(ray: ModuleType) -> None:
    @ray.remote
    class Thing:
        async def where(self) -> tuple[int, int]:
            import threading

            return id(asyncio.get_running_loop()), threading.get_ident()

    thing = Thing.remote()
    assert len(set(ray.get([thing.where.remote() for _ in range(5)]))) == 1


def test_an_actor_may_mix_plain_and_asynchronous_methods(ray: ModuleType) -> None:
    @ray.remote
    class Thing:
        def plain(self) -> str:
            return "plain"

        async def asynchronous(self) -> str:
            await asyncio.sleep(0)
            return "async"

    thing = Thing.remote()
    assert ray.get([thing.plain.remote(), thing.asynchronous.remote()]) == ["plain", "async"]


def test_a_coroutine_can_await_references(ray: ModuleType) -> None:
    @ray.remote
    def double(x: int) -> int:
        return 2 * x

    @ray.remote
    class Thing:
        async def work(self, x: int) -> Any:
            return await double.remote(x) + sum(await asyncio.gather(double.remote(1), double.remote(2)))

    assert ray.get(Thing.remote().work.remote(5)) == 16


def test_an_exception_in_a_coroutine_reaches_the_caller(ray: ModuleType) -> None:
    @ray.remote
    class Thing:
        async def fail(self) -> None:
            await asyncio.sleep(0)
            raise LookupError("lost")

    with pytest.raises(LookupError, match="lost"):
        ray.get(Thing.remote().fail.remote())


def test_an_asynchronous_actor_can_call_itself_without_deadlock(ray: ModuleType) -> None:
    @ray.remote
    class Thing:
        async def outer(self) -> Any:
            me = ray.get_runtime_context().current_actor
            return await me.inner.remote()

        async def inner(self) -> str:
            return "inner"

    assert ray.get(Thing.remote().outer.remote()) == "inner"


def test_background_tasks_of_an_asynchronous_actor_go_on_between_calls(ray: ModuleType, eventually: Any) -> None:
    @ray.remote
    class Thing:
        async def start(self) -> None:
            self.ticks = 0
            self.task = asyncio.create_task(self.tick())

        async def tick(self) -> None:
            while True:
                self.ticks += 1
                await asyncio.sleep(0.001)

        async def seen(self) -> int:
            return self.ticks

    thing = Thing.remote()
    ray.get(thing.start.remote())
    eventually(lambda: ray.get(thing.seen.remote()) > 3)


def test_two_callers_are_served_independently(ray: ModuleType, counter: Any) -> None:
    shared = counter()

    @ray.remote(num_cpus=0.5)
    def bump(times: int) -> None:
        for _ in range(times):
            ray.get(shared.add.remote())

    ray.get([bump.remote(20), bump.remote(20)])
    assert ray.get(shared.get.remote()) == 40


def test_too_many_pending_calls_are_refused(ray: ModuleType, signal: Any) -> None:
    gate = signal()

    @ray.remote(max_pending_calls=2)
    class Thing:
        def wait(self) -> int:
            ray.get(gate.wait.remote())
            return 1

    thing = Thing.remote()
    accepted = [thing.wait.remote() for _ in range(2)]
    with pytest.raises(ray.exceptions.PendingCallsLimitExceeded):
        for _ in range(10):
            accepted.append(thing.wait.remote())  # noqa: PERF401 - what was accepted before the refusal counts
    gate.send.remote()
    assert set(ray.get(accepted)) == {1}
    assert ray.get(thing.wait.remote()) == 1


def test_calls_may_run_out_of_order_when_that_is_allowed(ray: ModuleType, signal: Any) -> None:
    gate = signal()

    @ray.remote
    def late() -> str:
        ray.get(gate.wait.remote())
        return "late"

    @ray.remote(max_concurrency=2, allow_out_of_order_execution=True)
    class Echo:
        def echo(self, item: str) -> str:
            return item

    echo = Echo.remote()
    first = echo.echo.remote(late.remote())
    assert ray.get(echo.echo.remote("early")) == "early"
    gate.send.remote()
    assert ray.get(first) == "late"
