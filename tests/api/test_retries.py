"""What happens to a task whose worker dies or which raises: retries, and workers that are replaced."""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

import pytest


def test_a_task_whose_worker_exits_is_run_again(ray: ModuleType, counter: Any) -> None:
    attempts = counter()

    @ray.remote(max_retries=2)
    def f() -> int:
        attempt = ray.get(attempts.add.remote())
        if attempt < 3:
            os._exit(1)
        return attempt

    assert ray.get(f.remote()) == 3


def test_retries_end_after_max_retries(ray: ModuleType, counter: Any) -> None:
    attempts = counter()

    @ray.remote(max_retries=1)
    def f() -> None:
        ray.get(attempts.add.remote())
        os._exit(1)

    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(f.remote())
    assert ray.get(attempts.get.remote()) == 2


def test_without_retries_a_crash_is_an_error_at_once(ray: ModuleType, counter: Any) -> None:
    attempts = counter()

    @ray.remote(max_retries=0)
    def f() -> None:
        ray.get(attempts.add.remote())
        os._exit(1)

    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(f.remote())
    assert ray.get(attempts.get.remote()) == 1


def test_a_segmentation_fault_is_a_worker_crash(ray: ModuleType) -> None:
    @ray.remote(max_retries=0)
    def f() -> None:
        import faulthandler
        import signal

        faulthandler.disable()
        os.kill(os.getpid(), signal.SIGSEGV)

    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(f.remote())


def test_a_killed_worker_is_a_worker_crash(ray: ModuleType) -> None:
    @ray.remote(max_retries=0)
    def f() -> None:
        import signal

        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(f.remote())


def test_infinite_retries_go_on_until_success(ray: ModuleType, counter: Any) -> None:
    attempts = counter()

    @ray.remote(max_retries=-1)
    def f() -> int:
        attempt = ray.get(attempts.add.remote())
        if attempt < 5:
            os._exit(1)
        return attempt

    assert ray.get(f.remote()) == 5


def test_sys_exit_in_a_task_is_an_error_and_not_a_hang(ray: ModuleType) -> None:
    @ray.remote(max_retries=0)
    def f() -> None:
        import sys

        sys.exit(3)

    with pytest.raises(ray.exceptions.RayError):
        ray.get(f.remote())


def test_exceptions_are_not_retried_by_default(ray: ModuleType, counter: Any) -> None:
    attempts = counter()

    @ray.remote
    def f() -> None:
        ray.get(attempts.add.remote())
        raise ValueError

    with pytest.raises(ValueError):
        ray.get(f.remote())
    assert ray.get(attempts.get.remote()) == 1


def test_retry_exceptions_true_retries_any_exception(ray: ModuleType, counter: Any) -> None:
    attempts = counter()

    @ray.remote(retry_exceptions=True, max_retries=3)
    def f() -> int:
        attempt = ray.get(attempts.add.remote())
        if attempt < 3:
            raise ValueError(attempt)
        return attempt

    assert ray.get(f.remote()) == 3


def test_retry_exceptions_end_with_the_last_exception(ray: ModuleType, counter: Any) -> None:
    attempts = counter()

    @ray.remote(retry_exceptions=True, max_retries=2)
    def f() -> None:
        raise ValueError(f"attempt {ray.get(attempts.add.remote())}")

    with pytest.raises(ValueError, match="attempt 3"):
        ray.get(f.remote())


def test_listed_exceptions_and_their_subclasses_are_retried(ray: ModuleType, counter: Any) -> None:
    attempts = counter()

    @ray.remote(retry_exceptions=[LookupError], max_retries=3)
    def f() -> int:
        attempt = ray.get(attempts.add.remote())
        if attempt == 1:
            raise KeyError
        if attempt == 2:
            raise IndexError
        return attempt

    assert ray.get(f.remote()) == 3


def test_an_exception_that_is_not_listed_is_not_retried(ray: ModuleType, counter: Any) -> None:
    attempts = counter()

    @ray.remote(retry_exceptions=[KeyError], max_retries=3)
    def f() -> None:
        ray.get(attempts.add.remote())
        raise ValueError

    with pytest.raises(ValueError):
        ray.get(f.remote())
    assert ray.get(attempts.get.remote()) == 1


def test_retry_exceptions_accepts_classes_defined_here(ray: ModuleType, counter: Any) -> None:
    attempts = counter()

    class FlakyError(Exception):
        pass

    @ray.remote(max_retries=1)
    def f() -> int:
        attempt = ray.get(attempts.add.remote())
        if attempt == 1:
            raise FlakyError
        return attempt

    assert ray.get(f.options(retry_exceptions=[FlakyError]).remote()) == 2


def test_retries_can_be_changed_by_options(ray: ModuleType, counter: Any) -> None:
    attempts = counter()

    @ray.remote(max_retries=0)
    def f() -> int:
        attempt = ray.get(attempts.add.remote())
        if attempt == 1:
            os._exit(1)
        return attempt

    assert ray.get(f.options(max_retries=1).remote()) == 2


def test_a_worker_is_replaced_after_max_calls(ray: ModuleType) -> None:
    @ray.remote(max_calls=1)
    def pid() -> int:
        return os.getpid()

    pids = [ray.get(pid.remote()) for _ in range(3)]
    assert len(set(pids)) == 3


def test_results_outlive_a_worker_that_reached_max_calls(ray: ModuleType, eventually: Any) -> None:
    @ray.remote(max_calls=1)
    def blob() -> tuple[int, bytes]:
        return os.getpid(), b"x" * 500_000

    ref = blob.remote()
    ray.wait([ref])
    pid, content = ray.get(ref)
    eventually(lambda: not os.path.exists(f"/proc/{pid}"))
    del content
    assert len(ray.get(ref)[1]) == 500_000


def test_many_tasks_survive_the_death_of_the_worker_that_runs_them(ray: ModuleType, counter: Any) -> None:
    attempts = counter()

    @ray.remote(max_retries=3)
    def f(i: int) -> int:
        if i == 25 and ray.get(attempts.add.remote()) == 1:
            os._exit(1)
        return i

    assert ray.get([f.remote(i) for i in range(100)]) == list(range(100))


def test_a_crash_does_not_disturb_other_tasks(ray: ModuleType) -> None:
    @ray.remote(max_retries=0)
    def crash() -> None:
        os._exit(1)

    @ray.remote
    def fine(i: int) -> int:
        return i

    crashed = [crash.remote() for _ in range(2)]
    assert ray.get([fine.remote(i) for i in range(50)]) == list(range(50))
    for ref in crashed:
        with pytest.raises(ray.exceptions.WorkerCrashedError):
            ray.get(ref)


def test_an_object_fails_when_its_owner_has_died(ray: ModuleType, eventually: Any) -> None:
    @ray.remote
    class Owner:
        def make(self) -> Any:
            return [ray.put(b"x" * 500_000)]

    owner = Owner.remote()
    (ref,) = ray.get(owner.make.remote())
    ray.kill(owner)
    # A copy on this node may be read until the death is noticed.
    with pytest.raises(ray.exceptions.OwnerDiedError):
        eventually(lambda: ray.get(ref) is None)
