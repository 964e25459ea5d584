"""ActorPool, Queue and multiprocessing's Pool where things go wrong."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path
from typing import Any

import pytest

import himalia
from himalia.util import ActorPool
from himalia.util.multiprocessing import Pool
from himalia.util.queue import Queue

pytestmark = pytest.mark.usefixtures("cluster")


def exit_if_one(x: int) -> int:
    if x == 1:
        os._exit(1)
    return x


def test_a_dead_actor_leaves_its_pool() -> None:
    @himalia.remote(num_cpus=0)
    class Worker:
        def work(self, x: int) -> int:
            return exit_if_one(x)

    pool: ActorPool[int] = ActorPool([Worker.remote() for _ in range(2)])
    for x in range(4):
        pool.submit(lambda actor, x: actor.work.remote(x), x)
    results: list[Any] = []
    while pool.has_next():
        try:
            results.append(pool.get_next())
        except himalia.exceptions.RayActorError:
            results.append("died")
    assert results == [0, "died", 2, 3]
    assert pool.pop_idle() is not None
    assert pool.pop_idle() is None


def test_work_for_a_pool_must_be_one_reference() -> None:
    @himalia.remote(num_cpus=0)
    class Worker:
        @himalia.method(num_returns=2)
        def pair(self) -> tuple[int, int]:
            return 1, 2

    pool: ActorPool[int] = ActorPool([Worker.remote()])
    with pytest.raises(TypeError, match="one reference"):
        pool.submit(lambda actor, x: actor.pair.remote(), 1)


def test_a_process_that_dies_fails_its_chunk_and_is_replaced() -> None:
    with Pool(2) as pool:
        with pytest.raises(himalia.exceptions.RayActorError):
            pool.map(exit_if_one, [1])
        assert pool.map(exit_if_one, [2, 3, 4]) == [2, 3, 4]
    pool.join()


def test_terminating_a_pool_fails_what_was_not_ready(tmp_path: Path) -> None:
    def wait_for_ever(path: Path) -> None:
        import time

        while not path.exists():
            time.sleep(0.01)

    pool = Pool(1)
    result = pool.apply_async(wait_for_ever, (tmp_path / "never",))
    iterator = pool.imap(wait_for_ever, [tmp_path / "never"])
    pool.terminate()
    pool.join()
    with pytest.raises(RuntimeError, match="terminated"):
        result.get(timeout=20)
    with pytest.raises(RuntimeError, match="terminated"):
        iterator.next(timeout=20)


def test_a_dropped_pool_ends_its_thread() -> None:
    before = set(threading.enumerate())
    pool = Pool(1)
    assert pool.map(abs, [-1]) == [1]
    del pool
    gc.collect()
    for thread in set(threading.enumerate()) - before:
        thread.join(20)
        assert not thread.is_alive()


def test_a_pool_cannot_be_pickled() -> None:
    import pickle

    with Pool(1) as pool, pytest.raises(NotImplementedError):
        pickle.dumps(pool)


def test_the_resources_of_the_processes_can_be_chosen() -> None:
    def assigned(_: int) -> Any:
        return himalia.get_runtime_context().get_assigned_resources()

    with Pool(3, ray_remote_args={"num_cpus": 0.5}) as pool:
        assert pool.map(assigned, [0]) == [{"CPU": 0.5}]


@pytest.mark.parametrize("arguments", [{"processes": -1}, {"maxtasksperchild": 0}], ids=str)
def test_impossible_pools_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="got"):
        Pool(**arguments)  # type: ignore[arg-type]


def test_the_initializer_must_be_callable() -> None:
    with pytest.raises(TypeError, match="callable"):
        Pool(1, initializer="no")  # type: ignore[arg-type]


def test_a_get_that_gave_up_takes_no_item_with_it() -> None:
    queue = Queue()
    for _ in range(3):
        with pytest.raises(Exception, match="empty"):
            queue.get(timeout=0.02)
    queue.put("kept")
    assert queue.get(timeout=20) == "kept"


def test_a_reference_within_an_item_stays_a_reference() -> None:
    queue = Queue()
    queue.put([himalia.put(5)])
    assert himalia.get(queue.get()[0]) == 5


def test_shutting_a_queue_down_twice_is_harmless() -> None:
    queue = Queue()
    queue.shutdown()
    queue.shutdown()
