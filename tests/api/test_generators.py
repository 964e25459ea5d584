"""Streaming generators: tasks that yield references while they run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any

import pytest


def test_a_generator_function_streams_references_by_default(ray: ModuleType) -> None:
    @ray.remote
    def count(n: int) -> Iterator[int]:
        for i in range(n):
            yield i

    stream = count.remote(4)
    assert isinstance(stream, ray.ObjectRefGenerator)
    refs = list(stream)
    assert all(isinstance(ref, ray.ObjectRef) for ref in refs)
    assert ray.get(refs) == [0, 1, 2, 3]


def test_streaming_can_be_asked_for(ray: ModuleType) -> None:
    @ray.remote(num_returns="streaming")
    def count() -> Iterator[int]:
        for i in range(3):
            yield i

    assert [ray.get(ref) for ref in count.remote()] == [0, 1, 2]
    assert [ray.get(ref) for ref in count.options(num_returns="streaming").remote()] == [0, 1, 2]


def test_an_empty_generator_ends_at_once(ray: ModuleType) -> None:
    @ray.remote
    def nothing() -> Iterator[int]:
        yield from ()

    assert list(nothing.remote()) == []


def test_a_finished_stream_keeps_raising_stop_iteration(ray: ModuleType) -> None:
    @ray.remote
    def one() -> Iterator[int]:
        yield 1

    stream = one.remote()
    assert ray.get(next(stream)) == 1
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(stream)


def test_a_task_that_iterates_lends_its_cpu(ray: ModuleType) -> None:
    @ray.remote
    def count(n: int) -> Iterator[int]:
        yield from range(n)

    @ray.remote(num_cpus=4)  # all there are
    def total() -> int:
        return sum(ray.get(ref) for ref in count.remote(4))

    assert ray.get(total.remote()) == 6


def test_items_arrive_while_the_task_still_runs(ray: ModuleType, signal: Any) -> None:
    gate = signal()

    @ray.remote
    def count() -> Iterator[int]:
        yield 1
        ray.get(gate.wait.remote())
        yield 2

    stream = count.remote()
    assert ray.get(next(stream)) == 1
    gate.send.remote()
    assert ray.get(next(stream)) == 2


def test_a_stream_of_large_items_arrives_whole(ray: ModuleType) -> None:
    import numpy as np

    @ray.remote
    def arrays() -> Iterator[Any]:
        for i in range(4):
            yield np.full(200_000, i)

    assert [int(ray.get(ref)[-1]) for ref in arrays.remote()] == [0, 1, 2, 3]


def test_a_long_stream_keeps_its_order(ray: ModuleType) -> None:
    @ray.remote
    def count() -> Iterator[int]:
        for i in range(500):
            yield i

    assert [ray.get(ref) for ref in count.remote()] == list(range(500))


def test_an_exception_is_the_last_item_of_the_stream(ray: ModuleType) -> None:
    @ray.remote
    def fails() -> Iterator[int]:
        yield 1
        raise ValueError("in the middle")

    stream = fails.remote()
    assert ray.get(next(stream)) == 1
    last = next(stream)
    with pytest.raises(ValueError, match="in the middle"):
        ray.get(last)
    with pytest.raises(StopIteration):
        next(stream)


def test_an_exception_before_the_first_item_reaches_the_consumer(ray: ModuleType) -> None:
    @ray.remote
    def fails() -> Iterator[int]:
        raise ValueError("at once")
        yield 1

    with pytest.raises(ValueError, match="at once"):
        ray.get(next(fails.remote()))


def test_items_can_be_arguments_of_other_tasks(ray: ModuleType) -> None:
    @ray.remote
    def count() -> Iterator[int]:
        for i in range(3):
            yield i

    @ray.remote
    def double(x: int) -> int:
        return 2 * x

    assert ray.get([double.remote(ref) for ref in count.remote()]) == [0, 2, 4]


def test_a_generator_takes_references_as_arguments(ray: ModuleType) -> None:
    @ray.remote
    def count(n: int) -> Iterator[int]:
        for i in range(n):
            yield i

    assert ray.get(list(count.remote(ray.put(3)))) == [0, 1, 2]


def test_a_task_can_consume_the_stream_of_another(ray: ModuleType) -> None:
    @ray.remote
    def count() -> Iterator[int]:
        for i in range(4):
            yield i

    @ray.remote
    def total() -> int:
        return sum(ray.get(ref) for ref in count.remote())

    assert ray.get(total.remote()) == 6


def test_completed_is_a_reference_to_the_end_of_the_stream(ray: ModuleType, signal: Any) -> None:
    gate = signal()

    @ray.remote
    def count() -> Iterator[int]:
        yield 1
        ray.get(gate.wait.remote())

    stream = count.remote()
    ready, _ = ray.wait([stream.completed()], timeout=0)
    assert not ready
    gate.send.remote()
    ray.get(stream.completed())
    assert ray.get(list(stream)) == [1]
    assert stream.is_finished()


def test_completed_raises_when_the_worker_of_the_stream_dies(ray: ModuleType) -> None:
    @ray.remote(max_retries=0)
    def dies() -> Iterator[int]:
        import os

        yield 1
        os._exit(1)

    stream = dies.remote()
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(stream.completed())


@pytest.mark.only_engine("himalia", reason="Ray sends values into the generator, which plain iterators do not take")
def test_a_generator_may_delegate_to_a_plain_iterator(ray: ModuleType) -> None:
    @ray.remote
    def delegate() -> Iterator[int]:
        yield from range(3)

    assert ray.get(list(delegate.remote())) == [0, 1, 2]


def test_next_ready_tells_whether_an_item_is_there(ray: ModuleType, signal: Any, eventually: Any) -> None:
    gate = signal()

    @ray.remote
    def count() -> Iterator[int]:
        ray.get(gate.wait.remote())
        yield 1

    stream = count.remote()
    assert not stream.next_ready()
    gate.send.remote()
    eventually(stream.next_ready)
    assert ray.get(next(stream)) == 1


def test_wait_accepts_streams(ray: ModuleType, signal: Any, patience: float) -> None:
    gate = signal()

    @ray.remote
    def count(blocked: bool) -> Iterator[int]:
        if blocked:
            ray.get(gate.wait.remote())
        yield 1

    quick, slow = count.remote(False), count.remote(True)
    ready, rest = ray.wait([slow, quick], num_returns=1, timeout=patience)
    assert ready == [quick]
    assert rest == [slow]
    assert ray.get(next(quick)) == 1
    gate.send.remote()
    assert ray.get(next(slow)) == 1


def test_a_stream_can_be_iterated_asynchronously(ray: ModuleType) -> None:
    @ray.remote
    def count() -> Iterator[int]:
        for i in range(5):
            yield i

    async def consume() -> list[int]:
        return [await ref async for ref in count.remote()]

    assert asyncio.run(consume()) == list(range(5))


def test_several_streams_can_be_iterated_at_the_same_time(ray: ModuleType) -> None:
    @ray.remote
    def count(start: int) -> Iterator[int]:
        for i in range(start, start + 5):
            yield i

    async def consume(start: int) -> list[int]:
        return [await ref async for ref in count.remote(start)]

    async def main() -> list[list[int]]:
        return await asyncio.gather(*(consume(start) for start in (0, 10, 20)))

    assert asyncio.run(main()) == [list(range(start, start + 5)) for start in (0, 10, 20)]


def test_an_exception_reaches_an_asynchronous_consumer(ray: ModuleType) -> None:
    @ray.remote
    def fails() -> Iterator[int]:
        yield 1
        raise ValueError("in the middle")

    async def consume() -> list[int]:
        seen = []
        with pytest.raises(ValueError, match="in the middle"):
            async for ref in fails.remote():
                seen.append(await ref)  # noqa: PERF401 - what came before the error counts
        return seen

    assert asyncio.run(consume()) == [1]


@pytest.mark.parametrize("bound", [1, 3])
def test_backpressure_pauses_a_producer_that_is_ahead(
    ray: ModuleType, counter: Any, eventually: Any, bound: int
) -> None:
    produced = counter()

    @ray.remote(_generator_backpressure_num_objects=bound)
    def count() -> Iterator[int]:
        for i in range(10):
            ray.get(produced.add.remote())
            yield i

    stream = count.remote()
    for consumed in range(10):
        # The producer may have computed the item that it is not yet allowed to hand over.
        eventually(lambda done=consumed: ray.get(produced.get.remote()) >= min(10, done + bound))
        assert ray.get(produced.get.remote()) <= consumed + bound + 1
        assert ray.get(next(stream)) == consumed
    with pytest.raises(StopIteration):
        next(stream)


def test_without_backpressure_a_producer_runs_to_its_end(ray: ModuleType, counter: Any, eventually: Any) -> None:
    produced = counter()

    @ray.remote
    def count() -> Iterator[int]:
        for i in range(20):
            produced.add.remote()
            yield i

    stream = count.remote()
    eventually(lambda: ray.get(produced.get.remote()) == 20)
    assert ray.get(list(stream)) == list(range(20))


def test_a_stream_can_be_cancelled(ray: ModuleType, signal: Any) -> None:
    gate = signal()

    @ray.remote
    def count() -> Iterator[int]:
        yield 1
        ray.get(gate.wait.remote())
        yield 2

    stream = count.remote()
    assert ray.get(next(stream)) == 1
    ray.cancel(stream)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(next(stream))


def test_a_dropped_stream_does_not_disturb_other_tasks(ray: ModuleType) -> None:
    @ray.remote
    def count() -> Iterator[int]:
        for i in range(100):
            yield i

    @ray.remote
    def one() -> int:
        return 1

    stream = count.remote()
    next(stream)
    del stream
    assert ray.get(one.remote()) == 1


def test_the_items_outlive_the_stream(ray: ModuleType) -> None:
    @ray.remote
    def blobs() -> Iterator[bytes]:
        for i in range(3):
            yield bytes([i]) * 300_000

    stream = blobs.remote()
    refs = list(stream)
    del stream
    assert [ray.get(ref)[0] for ref in refs] == [0, 1, 2]


def test_streaming_needs_a_generator_function(ray: ModuleType) -> None:
    def plain() -> int:
        return 1

    with pytest.raises((TypeError, ValueError)):
        ray.get(next(ray.remote(num_returns="streaming")(plain).remote()))


def test_an_asynchronous_function_cannot_be_a_task(ray: ModuleType) -> None:
    async def coroutine() -> int:
        return 1

    with pytest.raises(ValueError, match="async"):
        ray.remote(coroutine).remote()


def test_a_generator_that_crashed_is_started_again(ray: ModuleType, counter: Any) -> None:
    attempts = counter()

    @ray.remote(max_retries=1)
    def count() -> Iterator[int]:
        import os

        first = ray.get(attempts.add.remote()) == 1
        for i in range(3):
            if first and i == 1:
                os._exit(1)
            yield i

    assert ray.get(list(count.remote())) == [0, 1, 2]


def test_an_asynchronous_generator_of_an_actor_streams(ray: ModuleType) -> None:
    @ray.remote
    class Source:
        async def count(self, n: int) -> AsyncIterator[int]:
            for i in range(n):
                await asyncio.sleep(0)
                yield i

    assert ray.get(list(Source.remote().count.remote(3))) == [0, 1, 2]


def test_a_generator_of_an_actor_streams_and_keeps_state(ray: ModuleType) -> None:
    @ray.remote
    class Source:
        def __init__(self) -> None:
            self.position = 0

        def take(self, n: int) -> Iterator[int]:
            for _ in range(n):
                self.position += 1
                yield self.position

    source = Source.remote()
    assert ray.get(list(source.take.remote(2))) == [1, 2]
    assert ray.get(list(source.take.options(num_returns="streaming").remote(2))) == [3, 4]


def test_a_generator_of_a_threaded_actor_streams(ray: ModuleType) -> None:
    @ray.remote(max_concurrency=2)
    class Source:
        def count(self, n: int) -> Iterator[int]:
            for i in range(n):
                yield i

    source = Source.remote()
    assert [ray.get(list(stream)) for stream in [source.count.remote(3), source.count.remote(2)]] == [
        [0, 1, 2],
        [0, 1],
    ]


def test_an_actor_that_dies_ends_its_stream_with_an_error(ray: ModuleType) -> None:
    @ray.remote
    class Source:
        def count(self) -> Iterator[int]:
            import os

            yield 1
            os._exit(1)

    stream = Source.remote().count.remote()
    # What was yielded just before the crash may or may not have arrived, but the stream must end, and with the error.
    with pytest.raises(ray.exceptions.RayActorError):
        for ref in stream:
            ray.get(ref)
