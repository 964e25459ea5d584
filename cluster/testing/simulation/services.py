"""More of what programs do: objects in the store, streams, actors."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from ...core.actor_class import ActorClass
from ...core.refs import ObjectRef
from ...protocol.errors import (
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    ObjectLostError,
    OwnerDiedError,
    RayTaskError,
    WorkerCrashedError,
)
from .api import attempt, get, here, outcome, put, sleep, stream, submit
from .book import value_of
from .cluster import active
from .workloads import Context, close, judge, settle, work

__all__ = ["SERVICES"]

_LARGE = 120_000
"""Bytes: more than travels inside a message."""


def large_value(key: str) -> bytes:
    """Bytes that tell whose they are, wherever one looks."""
    return value_of(key).to_bytes(4, "big") * (_LARGE // 4)


def make_large(key: str, seconds: float) -> bytes:
    """Return what goes into the store."""
    attempt(key)
    sleep(seconds)
    return large_value(key)


def read_large(key: str, seconds: float, *inputs: bytes) -> int:
    """Read values out of the store."""
    attempt(key)
    sleep(seconds)
    return value_of(key, *[(len(data), data[:4], data[-4:]) for data in inputs])


def hold_large(key: str, seconds: float, box: list[ObjectRef]) -> list[ObjectRef]:
    """Read borrowed values, and give the references back."""
    attempt(key)
    sleep(seconds)
    for data in get(list(box)):
        assert len(data) == _LARGE
    return box


def _read_value(key: str, names: list[str]) -> int:
    values = [large_value(name) for name in names]
    return value_of(key, *[(len(data), data[:4], data[-4:]) for data in values])


def large(context: Context) -> None:
    """Objects in the store: put, returned, passed on, borrowed, dropped."""
    for number in range(max(1, context.scale // 8)):
        name = f"{context.name}/{number}"
        makers = [f"{name}/a", f"{name}/b"]
        refs = [submit(make_large, makers[0], context.seconds(), retries=-1), put(large_value(makers[1]))]
        active().book.ended(makers[0], "dropped")
        key = f"{name}/read"
        reader = submit(read_large, key, context.seconds(), *refs, retries=-1)
        borrower = None
        if context.random.random() < 0.5:
            borrower = submit(hold_large, f"{name}/hold", context.seconds(), refs, retries=-1)
        if context.random.random() < 0.5:
            _expect_large(refs[0], makers[0])
        del refs
        settle(key, reader, _read_value(key, makers), depends=True)
        if borrower is not None:
            back = outcome(f"{name}/hold", borrower)
            del borrower
            if isinstance(back, Exception):
                judge(f"{name}/hold", back, depends=True)
                continue
            sleep(context.seconds())
            for ref, maker in zip(back, makers, strict=True):
                _expect_large(ref, maker)


def _expect_large(ref: ObjectRef, maker: str) -> None:
    try:
        assert bytes(get(ref)) == large_value(maker), f"{maker}: another value"
    except (ObjectLostError, OwnerDiedError, WorkerCrashedError, NodeDiedError):
        assert active().book.kills, f"{maker} was lost, and nothing was killed"


# -- streams ----------------------------------------------------------------------------------------------------------


def count(key: str, items: int, seconds: float) -> Iterator[Any]:
    """Yield values, small and large."""
    attempt(key)
    for number in range(items):
        sleep(seconds)
        yield item_of(key, number)


def item_of(key: str, number: int) -> Any:
    """Every fourth item is large."""
    return large_value(f"{key}/{number}") if number % 4 == 3 else value_of(key, number)


def _take_item(key: str, number: int, ref: ObjectRef) -> None:
    try:
        assert get(ref) == item_of(key, number), f"{key}: item {number} is another"
    except (ObjectLostError, NodeDiedError):
        assert active().book.kills, f"{key}: item {number} was lost, and nothing was killed"


def streams(context: Context) -> None:
    """Generators, taken to the end or given up."""
    for turn in range(max(1, context.scale // 8)):
        key = f"{context.name}/{turn}"
        items = context.random.randint(0, 9)
        backpressure = context.random.choice((-1, 1, 3))
        generator = stream(count, key, items, context.seconds() / 8, retries=-1, backpressure=backpressure)
        wanted = context.random.choice((items, items, items // 2))
        active().book.entries[key].is_cancelled = wanted < items
        numbers = itertools.count() if wanted == items else range(wanted)
        taken = 0
        for number, ref in zip(numbers, generator, strict=False):
            _take_item(key, number, ref)
            del ref
            taken = number + 1
            if context.random.random() < 0.3:
                sleep(context.seconds() / 4)
        assert taken == wanted, f"{key} ended after {taken} of {wanted} items"
        del generator
        active().book.ended(key, "value")


# -- actors -----------------------------------------------------------------------------------------------------------


class Counter:
    """Counts the calls of each caller; tells them the order."""

    def __init__(self, name: str, box: list[ObjectRef]) -> None:
        self.name = name
        self.box = box
        self.seen: dict[str, int] = {}

    def call(self, caller: str, number: int, seconds: float, *inputs: Any) -> tuple[int, int]:
        sleep(seconds)
        last = self.seen.get(caller, -1)
        assert number > last, f"{self.name}: call {number} of {caller} after call {last}"
        self.seen[caller] = number
        return number, value_of(self.name, *inputs)

    def read(self) -> list[Any]:
        values: list[Any] = get(list(self.box))
        return values


def use_actor(key: str, actor: Any, name: str, calls: int) -> int:
    """Call an actor whose handle came as an argument."""
    attempt(key)
    caller = f"{key} {here().identity.hex()}"
    refs = [actor.call.remote(caller, number, 0.0) for number in range(calls)]
    for ref in refs:
        _call_result(ref, name)
    return value_of(key)


def _call_result(ref: ObjectRef, name: str, number: int | None = None, *inputs: Any) -> None:
    try:
        found, value = get(ref)
    except (ActorDiedError, ActorUnavailableError):
        assert active().book.kills, f"{name} is gone, and nobody killed it"
        return
    assert number is None or found == number, f"{name}: call {number} was answered as {found}"
    assert value == value_of(name, *inputs), f"{name}: another value"


def actors(context: Context) -> None:
    """Actors that are called in order, killed, begun again, passed on and dropped."""
    for number in range(max(1, context.scale // 12)):
        name = f"{context.name}/{number}"
        borrowed = [put(value_of(name)), submit(work, f"{name}/arg", context.seconds(), retries=-1)]
        active().book.ended(f"{name}/arg", "dropped")
        restarts = context.random.choice((0, 1, 3))
        retries = context.random.choice((0, 0, 2))
        made = ActorClass(Counter, {"max_restarts": restarts, "max_task_retries": retries, "num_cpus": 0})
        actor = made.remote(name, borrowed)
        del borrowed
        refs: list[tuple[ObjectRef, int]] = []
        for call in range(context.random.randint(1, 12)):
            refs.append((actor.call.remote("driver", call, context.seconds() / 4), call))
            if context.random.random() < 0.1:
                sleep(context.seconds())
        users = []
        if context.random.random() < 0.5:
            for user in range(context.random.randint(1, 3)):
                key = f"{name}/user{user}"
                users.append((key, submit(use_actor, key, actor, name, 3, retries=-1)))
        if context.random.random() < 0.3:
            active().book.kills += 1
            here().core.kill_actor(actor._id, context.random.random() < 0.5)
        last = actor.read.remote()
        if context.random.random() < 0.5:
            del actor
        for ref, call in refs:
            _call_result(ref, name, call)
        try:
            assert get(last) == [value_of(name), value_of(f"{name}/arg")], f"{name} read other values"
        except (ActorDiedError, ActorUnavailableError, OwnerDiedError, RayTaskError) as error:
            assert active().book.kills, f"{name} is gone, and nobody killed it: {error}"
        for key, ref in users:
            settle(key, ref, value_of(key), depends=True)
            close(key)


SERVICES = {"large": large, "streams": streams, "actors": actors}
