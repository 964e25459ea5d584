"""The utilities that both Ray and Himalia have: ActorPool, Queue, as_completed, map_unordered."""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def util(ray: ModuleType, engine: Any) -> ModuleType:
    return engine.submodule("util")


@pytest.fixture
def worker(ray: ModuleType) -> Any:
    @ray.remote(num_cpus=0)
    class Worker:
        def double(self, x: int) -> int:
            return 2 * x

        def wait(self, gate: list[Any], x: int) -> int:
            ray.get(gate[0].wait.remote())
            return x

        def fail_on(self, x: int, bad: int) -> int:
            if x == bad:
                raise ValueError(f"bad {x}")
            return x

    return Worker


def double(actor: Any, x: int) -> Any:
    return actor.double.remote(x)


# ActorPool -----------------------------------------------------------------------------------------------------------


def test_a_pool_maps_in_order(util: ModuleType, worker: Any) -> None:
    pool = util.ActorPool([worker.remote() for _ in range(2)])
    assert list(pool.map(double, range(7))) == [2 * i for i in range(7)]
    assert list(pool.map(double, [])) == []


def test_a_pool_maps_without_order(util: ModuleType, worker: Any) -> None:
    pool = util.ActorPool([worker.remote() for _ in range(2)])
    assert sorted(pool.map_unordered(double, range(7))) == [2 * i for i in range(7)]


def test_unordered_results_come_when_they_are_ready(util: ModuleType, worker: Any, signal: Any) -> None:
    gate = signal()
    pool = util.ActorPool([worker.remote() for _ in range(2)])
    pool.submit(lambda actor, x: actor.wait.remote([gate], x), "slow")
    pool.submit(double, 1)
    assert pool.get_next_unordered() == 2
    gate.send.remote()
    assert pool.get_next_unordered() == "slow"


def test_submit_and_get_next_keep_the_order(util: ModuleType, worker: Any) -> None:
    pool = util.ActorPool([worker.remote()])
    assert not pool.has_next()
    for i in range(3):
        pool.submit(double, i)
    assert pool.has_next()
    assert [pool.get_next() for _ in range(3)] == [0, 2, 4]
    assert not pool.has_next()
    with pytest.raises(StopIteration):
        pool.get_next()
    with pytest.raises(StopIteration):
        pool.get_next_unordered()


def test_get_next_times_out_and_may_be_asked_again(util: ModuleType, worker: Any, signal: Any) -> None:
    gate = signal()
    pool = util.ActorPool([worker.remote()])
    pool.submit(lambda actor, x: actor.wait.remote([gate], x), 1)
    with pytest.raises(TimeoutError):
        pool.get_next(timeout=0.1)
    with pytest.raises(TimeoutError):
        pool.get_next_unordered(timeout=0.1)
    gate.send.remote()
    assert pool.get_next() == 1


def test_a_result_that_timed_out_can_be_given_up(util: ModuleType, worker: Any, signal: Any) -> None:
    gate = signal()
    pool = util.ActorPool([worker.remote() for _ in range(2)])
    pool.submit(lambda actor, x: actor.wait.remote([gate], x), "slow")
    pool.submit(double, 1)
    with pytest.raises(TimeoutError):
        pool.get_next(timeout=0.1, ignore_if_timedout=True)
    assert pool.get_next() == 2
    assert not pool.has_next()
    gate.send.remote()


def test_the_order_cannot_be_had_after_unordered_results(util: ModuleType, worker: Any, signal: Any) -> None:
    gate = signal()
    pool = util.ActorPool([worker.remote() for _ in range(3)])
    pool.submit(lambda actor, x: actor.wait.remote([gate], x), 0)
    pool.submit(double, 1)
    pool.submit(lambda actor, x: actor.wait.remote([gate], x), 2)
    assert pool.get_next_unordered() == 2
    gate.send.remote()
    with pytest.raises(ValueError):
        while pool.has_next():
            pool.get_next()


def test_idle_actors_can_be_taken_and_added(util: ModuleType, worker: Any) -> None:
    pool = util.ActorPool([worker.remote()])
    assert pool.has_free()
    actor = pool.pop_idle()
    assert actor is not None
    assert not pool.has_free()
    assert pool.pop_idle() is None
    pool.submit(double, 4)
    pool.push(actor)
    assert pool.get_next() == 8
    with pytest.raises(ValueError):
        pool.push(actor)


def test_an_error_is_raised_in_its_turn_and_the_pool_goes_on(util: ModuleType, worker: Any) -> None:
    pool = util.ActorPool([worker.remote() for _ in range(2)])
    for x in range(4):
        pool.submit(lambda actor, x: actor.fail_on.remote(x, 1), x)
    assert pool.get_next() == 0
    with pytest.raises(ValueError, match="bad 1"):
        pool.get_next()
    assert [pool.get_next(), pool.get_next()] == [2, 3]


def test_a_second_map_is_not_disturbed_by_results_nobody_took(util: ModuleType, worker: Any) -> None:
    pool = util.ActorPool([worker.remote() for _ in range(2)])
    pool.map(double, range(5))
    assert list(pool.map(double, range(3))) == [0, 2, 4]


# Queue ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def queues(ray: ModuleType, engine: Any) -> ModuleType:
    return engine.submodule("util.queue")


def test_a_queue_is_first_in_first_out(queues: ModuleType) -> None:
    queue = queues.Queue()
    for i in range(3):
        queue.put(i)
    assert len(queue) == queue.size() == queue.qsize() == 3
    assert [queue.get() for _ in range(3)] == [0, 1, 2]
    assert queue.empty()


def test_get_from_an_empty_queue(queues: ModuleType) -> None:
    queue = queues.Queue()
    with pytest.raises(queues.Empty):
        queue.get_nowait()
    with pytest.raises(queues.Empty):
        queue.get(block=False)
    with pytest.raises(queues.Empty):
        queue.get(timeout=0.1)
    with pytest.raises(ValueError):
        queue.get(timeout=-1)


def test_put_into_a_full_queue(queues: ModuleType) -> None:
    queue = queues.Queue(maxsize=1)
    assert not queue.full()
    queue.put("first")
    assert queue.full()
    with pytest.raises(queues.Full):
        queue.put_nowait("second")
    with pytest.raises(queues.Full):
        queue.put("second", timeout=0.1)
    with pytest.raises(ValueError):
        queue.put("second", timeout=-1)
    assert queue.get() == "first"


def test_the_exceptions_are_those_of_the_standard_library_too(queues: ModuleType) -> None:
    import queue

    assert issubclass(queues.Empty, queue.Empty)
    assert issubclass(queues.Full, queue.Full)


def test_batches_are_all_or_nothing(queues: ModuleType) -> None:
    queue = queues.Queue(maxsize=4)
    queue.put_nowait_batch([1, 2, 3])
    with pytest.raises(queues.Full):
        queue.put_nowait_batch([4, 5])
    with pytest.raises(queues.Empty):
        queue.get_nowait_batch(4)
    assert queue.get_nowait_batch(2) == [1, 2]
    assert queue.size() == 1
    with pytest.raises(TypeError):
        queue.put_nowait_batch(1)
    with pytest.raises(TypeError):
        queue.get_nowait_batch("1")
    with pytest.raises(ValueError):
        queue.get_nowait_batch(-1)


def test_a_blocked_get_is_woken_by_a_put(ray: ModuleType, queues: ModuleType) -> None:
    queue = queues.Queue()

    @ray.remote
    def consume(queue: Any) -> Any:
        return queue.get()

    ref = consume.remote(queue)
    queue.put("item")
    assert ray.get(ref) == "item"


def test_a_blocked_put_is_woken_by_a_get(ray: ModuleType, queues: ModuleType) -> None:
    queue = queues.Queue(maxsize=1)
    queue.put(1)

    @ray.remote
    def produce(queue: Any) -> None:
        queue.put(2)

    ref = produce.remote(queue)
    assert [queue.get(), queue.get()] == [1, 2]
    ray.get(ref)


def test_many_producers_and_consumers_share_a_queue(ray: ModuleType, queues: ModuleType) -> None:
    queue = queues.Queue(maxsize=5)

    @ray.remote(num_cpus=0.5)
    def produce(queue: Any, start: int) -> None:
        for i in range(start, start + 20):
            queue.put(i)

    @ray.remote(num_cpus=0.5)
    def consume(queue: Any) -> list[int]:
        return [queue.get() for _ in range(20)]

    producers = [produce.remote(queue, start) for start in (0, 20)]
    consumers = [consume.remote(queue) for _ in range(2)]
    assert sorted(i for items in ray.get(consumers) for i in items) == list(range(40))
    ray.get(producers)


def test_a_queue_can_be_used_in_coroutines(queues: ModuleType) -> None:
    queue = queues.Queue(maxsize=1)

    async def main() -> Any:
        await queue.put_async(1)
        with pytest.raises(queues.Full):
            await queue.put_async(2, block=False)
        with pytest.raises(queues.Full):
            await queue.put_async(2, timeout=0.05)
        first = await queue.get_async()
        with pytest.raises(queues.Empty):
            await queue.get_async(block=False)
        waiting = asyncio.ensure_future(queue.get_async())
        await queue.put_async(2)
        return first, await waiting

    assert asyncio.run(main()) == (1, 2)


def test_the_actor_of_a_queue_can_have_options(ray: ModuleType, queues: ModuleType) -> None:
    queue = queues.Queue(actor_options={"name": "the-queue", "num_cpus": 0})
    queue.put(1)
    assert ray.get(ray.get_actor("the-queue").qsize.remote()) == 1
    queue.shutdown()


@pytest.mark.parametrize("force", [False, True])
def test_a_queue_can_be_shut_down(ray: ModuleType, queues: ModuleType, force: bool) -> None:
    queue = queues.Queue()
    queue.put(1)
    actor = queue.actor
    queue.shutdown(force=force)
    assert queue.actor is None
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(actor.qsize.remote())


# as_completed, map_unordered -----------------------------------------------------------------------------------------


@pytest.fixture
def square(ray: ModuleType) -> Any:
    @ray.remote
    def square(x: int) -> int:
        return x * x

    return square


@pytest.mark.parametrize("chunk_size", [1, 3, 100])
def test_as_completed_yields_every_result(util: ModuleType, square: Any, chunk_size: int) -> None:
    results = util.as_completed([square.remote(i) for i in range(10)], chunk_size=chunk_size)
    assert sorted(results) == [i * i for i in range(10)]


def test_as_completed_yields_references_when_asked(ray: ModuleType, util: ModuleType, square: Any) -> None:
    refs = [square.remote(i) for i in range(4)]
    assert set(util.as_completed(refs, yield_obj_refs=True)) == set(refs)


def test_as_completed_does_not_wait_for_the_slow_ones(
    ray: ModuleType, util: ModuleType, square: Any, signal: Any
) -> None:
    gate = signal()
    results = util.as_completed([gate.wait.remote(), square.remote(3)], chunk_size=1)
    assert next(results) == 9
    gate.send.remote()
    assert next(results) is None
    assert list(results) == []


def test_as_completed_refuses_bad_sizes(util: ModuleType, square: Any) -> None:
    with pytest.raises(ValueError):
        list(util.as_completed([square.remote(1)], chunk_size=0))
    with pytest.raises(ValueError):
        list(util.as_completed([square.remote(1)], num_returns=1))


def test_as_completed_raises_the_error_of_a_task(ray: ModuleType, util: ModuleType) -> None:
    @ray.remote
    def fail() -> None:
        raise ValueError("from the task")

    with pytest.raises(ValueError, match="from the task"):
        list(util.as_completed([fail.remote()]))


def test_map_unordered_calls_a_remote_function_with_every_item(util: ModuleType, square: Any) -> None:
    assert sorted(util.map_unordered(square, range(20), backpressure_size=4)) == [i * i for i in range(20)]


def test_map_unordered_takes_actor_methods(util: ModuleType, worker: Any) -> None:
    actor = worker.remote()
    assert sorted(util.map_unordered(actor.double, range(5))) == [0, 2, 4, 6, 8]


def test_map_unordered_reads_no_further_than_it_must(util: ModuleType, square: Any) -> None:
    read: list[int] = []

    def endless() -> Any:
        i = 0
        while True:
            read.append(i)
            yield i
            i += 1

    results = util.map_unordered(square, endless(), backpressure_size=4, chunk_size=1)
    for _ in range(10):
        next(results)
    assert len(read) <= 20


def test_map_unordered_refuses_bad_sizes(util: ModuleType, square: Any) -> None:
    with pytest.raises(ValueError):
        list(util.map_unordered(square, [1], backpressure_size=0))
    with pytest.raises(ValueError):
        list(util.map_unordered(square, [1], chunk_size=0))
