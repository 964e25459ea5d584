"""Programs of Ray's documentation about generators, asyncio, names, faults and utilities, for test_programs.py."""

from __future__ import annotations

import textwrap

PROGRAMS: dict[str, str] = {}


def program(name: str, source: str) -> None:
    PROGRAMS[name] = textwrap.dedent(source)


program(
    "generators: streaming, errors, wait, next_ready, an actor's",
    """
    import asyncio

    import ray

    @ray.remote
    def task():
        for i in range(5):
            yield i
            if i == 3:
                raise ValueError("after the third")

    gen = task.remote()
    assert isinstance(gen, ray.ObjectRefGenerator)
    assert [ray.get(next(gen)) for _ in range(4)] == [0, 1, 2, 3]
    try:
        ray.get(next(gen))
    except ValueError:
        pass
    else:
        raise AssertionError("no error")
    try:
        next(gen)
    except StopIteration:
        pass
    else:
        raise AssertionError("it goes on")

    @ray.remote
    class Actor:
        async def numbers(self):
            for i in range(3):
                await asyncio.sleep(0.01)
                yield i

    actor = Actor.remote()

    async def main():
        got = []
        async for ref in actor.numbers.remote():
            got.append(await ref)
        return got

    assert asyncio.run(main()) == [0, 1, 2]

    unready, taken = [actor.numbers.remote(), actor.numbers.remote()], []
    while unready:
        ready, unready = ray.wait(unready)
        for generator in ready:
            try:
                taken.append(ray.get(next(generator)))
            except StopIteration:
                continue
            unready.append(generator)
    assert sorted(taken) == [0, 0, 1, 1, 2, 2]
    """,
)

program(
    "asyncio: async actors, references as futures, concurrency groups",
    """
    import asyncio

    import ray

    @ray.remote
    class AsyncActor:
        def __init__(self, expected):
            self.event, self.waiting, self.expected = asyncio.Event(), 0, expected

        async def run_concurrent(self):
            self.waiting += 1
            if self.waiting == self.expected:
                self.event.set()
            await self.event.wait()
            return self.waiting

    actor = AsyncActor.remote(4)
    assert ray.get([actor.run_concurrent.remote() for _ in range(4)]) == [4, 4, 4, 4]

    @ray.remote
    def some_task():
        return 1

    async def await_obj_ref():
        assert await some_task.remote() == 1
        assert await asyncio.wait_for(some_task.remote(), timeout=60) == 1
        assert await asyncio.gather(some_task.remote(), some_task.remote()) == [1, 1]

    asyncio.run(await_obj_ref())
    assert some_task.remote().future().result(timeout=60) == 1

    @ray.remote(concurrency_groups={"io": 2, "compute": 4})
    class AsyncIOActor:
        @ray.method(concurrency_group="io")
        async def f1(self):
            return "f1"

        @ray.method(concurrency_group="compute")
        async def f2(self):
            return "f2"

        async def f3(self):
            return "f3"

    a = AsyncIOActor.remote()
    refs = [a.f1.remote(), a.f2.remote(), a.f3.remote(), a.f2.options(concurrency_group="io").remote()]
    assert ray.get(refs) == ["f1", "f2", "f3", "f2"]
    """,
)

program(
    "named actors: namespaces, get_if_exists, detached",
    """
    import ray

    ray.init(namespace="colors")

    @ray.remote
    class Greeter:
        def __init__(self, value):
            self.value = value

        def say_hello(self):
            return self.value

    a = Greeter.options(name="g1", get_if_exists=True).remote("Old Greeting")
    assert ray.get(a.say_hello.remote()) == "Old Greeting"
    b = Greeter.options(name="g1", get_if_exists=True).remote("New Greeting")
    assert ray.get(b.say_hello.remote()) == "Old Greeting"

    c = Greeter.options(name="orange", namespace="fruit", lifetime="detached").remote("fruit")
    ray.get(c.say_hello.remote())
    try:
        ray.get_actor("orange")
    except ValueError:
        pass
    else:
        raise AssertionError("found in another namespace")
    del c
    assert ray.get(ray.get_actor("orange", namespace="fruit").say_hello.remote()) == "fruit"
    """,
)

program(
    "cancel: waiting, running and forced",
    """
    import time

    import ray

    @ray.remote
    def blocking_operation():
        time.sleep(10e6)

    obj_ref = blocking_operation.remote()
    ray.cancel(obj_ref)
    try:
        ray.get(obj_ref)
    except ray.exceptions.TaskCancelledError:
        pass
    else:
        raise AssertionError("not cancelled")

    forced = blocking_operation.remote()
    assert ray.wait([forced], timeout=1) == ([], [forced])
    ray.cancel(forced, force=True)
    try:
        ray.get(forced)
    except (ray.exceptions.TaskCancelledError, ray.exceptions.WorkerCrashedError):
        pass
    else:
        raise AssertionError("not ended")
    """,
)

program(
    "fault tolerance: retries of tasks and actors, exceptions",
    """
    import os

    import ray

    @ray.remote
    class Attempts:
        def __init__(self):
            self.count = 0

        def add(self):
            self.count += 1
            return self.count

    attempts = Attempts.remote()

    @ray.remote(max_retries=3)
    def potentially_fail():
        if ray.get(attempts.add.remote()) < 3:
            os._exit(1)
        return "done"

    assert ray.get(potentially_fail.remote()) == "done"

    class RandomError(Exception):
        pass

    again = Attempts.remote()

    @ray.remote(max_retries=3, retry_exceptions=[RandomError])
    def raises():
        if ray.get(again.add.remote()) < 3:
            raise RandomError
        return "done"

    assert ray.get(raises.remote()) == "done"

    @ray.remote(max_retries=0)
    def crash():
        os._exit(1)

    try:
        ray.get(crash.remote())
    except ray.exceptions.WorkerCrashedError:
        pass
    else:
        raise AssertionError("no error")

    @ray.remote(max_restarts=4, max_task_retries=-1)
    class Actor:
        def __init__(self):
            self.counter = 0

        def increment_and_possibly_fail(self):
            if self.counter == 10:
                os._exit(0)
            self.counter += 1
            return self.counter

    actor = Actor.remote()
    counts = [ray.get(actor.increment_and_possibly_fail.remote()) for _ in range(30)]
    assert counts == [*range(1, 11)] * 3, counts
    """,
)

program(
    "ActorPool and Queue",
    """
    import ray
    from ray.util import ActorPool
    from ray.util.queue import Empty, Queue

    @ray.remote
    class Actor:
        def double(self, n):
            return n * 2

    pool = ActorPool([Actor.remote(), Actor.remote()])
    assert list(pool.map(lambda a, v: a.double.remote(v), [1, 2, 3, 4])) == [2, 4, 6, 8]
    assert sorted(pool.map_unordered(lambda a, v: a.double.remote(v), [1, 2, 3, 4])) == [2, 4, 6, 8]
    pool.submit(lambda a, v: a.double.remote(v), 1)
    assert pool.has_next() and pool.get_next() == 2 and not pool.has_next()

    queue = Queue(maxsize=100)

    @ray.remote
    def consumer(id, queue):
        taken = []
        try:
            while True:
                taken.append(queue.get(block=True, timeout=1))
        except Empty:
            return taken

    for i in range(10):
        queue.put(i)
    consumers = [consumer.remote(id, queue) for id in range(2)]
    assert sorted(sum(ray.get(consumers), [])) == list(range(10))
    """,
)

program(
    "multiprocessing.Pool",
    """
    from ray.util.multiprocessing import Pool

    def f(index):
        return index * index

    with Pool(processes=2) as pool:
        assert pool.map(f, range(10)) == [i * i for i in range(10)]
        assert list(pool.imap(f, range(3))) == [0, 1, 4]
        assert pool.apply_async(f, (4,)).get(timeout=60) == 16
    """,
)
