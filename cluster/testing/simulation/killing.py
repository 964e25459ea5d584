"""Actors that are killed while they are called, at every moment and by anybody who has a handle: each call ends."""

from __future__ import annotations

from typing import Any

from ...core.actor_class import ActorClass
from ...core.refs import ObjectRef
from ...protocol.errors import ActorDiedError, ActorUnavailableError, RayTaskError
from .api import attempt, get, here, outcome, sleep, submit
from .book import value_of
from .cluster import active
from .workloads import Context, close, judge

__all__ = ["KILLING"]


class Gate:
    """Others wait for its answer."""

    def hold(self, seconds: float) -> float:
        sleep(seconds)
        return seconds


class Target:
    """Is killed, mostly in the middle of something."""

    def quick(self, number: int) -> int:
        return number

    def wait(self, number: int, seconds: float, gate: Any) -> int:
        get(gate.hold.remote(seconds))
        return number

    def take(self, number: int, seconds: float, value: Any) -> int:
        sleep(seconds)
        return number


def call(target: Any, gate: Any, number: int, seconds: float, late: ObjectRef) -> ObjectRef:
    """One call, of the kind that its number says."""
    kind = number % 3
    if kind == 0:
        made: ObjectRef = target.quick.remote(number)
    elif kind == 1:
        made = target.wait.remote(number, seconds, gate)
    else:
        made = target.take.remote(number, seconds, late)
    return made


def late(key: str, seconds: float) -> int:
    """Is an argument that comes when its actor may be dead."""
    attempt(key)
    sleep(seconds)
    return value_of(key)


def end(number: int, made: ObjectRef) -> None:
    """Wait for a call's end, whatever it is."""
    try:
        assert get(made) == number, f"call {number} was answered as another"
    except (ActorDiedError, ActorUnavailableError):
        pass
    except RayTaskError as error:  # in `wait`, if the gate's process was killed
        assert active().book.kills, f"call {number} failed with {error!r}"


def use(key: str, target: Any, gate: Any, pause: float, kills: bool) -> int:
    """Call from another process, and perhaps kill from there."""
    attempt(key)
    argument = submit(late, f"{key}+late", pause, retries=-1)
    calls = []
    for number in range(6):
        calls.append((number, call(target, gate, number, pause, argument)))
        if number == 3:
            sleep(pause)
            if kills:
                here().core.kill_actor(target._id, False)
    for number, made in calls:
        end(number, made)
    return value_of(key)


def killing(context: Context) -> None:
    """Kill actors that are called."""
    chance = context.random
    active().book.kills += 1  # its calls may fail from now on
    gate = ActorClass(Gate, {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}).remote()
    for turn in range(max(1, context.scale // 6)):
        name = f"{context.name}/{turn}"
        options = {
            "num_cpus": 0,
            "max_restarts": chance.choice((0, 1, -1)),
            "max_task_retries": chance.choice((0, 1, -1)),
        }
        target = ActorClass(Target, options).remote()
        argument = submit(late, f"{name}/late", context.seconds(), retries=-1)
        active().book.ended(f"{name}/late", "dropped")
        users = []
        for user in range(chance.randint(0, 2)):
            key = f"{name}/user{user}"
            made = submit(use, key, target, gate, context.seconds() / 4, chance.random() < 0.3, retries=-1)
            users.append((key, made))
        calls = []
        doom = chance.randint(0, 9)
        for number in range(10):
            if number == doom:
                if chance.random() < 0.5:
                    sleep(context.seconds())
                here().core.kill_actor(target._id, chance.random() < 0.5)
            calls.append((number, call(target, gate, number, context.seconds() / 4, argument)))
        for number, made in calls:
            end(number, made)
        for key, made in users:
            found = outcome(key, made)
            if isinstance(found, Exception):
                judge(key, found, depends=True)
            close(key)


KILLING = {"killing": killing}
