"""Programs of Ray's documentation about tasks, objects, actors and their patterns, for test_programs.py."""

from __future__ import annotations

import textwrap

PROGRAMS: dict[str, str] = {}


def program(name: str, source: str) -> None:
    PROGRAMS[name] = textwrap.dedent(source)


program(
    "tasks: results, object arguments, several returns, waiting",
    """
    import time

    import ray

    def normal_function():
        return 1

    @ray.remote
    def my_function():
        return 1

    assert ray.get(my_function.remote()) == normal_function()

    @ray.remote
    def slow_function():
        time.sleep(0.2)
        return 1

    refs = [slow_function.remote() for _ in range(4)]
    ready, not_ready = ray.wait(refs, num_returns=1, timeout=None)
    assert len(ready) == 1 and len(ready) + len(not_ready) == 4

    @ray.remote
    def function_with_an_argument(value):
        return value + 1

    ref1 = my_function.remote()
    ref2 = function_with_an_argument.remote(ref1)
    assert ray.get(ref2) == 2

    @ray.remote(num_returns=3)
    def return_multiple():
        return 0, 1, 2

    ref0, ref1, ref2 = return_multiple.remote()
    assert ray.get([ref0, ref1, ref2]) == [0, 1, 2]
    """,
)

program(
    "objects: put, nested references, closures",
    """
    import numpy as np
    import ray

    y = 1
    object_ref = ray.put(y)
    assert ray.get(object_ref) == 1

    @ray.remote
    def echo(a, b, c):
        return a + b + c

    assert ray.get(echo.remote(object_ref, object_ref, 3)) == 5

    @ray.remote
    def echo_and_get(x_list):
        assert all(isinstance(x, ray.ObjectRef) for x in x_list)
        return ray.get(x_list)

    assert ray.get(echo_and_get.remote([ray.put(1), ray.put(2), ray.put(3)])) == [1, 2, 3]

    large = ray.put(np.ones(1_000_000))

    @ray.remote
    def captured():
        return ray.get(large).sum()

    assert ray.get(captured.remote()) == 1_000_000
    array = ray.get(large)
    try:
        array[0] = 5
    except ValueError as error:
        assert "read-only" in str(error)
    else:
        raise AssertionError("written")
    """,
)

program(
    "actors: state, handles passed to tasks, kill",
    """
    import ray

    @ray.remote
    class Counter:
        def __init__(self):
            self.value = 0

        def increment(self):
            self.value += 1
            return self.value

        def get_counter(self):
            return self.value

    counter_actor = Counter.remote()
    assert ray.get(counter_actor.increment.remote()) == 1

    @ray.remote
    def f(counter):
        for _ in range(10):
            counter.increment.remote()

    ray.get([f.remote(counter_actor) for _ in range(3)])
    while ray.get(counter_actor.get_counter.remote()) < 31:
        pass

    ray.kill(counter_actor)
    try:
        ray.get(counter_actor.get_counter.remote())
    except ray.exceptions.RayActorError:
        pass
    else:
        raise AssertionError("it lives")
    """,
)

program(
    "Monte Carlo estimate of pi with an actor for progress",
    """
    import random
    import time

    import ray

    ray.init()

    @ray.remote
    class ProgressActor:
        def __init__(self, total_num_samples):
            self.total_num_samples = total_num_samples
            self.num_samples_completed_per_task = {}

        def report_progress(self, task_id, num_samples_completed):
            self.num_samples_completed_per_task[task_id] = num_samples_completed

        def get_progress(self):
            return sum(self.num_samples_completed_per_task.values()) / self.total_num_samples

    @ray.remote
    def sampling_task(num_samples, task_id, progress_actor):
        num_inside = 0
        for i in range(num_samples):
            x, y = random.uniform(-1, 1), random.uniform(-1, 1)
            if x * x + y * y <= 1:
                num_inside += 1
            if (i + 1) % 10_000 == 0:
                progress_actor.report_progress.remote(task_id, i + 1)
        progress_actor.report_progress.remote(task_id, num_samples)
        return num_inside

    tasks, samples = 4, 50_000
    progress_actor = ProgressActor.remote(tasks * samples)
    results = [sampling_task.remote(samples, i, progress_actor) for i in range(tasks)]
    while ray.get(progress_actor.get_progress.remote()) < 1:
        time.sleep(0.05)
    pi = sum(ray.get(results)) * 4 / (tasks * samples)
    assert abs(pi - 3.14159) < 0.05, pi
    """,
)

program(
    "pattern: a tree of actors",
    """
    import ray

    @ray.remote(num_cpus=0.2)
    class Trainer:
        def __init__(self, hyperparameter, data):
            self.hyperparameter = hyperparameter
            self.data = data

        def fit(self):
            return self.data * self.hyperparameter

    @ray.remote(num_cpus=0.2)
    class Supervisor:
        def __init__(self, hyperparameter, data):
            self.trainers = [Trainer.remote(hyperparameter, d) for d in data]

        def fit(self):
            return ray.get([trainer.fit.remote() for trainer in self.trainers])

    data = [1, 2, 3]
    supervisors = [Supervisor.remote(h, data) for h in (1, 2)]
    assert ray.get([supervisor.fit.remote() for supervisor in supervisors]) == [[1, 2, 3], [2, 4, 6]]
    """,
)

program(
    "pattern: limit the number of pending tasks",
    """
    import ray

    ray.init(num_cpus=2)

    @ray.remote
    class Actor:
        async def heavy_compute(self):
            return 1

    actor = Actor.remote()
    MAX_NUM_PENDING_TASKS = 10
    result_refs, total = [], 0
    for _ in range(200):
        if len(result_refs) > MAX_NUM_PENDING_TASKS:
            ready_refs, result_refs = ray.wait(result_refs, num_returns=1)
            total += sum(ray.get(ready_refs))
        result_refs.append(actor.heavy_compute.remote())
    assert total + sum(ray.get(result_refs)) == 200
    """,
)

program(
    "pattern: pipelining, a queue of work between actors",
    """
    import ray

    @ray.remote
    class WorkQueue:
        def __init__(self):
            self.queue = list(range(10))

        def get_work_item(self):
            return self.queue.pop(0) if self.queue else None

    @ray.remote
    class WorkerWithPipelining:
        def __init__(self, work_queue):
            self.work_queue = work_queue

        def process(self, work_item):
            return work_item * work_item

        def run(self):
            done = []
            self.work_item_ref = self.work_queue.get_work_item.remote()
            while True:
                work_item = ray.get(self.work_item_ref)
                if work_item is None:
                    return done
                self.work_item_ref = self.work_queue.get_work_item.remote()
                done.append(self.process(work_item))

    queue = WorkQueue.remote()
    workers = [WorkerWithPipelining.remote(queue) for _ in range(2)]
    results = ray.get([worker.run.remote() for worker in workers])
    assert sorted(sum(results, [])) == [i * i for i in range(10)]
    """,
)

program(
    "pattern: nested tasks, quicksort",
    """
    import random

    import ray

    def partition(collection):
        pivot = collection.pop()
        greater, lesser = [], []
        for element in collection:
            (greater if element > pivot else lesser).append(element)
        return lesser, pivot, greater

    @ray.remote
    def quick_sort_distributed(collection):
        if len(collection) <= 2_000:
            return sorted(collection)
        lesser, pivot, greater = partition(collection)
        lesser = quick_sort_distributed.remote(lesser)
        greater = quick_sort_distributed.remote(greater)
        return ray.get(lesser) + [pivot] + ray.get(greater)

    unsorted = [random.randint(0, 1_000_000) for _ in range(20_000)]
    assert ray.get(quick_sort_distributed.remote(list(unsorted))) == sorted(unsorted)
    """,
)
