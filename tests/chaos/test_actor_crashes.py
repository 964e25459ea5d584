"""An actor whose process dies: its callers learn why, soon, or it lives again if it has restarts left."""

from __future__ import annotations

import os
import threading
import time
from types import ModuleType
from typing import Any

import pytest

from himalia.exceptions import ActorDiedError, ActorUnavailableError, GetTimeoutError, RayActorError
from tests.support.clusters import eventually, slay, took_less_than


def make_actor(hv: ModuleType, **options: Any) -> Any:
    class Tank:
        def __init__(self) -> None:
            self.level = 0

        def pid(self) -> int:
            return os.getpid()

        def fill(self) -> int:
            self.level += 1
            return self.level

        def sleep(self, seconds: float) -> str:
            time.sleep(seconds)
            return "slept"

        def leave(self, code: int) -> None:
            os._exit(code)

    return hv.remote(num_cpus=0, **options)(Tank).remote()


def test_calls_in_flight_fail_with_the_reason_when_the_actor_is_killed_by_a_signal(hv: ModuleType) -> None:
    tank = make_actor(hv)
    pid = hv.get(tank.pid.remote())
    refs = [tank.sleep.remote(60), *(tank.fill.remote() for _ in range(50))]
    threading.Timer(0.1, slay, [pid]).start()
    with took_less_than(2.2):
        for ref in refs:
            with pytest.raises(ActorDiedError, match="SIGKILL"):
                hv.get(ref)
    with took_less_than(1), pytest.raises(ActorDiedError, match="SIGKILL") as caught:
        hv.get(tank.fill.remote())
    assert caught.value.class_name == "Tank"


def test_calls_in_flight_fail_with_the_exit_code_when_a_method_calls_os_exit(hv: ModuleType) -> None:
    tank = make_actor(hv)
    with took_less_than(3), pytest.raises(ActorDiedError, match="exit code 3"):
        hv.get(tank.leave.remote(3))


def test_calls_in_flight_fail_at_once_when_the_actor_is_killed_by_the_api(hv: ModuleType) -> None:
    tank = make_actor(hv)
    hv.get(tank.pid.remote())
    ref = tank.sleep.remote(60)
    hv.kill(tank)
    with took_less_than(2), pytest.raises(ActorDiedError, match="kill"):
        hv.get(ref)


def test_a_get_with_a_timeout_returns_in_time_while_the_actor_restarts_for_ever(hv: ModuleType) -> None:
    tank = make_actor(hv, max_restarts=-1, max_task_retries=-1)
    ref = tank.leave.remote(1)
    with took_less_than(2.5), pytest.raises(GetTimeoutError):
        hv.get(ref, timeout=1)
    hv.kill(tank)
    with took_less_than(3), pytest.raises(RayActorError):
        hv.get(ref)


def test_an_actor_with_restarts_lives_again_and_says_that_calls_in_flight_may_have_run(hv: ModuleType) -> None:
    tank = make_actor(hv, max_restarts=1)
    first = hv.get(tank.pid.remote())
    ref = tank.sleep.remote(60)
    slay(first)
    with took_less_than(3), pytest.raises(ActorUnavailableError):
        hv.get(ref)

    def lives() -> int:
        try:
            return int(hv.get(tank.pid.remote(), timeout=5))
        except ActorUnavailableError:
            return 0

    second = eventually(lives, "the actor to live again")
    assert second != first
    slay(second)
    with took_less_than(3), pytest.raises(ActorDiedError, match="SIGKILL"):
        hv.get(tank.sleep.remote(60))


def test_calls_with_retries_are_made_again_after_a_restart_in_their_order(hv: ModuleType) -> None:
    tank = make_actor(hv, max_restarts=1, max_task_retries=1)
    pid = hv.get(tank.pid.remote())
    refs = [tank.sleep.remote(0.3), *(tank.fill.remote() for _ in range(20))]
    slay(pid)
    with took_less_than(5):
        assert hv.get(refs) == ["slept", *range(1, 21)]


def test_a_constructor_that_kills_its_process_is_an_error_of_every_call(hv: ModuleType) -> None:
    class Fragile:
        def __init__(self) -> None:
            os._exit(5)

        def ping(self) -> None: ...

    fragile = hv.remote(num_cpus=0)(Fragile).remote()
    with took_less_than(5), pytest.raises(ActorDiedError, match="exit code 5"):
        hv.get(fragile.ping.remote())


def test_an_actor_ends_with_its_last_handle_also_after_a_call_that_was_seen_running(hv: ModuleType) -> None:
    from himalia.util.state import list_actors

    tank = make_actor(hv)
    actor_id = tank._actor_id.hex()
    assert hv.get(tank.sleep.remote(1.2)) == "slept"  # longer than telemetry looks away
    del tank

    def state() -> str:
        return next(actor.state for actor in list_actors(limit=1_000) if actor.actor_id == actor_id)

    eventually(lambda: state() == "DEAD", "the actor to end", 5)


def test_the_resources_of_a_killed_actor_come_back(hv: ModuleType) -> None:
    class Heavy:
        def pid(self) -> int:
            return os.getpid()

    heavy = hv.remote(num_cpus=2)(Heavy)
    for _ in range(3):
        one = heavy.remote()
        with took_less_than(5):
            slay(hv.get(one.pid.remote()))
    eventually(lambda: hv.available_resources().get("CPU") == 2, "the CPUs to be free")
