"""References in asyncio code and as concurrent futures."""

from __future__ import annotations

import asyncio
import concurrent.futures
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def double(ray: ModuleType) -> Any:
    @ray.remote
    def double(x: int) -> int:
        return 2 * x

    return double


@pytest.fixture
def fail(ray: ModuleType) -> Any:
    @ray.remote
    def fail() -> None:
        raise LookupError("lost")

    return fail


def test_a_reference_can_be_awaited(ray: ModuleType, double: Any) -> None:
    async def main() -> Any:
        return await double.remote(2), await ray.put("put")

    assert asyncio.run(main()) == (4, "put")


def test_a_reference_can_be_awaited_twice(ray: ModuleType, double: Any) -> None:
    async def main() -> Any:
        ref = double.remote(2)
        return await ref, await ref

    assert asyncio.run(main()) == (4, 4)


def test_references_can_be_gathered(ray: ModuleType, double: Any) -> None:
    async def main() -> Any:
        return await asyncio.gather(*(double.remote(i) for i in range(20)))

    assert asyncio.run(main()) == [2 * i for i in range(20)]


def test_an_awaited_failure_raises_the_exception_of_the_task(ray: ModuleType, fail: Any) -> None:
    async def main() -> None:
        await fail.remote()

    with pytest.raises(LookupError, match="lost"):
        asyncio.run(main())


def test_gather_returns_exceptions_when_asked(ray: ModuleType, double: Any, fail: Any) -> None:
    async def main() -> Any:
        return await asyncio.gather(double.remote(1), fail.remote(), return_exceptions=True)

    value, error = asyncio.run(main())
    assert value == 2
    assert isinstance(error, LookupError)


def test_references_can_be_waited_for_with_asyncio(ray: ModuleType, double: Any, signal: Any) -> None:
    gate = signal()

    async def main() -> Any:
        quick = asyncio.wrap_future(double.remote(1).future())
        slow = asyncio.wrap_future(gate.wait.remote().future())
        done, pending = await asyncio.wait([quick, slow], return_when=asyncio.FIRST_COMPLETED)
        assert done == {quick}
        assert pending == {slow}
        gate.send.remote()
        await slow
        return await quick

    assert asyncio.run(main()) == 2


def test_references_can_be_ensured_as_futures(ray: ModuleType, double: Any) -> None:
    async def main() -> Any:
        async def one(x: int) -> Any:
            return await double.remote(x)

        tasks = [asyncio.ensure_future(one(i)) for i in range(5)]
        return [await task for task in asyncio.as_completed(tasks)]

    assert sorted(asyncio.run(main())) == [0, 2, 4, 6, 8]


def test_awaiting_can_time_out(ray: ModuleType, signal: Any) -> None:
    gate = signal()
    ref = gate.wait.remote()

    async def main() -> None:
        await asyncio.wait_for(ref, timeout=0.1)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(main())
    gate.send.remote()
    assert ray.get(ref) is None


def test_the_loop_goes_on_while_a_reference_is_awaited(ray: ModuleType, signal: Any) -> None:
    gate = signal()

    async def main() -> int:
        waiting = asyncio.ensure_future(asyncio.wrap_future(gate.wait.remote().future()))
        turns = 0
        while turns < 10:
            await asyncio.sleep(0)
            turns += 1
        assert not waiting.done()
        gate.send.remote()
        await waiting
        return turns

    assert asyncio.run(main()) == 10


def test_awaiting_works_in_several_loops_one_after_another(ray: ModuleType, double: Any) -> None:
    async def main(x: int) -> Any:
        return await double.remote(x)

    assert [asyncio.run(main(i)) for i in range(3)] == [0, 2, 4]


def test_a_reference_gives_a_concurrent_future(ray: ModuleType, double: Any, patience: float) -> None:
    future = double.remote(4).future()
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(timeout=patience) == 8
    assert future.done()


def test_a_future_carries_the_exception(ray: ModuleType, fail: Any, patience: float) -> None:
    future = fail.remote().future()
    assert isinstance(future.exception(timeout=patience), LookupError)
    with pytest.raises(LookupError):
        future.result()


def test_callbacks_of_a_future_are_called(ray: ModuleType, double: Any, patience: float) -> None:
    import threading

    seen: list[int] = []
    called = threading.Event()

    def callback(future: concurrent.futures.Future[int]) -> None:
        seen.append(future.result())
        called.set()

    double.remote(3).future().add_done_callback(callback)
    assert called.wait(patience)
    assert seen == [6]


def test_futures_can_be_waited_for_together(ray: ModuleType, double: Any, patience: float) -> None:
    futures = [double.remote(i).future() for i in range(5)]
    done, pending = concurrent.futures.wait(futures, timeout=patience)
    assert not pending
    assert sorted(future.result() for future in done) == [0, 2, 4, 6, 8]


def test_actor_calls_can_be_awaited(ray: ModuleType, counter: Any) -> None:
    shared = counter()

    async def main() -> Any:
        return [await shared.add.remote() for _ in range(3)]

    assert asyncio.run(main()) == [1, 2, 3]


def test_an_object_that_is_in_the_store_can_be_awaited(ray: ModuleType) -> None:
    import numpy as np

    async def main() -> Any:
        return await ray.put(np.ones(500_000))

    assert asyncio.run(main()).sum() == 500_000
