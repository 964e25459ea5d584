"""Cancelling: pending, running, forced, recursive; tasks, actor calls, and what refuses."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest


@pytest.mark.only_engine("himalia", reason="Ray 2.60 aborts the driver when the argument arrives after the cancel")
def test_a_task_that_waits_for_its_argument_is_cancelled(ray: ModuleType, signal: Any) -> None:
    gate = signal()

    @ray.remote
    def blocked() -> str:
        ray.get(gate.wait.remote())
        return "done"

    @ray.remote
    def after(_: str) -> str:
        return "ran"

    first = blocked.remote()
    second = after.remote(first)
    ray.cancel(second)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(second)
    gate.send.remote()
    assert ray.get(first) == "done"


def test_a_task_that_waits_for_resources_is_cancelled(ray: ModuleType, signal: Any, eventually: Any) -> None:
    gate = signal()

    @ray.remote(resources={"slot": 2}, num_cpus=0)
    def hold() -> str:
        ray.get(gate.wait.remote())
        return "done"

    first = hold.remote()
    eventually(lambda: ray.get(gate.waiting.remote()) == 1)
    second = hold.remote()
    ray.cancel(second)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(second)
    gate.send.remote()
    assert ray.get(first) == "done"


def test_a_running_task_is_interrupted(ray: ModuleType, signal: Any, eventually: Any) -> None:
    started = signal()

    @ray.remote
    def forever() -> None:
        import time

        ray.get(started.send.remote())
        while True:
            time.sleep(0.01)

    ref = forever.remote()
    ray.get(started.wait.remote())
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)


@pytest.mark.only_engine("himalia", reason="Ray's interrupt is noticed when the sleep has ended")
def test_a_long_sleep_is_interrupted(ray: ModuleType, signal: Any) -> None:
    started = signal()

    @ray.remote
    def sleeper() -> None:
        import time

        ray.get(started.send.remote())
        time.sleep(1000)

    ref = sleeper.remote()
    ray.get(started.wait.remote())
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)


def test_a_task_blocked_in_get_is_interrupted(ray: ModuleType, signal: Any, eventually: Any) -> None:
    gate = signal()

    @ray.remote
    def blocked() -> None:
        ray.get(gate.wait.remote())

    ref = blocked.remote()
    eventually(lambda: ray.get(gate.waiting.remote()) == 1)
    ray.cancel(ref, recursive=False)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)


def test_an_interrupted_task_runs_its_cleanup(ray: ModuleType, signal: Any, counter: Any, eventually: Any) -> None:
    started, cleaned = signal(), counter()

    @ray.remote
    def careful() -> None:
        import time

        try:
            ray.get(started.send.remote())
            while True:
                time.sleep(0.01)
        finally:
            ray.get(cleaned.add.remote())

    ref = careful.remote()
    ray.get(started.wait.remote())
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)
    eventually(lambda: ray.get(cleaned.get.remote()) == 1)


def test_force_ends_a_task_that_ignores_interrupts(ray: ModuleType, signal: Any) -> None:
    started = signal()

    @ray.remote
    def stubborn() -> None:
        import time

        ray.get(started.send.remote())
        while True:
            try:
                time.sleep(0.01)
            except KeyboardInterrupt:
                pass

    ref = stubborn.remote()
    ray.get(started.wait.remote())
    ray.cancel(ref, force=True)
    with pytest.raises((ray.exceptions.TaskCancelledError, ray.exceptions.WorkerCrashedError)):
        ray.get(ref)


def test_a_cancelled_task_is_not_retried(ray: ModuleType, counter: Any, signal: Any) -> None:
    attempts, started = counter(), signal()

    @ray.remote(max_retries=5, retry_exceptions=True)
    def forever() -> None:
        import time

        ray.get(attempts.add.remote())
        ray.get(started.send.remote())
        while True:
            time.sleep(0.01)

    ref = forever.remote()
    ray.get(started.wait.remote())
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)
    assert ray.get(attempts.get.remote()) == 1


def test_children_are_cancelled_with_their_parent(ray: ModuleType, signal: Any, counter: Any, eventually: Any) -> None:
    started, ended = signal(), counter()

    @ray.remote(num_cpus=0.5)
    def child() -> None:
        import time

        try:
            ray.get(started.wait.remote())
            time.sleep(1000)
        finally:
            ended.add.remote()

    @ray.remote(num_cpus=0.5)
    def parent() -> None:
        ray.get([child.remote(), child.remote()])

    ref = parent.remote()
    eventually(lambda: ray.get(started.waiting.remote()) == 2)
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)
    eventually(lambda: ray.get(ended.get.remote()) == 2)


def test_children_survive_a_cancel_that_is_not_recursive(ray: ModuleType, signal: Any, eventually: Any) -> None:
    gate, finished = signal(), signal()

    @ray.remote(num_cpus=0.5)
    def child() -> None:
        ray.get(gate.wait.remote())
        ray.get(finished.send.remote())

    @ray.remote(num_cpus=0.5)
    def parent() -> None:
        ray.get(child.remote())

    ref = parent.remote()
    eventually(lambda: ray.get(gate.waiting.remote()) == 1)
    ray.cancel(ref, recursive=False)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)
    gate.send.remote()
    ray.get(finished.wait.remote())


def test_cancelling_a_finished_task_changes_nothing(ray: ModuleType) -> None:
    @ray.remote
    def f() -> int:
        return 5

    ref = f.remote()
    assert ray.get(ref) == 5
    ray.cancel(ref)
    assert ray.get(ref) == 5


@pytest.fixture
def waiting(ray: ModuleType, signal: Any) -> Any:
    """A task that waits for ever."""
    gate = signal()

    @ray.remote
    def wait() -> int:
        ray.get(gate.wait.remote())
        return 1

    yield wait.remote()
    ray.kill(gate)


@pytest.fixture
def consume(ray: ModuleType) -> Any:
    @ray.remote
    def consume(x: int) -> int:
        return x

    return consume


def test_tasks_that_depend_on_a_cancelled_task_fail_with_its_error(ray: ModuleType, waiting: Any, consume: Any) -> None:
    ray.cancel(waiting)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(waiting)
    with pytest.raises((ray.exceptions.TaskCancelledError, ray.exceptions.RayTaskError)):
        ray.get(consume.remote(waiting))


@pytest.mark.only_engine("himalia", reason="Ray 2.60 sometimes aborts the driver here")
def test_tasks_that_wait_for_a_task_fail_when_it_is_cancelled(ray: ModuleType, waiting: Any, consume: Any) -> None:
    last = consume.remote(consume.remote(waiting))
    ray.cancel(waiting)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(last)


def test_cancelling_one_task_leaves_the_others_running(ray: ModuleType, signal: Any, eventually: Any) -> None:
    gate = signal()

    @ray.remote
    def wait(i: int) -> int:
        ray.get(gate.wait.remote())
        return i

    refs = [wait.remote(i) for i in range(3)]
    eventually(lambda: ray.get(gate.waiting.remote()) == 3)
    ray.cancel(refs[1])
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(refs[1])
    gate.send.remote()
    assert ray.get([refs[0], refs[2]]) == [0, 2]


def test_a_task_submitted_by_another_task_can_be_cancelled_through_its_reference(
    ray: ModuleType, signal: Any, eventually: Any
) -> None:
    gate = signal()

    @ray.remote
    def wait() -> None:
        ray.get(gate.wait.remote())

    @ray.remote
    class Submitter:
        def submit(self) -> Any:
            self.ref = wait.remote()
            return [self.ref]

    submitter = Submitter.remote()
    (ref,) = ray.get(submitter.submit.remote())
    eventually(lambda: ray.get(gate.waiting.remote()) == 1)
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)


def test_a_task_can_see_that_it_is_cancelled(ray: ModuleType, signal: Any, counter: Any, eventually: Any) -> None:
    started, seen = signal(), counter()

    @ray.remote
    class Worker:
        def loop(self) -> str:
            import time

            ray.get(started.send.remote())
            while not ray.get_runtime_context().is_canceled():
                time.sleep(0.01)
            ray.get(seen.add.remote())
            return "stopped"

    worker = Worker.remote()
    ref = worker.loop.remote()
    ray.get(started.wait.remote())
    ray.cancel(ref)
    eventually(lambda: ray.get(seen.get.remote()) == 1)


def test_a_queued_actor_call_is_cancelled(ray: ModuleType, signal: Any, eventually: Any) -> None:
    gate = signal()

    @ray.remote
    class Worker:
        def wait(self) -> str:
            ray.get(gate.wait.remote())
            return "done"

    worker = Worker.remote()
    first = worker.wait.remote()
    eventually(lambda: ray.get(gate.waiting.remote()) == 1)
    second, third = worker.wait.remote(), worker.wait.remote()
    ray.cancel(second)
    # The caller of a cancelled call may be told only when its turn comes.
    gate.send.remote()
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(second)
    assert ray.get([first, third]) == ["done", "done"]


@pytest.mark.only_engine("himalia", reason="Ray tells when the turn of the call comes")
def test_a_queued_actor_call_is_cancelled_at_once(ray: ModuleType, signal: Any, eventually: Any) -> None:
    gate = signal()

    @ray.remote
    class Worker:
        def wait(self) -> str:
            ray.get(gate.wait.remote())
            return "done"

    worker = Worker.remote()
    first = worker.wait.remote()
    eventually(lambda: ray.get(gate.waiting.remote()) == 1)
    second = worker.wait.remote()
    ray.cancel(second)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(second)
    gate.send.remote()
    assert ray.get(first) == "done"


def test_a_running_asynchronous_call_is_cancelled(ray: ModuleType, signal: Any, counter: Any) -> None:
    started, cleaned = signal(), counter()

    @ray.remote
    class Worker:
        async def wait(self) -> None:
            import asyncio

            try:
                await started.send.remote()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await cleaned.add.remote()
                raise

        async def ping(self) -> str:
            return "alive"

    worker = Worker.remote()
    ref = worker.wait.remote()
    ray.get(started.wait.remote())
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)
    assert ray.get(worker.ping.remote()) == "alive"
    assert ray.get(cleaned.get.remote()) == 1


def test_cancelling_a_call_ends_its_own_tasks_and_none_of_calls_before(
    ray: ModuleType, signal: Any, eventually: Any
) -> None:
    before, during = signal(), signal()

    @ray.remote(num_cpus=0, max_retries=0)
    def waits(gate: Any) -> str:
        ray.get(gate.wait.remote())
        return "done"

    @ray.remote
    class Actor:
        def start(self) -> list[Any]:
            self.ref = waits.remote(before)
            return [self.ref]

        def call(self) -> None:
            ray.get(waits.remote(during))

    actor = Actor.remote()
    [first] = ray.get(actor.start.remote())
    call = actor.call.remote()
    eventually(lambda: ray.get([before.waiting.remote(), during.waiting.remote()]) == [1, 1])
    ray.cancel(call)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(call)
    before.send.remote()
    assert ray.get(first) == "done"


def test_an_actor_call_cannot_be_cancelled_by_force(ray: ModuleType, signal: Any) -> None:
    gate = signal()

    @ray.remote
    class Worker:
        def wait(self) -> None:
            ray.get(gate.wait.remote())

    worker = Worker.remote()
    ref = worker.wait.remote()
    with pytest.raises(ValueError, match="force"):
        ray.cancel(ref, force=True)
    gate.send.remote()
    assert ray.get(ref) is None


@pytest.mark.parametrize("thing", [1, "ref", None, [], object()], ids=["int", "str", "none", "list", "object"])
def test_cancel_takes_references_only(ray: ModuleType, thing: Any) -> None:
    with pytest.raises(TypeError):
        ray.cancel(thing)


def test_many_pending_tasks_can_be_cancelled(ray: ModuleType, signal: Any, eventually: Any) -> None:
    gate = signal()

    @ray.remote(num_cpus=0, resources={"slot": 2})
    def hold() -> None:
        ray.get(gate.wait.remote())

    first = hold.remote()
    eventually(lambda: ray.get(gate.waiting.remote()) == 1)
    refs = [hold.remote() for _ in range(100)]
    for ref in refs:
        ray.cancel(ref)
    for ref in refs:
        with pytest.raises(ray.exceptions.TaskCancelledError):
            ray.get(ref)
    gate.send.remote()
    ray.get(first)
