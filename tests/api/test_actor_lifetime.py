"""How actors end and come back: kill, exit, restarts, retries of calls, reference counting."""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def process(ray: ModuleType) -> Any:
    """An actor class that tells its process, counts its calls, and can die."""

    @ray.remote(num_cpus=0)
    class Process:
        def __init__(self) -> None:
            self.calls = 0

        def pid(self) -> int:
            self.calls += 1
            return os.getpid()

        def count(self) -> int:
            self.calls += 1
            return self.calls

        def crash(self) -> None:
            os._exit(1)

    return Process


def is_gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def is_dead(ray: ModuleType, method: Any) -> bool:
    """Whether calls of an actor fail. A kill need not take effect before the next call."""
    try:
        ray.get(method.remote())
    except ray.exceptions.RayActorError:
        return True
    return False


def test_kill_ends_the_process_and_fails_later_calls(ray: ModuleType, process: Any, eventually: Any) -> None:
    actor = process.remote()
    pid = ray.get(actor.pid.remote())
    ray.kill(actor)
    eventually(lambda: is_dead(ray, actor.pid))
    eventually(lambda: is_gone(pid))


def test_kill_fails_the_calls_that_run(ray: ModuleType, signal: Any, eventually: Any) -> None:
    gate = signal()

    @ray.remote
    class Thing:
        def wait(self) -> None:
            ray.get(gate.wait.remote())

    thing = Thing.remote()
    refs = [thing.wait.remote() for _ in range(3)]
    eventually(lambda: ray.get(gate.waiting.remote()) == 1)
    ray.kill(thing)
    for ref in refs:
        with pytest.raises(ray.exceptions.RayActorError):
            ray.get(ref)


def test_killing_twice_is_harmless(ray: ModuleType, process: Any, eventually: Any) -> None:
    actor = process.remote()
    ray.get(actor.pid.remote())
    ray.kill(actor)
    ray.kill(actor)
    eventually(lambda: is_dead(ray, actor.pid))


def test_an_actor_can_be_killed_before_it_started(ray: ModuleType, process: Any, eventually: Any) -> None:
    actor = process.remote()
    ray.kill(actor)
    eventually(lambda: is_dead(ray, actor.pid))


@pytest.mark.parametrize("thing", [1, "actor", None], ids=["int", "str", "none"])
def test_kill_takes_handles_only(ray: ModuleType, thing: Any) -> None:
    with pytest.raises(ValueError):
        ray.kill(thing)


def test_kill_does_not_take_references(ray: ModuleType) -> None:
    with pytest.raises(ValueError):
        ray.kill(ray.put(1))


def test_a_killed_actor_does_not_restart_unless_asked(ray: ModuleType, process: Any, eventually: Any) -> None:
    actor = process.options(max_restarts=-1).remote()
    ray.get(actor.pid.remote())
    ray.kill(actor)
    eventually(lambda: is_dead(ray, actor.pid))


@pytest.mark.only_engine("himalia", reason="Ray ends the actor in the background, and it may still serve a call")
def test_kill_takes_effect_at_once_for_who_called_it(ray: ModuleType, process: Any) -> None:
    actor = process.remote()
    ray.get(actor.pid.remote())
    ray.kill(actor)
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(actor.pid.remote())


def test_kill_with_restart_starts_a_new_process(ray: ModuleType, process: Any, eventually: Any) -> None:
    actor = process.options(max_restarts=1, max_task_retries=-1).remote()
    before = ray.get(actor.pid.remote())
    ray.kill(actor, no_restart=False)
    eventually(lambda: ray.get(actor.pid.remote()) != before)


def test_a_crashed_actor_fails_its_call_and_stays_dead(ray: ModuleType, process: Any) -> None:
    actor = process.remote()
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(actor.crash.remote())
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(actor.pid.remote())


def test_a_crashed_actor_restarts_with_fresh_state(ray: ModuleType, process: Any, eventually: Any) -> None:
    actor = process.options(max_restarts=1).remote()
    before = ray.get(actor.pid.remote())
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(actor.crash.remote())

    def came_back() -> Any:
        try:
            return ray.get(actor.pid.remote())
        except ray.exceptions.ActorUnavailableError:
            return None

    assert eventually(came_back) != before
    assert ray.get(actor.count.remote()) == 2


def test_restarts_end_after_max_restarts(ray: ModuleType, process: Any, eventually: Any) -> None:
    actor = process.options(max_restarts=1).remote()
    ray.get(actor.pid.remote())

    def crash_until_dead() -> bool:
        try:
            ray.get(actor.crash.remote())
        except ray.exceptions.ActorDiedError:
            # The call that killed it the last time reports the death too.
            try:
                ray.get(actor.pid.remote())
            except ray.exceptions.ActorDiedError:
                return True
            except ray.exceptions.RayActorError:
                return False
        except ray.exceptions.RayActorError:
            return False
        return False

    eventually(crash_until_dead)


def test_calls_are_retried_after_a_restart_when_allowed(ray: ModuleType, counter: Any) -> None:
    attempts = counter()

    @ray.remote(max_restarts=-1, max_task_retries=-1)
    class Flaky:
        def work(self) -> Any:
            attempt = ray.get(attempts.add.remote())
            if attempt < 3:
                os._exit(1)
            return attempt

    assert ray.get(Flaky.remote().work.remote()) == 3


def test_retries_of_calls_end_after_max_task_retries(ray: ModuleType, counter: Any) -> None:
    attempts = counter()

    @ray.remote(max_restarts=-1, max_task_retries=1)
    class Flaky:
        def work(self) -> None:
            ray.get(attempts.add.remote())
            os._exit(1)

    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(Flaky.remote().work.remote())
    assert ray.get(attempts.get.remote()) == 2


def test_queued_calls_survive_a_restart_when_they_may_be_retried(ray: ModuleType, counter: Any) -> None:
    attempts = counter()

    @ray.remote(max_restarts=1, max_task_retries=1)
    class Flaky:
        def work(self, i: int) -> int:
            if i == 2 and ray.get(attempts.add.remote()) == 1:
                os._exit(1)
            return i

    flaky = Flaky.remote()
    assert ray.get([flaky.work.remote(i) for i in range(6)]) == list(range(6))


def test_exceptions_of_methods_are_retried_when_asked(ray: ModuleType) -> None:
    @ray.remote
    class Flaky:
        def __init__(self) -> None:
            self.attempts = 0

        @ray.method(max_task_retries=3, retry_exceptions=True)
        def any_error(self) -> int:
            self.attempts += 1
            if self.attempts < 3:
                raise ValueError
            return self.attempts

        @ray.method(max_task_retries=3, retry_exceptions=[KeyError])
        def other_error(self) -> None:
            self.attempts += 1
            raise ValueError

        def count(self) -> int:
            return self.attempts

    flaky = Flaky.remote()
    assert ray.get(flaky.any_error.remote()) == 3
    with pytest.raises(ValueError):
        ray.get(flaky.other_error.remote())
    assert ray.get(flaky.count.remote()) == 4


def test_a_restarted_actor_knows_that_it_was_restarted(ray: ModuleType, eventually: Any) -> None:
    @ray.remote(max_restarts=1, max_task_retries=-1)
    class Thing:
        def restarted(self) -> bool:
            return ray.get_runtime_context().was_current_actor_reconstructed

        def crash_once(self) -> None:
            if not ray.get_runtime_context().was_current_actor_reconstructed:
                os._exit(1)

    thing = Thing.remote()
    assert ray.get(thing.restarted.remote()) is False
    ray.get(thing.crash_once.remote())
    assert ray.get(thing.restarted.remote()) is True


def test_an_actor_is_ended_when_the_last_handle_goes(ray: ModuleType, process: Any, eventually: Any) -> None:
    actor = process.remote()
    pid = ray.get(actor.pid.remote())
    del actor
    eventually(lambda: is_gone(pid))


def test_calls_made_before_the_last_handle_went_still_run(ray: ModuleType, process: Any) -> None:
    refs = [process.remote().count.remote() for _ in range(2)]
    assert ray.get(refs) == [1, 1]


def test_a_handle_held_by_another_actor_keeps_it_alive(ray: ModuleType, process: Any, eventually: Any) -> None:
    @ray.remote(num_cpus=0)
    class Holder:
        def __init__(self) -> None:
            self.handles: list[Any] = []

        def hold(self, handles: list[Any]) -> None:
            self.handles = handles

        def ask(self) -> Any:
            return ray.get(self.handles[0].pid.remote())

    holder = Holder.remote()
    actor = process.remote()
    pid = ray.get(actor.pid.remote())
    ray.get(holder.hold.remote([actor]))
    del actor
    assert ray.get(holder.ask.remote()) == pid
    ray.get(holder.hold.remote([]))
    eventually(lambda: is_gone(pid))


def test_a_handle_inside_an_object_keeps_the_actor_alive(ray: ModuleType, process: Any) -> None:
    actor = process.remote()
    pid = ray.get(actor.pid.remote())
    ref = ray.put([actor])
    del actor
    assert ray.get(ray.get(ref)[0].pid.remote()) == pid


def test_exit_actor_ends_the_actor_without_an_error_before_it(ray: ModuleType) -> None:
    @ray.remote
    class Thing:
        def leave(self) -> None:
            ray.actor.exit_actor()

        def ping(self) -> str:
            return "pong"

    thing = Thing.remote()
    before = thing.ping.remote()
    leaving = thing.leave.remote()
    after = thing.ping.remote()
    assert ray.get(before) == "pong"
    for ref in (leaving, after):
        with pytest.raises(ray.exceptions.RayActorError):
            ray.get(ref)


def test_exit_actor_works_in_coroutines(ray: ModuleType) -> None:
    @ray.remote
    class Thing:
        async def leave(self) -> None:
            ray.actor.exit_actor()

    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(Thing.remote().leave.remote())


def test_an_actor_that_exited_on_purpose_is_not_restarted(ray: ModuleType) -> None:
    @ray.remote(max_restarts=-1)
    class Thing:
        def leave(self) -> None:
            ray.actor.exit_actor()

        def ping(self) -> str:
            return "pong"

    thing = Thing.remote()
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(thing.leave.remote())
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(thing.ping.remote())


def test_exit_actor_outside_an_actor_is_a_type_error(ray: ModuleType) -> None:
    with pytest.raises(TypeError):
        ray.actor.exit_actor()


def test_terminate_lets_earlier_calls_finish(ray: ModuleType, process: Any) -> None:
    actor = process.remote()
    earlier = [actor.count.remote() for _ in range(3)]
    actor.__ray_terminate__.remote()
    assert ray.get(earlier) == [1, 2, 3]
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(actor.count.remote())


def test_results_of_a_dead_actor_can_still_be_got(ray: ModuleType) -> None:
    @ray.remote
    class Thing:
        def small(self) -> int:
            return 1

        def large(self) -> bytes:
            return b"x" * 500_000

    thing = Thing.remote()
    small, large = thing.small.remote(), thing.large.remote()
    ray.wait([small, large], num_returns=2)
    ray.kill(thing)
    assert ray.get(small) == 1
    assert len(ray.get(large)) == 500_000


def test_resources_of_an_actor_are_given_back_when_it_ends(ray: ModuleType, eventually: Any) -> None:
    @ray.remote(resources={"slot": 2})
    class Greedy:
        def ping(self) -> str:
            return "pong"

    for _ in range(3):
        # Each needs all there is, so the next one starts only when the one before has ended.
        assert ray.get(Greedy.remote().ping.remote()) == "pong"
    eventually(lambda: ray.available_resources().get("slot") == 2)
